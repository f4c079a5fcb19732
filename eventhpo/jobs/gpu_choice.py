"""The GPUs of a search's slots: which they are from now on, and their locks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eventhpo.core.fold.events import Event, GpusChanged, LimitsChanged
from eventhpo.core.fold.state import State
from eventhpo.core.search.gpus import Gpus, as_written
from eventhpo.core.search.spec import LimitChanges, LocalCommand, Search
from eventhpo.errors import Usage
from eventhpo.jobs.local.folder import running_folders
from eventhpo.jobs.local.gpu_locks import DeviceLocks, holder
from eventhpo.log import paths


def locks(gpus: Gpus, state: State, log: Path) -> DeviceLocks:
    """Return the locks on *gpus* for the search at *log*, not taken yet; the folder of its jobs is made."""
    folder = paths.jobs(log)
    folder.mkdir(exist_ok=True)  # it tells the search from its copies
    return DeviceLocks(gpus, holder(state.search.name, state.search_id, log, folder))


def require_free(search: Search, log: Path) -> None:
    """Return if a new *search* could take its devices now.

    Raises:
        DeviceTaken: another search has one. StorageFailed: the locks cannot be used.
    """
    if isinstance(search.jobs, LocalCommand) and search.jobs.gpus:
        trial = DeviceLocks(search.jobs.gpus, holder(search.name, "", log, None))
        trial.take()
        trial.close()


def changes(folder: Path, state: State, recorded: LocalCommand, gpus: Gpus) -> list[Event]:
    """Return the events that give the slots *gpus* in place of the *recorded* ones, with a worker for each entry.

    Raises:
        Usage: jobs still run on the recorded devices.
    """
    if gpus == recorded.gpus:
        return []
    if running := _running(folder, state):
        trials = ", ".join(map(str, running))
        of = f"gpus = {as_written(recorded.gpus)}" if recorded.gpus else "a search without gpus"
        raise Usage(
            f"gpus cannot change while jobs of {of} run (trials {trials}): end them with `eventhpo cancel`, or let "
            "them end after `eventhpo pause`"
        )
    events: list[Event] = [GpusChanged(gpus=gpus)]
    if gpus and len(gpus) != state.limits.num_concurrent_workers:
        events.append(LimitsChanged(changes=LimitChanges(num_concurrent_workers=len(gpus))))
    return events


def _running(folder: Path, state: State) -> Sequence[int]:
    """Return the trials whose job's processes live."""
    alive = {path.name for path in running_folders(folder)}
    return [t.number for t in state.active.values() if any(a.ended is None and a.job_id in alive for a in t.attempts)]
