"""A search on a ClearML server that earlier code began goes on with today's: tasks that run, wait or were lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.core.fold.state import State
from replay import redecide
from tests.clearml.harness import METRIC, base_task, launches, our_tasks
from tests.clearml_server import ClearmlServer, Script
from tests.earlier.version import Carried, killed

SEARCH = """
name = "carried on"
seed = 5
num_concurrent_workers = 2
total_max_jobs = 4
max_iteration_per_job = 3
pool_period_min = 0.001
[clearml]
base_task_id = "{base}"
execution_queue = "default"
[objective]
title = "{metric.title}"
series = "{metric.series}"
sign = "min"
[sampler]
name = "RandomSampler"
[pruner]
name = "NopPruner"
[space."General/lr"]
type = "UniformParameterRange"
min_value = 0.0
max_value = 1.0
"""


class Tasks:
    """What the server's jobs do: two points, and a third with their end once the gate is open."""

    def __init__(self) -> None:
        self.open = False

    def play(self, task: object) -> Script:
        values = [3.0, 2.0, 1.0] if self.open else [3.0, 2.0]
        return Script.curve(METRIC.title, METRIC.series, values, end="completed" if self.open else None)


@pytest.fixture
def server() -> Iterator[ClearmlServer]:
    with ClearmlServer() as running:
        yield running
        assert running.refused == []


@pytest.fixture
def search(tmp_path: Path, earlier: Path, server: ClearmlServer, monkeypatch: pytest.MonkeyPatch) -> Carried:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    found = Carried(tmp_path, earlier)
    (tmp_path / "search.toml").write_text(SEARCH.format(base=base_task(server), metric=METRIC))
    return found


def live(state: State) -> int:
    return sum(a.live for t in state.trials for a in t.attempts)


def points(state: State) -> list[int]:
    return [len(a.curves[0].iterations) for t in state.trials for a in t.attempts]


def ran_to_its_end(search: Carried, server: ClearmlServer) -> None:
    state = search.state()
    assert state.finished is not None
    assert {t.finished.state for t in state.trials if t.finished} == {"completed"}
    assert len(our_tasks(server)) == len(state.trials) == 4
    assert set(launches(server).values()) == {1}
    assert redecide(search.log).verdict == "ok"


def test_tasks_that_run_when_the_controller_is_killed_are_taken_up(search: Carried, server: ClearmlServer) -> None:
    tasks = Tasks()
    server.script(tasks.play)
    controller = search.begin()
    search.until(lambda state: points(state) == [2, 2], "two tasks with two points")
    assert search.state().policy == 1
    killed(controller)
    running = list(server.scripted.jobs.values()) if server.scripted else []
    assert len(running) == 2
    tasks.open = True
    for job in running:
        job.script = tasks.play(None)
    search.carry_on()
    ran_to_its_end(search, server)


def test_tasks_that_wait_in_the_queue_are_taken_up(search: Carried, server: ClearmlServer) -> None:
    controller = search.begin()
    search.until(lambda state: live(state) == 2 and all(a.queued for a in state.trials[1].attempts), "two queued tasks")
    killed(controller)
    tasks = Tasks()
    tasks.open = True
    server.script(tasks.play)
    search.carry_on()
    ran_to_its_end(search, server)


def test_a_search_killed_before_its_first_task_was_bound_goes_on(search: Carried, server: ClearmlServer) -> None:
    controller = search.begin()
    search.until(lambda state: live(state) >= 1, "an intent")
    killed(controller)
    tasks = Tasks()
    tasks.open = True
    server.script(tasks.play)
    search.carry_on()
    ran_to_its_end(search, server)
