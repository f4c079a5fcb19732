"""The state that a log on the disk adds up to."""

from __future__ import annotations

from pathlib import Path

from eventhpo.core.evolve import fold
from eventhpo.core.state import State
from eventhpo.errors import DamagedLog
from eventhpo.log import reader


def state_of(path: Path) -> State:
    """Return the state of the search whose log lies at *path*; the chain is not checked.

    Raises:
        Usage: there is no such file.
        DamagedLog: it is no log of eventhpo, a row is damaged, or its tail is lost.
    """
    snapshot = reader.read(path)
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{path}: {snapshot.contradiction}; copy what is left with `eventhpo salvage {path} TARGET`")
    return fold(snapshot.rows)
