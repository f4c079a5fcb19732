"""Scripted jobs run inside the server, one step at each poll, with nothing left to chance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clearml_server import ClearmlServer, Script
from tests.clearml_server.calling import Client


def queued(server: ClearmlServer, base: str, count: int = 1) -> list[str]:
    tasks = [str(server.call("tasks.clone", task=base)["id"]) for _ in range(count)]
    for task in tasks:
        server.call("tasks.enqueue", task=task, queue=server.queue("hpo"))
    return tasks


def statuses(server: ClearmlServer, tasks: list[str]) -> list[Any]:
    return [(server.task(task)["status"], server.task(task)["last_iteration"]) for task in tasks]


def test_each_poll_is_one_iteration_and_the_last_one_is_the_end(server: ClearmlServer, base: str) -> None:
    server.script(lambda _: Script.curve("loss", "val", [3.0, 2.0, 1.0]))
    (task,) = queued(server, base)
    client, seen = Client(server.environment()), []
    for _ in range(4):
        found = client.call("tasks.get_all", id=[task], only_fields=["status", "last_iteration"])["tasks"][0]
        seen.append((found["status"], found["last_iteration"]))
    assert seen == [("in_progress", 1), ("in_progress", 2), ("completed", 3), ("completed", 3)]


def test_a_search_of_many_jobs_is_a_function_of_its_polls(server: ClearmlServer, base: str) -> None:
    server.script(lambda _: Script.curve("loss", "val", [1.0] * 5, step=2), on=None, slots=2)
    tasks = queued(server, base, 3)
    seen = []
    for _ in range(6):
        server.advance()
        seen.append(statuses(server, tasks))
    assert seen == [
        [("in_progress", 2), ("in_progress", 2), ("queued", 0)],
        [("in_progress", 4), ("in_progress", 4), ("queued", 0)],
        [("completed", 5), ("completed", 5), ("queued", 0)],
        [("completed", 5), ("completed", 5), ("in_progress", 2)],
        [("completed", 5), ("completed", 5), ("in_progress", 4)],
        [("completed", 5), ("completed", 5), ("completed", 5)],
    ]


def test_a_job_fails_stays_or_is_left_alone_as_scripted(server: ClearmlServer, base: str) -> None:
    ends = iter([Script(end="failed", message="boom"), Script(end=None), None])
    server.script(lambda _: next(ends), on=None)
    tasks = queued(server, base, 3)
    server.advance(3)
    assert [server.task(task)["status"] for task in tasks] == ["failed", "in_progress", "queued"]
    assert server.task(tasks[0])["status_message"] == "boom"


def test_a_job_that_was_stopped_reports_nothing_more(server: ClearmlServer, base: str) -> None:
    server.script(lambda _: Script.curve("loss", "val", [1.0] * 9), on=None)
    (task,) = queued(server, base)
    server.advance(2)
    server.call("tasks.stopped", task=task)
    server.advance(3)
    assert statuses(server, [task]) == [("stopped", 2)]


def test_a_dead_worker_leaves_its_job_in_progress_and_is_gone_after_its_timeout(
    server: ClearmlServer, base: str
) -> None:
    scripted = server.script(lambda _: Script.curve("loss", "val", [1.0] * 9), on=None)
    (task,) = queued(server, base)
    server.advance()
    assert [worker["task"]["id"] for worker in server.call("workers.get_all")["workers"] if "task" in worker] == []
    server.advance()
    assert [worker["task"]["id"] for worker in server.call("workers.get_all")["workers"]] == [task]
    scripted.dead = True
    server.clock.advance(601)
    server.advance()
    assert statuses(server, [task]) == [("in_progress", 2)]
    assert server.call("workers.get_all")["workers"] == []


@pytest.mark.parametrize("slow", [True, False])
def test_a_slow_worker_starts_what_it_took_although_it_was_stopped_meanwhile(
    server: ClearmlServer, base: str, slow: bool
) -> None:
    """As a real agent does; one that is not slow has started it before anybody can stop it."""
    server.script(lambda _: Script.curve("loss", "val", [1.0] * 5, end=None), on=None, slow=slow)
    (task,) = queued(server, base)
    server.advance()
    assert server.task(task)["status"] == ("queued" if slow else "in_progress")
    server.call("tasks.dequeue", task=task)
    server.call("tasks.stopped", task=task, force=True)
    server.advance()
    assert server.task(task)["status"] == ("in_progress" if slow else "stopped")
