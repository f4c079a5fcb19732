"""Before a controller begins: which job folders next to the log it does not know; see `jobs.reconcile`.

A folder is made after its intent was committed. So a folder whose key is in no row shows
that the log has lost its tail or is a fork.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from eventhpo.core.fold.event_parts import AdoptedCurve
from eventhpo.core.fold.events import Head, JobAdopted
from eventhpo.core.fold.job_key import AttemptKey, read_key, search_part
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import Objective, Scalar, to_num
from eventhpo.errors import DamagedLog
from eventhpo.jobs import reconcile
from eventhpo.jobs.local.folder import AttemptFolder
from eventhpo.jobs.local.host import clock
from eventhpo.jobs.local.reports import read

StrayFolder: TypeAlias = reconcile.Stray[AttemptFolder]
FolderSurvey: TypeAlias = reconcile.Survey[AttemptFolder]

FORGOTTEN = "never started, and lost with the end of the log"


def job_id_of(key: str) -> str:
    """Return the name of the folder of the attempt with *key*."""
    return key.replace(":", "_")


def listed(jobs_folder: Path) -> tuple[str, ...]:
    """Return the names of the attempts' folders; to be called before the log is read.

    Raises:
        DamagedLog: *jobs_folder* cannot be read, so it is unknown whether the log lost its tail.
    """
    try:
        return tuple(sorted(name for name in os.listdir(jobs_folder) if _key(name) is not None))  # noqa: PTH208
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise DamagedLog(
            f"{jobs_folder} cannot be read ({error.strerror}), so whether the log lost its tail is unknown"
        ) from error


def _key(name: str) -> AttemptKey | None:
    return read_key(name.replace("_", ":"))


def surveyed(jobs_folder: Path, names: Sequence[str], state: State, hashes: Sequence[str]) -> FolderSurvey:
    """Return the folders among *names* that the log does not know; *hashes* are those of its rows, in order."""
    search = search_part(state.search_id)
    known = {job_id_of(a.key) for trial in state.trials for a in trial.attempts}
    lost: list[StrayFolder] = []
    forked: list[StrayFolder] = []
    for name in names:
        key = _key(name)
        if key is None or key.search != search or name in known:
            continue
        sort = lost if reconcile.is_of_this_log(key, state, hashes) else forked
        sort.append(reconcile.Stray(key, AttemptFolder(jobs_folder / name)))
    return reconcile.Survey(reconcile.in_order(lost), reconcile.in_order(forked))


def refuse(survey: FolderSurvey, head: Head, *, adopt: bool) -> None:
    """Raise unless a controller may go on with the log.

    Raises:
        DamagedLog: the log is a fork, or it has lost its tail and *adopt* is False.
    """
    away = ", or move these folders away once their jobs are over"
    reconcile.refuse(survey, head, adopt=adopt, kind="job folder", name=lambda folder: folder.job_id, or_else=away)


def of_others(jobs_folder: Path, state: State) -> list[int]:
    """Return the trials whose job was copied with the log while it ran, so that it belongs to another search."""
    live = ((t.number, a.job_id) for t in state.active.values() for a in t.attempts if a.job_id and a.ended is None)
    return [number for number, job_id in live if _is_of_another(AttemptFolder(jobs_folder / job_id))]


def _is_of_another(folder: AttemptFolder) -> bool:
    ticket = folder.ticket()
    return ticket is not None and folder.is_copied(ticket) and folder.exit() is None


# ---------------------------------------------------------------- adopting


def adopted(state: State, lost: Sequence[StrayFolder]) -> list[JobAdopted]:
    """Return one event for each started job of *lost* that makes it a job of the search again; remove the others.

    If a controller had told the job to stop, the event has its reports and its fate: the
    points up to the stop count. The reports of all other jobs are read by the first poll,
    together with their end.

    Raises:
        DamagedLog: the parameters of a job cannot be read.
    """
    taken = reconcile.taken_slots(state)
    return [_adopted(state, stray, taken) for stray in lost if _has_started(stray.job)]


def _has_started(folder: AttemptFolder) -> bool:
    """Whether the job of *folder* has started; if not, close the folder so that it never starts, and remove it."""
    if not folder.has_ticket():
        folder.close_for_good("cancelled", FORGOTTEN, clock())
    ticket = folder.ticket()
    if ticket is None or ticket.never is None:
        return True
    folder.remove()
    return False


def _adopted(state: State, stray: StrayFolder, taken: set[int]) -> JobAdopted:
    folder, key, objectives = stray.job, stray.key, state.search.objectives
    stop = folder.stop_asked()
    fate, judged = reconcile.settled("" if stop is None else stop.settled)
    curves, inherits, cursor = _read(folder, objectives) if fate is not None else ((), None, 0)
    return JobAdopted(
        trial=key.trial,
        attempt=key.attempt,
        key=key.text,
        job_id=folder.job_id,
        params=_params(folder),
        slot=0 if folder.exit() is not None else _slot(folder, taken),
        launched=True,
        curves=curves,
        inherits=inherits,
        fate=fate,
        judged=judged,
        to=cursor,
    )


def _params(folder: AttemptFolder) -> dict[str, Scalar]:
    try:
        return msgspec.json.decode(folder.drafted() or b"", type=dict[str, Scalar])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedLog(f"{folder.params} cannot be read, so its job cannot be taken up again: {error}") from error


def _slot(folder: AttemptFolder, taken: set[int]) -> int:
    """Take the slot that the job was given if it is free, else the lowest free one."""
    ticket = folder.ticket()
    ticket_slot = None if ticket is None else ticket.slot
    slot = ticket_slot if ticket_slot is not None and ticket_slot not in taken else next(reconcile.free_slots(taken))
    taken.add(slot)
    return slot


def _read(folder: AttemptFolder, objectives: Sequence[Objective]) -> tuple[tuple[AdoptedCurve, ...], int | None, int]:
    """Return all points, the iteration from which the job says that it resumes, and the last cursor."""
    points: dict[tuple[str, str], tuple[list[int], list[float]]] = {(o.title, o.series): ([], []) for o in objectives}
    cursor, inherits, more = 0, None, True
    while more:
        fresh = not any(iterations for iterations, _ in points.values())
        batch = read(folder.reports, cursor, objectives, fresh=fresh, final=folder.exit() is not None)
        for update in batch.curves:
            iterations, values = points[update.title, update.series]
            iterations += update.iterations
            values += update.values
        cursor, more = batch.to, batch.more
        inherits = batch.inherits if inherits is None else inherits
    curves = (
        AdoptedCurve(title, series, tuple(iterations), tuple(map(to_num, values)))
        for (title, series), (iterations, values) in points.items()
        if iterations
    )
    return tuple(curves), inherits, cursor
