"""A search as it was: folding alone, without Optuna."""

from __future__ import annotations

import os
from datetime import datetime

from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from replay.verified_rows import whole


def rebuild(path: str | os.PathLike[str], at: int | str | datetime | None = None) -> State:
    """Return the state of the search recorded at *path*, as of event *at*; of the last one without it.

    *at* is a seq or a time, also as the text that `--at` takes; a time means the last
    event recorded at or before it. The chain is checked up to the end of the log.

    Raises:
        Usage: there is no such file, or *at* is none of its events.
        DamagedLog: it is no log, is damaged, or lost its tail.
    """
    return fold(whole(path, at))
