"""The rows that a command tells of: verified, as of an event, and an exit code for a log that is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from eventhpo.cli.read.rows import rows_up_to
from eventhpo.core.fold.events import Recorded
from eventhpo.errors import Usage
from replay.verified_rows import verified_rows


@contextlib.contextmanager
def verified(log: Path, at: int | datetime | None) -> Iterator[Sequence[Recorded]]:
    """Give the verified rows of the log at *log*, up to *at*; after the block a damaged log is an error.

    Raises:
        DamagedLog: it is damaged, also where the block asks for what its verified rows do not have.
        Usage: there is no such file or event.
    """
    verified_log = verified_rows(log)
    try:
        yield rows_up_to(verified_log.rows, at)
    except Usage:
        verified_log.require_whole(log)  # what is asked for may have stood in what is lost
        raise
    verified_log.require_whole(log)
