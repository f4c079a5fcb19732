"""A search as it was: folding alone, without Optuna."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from eventhpo.core.evolve import fold
from eventhpo.core.state import State
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log import reader
from eventhpo.views import as_of


def rebuild(path: str | os.PathLike[str], at: int | str | datetime | None = None) -> State:
    """Return the state of the search recorded at *path*, as of event *at*; of the last one without it.

    *at* is a seq or a time, also as the text that `--at` takes; a time means the last
    event recorded at or before it. The chain is checked up to the end of the log.

    Raises:
        Usage: there is no such file, or *at* is none of its events.
        DamagedLog: it is no log, is damaged, or lost its tail.
    """
    log = Path(path)
    snapshot = reader.read(log, verify=True)
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{log}: {snapshot.contradiction}; see `eventhpo verify {log}`")
    return fold(snapshot.rows if at is None else as_of.rows_at(snapshot.rows, _moment(at)))


def _moment(at: int | str | datetime) -> int | datetime:
    try:
        return as_of.moment(at) if isinstance(at, str) else at
    except ValueError as error:
        raise Usage(str(error)) from None
