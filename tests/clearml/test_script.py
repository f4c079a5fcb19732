"""What a user does: a script, or a search file and commands, on a server; killed, and run again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.events import ControllerStarted, OptimizerTaskSet, PointEnqueued
from eventhpo.log import lease
from tests.clearml.users import AT_ONCE, ROOT, Place, Program, falling, value_of
from tests.clearml_server.agent import Agent
from tests.cli.harness import data, invoke
from tests.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK reads its configuration by such calls

SCRIPTS = Path(__file__).parent / "scripts"
DOOR = "X-Eventhpo-Door"
EVENTHPO = ("-m", "eventhpo")

SEARCH = """
name = "small"
seed = 5
num_concurrent_workers = 2
total_max_jobs = 6
max_iteration_per_job = 3
pool_period_min = {period}
{more}
[clearml]
base_task_id = "{base}"
execution_queue = "{queue}"
{clearml}
[objective]
title = "validation"
series = "loss"
sign = "min"
[pruner]
name = "NopPruner"
[space."General/lr"]
type = "UniformParameterRange"
min_value = 0.0
max_value = 1.0
"""


def described(place: Place, more: str = "", clearml: str = "", **changes: Any) -> Path:
    """Write a search file; return its path."""
    file = place.folder / "search.toml"
    given = {"base": place.base, "queue": place.queue, "period": AT_ONCE, "more": more, "clearml": clearml} | changes
    file.write_text(SEARCH.format(**given))
    return file


def command(place: Place, *words: str, **environment: str | None) -> Program:
    return Program([*EVENTHPO, *words], place.folder, place.server, **environment)


# ---------------------------------------------------------------- a script


def test_a_script_of_clearmls_class_killed_twice_ends_with_the_best_and_no_task_ran_twice(place: Place) -> None:
    """Six real jobs under an agent; all six points of the space are tried, so the best is known: 6."""
    place.jobs(None)
    script = {"entry_point": "units.py", "working_dir": ".", "diff": (SCRIPTS / "units.py").read_text()}
    base = place.server.make_task("train", script=script, hyperparams={"General": {"units": 1}})
    words = [str(SCRIPTS / "search.py"), base, place.queue]
    draw = random.Random(20)
    environment = {**place.server.environment(), "PYTHONPATH": ROOT}
    with Agent(environment, [place.server.queue(place.queue)], slots=2) as agent:
        for _ in range(2):
            seen = place.server.count(header=DOOR)
            until = seen + draw.randint(6, 14)
            Program(words, place.folder, place.server).killed_when(
                lambda until=until: place.server.count(header=DOOR) >= until
            )
        code, out, err = Program(words, place.folder, place.server).ended()
        assert code == 0, err
        assert place.states() == ["completed"] * 6
        assert sorted(int(value_of(task, "units")) for task in place.tasks()) == [1, 2, 3, 4, 5, 6]
        best = max(place.tasks(), key=lambda task: int(value_of(task, "units")))
        assert f"best: 6 of task {best['id']}\n" in out
        assert len(place.of(ControllerStarted)) == 3
        assert len({e.task_id for e in place.of(OptimizerTaskSet)}) == 3
        assert place.state().trials[0].attempts[0].curves[0].iterations == [1, 2, 3]
    ran = [task for task, code in agent.ended.items() if code == 0]
    assert sorted(ran) == sorted(task["id"] for task in place.tasks())


# ---------------------------------------------------------------- a search file


@pytest.mark.parametrize("seed", [1, 2])
def test_a_search_file_killed_at_random_moments_and_resumed_ends_like_one_left_alone(place: Place, seed: int) -> None:
    described(place)
    draw = random.Random(seed)
    words = ("run", "search.toml", "--log", "search.db")
    for _ in range(3):
        until = place.server.count(header=DOOR) + draw.randint(4, 12)
        if not command(place, *words).killed_when(lambda until=until: place.server.count(header=DOOR) >= until):
            break
        words = ("resume", "search.db") if place.log.exists() else words
    if words[0] == "resume":
        code, _, err = command(place, *words).ended()
        assert code == 0, err
    assert place.states() == ["completed"] * 6
    best = min(place.tasks(), key=lambda task: float(value_of(task, "lr")))
    (row,) = data("top", place.log, "-k", "1")
    assert row["task_id"] == best["id"]


@pytest.fixture
def finished(place: Place) -> Place:
    """A place whose search of two jobs has run from a search file, in this process."""
    described(place, more="")
    result = invoke("run", place.folder / "search.toml", "--log", place.log, "--quiet")
    assert result.exit_code == 0, result.output
    return place


def test_the_commands_that_read_a_log_ask_no_server(finished: Place) -> None:
    asked = finished.server.count()
    finished.server.down()
    assert data("status", finished.log)["state"] == "finished"
    rows = data("top", finished.log, "-k", "9")
    assert {row["task_id"] for row in rows} == {task["id"] for task in finished.tasks()}
    assert "JobBound" in invoke("events", finished.log).output
    assert invoke("verify", finished.log, "--decide").exit_code == 0
    assert invoke("postmortem", finished.log).exit_code == 0
    assert finished.server.count() == asked


def test_new_limits_and_points_let_a_finished_search_go_on(finished: Place) -> None:
    result = invoke("resume", finished.log, "--total-max-jobs", "8", "--quiet")
    assert result.exit_code == 0, result.output
    assert finished.states() == ["completed"] * 8
    refused = invoke("enqueue", finished.log, "General/lr=0.5")
    assert refused.exit_code == 2


def test_a_point_is_enqueued_and_a_search_is_stopped_beside_its_controller(place: Place) -> None:
    place.jobs(lambda task: falling(task, 1, end=None))
    described(place)
    running = command(place, "run", "search.toml", "--log", "search.db", "--quiet")
    eventually(lambda: place.log.exists() and len(place.tasks()) == 2, "two jobs", deadline=60)
    assert invoke("enqueue", place.log, "General/lr=0.125").exit_code == 0
    assert place.of(PointEnqueued)[0].params == {"General/lr": 0.125}
    result = invoke("stop", place.log, "--quiet")
    assert result.exit_code == 0, result.output
    code, _, err = running.ended()
    assert code == 0, err
    assert data("status", place.log)["state"] == "stopped"
    assert [task["status"] for task in place.tasks()] == ["stopped"] * 2


def test_a_search_is_stopped_without_a_controller(place: Place) -> None:
    place.jobs(lambda task: falling(task, 1, end=None))
    described(place)
    running = command(place, "run", "search.toml", "--log", "search.db", "--quiet")
    assert running.killed_when(lambda: place.log.exists() and len(place.tasks()) == 2)
    assert lease.holder(place.log) is None
    result = invoke("stop", place.log, "--quiet")
    assert result.exit_code == 0, result.output
    assert data("status", place.log)["state"] == "stopped"
    assert {task["status"] for task in place.tasks()} <= {"stopped"}


def test_check_says_what_would_be_done_and_makes_nothing(place: Place) -> None:
    file = described(place, clearml='project = "not/there"')
    projects = len(place.server.state.projects)
    result = invoke("check", file)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert {f"base task   {place.base} (base)", "queue       hpo", "project     not/there"} <= set(lines)
    assert "has reported no validation/loss" in result.stderr
    assert len(place.server.state.tasks) == 1
    assert len(place.server.state.projects) == projects


# ---------------------------------------------------------------- what goes wrong before the start


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"base": "0" * 32}, 2, "base_task_id: there is no task 0000"),
        ({"queue": "defalt"}, 2, "there is no queue 'defalt' on this ClearML server; did you mean 'default'?"),
        ({"clearml": 'proejct = "x"'}, 2, 'did you mean "project"?'),
        ({"clearml": "project = 3"}, 2, "clearml.project"),
        ({"more": 'command = ["python", "train.py"]'}, 2, "either command, for jobs on this machine, or [clearml]"),
        ({"queue": ""}, 2, "clearml.execution_queue"),
    ],
    ids=["base task", "queue", "key", "type", "command too", "empty queue"],
)
@pytest.mark.parametrize("name", ["check", "run"])
def test_a_mistake_in_the_table_is_told_with_its_way_out(
    place: Place, name: str, changes: dict[str, Any], code: int, says: str
) -> None:
    file = described(place, **changes)
    result = invoke(name, file, *(("--log", place.log) if name == "run" else ()))
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.output
    assert not place.log.exists()


def test_a_parameter_or_metric_that_the_base_task_has_not_is_told_with_those_it_has(place: Place) -> None:
    event = {"type": "training_stats_scalar", "task": place.base, "iter": 1, "value": 1.0}
    place.server.call("events.add_batch", lines=[{**event, "metric": "validation", "variant": "los"}])
    result = invoke("check", described(place))
    assert result.exit_code == 2
    assert "has reported no validation/loss; it has reported: validation/los" in result.stderr
    text = described(place).read_text().replace("General/lr", "General/lrr")
    (place.folder / "search.toml").write_text(text)
    result = invoke("check", place.folder / "search.toml")
    assert result.exit_code == 2
    assert "has no parameter General/lrr; did you mean General/lr?" in result.stderr


NONE = dict.fromkeys(
    [
        *("CLEARML_CONFIG_FILE", "CLEARML_API_HOST", "CLEARML_WEB_HOST", "CLEARML_FILES_HOST"),
        *("CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"),
    ]
)


@pytest.mark.parametrize(
    ("environment", "code", "says"),
    [
        ({"CLEARML_API_SECRET_KEY": "wrong"}, 2, "let us in (its keys are api.credentials in clearml.conf, or"),
        (NONE, 2, "ClearML is not configured here: there is no clearml.conf"),
        ({"CLEARML_OFFLINE_MODE": "1"}, 2, "ClearML is in offline mode"),
        ({"CLEARML_API_HOST": "http://127.0.0.1:9"}, 4, "the ClearML server does not answer, so nothing was begun"),
    ],
    ids=["credentials", "no configuration", "offline", "down"],
)
@pytest.mark.parametrize("who", ["command", "script"])
def test_a_server_that_cannot_be_reached_is_told_before_anything_is_made(
    place: Place, who: str, environment: dict[str, str | None], code: int, says: str
) -> None:
    described(place)
    words = [*EVENTHPO, "run", "search.toml", "--log", "search.db"]
    if who == "script":
        code = 1
        words = ["-c", CLASS.format(base=place.base, queue=place.queue)]
    found, out, err = Program(words, place.folder, place.server, HOME=str(place.folder), **environment).ended()
    assert (found, says in err) == (code, True), out + err
    assert who == "script" or "Traceback" not in out + err
    assert not place.log.exists()


CLASS = """
from clearml.automation import Objective, UniformParameterRange
from eventhpo import OptimizerOptuna
OptimizerOptuna("{base}", [UniformParameterRange("General/lr", 0.0, 1.0)], Objective("validation", "loss", "min"),
    "{queue}", 1, 3, 1, log="search.db").start()
"""


@pytest.mark.parametrize("name", ["resume", "stop"])
def test_a_server_that_is_down_when_a_search_is_carried_on_is_told_and_nothing_is_begun(
    place: Place, name: str
) -> None:
    place.jobs(lambda task: falling(task, 1, end=None))
    described(place)
    running = command(place, "run", "search.toml", "--log", "search.db", "--quiet")
    running.killed_when(lambda: place.log.exists() and len(place.tasks()) == 2)
    rows = len(place.rows())
    place.server.down()
    result = invoke(name, place.log, "--quiet")
    assert result.exit_code == 4, result.output
    assert "the ClearML server does not answer, so nothing was begun" in result.stderr
    assert len(place.rows()) == rows
