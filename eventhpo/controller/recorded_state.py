"""The state that a log on the disk adds up to."""

from __future__ import annotations

from pathlib import Path

from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_state import NO_CONTROLLER
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log import missing_wal, reader


def state_of(path: Path, *, of_study: bool = False) -> State:
    """Return the state of the search whose log lies at *path*; all of it proven. With *of_study* a study's, too.

    Raises:
        Usage: there is no such file, the log is of an Optuna study, or it may be a copy that lacks its last rows.
        DamagedLog: it is no log of eventhpo, a row is damaged, or its tail is lost.
    """
    snapshot = reader.read(path)
    if snapshot.contradiction is not None:
        hint = missing_wal.hint(path) or f"; copy what is left with `eventhpo salvage {path} TARGET`"
        raise DamagedLog(f"{path}: {snapshot.contradiction}{hint}")
    missing_wal.require_proven(path, snapshot.outside)
    state = fold(snapshot.rows)
    if state.study is not None and not of_study:
        raise Usage(NO_CONTROLLER)
    return state
