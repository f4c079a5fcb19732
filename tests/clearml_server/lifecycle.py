"""The states of a task and the one function that changes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.clearml_server.clock import exact, parsed, stored
from tests.clearml_server.endpoints import Api, documented
from tests.clearml_server.errors import error
from tests.clearml_server.state import COMPANY, USER, Document

documented(
    "lifecycle: which status follows which",
    "lifecycle: active_duration is counted at pings and events",
)

FOLLOWS: Mapping[str, frozenset[str]] = {
    "created": frozenset({"queued", "in_progress"}),
    "queued": frozenset({"created", "in_progress", "stopped"}),
    "in_progress": frozenset({"stopped", "failed", "created", "completed"}),
    "stopped": frozenset(
        {"closed", "created", "failed", "queued", "in_progress", "published", "publishing", "completed"}
    ),
    "closed": frozenset({"created", "failed", "published", "publishing", "stopped"}),
    "failed": frozenset({"created", "stopped", "published", "queued"}),
    "publishing": frozenset({"published"}),
    "published": frozenset(),
    "completed": frozenset({"published", "in_progress", "created"}),
}


def find(api: Api, task_id: str) -> Document:
    """The task, for writing."""
    task = api.state.tasks.get(task_id)
    if task is None:
        raise error(101, id=task_id, company=COMPANY)
    return task


def change_status(
    api: Api,
    task: Document,
    status: str,
    *,
    reason: str = "",
    message: str = "",
    force: bool = False,
    also: Mapping[str, Any] | None = None,
    unset: tuple[str, ...] = (),
    hidden: Mapping[str, Any] | None = None,
) -> Document:
    """Change the status and *also*; give back {"updated": 1, "fields": what changed}.

    *also* is shown in the answer, *hidden* is not. Raises: 110 if *status* cannot follow, unless forced.
    """
    if not force and status not in (task["status"], *FOLLOWS[task["status"]]):
        raise error(110, "Invalid status change", current_status=task["status"], new_status=status)
    now = api.clock.now()
    shown: Document = {"status": status, "status_reason": reason, "status_message": message}
    shown |= {name: exact(now) for name in ("status_changed", "last_update", "last_change")}
    shown |= {"last_changed_by": USER, **(also or {})}
    for name, value in {**shown, **(hidden or {})}.items():
        if value is None:
            task.pop(name, None)
        else:
            task[name] = stored(parsed(value)) if name in TIMES else value
    for name in unset:
        task.pop(name, None)
    if status == "queued":
        task["system_tags"] = [tag for tag in task["system_tags"] if tag != "development"]
    touch_project(api, task.get("project"))
    return {"updated": 1, "fields": shown}


DELETED = "__DELETED__"  # stands before the id of a parent that was deleted
TIMES = frozenset(
    {
        "status_changed",
        "last_update",
        "last_change",
        "started",
        "completed",
        "published",
        "created",
        "last_worker_report",
    }
)


def touch(api: Api, task: Document, **fields: Any) -> None:
    """Somebody reported for the task: its last_update, and how long it has been active."""
    now = api.clock.now()
    task.update(last_update=stored(now), last_change=stored(now), last_changed_by=USER, **fields)
    if task["status"] == "in_progress" and task.get("started"):
        task["active_duration"] = int((now - parsed(task["started"])).total_seconds())


def touch_project(api: Api, project_id: str | None) -> None:
    project = api.state.projects.get(project_id or "")
    if project:
        project["last_update"] = stored(api.clock.now())


def leave_queues(api: Api, task_id: str, keep: str | None = None) -> int:
    """Take the task out of every queue but *keep*; how many it was in."""
    left = 0
    for queue in api.state.queues.values():
        kept = [entry for entry in queue["entries"] if entry["task"] != task_id]
        if queue["id"] != keep and len(kept) < len(queue["entries"]):
            left += len(queue["entries"]) - len(kept)
            queue.update(entries=kept, last_update=stored(api.clock.now()))
    return left
