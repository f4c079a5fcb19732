"""What people and other programs do to tasks behind a controller's back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tests.clearml_server.clock import parsed, stored
from tests.clearml_server.endpoints import Api, documented
from tests.clearml_server.state import Document

documented("watchdog: 'Forced stop (non-responsive)' after 7200 s without an update")

WATCHDOG_SECONDS = 7200.0
FORCED = "Forced stop (non-responsive)"


class User:
    """A person in the web page; *call* is the server's own, so nothing of it counts as a request."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def abort(self, task_id: str) -> None:
        self._call("tasks.stop", task=task_id)

    def delete(self, task_id: str, *, force: bool = True) -> None:
        self._call("tasks.delete", task=task_id, force=force)

    def archive(self, task_id: str) -> None:
        self._call("tasks.archive", tasks=[task_id])

    def reset(self, task_id: str, *, force: bool = False) -> None:
        self._call("tasks.reset", task=task_id, force=force)

    def dequeue(self, task_id: str) -> None:
        self._call("tasks.dequeue", task=task_id)

    def publish(self, task_id: str) -> None:
        self._call("tasks.publish", task=task_id)

    def tag(self, task_id: str, tags: Sequence[str]) -> None:
        """Put these tags in place of the ones it has."""
        self._call("tasks.update", task=task_id, tags=list(tags))

    def rename(self, task_id: str, name: str) -> None:
        self._call("tasks.update", task=task_id, name=name)

    def delete_queue(self, queue_id: str, *, force: bool = True) -> None:
        self._call("queues.delete", queue=queue_id, force=force)

    def enqueue_again(self, task_id: str, queue_id: str | None = None) -> None:
        """As an autoscaler does for a task whose machine was taken away: same id, reset, and into its queue."""
        queue = queue_id or self._call("tasks.get_by_id", task=task_id)["task"]["execution"].get("queue")
        self._call("tasks.reset", task=task_id, force=True)
        self._call("tasks.enqueue", task=task_id, **({"queue": queue} if queue else {}))


def watchdog(api: Api, task_ids: Sequence[str] = (), *, seconds: float = WATCHDOG_SECONDS) -> list[str]:
    """Stop the running tasks named, or those without an update for *seconds*; which were stopped."""
    now = api.clock.now()
    stopped = []
    for task in api.state.tasks.values():
        silent = now - parsed(task["last_update"]) > timedelta(seconds=seconds)
        if task["status"] == "in_progress" and (task["id"] in task_ids or (not task_ids and silent)):
            _force(task, stored(now))
            stopped.append(task["id"])
    return stopped


def _force(task: Document, now: str) -> None:
    task.update(status="stopped", status_reason=FORCED, status_message=FORCED, status_changed=now)
    task.update(last_update=now, last_change=now, last_changed_by="__apiserver__")
