"""What several reading commands do: cut the rows at an event, and say what is missing of a log or next to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from eventhpo.cli import output
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import LocalCommand
from eventhpo.errors import DamagedLog, Failed
from eventhpo.log import missing_wal, paths
from eventhpo.log.reader import Snapshot
from eventhpo.views import as_of


def rows_up_to(rows: Sequence[Recorded], at: int | datetime | None) -> Sequence[Recorded]:
    """Return *rows* up to *at*, and say which event that is; all of them without one."""
    if at is None:
        return rows
    recorded = as_of.rows_at(rows, at)
    last = as_of.named(recorded[-1])
    output.note(f"as of event {last.seq} of {rows[-1].seq}, {last.at}")
    return recorded


def missing_files(log: Path, state: State) -> list[str]:
    """Return a note for each thing that should lie next to the log and does not."""
    notes = []
    if state.epoch and not paths.lock(log).exists():
        notes.append(f"there is no lock file {paths.lock(log).name}: whether a controller runs cannot be told")
    local = isinstance(state.search.jobs, LocalCommand)
    if local and any(t.attempts for t in state.trials) and not paths.jobs(log).is_dir():
        notes.append(f"there is no job folder {paths.jobs(log).name}: outputs and checkpoints are gone")
    return notes


def require_whole(log: Path, snapshot: Snapshot) -> None:
    """Return unless rows are missing, or may be.

    Raises:
        DamagedLog: the log contradicts its head file; what was printed is what is left.
        Failed: it may be a copy that lacks its last rows.
    """
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{log}: {snapshot.contradiction}; what was printed is what is left of it")
    if snapshot.unproven is not None:
        raise Failed(f"{snapshot.unproven}; {missing_wal.way_on(log)}")
