"""Jobs of a user's own subclass of `ClearmlJob`, which makes, launches and aborts its tasks itself.

Its constructor makes a task by several requests, and the SDK's transport repeats them. So a
crash between two of them leaves a draft that never runs, and a repeated clone request leaves
more drafts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from eventhpo.core.search.spec import ClearmlTasks, Objective
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.clearml.credentials import CREDENTIALS
from eventhpo.jobs.clearml.keys import tag_of_search
from eventhpo.jobs.clearml.launch import OPTIMIZATION, Labels, comment, refusal, retry_of
from eventhpo.jobs.clearml.other_controllers import Rivals
from eventhpo.jobs.clearml.session import Denied, Server, Silent
from eventhpo.jobs.clearml.stop import ENDED
from eventhpo.jobs.clearml.tasks import Task
from eventhpo.jobs.protocol import (
    Bound,
    BoundJob,
    DraftOutcome,
    DraftRequest,
    Ended,
    JobUpdate,
    LaunchOutcome,
    PollResult,
    Queued,
    Refused,
    StopOutcome,
    Stopping,
)

NEVER_STARTED = Ended(how="cancelled", why="stopped before it started")


class OwnJobs(ClearmlBackend):
    """The ClearML backend with jobs of *job_class*; curves are read as for all tasks."""

    def __init__(
        self,
        server: Server,
        tasks: ClearmlTasks,
        labels: Callable[[], Labels],
        job_class: type[Any],
        rivals: Rivals | None = None,
    ) -> None:
        super().__init__(server, tasks, labels, rivals)
        self._tasks = tasks
        self._labels = labels
        self._class = job_class
        self._objects: dict[str, Any] = {}
        self._mute: dict[str, Refused] = {}  # jobs whose own status raised in this poll

    # ---------------------------------------------------------------- effects

    def draft(self, drafts: Sequence[DraftRequest]) -> list[DraftOutcome]:
        """Construct a job for each draft; with `look`, adopt the task that has its key."""
        if self._rivals is not None:
            self._rivals.drafting(drafts)
        looked = [draft for draft in drafts if draft.look]
        try:
            tasks_by_key = self._launcher.look(looked) if looked else {}
        except (Silent, Denied) as error:
            return [Refused(error=f"{draft.key}: cannot look for its task: {error}") for draft in drafts]
        return [self._construct(draft, tasks_by_key.get(draft.key, [])) for draft in drafts]

    def _construct(self, draft: DraftRequest, tasks: Sequence[Task]) -> DraftOutcome:
        own_tasks = self._launcher.own_tasks(draft, tasks)
        if own_tasks:
            return Bound(job_id=own_tasks[0].id, adopted=True)
        labels = self._labels()
        parent = draft.extras.parent or labels.parent
        try:
            made = self._class(
                base_task_id=draft.extras.base_task_id or self._tasks.base_task_id,
                parameter_override=dict(draft.params),
                task_overrides=dict(draft.extras.task_overrides) or None,
                tags=self._tags(draft, parent),
                parent=parent,
                name=labels.name(self._base_name, draft.params),
                comment=comment(draft.params),
                project=labels.project,
                **draft.extras.further,
            )
            job_id = str(made.task_id())
        except Exception as error:  # noqa: BLE001  it is the user's own code, and may have made a task before it raised
            return Refused(error=f"{draft.key}: {self._class.__name__} raised {_said(error)}", in_doubt=True)
        self._objects[job_id] = made
        return Bound(job_id=job_id)

    @property
    def _base_name(self) -> str:
        return "" if self._tasks.base is None else self._tasks.base.name

    def _tags(self, draft: DraftRequest, parent: str | None) -> list[str]:
        tags = [OPTIMIZATION, f"opt: {parent}" if parent else "opt", tag_of_search(draft.key), draft.key]
        return [*draft.extras.tags, *retry_of(draft), *tags]

    def launch(self, jobs: Sequence[BoundJob]) -> list[LaunchOutcome]:
        """Call `launch` of each job that is still a draft."""
        try:
            if self._rivals is not None:
                self._rivals.look()
        except (Silent, Denied) as error:
            return [refusal(error, job.job_id, "look over the tasks of its search") for job in jobs]
        return [self._launch(job) for job in jobs]

    def _launch(self, job: BoundJob) -> LaunchOutcome:
        try:
            made = self._object(job)
            status = made.status(force=True)
            if _was_cancelled(job, status):
                return NEVER_STARTED
            if status != "created":
                return Queued()  # queued, running or over: a poll reads which
            launched = made.launch(self._tasks.execution_queue)
        except Exception as error:  # noqa: BLE001  the user's own code
            return Refused(error=f"{job.job_id}: launch() raised {_said(error)}", in_doubt=True)
        return Queued() if launched else Refused(error=f"{job.job_id}: launch() returned {launched!r}")

    def stop(self, jobs: Sequence[BoundJob]) -> list[StopOutcome]:
        """Call `abort` of each job; a job that has not started never starts."""
        return [self._stop(job) for job in jobs]

    def _stop(self, job: BoundJob) -> StopOutcome:
        try:
            made = self._object(job)
            status = made.status(force=True)
            if _was_cancelled(job, status):
                return NEVER_STARTED
            if status in ENDED:
                return Stopping(over=status != "stopped")  # an abort would change its end
            waiting = not job.started and made.is_pending()
            made.abort()
            if waiting:
                self._stopper.never(job)  # ClearML's own abort leaves a draft that could still be launched
        except (Silent, Denied) as error:
            return refusal(error, job.job_id, "stop it")
        except Exception as error:  # noqa: BLE001  the user's own code
            return Refused(error=f"{job.job_id}: abort() raised {_said(error)}", in_doubt=True)
        return NEVER_STARTED if waiting else Stopping()

    # ---------------------------------------------------------------- polls

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        """Read as for all tasks; if the `status` of a job raises, only this job is refused."""
        self._mute = {}
        polled = super().poll(jobs, objectives)
        ids = {job.job_id for job in jobs}
        self._objects = {job_id: made for job_id, made in self._objects.items() if job_id in ids}
        if isinstance(polled, Refused) or not self._mute:
            return polled
        named = {(job.trial, job.attempt): job for job in jobs}
        return msgspec.structs.replace(
            polled, seen=tuple(self._or_refused(named[update.trial, update.attempt], update) for update in polled.seen)
        )

    def _or_refused(self, job: BoundJob, update: JobUpdate) -> JobUpdate:
        refused = self._mute.get(job.job_id)
        return (
            update
            if refused is None
            else JobUpdate(trial=job.trial, attempt=job.attempt, to=job.cursor, refused=refused)
        )

    def _statuses(self, jobs: Sequence[BoundJob]) -> tuple[dict[str, Task], int]:
        """Return the tasks, each with the status that its job's own `status` returns."""
        tasks, now = super()._statuses(jobs)
        for job in jobs:
            if job.job_id in tasks:
                try:
                    tasks[job.job_id].status = str(self._object(job).status(force=True))
                except Exception as error:  # noqa: BLE001  the user's own code
                    self._mute[job.job_id] = Refused(error=f"{job.job_id}: status() raised {_said(error)}")
        return tasks, now

    def _object(self, job: BoundJob) -> Any:
        """Return the job's object; after a restart it is made from its task, without the constructor."""
        if job.job_id not in self._objects:
            self._objects[job.job_id] = self._around(job)
        return self._objects[job.job_id]

    def _around(self, job: BoundJob) -> Any:
        from clearml import Task as SdkTask  # noqa: PLC0415
        from clearml.automation.job import BaseJob  # noqa: PLC0415

        made: Any = object.__new__(self._class)
        BaseJob.__init__(made)
        made.task = SdkTask.get_task(task_id=job.job_id)
        made.task_parameter_override = dict(job.params)
        return made


def _was_cancelled(job: BoundJob, status: str) -> bool:
    """Whether *job* was stopped before it was launched."""
    return status == "stopped" and not (job.queued or job.started)


def _said(error: Exception) -> str:
    return CREDENTIALS.hide(f"{type(error).__name__}: {error}")
