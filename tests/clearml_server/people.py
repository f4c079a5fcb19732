"""What people and other programs do to tasks behind a controller's back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tests.clearml_server import queues, tasks
from tests.clearml_server.clock import parsed, stored
from tests.clearml_server.endpoints import Api, documented
from tests.clearml_server.lifecycle import find, leave_queues
from tests.clearml_server.state import Document

documented("watchdog: 'Forced stop (non-responsive)' after 7200 s without an update")

WATCHDOG_SECONDS = 7200.0
FORCED = "Forced stop (non-responsive)"


class User:
    """A person in the web page; nothing of it counts as a request."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def abort(self, task_id: str) -> None:
        tasks.stop(self._api, {"task": task_id})

    def delete(self, task_id: str, *, force: bool = True) -> None:
        tasks.delete(self._api, {"task": task_id, "force": force})

    def archive(self, task_id: str) -> None:
        tasks.archive(self._api, {"tasks": [task_id]})

    def reset(self, task_id: str, *, force: bool = False) -> None:
        tasks.reset(self._api, {"task": task_id, "force": force})

    def dequeue(self, task_id: str) -> None:
        tasks.dequeue(self._api, {"task": task_id})

    def publish(self, task_id: str) -> None:
        tasks.publish(self._api, {"task": task_id})

    def tag(self, task_id: str, tags: Sequence[str]) -> None:
        """Put these tags in place of the ones it has."""
        tasks.update(self._api, {"task": task_id, "tags": list(tags)})

    def rename(self, task_id: str, name: str) -> None:
        tasks.update(self._api, {"task": task_id, "name": name})

    def delete_queue(self, queue_id: str, *, force: bool = True) -> None:
        queues.delete(self._api, {"queue": queue_id, "force": force})

    def enqueue_again(self, task_id: str, queue_id: str | None = None) -> None:
        """As an autoscaler does for a task whose machine was taken away: same id, reset, and into its queue."""
        task = find(self._api, task_id)
        queue = queue_id or task["execution"].get("queue") or next(iter(self._api.state.queues))
        leave_queues(self._api, task_id)
        tasks.reset(self._api, {"task": task_id, "force": True})
        tasks.enqueue(self._api, {"task": task_id, "queue": queue})


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
