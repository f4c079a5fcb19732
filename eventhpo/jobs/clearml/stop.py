"""Stop tasks: running ones are told to stop, queued ones are taken from their queue, drafts are removed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventhpo.jobs.clearml.keys import REASON
from eventhpo.jobs.clearml.launch import BAD_STATUS, TASK_GONE, Launcher, refusal, while_it_answers
from eventhpo.jobs.clearml.session import Denied, Nothing, Server, Silent
from eventhpo.jobs.clearml.tasks import NEVER_RAN, OURS, Task, by_id, standing
from eventhpo.jobs.protocol import BoundJob, CancelOutcome, DraftRequest, Ended, Refused, StopOutcome, Stopping

NEVER = "stopped before it started"


OPEN = ("created", "queued")  # a task that does not run yet
ENDED = ("completed", "published", "closed", "failed", "stopped")  # without a stop of ours
OVER = (*ENDED, OURS, NEVER_RAN)
ABORTED = "aborted"  # the reason of a stop by a person: the job may well have ended meanwhile


class _Moved(msgspec.Struct):
    """What a dequeue changed."""

    updated: int = 0


class Stopper:
    """Tells tasks to stop: one or two requests for each task whose status is known."""

    def __init__(self, server: Server, launcher: Launcher) -> None:
        self._server = server
        self._launcher = launcher

    def stop(self, jobs: Sequence[BoundJob]) -> list[StopOutcome]:
        """Tell each task to stop unless it is over; a task that has not started never starts.

        The status of jobs that a person aborts is read first: a job that has ended keeps its end.
        """
        unknown = [job.job_id for job in jobs if job.settled == ABORTED or job.job_id not in self._launcher.last]
        try:
            self._read(unknown)
        except (Silent, Denied) as error:
            return [refusal(error, job.job_id, "read how its task stands") for job in jobs]
        return while_it_answers(jobs, self._stop, "stop it")

    def _read(self, ids: Sequence[str]) -> None:
        """Read the status of these tasks into `Launcher.last`."""
        tasks, _ = by_id(self._server, ids, ["id", "status", "status_reason", "started"])
        self._launcher.last |= {task.id: standing(task) for task in tasks.values()}

    def _stop(self, job: BoundJob) -> StopOutcome:
        try:
            return self._tell(job)
        except Denied as error:
            if error.subcode != TASK_GONE:
                raise
            return Stopping()  # deleted: a poll reads that it is lost

    def _tell(self, job: BoundJob) -> StopOutcome:
        """Stop the task by its last known status; if the status has changed, by the answer of the server."""
        last = self._launcher.last.get(job.job_id)
        if last == NEVER_RAN and not (job.queued or job.started):
            return Ended(how="cancelled", why=NEVER)
        if last in OVER:
            return Stopping(over=last in ENDED)  # a second stop would give it another end
        moved = self._dequeued(job) if last == "queued" else False
        try:
            self._stopped(job, force=moved or last == "created")
        except Denied as error:
            if error.subcode != BAD_STATUS:
                raise
            if not any(f"current_status={status}" in str(error) for status in OPEN):
                return Stopping(over=True)  # and a poll reads how
            self._dequeued(job)  # somebody queued it again, or reset it
            self._stopped(job, force=True)
        never = last == "created" and not (job.queued or job.started)
        return Ended(how="cancelled", why=NEVER) if never else Stopping()

    def never(self, job: BoundJob) -> None:
        """Stop a task that has not started, so that it never starts.

        Raises:
            Silent, Denied: as `Server.call`.
        """
        self._stopped(job, force=True)

    def _dequeued(self, job: BoundJob) -> bool:
        """Take the task from its queue; return whether it was in one."""
        try:
            return bool(self._server.call("tasks.dequeue", {"task": job.job_id}, _Moved).data.updated)
        except Denied as error:
            if error.subcode == TASK_GONE:
                raise
            return False

    def _stopped(self, job: BoundJob, *, force: bool) -> None:
        body = {"task": job.job_id, "force": force, "status_reason": REASON, "status_message": job.settled}
        self._server.call("tasks.stopped", body, Nothing)

    def cancel(self, drafts: Sequence[DraftRequest]) -> list[CancelOutcome]:
        """Delete the clones that unbound intents may have made; they never start."""
        try:
            tasks_by_key = self._launcher.look(drafts)
        except (Silent, Denied) as error:
            return [refusal(error, draft.key, "look for its task") for draft in drafts]
        return while_it_answers(
            drafts, lambda draft: self._cancel(draft, tasks_by_key.get(draft.key, [])), "delete its draft"
        )

    def _cancel(self, draft: DraftRequest, tasks: Sequence[Task]) -> CancelOutcome:
        for task in tasks:
            if not self._launcher.is_ours(draft, task):
                continue
            if task.status != "created":
                return Refused(
                    error=f"{draft.key}: task {task.id} was launched by somebody although it was never bound"
                )
            self._launcher.delete(task.id)
        self._launcher.cancelled(draft)
        return Ended(how="cancelled", why="cancelled before it was bound")
