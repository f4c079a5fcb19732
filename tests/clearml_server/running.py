"""Tasks on their way: queued, started, stopped, ended, reset, deleted and archived."""

from __future__ import annotations

from tests.clearml_server.clock import exact, parsed
from tests.clearml_server.endpoints import Api, Body, documented, endpoint
from tests.clearml_server.errors import error
from tests.clearml_server.lifecycle import DELETED, change_status, find, leave_queues, touch, touch_project
from tests.clearml_server.queues import add_task, find_queue, make_queue
from tests.clearml_server.state import USER_NAME, Document

STATUS = ("force", "status_reason", "status_message")

WORKER_SECONDS = 600  # tasks.stop asks the worker of a task that was updated this recently

documented(
    "tasks.stop: a task with a worker stays in_progress with status_message 'stopping'",
    "tasks.dequeue: a task that runs goes back to what it was before the queue",
    "tasks.enqueue: 701 for a missing queue, the task keeps its status",
    "tasks.completed: publish",
)


@endpoint(
    "tasks.enqueue",
    *(*STATUS, "queue", "queue_name", "verify_watched_queue", "update_execution_queue"),
    needs=("task",),
)
def enqueue(api: Api, body: Body) -> Document:
    if body.get("queue") and body.get("queue_name"):
        raise error(12, "Either queue id or queue name should be provided")
    task = find(api, body["task"])
    queue_id = body.get("queue") or _named_queue(api, body.get("queue_name"))
    before = task["status"]
    if before == "queued" and task.get("enqueue_status"):
        before = task["enqueue_status"]
    was = task["status"]
    answer = change_status(api, task, "queued", **_said(body), also={"enqueue_status": before})
    try:
        add_task(api, find_queue(api, queue_id), task["id"])
    except Exception:
        reason = "failed enqueueing"
        change_status(api, task, was, reason=reason, force=True, hidden={"enqueue_status": None})
        raise
    if body.get("update_execution_queue", True):
        task["execution"]["queue"] = queue_id
        answer["fields"]["execution.queue"] = queue_id
    leave_queues(api, task["id"], keep=queue_id)
    if body.get("verify_watched_queue"):
        answer["queue_watched"] = any(queue_id in worker["queues"] for worker in api.state.workers.values())
    return {"queued": 1, **answer}


def _named_queue(api: Api, name: str | None) -> str:
    for queue in api.state.queues.values():
        if queue["name"] == name or (not name and "default" in queue["system_tags"]):
            return str(queue["id"])
    if not name:
        raise error(707)
    return str(make_queue(api, name)["id"])


def _said(body: Body) -> Document:
    said = {"reason": body.get("status_reason") or "", "message": body.get("status_message") or ""}
    return {**said, "force": bool(body.get("force"))}


@endpoint("tasks.dequeue", *STATUS, "remove_from_all_queues", "new_status", needs=("task",))
def dequeue(api: Api, body: Body) -> Document:
    if body["task"] not in api.state.tasks:
        leave_queues(api, body["task"])
        return {"dequeued": 1, "updated": 0}
    return {"dequeued": 1, **_leave(api, find(api, body["task"]), body.get("new_status"), **_said(body))}


def _leave(api: Api, task: Document, status: str | None = None, **said: object) -> Document:
    leave_queues(api, task["id"])
    if task["status"] not in ("queued", "in_progress"):
        return {"updated": 0}
    said["force"] = True
    status = status or task.get("enqueue_status") or "created"
    return change_status(api, task, status, also={"enqueue_status": None}, **said)


@endpoint("tasks.started", *STATUS, needs=("task",))
def started(api: Api, body: Body) -> Document:
    task = api.state.tasks.get(body["task"])
    if task is None:
        raise error(10, task=None)
    if task["status"] == "in_progress" and task.get("started"):
        answer = change_status(api, task, "in_progress", **_said(body))
    else:
        begun = {"started": exact(api.clock.now())}
        answer = change_status(
            api, task, "in_progress", **_said(body), also=begun, unset=("completed", "active_duration")
        )
    return {"started": 1, **answer}


def _end(api: Api, body: Body, status: str) -> Document:
    ended = {"completed": exact(api.clock.now())}
    return change_status(api, find(api, body["task"]), status, **_said(body), also=ended)


@endpoint("tasks.stopped", *STATUS, needs=("task",))
def stopped(api: Api, body: Body) -> Document:
    return _end(api, body, "stopped")


@endpoint("tasks.failed", *STATUS, needs=("task",))
def failed(api: Api, body: Body) -> Document:
    return _end(api, body, "failed")


documented("tasks.failed: 200")


@endpoint("tasks.completed", *STATUS, "publish", needs=("task",), version="2.2")
def completed(api: Api, body: Body) -> Document:
    answer = {"published": 0, **_end(api, body, "completed")}
    if body.get("publish"):
        publish(api, {"task": body["task"]})
        answer["published"], answer["fields"]["status"] = 1, "published"
    return answer


@endpoint("tasks.publish", *STATUS, "publish_model", needs=("task",), recorded=False)
def publish(api: Api, body: Body) -> Document:
    published = {"published": exact(api.clock.now())}
    return change_status(api, find(api, body["task"]), "published", **_said(body), also=published)


@endpoint("tasks.close", *STATUS, needs=("task",), recorded=False)
def close(api: Api, body: Body) -> Document:
    return change_status(api, find(api, body["task"]), "closed", **_said(body))


@endpoint("tasks.stop", *STATUS, "include_pipeline_steps", needs=("task",))
def stop(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    said = {"reason": body.get("status_reason") or "", "force": bool(body.get("force"))}
    silent = (api.clock.now() - parsed(task["last_update"])).total_seconds()
    by_worker = bool(task.get("last_worker")) and silent < WORKER_SECONDS
    if task["status"] != "queued" and by_worker and "development" not in task["system_tags"]:
        return change_status(api, task, task["status"], message="stopping", **said)
    if task["status"] == "queued":
        leave_queues(api, task["id"])
    return change_status(api, task, "stopped", message=f"Stopped by {USER_NAME}", **said)


@endpoint("tasks.ping", needs=("task",))
def ping(api: Api, body: Body) -> Document:
    task = api.state.tasks.get(body["task"])
    if task is not None:
        touch(api, task)
    return {}


@endpoint(
    "tasks.reset",
    *(*STATUS, "clear_all", "return_file_urls", "delete_output_models", "delete_external_artifacts"),
    needs=("task",),
    recorded=False,
)
def reset(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    if task["status"] == "published" and not body.get("force"):
        raise error(110, task_id=task["id"], status=task["status"])
    removed = leave_queues(api, task["id"])
    gone = ("last_worker", "last_worker_report", "started", "completed", "published", "active_duration")
    answer = change_status(
        api,
        task,
        "created",
        reason="reset",
        message="reset",
        force=bool(body.get("force")),
        unset=(*gone, "enqueue_status", *(("script",) if body.get("clear_all") else ())),
        hidden={"last_iteration": 0, "last_metrics": {}, "unique_metrics": [], "metric_stats": {}, "runtime": {}},
    )
    execution = task["execution"]
    execution.pop("queue", None)
    execution["artifacts"] = [each for each in execution["artifacts"] if each.get("mode") == "input"]
    task["models"]["output"] = []
    forget_events(api, task["id"])
    return {**answer, "dequeued": {"removed": removed} if removed else {}, "deleted_models": 0}


@endpoint(
    "tasks.delete",
    *(*STATUS, "move_to_trash", "return_file_urls", "delete_output_models", "delete_external_artifacts"),
    "include_pipeline_steps",
    needs=("task",),
    recorded=False,
)
def delete(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    if task["status"] != "created" and "archived" not in task["system_tags"] and not body.get("force"):
        raise error(123, "due to status, use force=True", task=task["id"], expected="created", current=task["status"])
    leave_queues(api, task["id"])
    children = [each for each in api.state.tasks.values() if each.get("parent") == task["id"]]
    for child in children:
        child["parent"] = DELETED + task["id"]
    del api.state.tasks[task["id"]]
    forget_events(api, task["id"])
    touch_project(api, task.get("project"))
    counts = {"updated_children": len(children), "updated_models": 0, "deleted_models": 0}
    return {"deleted": True, **counts, "urls": None}


def forget_events(api: Api, task_id: str) -> None:
    for kept in (api.state.scalars, api.state.logs, api.state.plots):
        kept.pop(task_id, None)


@endpoint(
    "tasks.archive", "status_reason", "status_message", "include_pipeline_steps", needs=("tasks",), recorded=False
)
def archive(api: Api, body: Body) -> Document:
    tasks = [find(api, task_id) for task_id in body["tasks"]]
    for task in tasks:
        said = {"reason": body.get("status_reason") or "", "message": body.get("status_message") or ""}
        _leave(api, task, "stopped" if task["status"] == "in_progress" else None, **said)
        task["system_tags"] = sorted({*task["system_tags"], "archived"})
        task.update(status_reason=said["reason"], status_message=said["message"])
    return {"archived": len(tasks)}


@endpoint("tasks.unarchive_many", "status_reason", "status_message", needs=("ids",), recorded=False)
def unarchive_many(api: Api, body: Body) -> Document:
    for task_id in body["ids"]:
        task = find(api, task_id)
        task["system_tags"] = [tag for tag in task["system_tags"] if tag != "archived"]
    return {"succeeded": [{"id": task_id, "unarchived": True} for task_id in body["ids"]], "failed": []}


@endpoint(
    "tasks.archive_many", "status_reason", "status_message", "include_pipeline_steps", needs=("ids",), recorded=False
)
def archive_many(api: Api, body: Body) -> Document:
    archive(api, {"tasks": body["ids"]})
    return {"succeeded": [{"id": task_id, "archived": True} for task_id in body["ids"]], "failed": []}
