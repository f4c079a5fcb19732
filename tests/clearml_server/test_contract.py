"""Every recorded request is answered as the real server did: status, codes, message and shape."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.clearml_server import ENDPOINTS, FROM_THE_DOCUMENTATION, ClearmlServer, hyperparam
from tests.clearml_server.calling import Client
from tests.clearml_server.projects import find_or_create
from tests.clearml_server.queues import make_queue
from tests.clearml_server.shapes import differences
from tests.clearml_server.tasks import new_task

WIRE = Path(__file__).parents[2] / "fixtures" / "clearml_wire"
RECORDINGS = {path.stem: json.loads(path.read_text()) for path in sorted(WIRE.glob("*.json"))}
NOBODY = "0" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[ClearmlServer]:
    with ClearmlServer(queues=()) as running:
        yield running


@pytest.fixture(autouse=True)
def _empty(server: ClearmlServer) -> None:
    server.api.state = type(server.api.state)()
    server.refused.clear()


def a_project(server: ClearmlServer, project_id: str) -> None:
    project = find_or_create(server.api, "eventhpo")
    del server.state.projects[project["id"]]
    server.state.projects[project_id] = {**project, "id": project_id}


def a_queue(server: ClearmlServer, queue_id: str, name: str = "probe_q") -> None:
    queue = make_queue(server.api, name)
    del server.state.queues[queue["id"]]
    server.state.queues[queue_id] = {**queue, "id": queue_id}


def a_task(server: ClearmlServer, task_id: str, status: str = "created", **fields: Any) -> None:
    """A task in that status, as calls bring it there."""
    task = new_task(server.api, **{"name": "template", "type": "training", **fields})
    del server.state.tasks[task["id"]]
    task["id"] = task_id
    server.state.tasks[task_id] = task
    if status == "queued":
        if not server.state.queues:
            a_queue(server, "a-queue")
        server.call("tasks.enqueue", task=task_id, queue=next(iter(server.state.queues)))
    if status in ("in_progress", "completed", "stopped"):
        server.call("tasks.started", task=task_id)
    if status in ("completed", "stopped"):
        server.call(f"tasks.{status}", task=task_id)


def reported(server: ClearmlServer, task_id: str) -> None:
    lines = [
        {"type": "training_stats_scalar", "task": task_id, "iter": step, "metric": "validation", "variant": series,
         "value": 0.3 + step / 7, "timestamp": 1_795_493_500_000 + step, "method": "get", "worker": "sdk-user"}
        for step in range(1, 17) for series in ("accuracy", "loss")
    ]  # fmt: skip
    server.call("events.add_batch", lines=lines)


def a_whole_life(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    """The task of tasks.get_by_id: made by the SDK, run, reported for and completed."""
    task = recorded["response"]["data"]["task"]
    a_project(server, task["project"])
    params = {name: hyperparam("General", name, 1.0) for name in task["hyperparams"]["General"]}
    a_task(server, task["id"], project=task["project"], system_tags=["development"], comment="Auto-generated")
    script = {key: value for key, value in task["script"].items() if key != "requirements"}
    for fields in ({"script": script}, {"hyperparams": {"General": params}}, {"runtime": task["runtime"]}):
        server.call("tasks.edit", task=task["id"], force=True, **fields)
    server.call("tasks.set_requirements", task=task["id"], requirements=task["script"]["requirements"])
    server.call("tasks.started", task=task["id"])
    reported(server, task["id"])
    server.call("tasks.completed", task=task["id"], status_reason="completed")


def some_tasks(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    """The tasks of a recorded list, so that the same request finds as many."""
    request = recorded["request"]
    for project in request.get("project", ["f" * 32]):
        a_project(server, project)
    project = next(iter(server.state.projects))
    for at, task in enumerate(recorded["response"]["data"]["tasks"]):
        task_id = task.get("id") or request["id"][at]
        status = task.get("status", "created")
        named = {"name": task.get("name", "a task"), "system_tags": task.get("system_tags", [])}
        params = {"General": {"lr": hyperparam("General", "lr", 0.1)}}
        a_task(server, task_id, project=project, parent=request.get("parent"), hyperparams=params, **named)
        if "last_metrics" in task or request.get("order_by"):
            reported(server, task_id)
        if status == "in_progress":
            server.call("tasks.started", task=task_id, status_message=task["status_message"])


def workers(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    for worker in recorded["response"]["data"]["workers"]:
        queue, task = worker["queues"][0], worker["task"]["id"]
        server.state.queues.pop(queue["id"], None)
        a_queue(server, queue["id"], queue["name"])
        a_project(server, worker["project"]["id"])
        a_task(server, task, "in_progress", project=worker["project"]["id"])
        server.call("tasks.ping", task=task)
        server.call("workers.register", worker=worker["id"], queues=[queue["id"]])
        server.call("workers.status_report", worker=worker["id"], timestamp=1, task=task, queue=queue["id"])


def events_of(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    lines = recorded["request"] if isinstance(recorded["request"], list) else [recorded["request"]]
    a_task(server, lines[0]["task"], "in_progress")


def a_queue_with_a_task(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    queue = recorded["response"]["data"]["queue"]
    a_queue(server, queue["id"])
    a_task(server, queue["entries"][0]["task"], "queued")


def clone_of(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    for key in ("task", "new_task_parent"):
        a_task(server, recorded["request"][key], "completed")


def task_that(status: str | None, *, reports: bool = False) -> Callable[[ClearmlServer, dict[str, Any]], None]:
    def prepare(server: ClearmlServer, recorded: dict[str, Any]) -> None:
        request = recorded["request"]
        if "queue" in request:
            a_queue(server, request["queue"])
        for task_id in request.get("tasks") or [request["task"]]:
            if status is not None:
                a_task(server, task_id, status, script={"requirements": {}})
            if reports:
                reported(server, task_id)

    return prepare


def nothing(server: ClearmlServer, recorded: dict[str, Any]) -> None:
    pass


# What the server holds when the request comes, by the recording's name or its endpoint.
PREPARED: dict[str, Callable[[ClearmlServer, dict[str, Any]], None]] = {
    "auth.login": nothing,
    "events.add_batch": events_of,
    "events.scalar_metrics_iter_histogram__empty": task_that("in_progress"),
    "events.scalar_metrics_iter_histogram": task_that("in_progress", reports=True),
    "events.multi_task_scalar_metrics_iter_histogram": task_that("in_progress", reports=True),
    "events.scalar_metrics_iter_raw": task_that("in_progress", reports=True),
    "events.get_scalar_metric_data": task_that("in_progress", reports=True),
    "projects.get_all": lambda server, recorded: a_project(server, recorded["response"]["data"]["projects"][0]["id"]),
    "projects.get_by_id": lambda server, recorded: a_project(server, recorded["request"]["project"]),
    "queues.create": nothing,
    "direct__queues.get_all": nothing,
    "queues.get_all": lambda server, _: a_queue(server, "a-queue", "hpo"),
    "queues.get_by_id__by_name_fails_400_701": nothing,
    "queues.get_by_id": a_queue_with_a_task,
    "queues.get_next_task": lambda server, recorded: a_queue(server, recorded["request"]["queue"]),
    "tasks.clone": clone_of,
    "tasks.create": lambda server, recorded: a_project(server, recorded["request"]["project"]),
    "tasks.dequeue": task_that("queued"),
    "direct__tasks.enqueue_400_101": lambda server, recorded: a_queue(server, recorded["request"]["queue"]),
    "direct__tasks.enqueue_400_110": task_that("in_progress"),
    "direct__tasks.enqueue_400_706": task_that("queued"),
    "tasks.enqueue": task_that("created"),
    "direct__tasks.failed_400_110": task_that("completed"),
    "tasks.get_all": some_tasks,
    "direct__tasks.get_by_id_400_101": nothing,
    "tasks.get_by_id": a_whole_life,
    "direct__tasks.stopped_400_101": nothing,
    "direct__tasks.stopped_400_110": task_that("created"),
    "tasks.edit": task_that("created"),
    "tasks.started": task_that("created"),
    "workers.get_all": workers,
}
RUNNING = task_that("in_progress")  # what every other request on a task finds


def replayed(server: ClearmlServer, recorded: dict[str, Any]) -> tuple[int, Any]:
    client = Client(server.environment(), version=recorded["api_version_in_url"])
    body, name = deepcopy(recorded["request"]), recorded["endpoint"]
    if name == "auth.login":
        keys = base64.b64encode(b"access:secret").decode()
        return client.send(name, body, {"Authorization": f"Basic {keys}"})
    token = server.call("auth.login")["token"]
    if name == "events.add_batch":
        lines = body if isinstance(body, list) else [body]
        body = "\n".join(json.dumps(line) for line in lines).encode()
    return client.send(name, body, {"Authorization": f"Bearer {token}"}, method="GET")


def shape_to_compare(name: str, recorded: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    if "histogram" in name:  # title, series (, task): names
        multi = "multi_task" in name
        old, new = (each["data"]["metrics"] if multi else each["data"] for each in (recorded, answer))
        return differences(old, new, "data", named=3 if multi else 2)
    return differences(recorded, answer)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_request_is_answered_as_recorded(server: ClearmlServer, name: str) -> None:
    recorded = RECORDINGS[name]
    PREPARED.get(name, PREPARED.get(recorded["endpoint"], RUNNING))(server, recorded)
    status, answer = replayed(server, recorded)
    was, meta = recorded["response"]["meta"], answer["meta"]
    assert status == recorded["http_status"], meta
    for key in ("result_code", "result_subcode", "result_msg", "endpoint"):
        assert meta[key] == was[key]
    assert shape_to_compare(name, recorded["response"], answer) == []
    assert server.refused == []


@pytest.mark.parametrize("name", [name for name in RECORDINGS if RECORDINGS[name]["endpoint"] == "tasks.get_all"])
def test_a_recorded_list_is_found_whole_and_with_its_fields(server: ClearmlServer, name: str) -> None:
    recorded = RECORDINGS[name]
    some_tasks(server, recorded)
    found, was = replayed(server, recorded)[1]["data"]["tasks"], recorded["response"]["data"]["tasks"]
    assert sorted(task.get("id", "") for task in found) == sorted(task.get("id", "") for task in was)


def test_what_was_not_recorded_is_marked_as_from_the_documentation() -> None:
    recorded = {each["endpoint"] for each in RECORDINGS.values()}
    assert {name for name, found in ENDPOINTS.items() if found.recorded} == recorded
    assert {name for name in ENDPOINTS if name not in recorded} <= set(FROM_THE_DOCUMENTATION)


@pytest.mark.parametrize(
    ("answered", "wrong"),
    [
        ({"a": 1, "b": [{"c": "x"}]}, []),
        ({"a": 1, "b": [{"c": 1}]}, [".b[0].c: int instead of str"]),
        ({"a": 1}, [": b is missing"]),
        ({"a": 1, "b": [{"c": "x"}], "d": 1}, [": d is not recorded"]),
        ({"a": None, "b": [{"c": "x"}]}, [".a: NoneType instead of int"]),
        ({"a": 1, "b": []}, [".b: empty"]),
    ],
    ids=["same", "type", "missing", "more", "null", "empty"],
)
def test_a_difference_of_shape_is_seen(answered: Any, wrong: list[str]) -> None:
    assert differences({"a": 1, "b": [{"c": "y"}]}, answered) == wrong
