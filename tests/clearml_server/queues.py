"""Queues: made, found by name, and the next task taken from one."""

from __future__ import annotations

import re

from tests.clearml_server.clock import stored
from tests.clearml_server.endpoints import Api, Body, documented, endpoint, new_id
from tests.clearml_server.errors import error
from tests.clearml_server.state import COMPANY, Document

documented(
    "queues.get_next_task: an entry, and a stopped task in a queue becomes queued when it is taken",
    "queues.get_next_task: 701",
)


def find_queue(api: Api, queue_id: str) -> Document:
    queue = api.state.queues.get(queue_id)
    if queue is None:
        raise error(701, id=queue_id, company=COMPANY)
    return queue


def make_queue(api: Api, name: str, **more: object) -> Document:
    now = stored(api.clock.now())
    queue: Document = {"id": new_id(), "name": name, "company": COMPANY, "created": now, "tags": [], "system_tags": []}
    queue |= {"entries": [], "last_update": now, "metadata": {}}
    queue |= {key: value for key, value in more.items() if value}
    api.state.queues[queue["id"]] = queue
    return queue


def add_task(api: Api, queue: Document, task_id: str) -> None:
    """Raises: 706 if it is in this queue."""
    if any(entry["task"] == task_id for entry in queue["entries"]):
        raise error(706, task=task_id)
    now = stored(api.clock.now())
    queue["entries"].append({"task": task_id, "added": now})
    queue["last_update"] = now


@endpoint("queues.create", "display_name", "tags", "system_tags", "metadata", needs=("name",), version="2.4")
def create(api: Api, body: Body) -> Document:
    if any(queue["name"] == body["name"] for queue in api.state.queues.values()):
        raise error(801, name=body["name"], company=COMPANY)
    more = {key: body.get(key) for key in ("display_name", "tags", "system_tags", "metadata")}
    return {"id": make_queue(api, body["name"], **more)["id"]}


documented("queues.create: 801 for a name that exists")


@endpoint("queues.get_by_id", "max_task_entries", needs=("queue",), version="2.4")
def get_by_id(api: Api, body: Body) -> Document:
    return {"queue": dict(find_queue(api, body["queue"]))}


@endpoint(
    "queues.get_all",
    *("name", "id", "tags", "system_tags", "only_fields", "search_hidden", "page", "page_size", "order_by"),
    "max_task_entries",
    version="2.4",
)
def get_all(api: Api, body: Body) -> Document:
    found = [queue for queue in api.state.queues.values() if _matches(queue, body)]
    size = min(body.get("page_size") or 500, 500)
    found = found[(body.get("page") or 0) * size :][:size]
    only = body.get("only_fields")
    shown = [{key: queue[key] for key in only if key in queue} if only else dict(queue) for queue in found]
    return {"queues": shown}


def _matches(queue: Document, body: Body) -> bool:
    if body.get("name") and not re.search(body["name"], queue["name"]):
        return False
    if body.get("id") and queue["id"] not in body["id"]:
        return False
    return all(set(body.get(key) or ()) <= set(queue[key]) for key in ("tags", "system_tags"))


@endpoint("queues.get_next_task", "get_task_info", "task", needs=("queue",))
def get_next_task(api: Api, body: Body) -> Document:
    queue = find_queue(api, body["queue"])
    if not queue["entries"] or body.get("task") not in (None, queue["entries"][0]["task"]):
        return {}
    entry = queue["entries"].pop(0)
    queue["last_update"] = stored(api.clock.now())
    answer: Document = {"entry": entry}
    task = api.state.tasks.get(entry["task"])
    if task is not None:
        if task["status"] == "stopped":
            task["status"] = "queued"
        if body.get("get_task_info"):
            answer["task_info"] = {"company": task["company"], "user": task["user"]}
    return answer


@endpoint("queues.peek_task", needs=("queue",), version="2.15", recorded=False)
def peek_task(api: Api, body: Body) -> Document:
    entries = find_queue(api, body["queue"])["entries"]
    return {"task": entries[0]["task"] if entries else None}


@endpoint("queues.get_num_entries", needs=("queue",), version="2.15", recorded=False)
def get_num_entries(api: Api, body: Body) -> Document:
    return {"num": len(find_queue(api, body["queue"])["entries"])}


@endpoint("queues.delete", "force", needs=("queue",), version="2.4", recorded=False)
def delete(api: Api, body: Body) -> Document:
    from tests.clearml_server.lifecycle import change_status

    queue = find_queue(api, body["queue"])
    if queue["entries"] and not body.get("force"):
        raise error(702, "use force=true to delete", id=queue["id"])
    for entry in queue["entries"]:
        task = api.state.tasks.get(entry["task"])
        if task is not None:
            back = task.get("enqueue_status") or "created"
            reason = f"Queue {queue['id']} was deleted"
            change_status(api, task, back, reason=reason, force=True, hidden={"enqueue_status": None})
            task["execution"].pop("queue", None)
    del api.state.queues[queue["id"]]
    return {"deleted": 1}
