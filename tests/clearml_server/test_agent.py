"""The real SDK on both sides: jobs as processes under the agent, and ClearML's own search from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clearml_server import ClearmlServer, hyperparam
from tests.clearml_server.agent import Agent, command_of, job_environment
from tests.clearml_server.calling import Client
from tests.clearml_server.sdk import LONG, sdk
from tests.waiting import eventually

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def base(server: ClearmlServer) -> str:
    """The task of train.py, that holds the script whole."""
    script = {"entry_point": "train.py", "working_dir": ".", "diff": (SCRIPTS / "train.py").read_text()}
    params = {"General": {"lr": 0.25, "epochs": 3, "fail": 0, "sleep": 0.0}}
    return server.make_task("base", script=script, hyperparams=params)


@pytest.fixture
def agent(server: ClearmlServer) -> Iterator[Agent]:
    with Agent(server.environment(), [server.queue("hpo")], slots=2) as running:
        yield running


def launched(server: ClearmlServer, base: str, **params: Any) -> str:
    values = {"lr": 0.25, "epochs": 3, "fail": 0, "sleep": 0.0, **params}
    given = {"General": {name: hyperparam("General", name, value) for name, value in values.items()}}
    task = str(server.call("tasks.clone", task=base, new_task_hyperparams=given)["id"])
    server.call("tasks.enqueue", task=task, queue=server.queue("hpo"))
    return task


def test_a_job_gets_its_parameters_reports_and_completes(server: ClearmlServer, agent: Agent, base: str) -> None:
    task = launched(server, base, lr=0.5, epochs=2)
    eventually(lambda: task in agent.ended)
    assert "lr=0.5" in agent.outputs[task]
    assert server.task(task)["status"] == "completed"
    curve = server.call("events.scalar_metrics_iter_histogram", task=task)["validation"]["accuracy"]
    assert (curve["x"], curve["y"]) == ([1, 2], [0.5, 0.75])
    assert [event["msg"] for event in server.call("events.get_task_log", task=task)["events"]] == [agent.outputs[task]]


def test_a_job_that_exits_with_an_error_is_failed(server: ClearmlServer, agent: Agent, base: str) -> None:
    task = launched(server, base, fail=3)
    eventually(lambda: task in agent.ended)
    found = server.task(task)
    assert (agent.ended[task], found["status"], found["status_reason"]) == (3, "failed", "worker execution exit code 3")


@pytest.mark.parametrize("how", ["asked by a person", "set by a controller", "deleted"])
def test_a_job_that_is_stopped_is_killed(server: ClearmlServer, agent: Agent, base: str, how: str) -> None:
    task = launched(server, base, epochs=1000, sleep=0.1)
    eventually(lambda: server.task(task)["last_iteration"] > 0)
    if how == "asked by a person":
        server.user.abort(task)
    elif how == "set by a controller":
        server.call("tasks.stopped", task=task, status_message="pruned")
    else:
        server.user.delete(task)
    eventually(lambda: task in agent.ended)
    assert agent.ended[task] != 0
    if how != "deleted":
        assert server.task(task)["status"] == "stopped"


def test_a_dead_agents_job_stays_in_progress_until_the_watchdog(server: ClearmlServer, agent: Agent, base: str) -> None:
    task = launched(server, base, epochs=1000, sleep=0.1)
    eventually(lambda: server.task(task)["last_iteration"] > 0)
    agent.die()
    assert server.task(task)["status"] == "in_progress"
    assert [worker["id"] for worker in server.call("workers.get_all")["workers"]] == ["agent:w1"]
    server.clock.advance(7201)
    assert server.call("workers.get_all")["workers"] == []
    assert server.watchdog() == [task]


def test_the_agent_outlives_a_server_that_is_away(server: ClearmlServer, agent: Agent, base: str) -> None:
    task = launched(server, base, epochs=30, sleep=0.05)
    eventually(lambda: server.task(task)["last_iteration"] > 0)
    server.restart()
    eventually(lambda: task in agent.ended)
    assert server.task(task)["status"] == "completed"
    assert server.task(task)["last_iteration"] == 30


def test_a_stock_search_runs_from_end_to_end(server: ClearmlServer, agent: Agent, base: str) -> None:
    """About 20 s: the stock controller's reporter sleeps a fixed 15."""
    out = sdk(server, str(SCRIPTS / "stock_search.py"), base, "hpo", seconds=4 * LONG)
    top = json.loads(out.strip().splitlines()[-1])
    children = [task for task in server.state.tasks.values() if "optimization" in task["tags"] and task.get("parent")]
    assert [task["status"] for task in children] == ["completed"] * 3
    assert sorted(task for task, _ in top) == sorted(task["id"] for task in children)
    best = max(
        children, key=lambda task: 1 - float(task["hyperparams"]["General"]["lr"]["value"]) / task["last_iteration"]
    )
    assert top[0][0] == best["id"]
    assert any(path.endswith("summary.json") for path in server.state.files)


def test_the_command_of_a_task_is_in_its_repository_its_path_or_its_diff(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.py").write_text("")
    local = {"repository": str(tmp_path), "working_dir": "sub", "entry_point": "run.py --x 1"}
    assert command_of({"script": local}, tmp_path)[0][2:] == ["run.py", "--x", "1"]
    assert command_of({"script": local}, tmp_path)[1] == tmp_path / "sub"
    assert command_of({"script": {"entry_point": "/a/b.py"}}, tmp_path) == (
        [sys.executable, "-u", "/a/b.py"],
        tmp_path,
    )
    command_of({"script": {"entry_point": "new.py", "diff": "print(1)"}}, tmp_path)
    assert (tmp_path / "new.py").read_text() == "print(1)"
    with pytest.raises(ValueError, match="entry_point"):
        command_of({}, tmp_path)


def test_a_job_does_not_join_the_task_that_its_agent_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARML_PROC_MASTER_ID", "1:of-the-controller")
    monkeypatch.setenv("TRAINS_TASK_ID", "of-the-controller")
    environment = job_environment({}, "mine", "agent:w1")
    assert {value for value in environment.values() if "of-the-controller" in value} == set()
    assert environment["CLEARML_TASK_ID"] == environment["TRAINS_TASK_ID"] == "mine"


def test_an_agent_that_is_killed_as_a_process_leaves_its_worker_and_its_job(server: ClearmlServer, base: str) -> None:
    command = [sys.executable, "-m", "tests.clearml_server.agent", "--queue", "hpo", "--worker", "agent:w9"]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, **server.environment(), "PYTHONPATH": root}
    task = launched(server, base, epochs=30, sleep=0.05)
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "agent:w9\n"
        eventually(lambda: server.task(task)["last_iteration"] > 0, deadline=LONG)
        process.send_signal(signal.SIGKILL)
    assert [worker["id"] for worker in Client(server.environment()).call("workers.get_all")["workers"]] == ["agent:w9"]
    # The orphan reports to its end; that it completed only its agent would have told.
    eventually(lambda: server.task(task)["last_iteration"] == 30, deadline=LONG)
    assert server.task(task)["status"] == "in_progress"
