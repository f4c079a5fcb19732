"""The ClearML backend; `JobBackend` states its promises, docs/clearml.md its requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from eventhpo.core.fold.event_parts import OtherSeries
from eventhpo.core.search.spec import ClearmlTasks, Objective
from eventhpo.jobs.clearml.curves import Curves, TaskReading
from eventhpo.jobs.clearml.keys import OWN
from eventhpo.jobs.clearml.last_metrics import exact, singles
from eventhpo.jobs.clearml.launch import Labels, Launcher, refusal
from eventhpo.jobs.clearml.other_controllers import Rivals
from eventhpo.jobs.clearml.session import Denied, Server, Silent
from eventhpo.jobs.clearml.stop import Stopper
from eventhpo.jobs.clearml.tasks import STATUS_FIELDS, Task, by_id, others, standing
from eventhpo.jobs.clearml.watch import PENDING, SECOND, alive, end_of, runs_on, settled_unseen, silent, started_at
from eventhpo.jobs.protocol import (
    BoundJob,
    CancelOutcome,
    DraftOutcome,
    DraftRequest,
    Ended,
    JobUpdate,
    LaunchOutcome,
    PollResult,
    Refused,
    Started,
    StopOutcome,
)

logger = logging.getLogger("eventhpo.jobs.clearml")

FLOOR = 2.0  # seconds between two polls while a young job runs
CEILING = 120.0  # seconds between two polls while nothing happens
SHARE = 0.05  # of the age of the youngest running job: so much later a prune or a freed slot may be seen
SLOWEST = 60.0  # seconds, the most that this share comes to
SEEN_WITHIN = 600  # seconds since its last report within which a worker counts as alive; agents report every 30 s
LAST_FIELDS = ["id", "last_metrics", "hyperparams", "last_iteration"]


class _RunningTask(msgspec.Struct):
    id: str | None = None


class _Worker(msgspec.Struct):
    id: str = ""
    task: _RunningTask | None = None


class _Workers(msgspec.Struct):
    workers: list[_Worker] = []


class ClearmlBackend:
    """Jobs as tasks of a ClearML server.

    A restart loses only the pace of polls and how far curves of 6,000 points or more were
    read; those are read again from the start.
    """

    longest_wait = CEILING

    def __init__(
        self,
        server: Server,
        tasks: ClearmlTasks,
        labels: Callable[[], Labels] = Labels,
        rivals: Rivals | None = None,
    ) -> None:
        self._server = server
        self._rivals = rivals
        self._launcher = Launcher(server, tasks, labels, rivals)
        self._stopper = Stopper(server, self._launcher)
        self._curves = Curves(server)
        self.shortest_wait = FLOOR

    # ---------------------------------------------------------------- effects

    def draft(self, drafts: Sequence[DraftRequest]) -> list[DraftOutcome]:
        """Clone the base task for each draft; with `look`, adopt the task that has its key."""
        return self._launcher.draft(drafts)

    def launch(self, jobs: Sequence[BoundJob]) -> list[LaunchOutcome]:
        """Enqueue each task that is still a draft."""
        return self._launcher.launch(jobs)

    def stop(self, jobs: Sequence[BoundJob]) -> list[StopOutcome]:
        """Tell each task to stop."""
        return self._stopper.stop(jobs)

    def cancel(self, drafts: Sequence[DraftRequest]) -> list[CancelOutcome]:
        """Delete the clones that unbound intents may have made."""
        return self._stopper.cancel(drafts)

    def close(self) -> None:
        """Delete drafts of clones whose answer was lost; the tasks go on, since the server runs them."""
        try:
            self._launcher.sweep()
        except (Silent, Denied) as error:
            logger.warning("drafts that never ran may be left until the next controller of this search: %s", error)

    # ---------------------------------------------------------------- polls

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        """Read status before curves, so that the curve of a job that ended is whole.

        Raises:
            DamagedLog: another controller works on a copy of this log.
        """
        try:
            tasks, now = self._statuses(jobs)
            if self._rivals is not None:
                self._rivals.polled(jobs, tasks, now)
            workers = self._workers() if any(silent(task, now) for task in tasks.values()) else {}
            readings = self._curves.read([job for job in jobs if _reports(tasks.get(job.job_id))], objectives)
            ends = {job.job_id: end_of(job, tasks.get(job.job_id), now, workers) for job in jobs}
            for job in jobs:
                if settled_unseen(job, tasks.get(job.job_id)) and _tells(readings.get(job.job_id), job):
                    readings.setdefault(job.job_id, TaskReading()).more = True
            lasts = self._lasts(jobs, tasks, ends)
        except (Silent, Denied) as error:
            return refusal(error, "poll", "read the tasks")
        except ValueError as error:  # a time that cannot be parsed
            return Refused(error=f"poll: the server's answer cannot be read: {error}")
        self._curves.forget(jobs)
        self._launcher.last = {task.id: standing(task) for task in tasks.values()}
        self._pace(tasks.values(), now)
        looks = [_PolledTask(job, tasks.get(job.job_id), now, ends[job.job_id], objectives) for job in jobs]
        return PollResult(clock=now, seen=tuple(_seen(look, readings, lasts) for look in looks))

    def _statuses(self, jobs: Sequence[BoundJob]) -> tuple[dict[str, Task], int]:
        """Return the tasks of the jobs that exist, by id, and the server's clock."""
        return by_id(self._server, [job.job_id for job in jobs], STATUS_FIELDS)

    def _workers(self) -> dict[str, str | None]:
        """Return the workers that reported within `SEEN_WITHIN`, each with the task that it runs."""
        answer = self._server.call("workers.get_all", {"last_seen": SEEN_WITHIN}, _Workers)
        return {worker.id: None if worker.task is None else worker.task.id for worker in answer.data.workers}

    def _lasts(
        self, jobs: Sequence[BoundJob], tasks: dict[str, Task], ends: dict[str, Ended | None]
    ) -> dict[str, Task]:
        """Return metrics and hyper-parameters of the jobs whose end this poll sees: one request for 500 tasks."""
        ended = [j.job_id for j in jobs if j.job_id in tasks and ends[j.job_id] is not None and not j.lost]
        return by_id(self._server, ended, LAST_FIELDS)[0] if ended else {}

    def _pace(self, tasks: Iterable[Task], now: int) -> None:
        """Set the shortest wait by the age of the youngest running job."""
        starts = [at for task in tasks if task.status == "in_progress" and (at := started_at(task)) is not None]
        age = (now - max(starts)) / SECOND if starts else 0.0
        self.shortest_wait = min(SLOWEST, max(FLOOR, SHARE * age))


class _PolledTask(msgspec.Struct, frozen=True):
    """One job in one poll."""

    job: BoundJob
    task: Task | None
    now: int
    ended: Ended | None
    objectives: Sequence[Objective]


def _tells(reading: TaskReading | None, job: BoundJob) -> bool:
    """Whether this poll has anything to say of *job* except its end."""
    return not job.started or (reading is not None and reading.points > 0)


def _reports(task: Task | None) -> bool:
    return task is not None and task.status not in PENDING


def _seen(look: _PolledTask, readings: dict[str, TaskReading], lasts: dict[str, Task]) -> JobUpdate:
    job, task = look.job, look.task
    reading = readings.get(job.job_id) or TaskReading()
    ended = None if reading.more else look.ended
    last = lasts.get(job.job_id) if ended is not None else None
    other_series: tuple[OtherSeries, ...] = () if last is None else others(last, look.objectives, OWN)
    if ended is not None and last is not None:
        exact_values = exact(last, job, reading.curves, look.objectives)
        ended = msgspec.structs.replace(ended, hyper_parameters=last.parameters, exact=exact_values)
        reading.curves += singles(last, job, reading.curves, look.objectives)
    begun = None if task is None else started_at(task)
    return JobUpdate(
        trial=job.trial,
        attempt=job.attempt,
        to=job.cursor + reading.points + bool(other_series) + (reading.inherits is not None),
        started=None if begun is None or job.started else Started(begun),
        curves=reading.curves,
        others=other_series,
        bad=reading.bad,
        inherits=reading.inherits,
        ended=ended,
        ending=look.ended is not None and ended is None and not job.lost,
        runs_on=runs_on(job, task),
        alive=alive(job, task, look.now),
        more=reading.more,
    )
