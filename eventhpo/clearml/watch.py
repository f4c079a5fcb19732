"""What the status of a task means for its attempt. docs/clearml.md has the table."""

from __future__ import annotations

from collections.abc import Mapping

from eventhpo.clearml.tasks import Task, microseconds
from eventhpo.jobs.protocol import Ended, Job

SECOND = 1_000_000
SETTLING = 120 * SECOND  # a task that was reset gets this long to be queued again, as autoscalers do
SILENCE = 1_200 * SECOND  # a running task without a sign of life, and its worker gone: its agent is dead

RUNS = ("in_progress", "publishing")
PENDING = ("created", "queued")
REASON = "eventhpo"  # the status reason of what we stopped; the message says what was settled
WATCHDOG = "non-responsive"  # in the message of a task that the server's watchdog stopped

Alive = Mapping[str, int]  # workers that report, and when they did last


def started_at(task: Task) -> int | None:
    """Return when *task* started, None if it has not, or not again since it was reset."""
    return None if task.status in PENDING else microseconds(task.started)


def silent(task: Task, now: int) -> bool:
    """Whether a running *task* has given no sign of life for so long that its agent has to be looked for."""
    if task.status not in RUNS:
        return False
    signs = (microseconds(task.last_update), microseconds(task.last_worker_report), microseconds(task.started))
    return now - max((s for s in signs if s is not None), default=now) > SILENCE


def end_of(job: Job, task: Task | None, now: int, workers: Alive) -> Ended | None:
    """Return how *job* ended as of *now* (the server's clock), None while it may go on."""
    if task is None:
        return Ended(how="lost", why="its task was deleted")
    start, end = microseconds(task.started), microseconds(task.completed) or microseconds(task.status_changed)
    match task.status:
        case "completed" | "published" | "closed":
            return Ended(how="completed", started_at=start, finished_at=end)
        case "failed":
            return Ended(how="failed", started_at=start, finished_at=end, why=task.said() or "failed")
        case "stopped":
            return _stopped(job, task, start, end)
        case "created" if job.queued or job.started:
            return _taken_back(job, task, now)
        case _ if silent(task, now) and task.last_worker not in workers:
            return Ended(how="lost", started_at=start, finished_at=microseconds(task.last_update), why=_dead(task))
    return None


def _stopped(job: Job, task: Task, start: int | None, end: int | None) -> Ended:
    """A task is stopped by us, by a person, or by the server's watchdog."""
    if WATCHDOG in task.said().lower():
        return Ended(how="lost", started_at=start, finished_at=end, why=f"the server gave it up: {task.said()}")
    if job.stopping:
        return Ended(how="stopped", started_at=start, finished_at=end, why=job.settled)
    said = f" ({task.said()})" if task.said() else ""
    return Ended(how="stopped", started_at=start, finished_at=end, why=f"aborted by somebody{said}")


def settled_unseen(job: Job, task: Task | None) -> bool:
    """Whether we had stopped *task*, and the log has lost why.

    Its end is told a poll behind its points, so that what was settled can be so again.
    """
    ours = task is not None and task.status == "stopped" and task.status_reason == REASON
    return ours and not (job.stopping or job.lost)


def _taken_back(job: Job, task: Task, now: int) -> Ended | None:
    since = microseconds(task.status_changed)
    if since is not None and now - since < SETTLING:
        return None
    what = "reset" if job.started else "taken out of its queue"
    return Ended(how="stopped", finished_at=since, why=f"its task was {what} by somebody")


def _dead(task: Task) -> str:
    return f"no sign of life since {task.last_update}, and its worker {task.last_worker or '(none)'} is gone"


def alive(job: Job, task: Task | None, now: int) -> bool:
    """Whether a job that was given up as lost shows itself running after all."""
    if not job.lost or task is None:
        return False
    return task.status == "queued" or (task.status in RUNS and not silent(task, now))
