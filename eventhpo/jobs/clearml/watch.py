"""What the status of a task means for its attempt; docs/clearml.md has the table."""

from __future__ import annotations

import re
from collections.abc import Mapping

from eventhpo.jobs.clearml.keys import REASON
from eventhpo.jobs.clearml.tasks import Task, microseconds
from eventhpo.jobs.protocol import BoundJob, Ended

SECOND = 1_000_000
SETTLING = 120 * SECOND  # a task that was reset may be queued again within this time, as autoscalers do
SILENCE = 1_200 * SECOND  # a running task without a sign of life whose worker is gone: its agent is dead
IDLE = 3_600 * SECOND  # the same, and its worker reports no task: one with several tasks may name only one

RUNS = ("in_progress", "publishing")
PENDING = ("created", "queued")
WATCHDOG = "non-responsive"  # in the message of a task that the server's watchdog stopped
# What an agent reports of a job that a signal ended, also when the agent itself was ended. If a person aborts a task
# through the server, the words are others: "task was stopped by tasks.stop", or "Stopped by <name>".
AGENT_ENDED, BY_AGENT = "user abort", "Changed by clearml-agent"
HANDED_OVER = 10 * SECOND  # an agent that has dequeued a task starts it within a second or two, even if it was stopped

_QUEUE_DELETED = re.compile(r"^queue\b.*\bwas deleted", re.IGNORECASE)  # the server's own status reason

Alive = Mapping[str, str | None]  # by worker that reports: the task that it runs


def started_at(task: Task) -> int | None:
    """Return when *task* started (microseconds), None if it has not started, or not again after a reset."""
    return None if task.status in PENDING else microseconds(task.started)


def silent(task: Task, now: int) -> bool:
    """Whether a running *task* has given no sign of life for so long that its agent must be checked."""
    return _silence(task, now) > SILENCE


def _silence(task: Task, now: int) -> int:
    """Return for how many microseconds a running *task* has given no sign of life."""
    if task.status not in RUNS:
        return 0
    signs = (microseconds(task.last_update), microseconds(task.last_worker_report), microseconds(task.started))
    return now - max((s for s in signs if s is not None), default=now)


def _abandoned(task: Task, now: int, workers: Alive) -> bool:
    """Whether no worker runs a silent *task*: its worker is gone, runs another task, or has long been idle.

    If its worker reports that it runs the task, that is a sign of life of the task.
    """
    if not silent(task, now):
        return False
    worker = task.last_worker or ""
    if worker not in workers or workers[worker] not in (None, task.id):
        return True
    return workers[worker] is None and _silence(task, now) > IDLE


def end_of(job: BoundJob, task: Task | None, now: int, workers: Alive) -> Ended | None:
    """Return how *job* ended, by *now* (microseconds of the server's clock); None while it may go on."""
    if task is None:
        return Ended(how="lost", why="its task was deleted")
    start, end = microseconds(task.started), microseconds(task.completed) or microseconds(task.status_changed)
    match task.status:
        case "completed" | "published" | "closed":
            return Ended(how="completed", started_at=start, finished_at=end, by_itself=True)
        case "failed":
            return Ended(how="failed", started_at=start, finished_at=end, why=task.describe_status() or "failed")
        case "stopped" if start is None and end is not None and now - end < HANDED_OVER:
            return None  # an agent may have dequeued it already, and would start it in spite of the stop
        case "stopped":
            return _stopped(job, task, start, end)
        case "created" if job.queued or job.started:
            return _taken_back(job, task, now)
        case _ if _abandoned(task, now, workers):
            last = microseconds(task.last_update)
            return Ended(how="lost", started_at=start, finished_at=last, why=_dead(task, workers))
    return None


def _stopped(job: BoundJob, task: Task, start: int | None, end: int | None) -> Ended:
    """Tell who stopped the task: we, a person, its agent when that was ended, or the server's watchdog."""
    if WATCHDOG in task.describe_status().lower():
        return Ended(
            how="lost", started_at=start, finished_at=end, why=f"the server gave it up: {task.describe_status()}"
        )
    if job.settled:
        return Ended(how="stopped", started_at=start, finished_at=end, why=job.settled)
    if task.status_reason == AGENT_ENDED and (task.status_message or "").startswith(BY_AGENT):
        return Ended(
            how="lost", started_at=start, finished_at=end, why=f"its agent was ended ({task.describe_status()})"
        )
    reason = f" ({task.describe_status()})" if task.describe_status() else ""
    return Ended(how="stopped", started_at=start, finished_at=end, why=f"aborted by somebody{reason}")


def settled_unseen(job: BoundJob, task: Task | None) -> bool:
    """Whether we had stopped *task* and the log has lost that stop.

    A poll then gives its points first and the next poll its end, so that the stop can be decided again.
    """
    stopped_by_us = task is not None and task.status == "stopped" and task.status_reason == REASON
    return stopped_by_us and not (job.stopping or job.lost)


def _taken_back(job: BoundJob, task: Task, now: int) -> Ended | None:
    since = microseconds(task.status_changed)
    if since is not None and now - since < SETTLING:
        return None
    if not job.started and _QUEUE_DELETED.search(task.status_reason or ""):
        return Ended(how="lost", finished_at=since, why=f"its queue was deleted: {task.describe_status()}")
    what = "reset" if job.started else "taken out of its queue"
    return Ended(how="stopped", finished_at=since, why=f"its task was {what} by somebody")


def _dead(task: Task, workers: Alive) -> str:
    worker, silence = task.last_worker or "(none)", f"no sign of life since {task.last_update}"
    if worker not in workers:
        return f"{silence}, and its worker {worker} is gone"
    return f"{silence}, and its worker {worker} runs {workers[worker] or 'nothing'}"


def runs_on(job: BoundJob, task: Task | None) -> bool:
    """Whether a job that was told to stop runs or will run: an agent or a person started it again."""
    return job.stopping and task is not None and task.status in ("queued", "in_progress")


def alive(job: BoundJob, task: Task | None, now: int) -> bool:
    """Whether a job that was taken for lost runs after all."""
    if not job.lost or task is None:
        return False
    return task.status == "queued" or (task.status in RUNS and not silent(task, now))
