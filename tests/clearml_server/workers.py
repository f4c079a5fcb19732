"""Workers: registered by agents, seen through their reports."""

from __future__ import annotations

from datetime import timedelta

from tests.clearml_server.clock import exact, parsed, stored
from tests.clearml_server.endpoints import Api, Body, documented, endpoint
from tests.clearml_server.errors import error
from tests.clearml_server.lifecycle import find
from tests.clearml_server.state import COMPANY, COMPANY_NAME, USER, USER_NAME, Document

documented("workers: a worker that has not reported for its register_timeout is gone")

ALIVE_SECONDS = 600  # the server's default, and what an agent registers with


@endpoint("workers.register", "timeout", "queues", "resources", "tags", "system_tags", needs=("worker",), version="2.4",
          recorded=False)  # fmt: skip
def register(api: Api, body: Body) -> Document:
    queues = body.get("queues") or []
    unknown = [queue for queue in queues if queue not in api.state.queues]
    if unknown:
        raise error(701, ids=unknown)
    now = exact(api.clock.now())
    api.state.workers[body["worker"]] = {
        "id": body["worker"],
        "ip": "127.0.0.1",
        "queues": queues,
        "register_time": now,
        "register_timeout": body.get("timeout") or ALIVE_SECONDS,
        "last_activity_time": now,
        "tags": body.get("tags") or [],
        "system_tags": body.get("system_tags") or [],
    }
    return {}


@endpoint("workers.unregister", "tags", "system_tags", needs=("worker",), version="2.4", recorded=False)
def unregister(api: Api, body: Body) -> Document:
    if api.state.workers.pop(body["worker"], None) is None:
        raise error(1004, worker=body["worker"])
    return {}


@endpoint(
    "workers.status_report",
    *("task", "queue", "queues", "machine_stats", "tags", "system_tags"),
    needs=("worker", "timestamp"),
    version="2.4",
    recorded=False,
)
def status_report(api: Api, body: Body) -> Document:
    forget_silent(api)
    worker = api.state.workers.get(body["worker"])
    if worker is None:
        raise error(1001, worker=body["worker"])
    now = api.clock.now()
    worker.update(last_activity_time=exact(now), last_report_time=exact(now))
    worker.update({key: body[key] for key in ("tags", "system_tags", "queues") if body.get(key)})
    worker.update(queue=body.get("queue"), task=body.get("task"))
    if body.get("task"):
        report = {"last_worker": body["worker"], "last_worker_report": stored(now)}
        find(api, body["task"]).update(report, last_update=stored(now), last_change=stored(now), last_changed_by=USER)
    return {}


def forget_silent(api: Api) -> None:
    """A worker lives as long as it reports within its timeout."""
    now = api.clock.now()
    for name, worker in list(api.state.workers.items()):
        if now - parsed(worker["last_activity_time"]) > timedelta(seconds=worker["register_timeout"]):
            del api.state.workers[name]


@endpoint("workers.get_all", "last_seen", "tags", "system_tags", "worker_pattern", version="2.4")
def get_all(api: Api, body: Body) -> Document:
    forget_silent(api)
    seen = body.get("last_seen", 3600)
    since = api.clock.now() - timedelta(seconds=max(1, seen or 0))
    workers = [each for each in api.state.workers.values() if not seen or parsed(each["last_activity_time"]) >= since]
    return {"workers": [_shown(api, worker) for worker in workers]}


def _shown(api: Api, worker: Document) -> Document:
    shown = {key: value for key, value in worker.items() if key not in ("queue", "task") and value is not None}
    shown["company"] = {"id": COMPANY, "name": COMPANY_NAME}
    shown["user"] = {"id": USER, "name": USER_NAME}
    shown["key"] = f"worker_{COMPANY}_{USER}_{worker['id']}"
    shown["queues"] = [_queue(api, queue) for queue in worker["queues"]]
    if worker.get("queue"):
        shown["queue"] = _queue(api, worker["queue"])
    task = api.state.tasks.get(worker.get("task") or "")
    if task is not None:
        running = (task.get("active_duration") or 0) * 1000
        shown["task"] = {"id": task["id"], "last_iteration": task["last_iteration"], "name": task["name"]}
        shown["task"]["running_time"] = running
        project = api.state.projects.get(task.get("project") or "")
        if project:
            shown["project"] = {"id": project["id"], "name": project["name"]}
    return shown


def _queue(api: Api, queue_id: str) -> Document:
    queue = api.state.queues.get(queue_id)
    if queue is None:
        return {"id": queue_id}
    shown: Document = {"id": queue_id, "name": queue["name"], "num_tasks": len(queue["entries"])}
    if queue["entries"]:
        first = queue["entries"][0]["task"]
        shown["next_task"] = {"id": first, "name": api.state.tasks.get(first, {}).get("name")}
    return shown
