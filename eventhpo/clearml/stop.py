"""Ending tasks: a running one is told to stop, a waiting one is taken from its queue, a draft removed."""

from __future__ import annotations

from collections.abc import Sequence

from eventhpo.clearml.launch import BAD_STATUS, TASK_GONE, Launcher, refusal
from eventhpo.clearml.session import Denied, Nothing, Server, Silent
from eventhpo.clearml.tasks import Task
from eventhpo.jobs.protocol import CancelOutcome, Draft, Ended, Job, Refused, StopOutcome, Stopping

REASON = "eventhpo"  # the status reason of what we stopped; the message says what was settled
NEVER = "stopped before it started"


class Stopper:
    """Tells tasks to stop; a request or two each."""

    def __init__(self, server: Server, launcher: Launcher) -> None:
        self._server = server
        self._launcher = launcher

    def stop(self, jobs: Sequence[Job]) -> list[StopOutcome]:
        """Tell each task to stop; one that never started never will."""
        outcomes: list[StopOutcome] = []
        for job in jobs:
            last = outcomes[-1] if outcomes else None
            if isinstance(last, Refused) and last.in_doubt:
                outcomes.append(Refused(error=f"{job.job_id}: not tried, since the server does not answer"))
                continue
            try:
                outcomes.append(self._stop(job))
            except Denied as error:
                gone = error.subcode == TASK_GONE
                outcomes.append(Stopping() if gone else refusal(error, job.job_id, "stop it"))
            except Silent as error:
                outcomes.append(refusal(error, job.job_id, "stop it"))
        return outcomes

    def _stop(self, job: Job) -> StopOutcome:
        if job.started or (job.queued and not self._dequeued(job)):
            return self._stop_running(job)
        self._stopped(job, force=True)
        return Ended(how="cancelled", why=NEVER)

    def _dequeued(self, job: Job) -> bool:
        """Take the task from its queue; whether it was still there."""
        try:
            self._server.call("tasks.dequeue", {"task": job.job_id}, Nothing)
        except Denied as error:
            if error.subcode == TASK_GONE:
                raise
            return False
        return True

    def _stop_running(self, job: Job) -> StopOutcome:
        try:
            self._stopped(job, force=False)
        except Denied as error:
            if error.subcode != BAD_STATUS:
                raise
            if not any(f"current_status={status}" in str(error) for status in ("created", "queued")):
                return Stopping()  # it is over already, and a poll reads how
            self._dequeued(job)  # somebody queued it again, or reset it
            self._stopped(job, force=True)
        return Stopping()

    def _stopped(self, job: Job, *, force: bool) -> None:
        body = {"task": job.job_id, "force": force, "status_reason": REASON, "status_message": job.settled}
        self._server.call("tasks.stopped", body, Nothing)

    def cancel(self, drafts: Sequence[Draft]) -> list[CancelOutcome]:
        """Delete what an unbound intent may have cloned; it never starts."""
        try:
            found = self._launcher.look(drafts)
        except (Silent, Denied) as error:
            return [refusal(error, draft.key, "look for its task") for draft in drafts]
        return [self._cancel(draft, found) for draft in drafts]

    def _cancel(self, draft: Draft, found: dict[str, list[Task]]) -> CancelOutcome:
        ours = [task for task in found.get(draft.key, []) if self._launcher.is_ours(draft, task)]
        for task in ours:
            if task.status != "created":
                return Refused(
                    error=f"{draft.key}: task {task.id} was launched by somebody although it was never bound"
                )
            try:
                self._launcher.delete(task.id)
            except (Silent, Denied) as error:
                return refusal(error, draft.key, f"delete its draft {task.id}")
        return Ended(how="cancelled", why="cancelled before it was bound")
