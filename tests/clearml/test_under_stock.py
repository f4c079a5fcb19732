"""ClearML's own controller with this class and a task of its own, each run a process, on the test server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from eventhpo.jobs.clearml.session import MARK
from tests.clearml.users import Place, Program, falling, value_of

LOW = 0.5  # a job with a smaller learning rate, which would be the best, fails
SCRIPT = str(Path(__file__).parent / "scripts" / "under_stock.py")


def console(place: Place, task: dict[str, Any]) -> list[str]:
    """Return the lines in the console of *task*."""
    return [line for event in place.server.state.logs.get(task["id"], []) for line in event["msg"].splitlines()]


def run(place: Place, highest: float = 1.0, *own: str) -> tuple[dict[str, Any], str]:
    """Run the script to its end; return its task as the server has it, and all that it printed."""
    program = Program([SCRIPT, place.base, place.queue, str(place.log), str(highest), *own], place.folder, place.server)
    _, out, err = program.ended()
    match = re.search(r"^task (\w+)$", out, re.MULTILINE)
    assert match is not None, out + err
    return place.server.state.tasks[match[1]], out + err


def test_a_search_that_runs_completes_its_task_without_a_warning_about_the_class(place: Place) -> None:
    task, printed = run(place)
    assert task["status"] == "completed"
    assert place.states() == ["completed"] * 2
    assert "Could not resolve" not in printed


def test_the_connected_arguments_name_a_class_that_can_be_imported(place: Place) -> None:
    task, _ = run(place)
    values = {item["name"]: item["value"] for section in task["hyperparams"].values() for item in section.values()}
    assert values["opt/optimizer_class"] == "eventhpo:OptimizerOptuna"


def test_a_log_of_another_search_fails_the_task_and_the_console_says_why(place: Place) -> None:
    place.done(total_max_jobs=1)
    task, printed = run(place, highest=0.5)
    assert task["status"] == "failed"
    assert "records another search" in task["status_message"]
    assert "the search did not run" in printed
    assert len(place.tasks()) == 1


def test_our_controller_runs_the_same_script_and_calls_back_once_for_each_job(place: Place) -> None:
    task, printed = run(place, 1.0, "own")
    assert task["status"] == "completed"
    values = [trial.finished.values[0] for trial in place.state().trials if trial.finished and trial.finished.values]
    assert len(values) == 2
    assert sorted(re.findall(r"^callback (.*)$", printed, re.MULTILINE)) == sorted(str((v, 3)) for v in values)
    assert "Traceback" not in printed


@pytest.mark.parametrize("own", [(), ("own",)], ids=["stock", "own"])
def test_what_happens_is_in_the_console_of_the_optimizers_task_once(place: Place, own: tuple[str, ...]) -> None:
    task, _ = run(place, 1.0, *own)
    lines = console(place, task)
    for start in ("trial 0 starts: ", "trial 0 completed: ", "trial 1 completed: ", "the search ends (budget)"):
        assert len([line for line in lines if line.startswith(start)]) == 1, lines
    assert len([line for line in lines if line.startswith("finished: budget")]) == 1


def test_our_controller_sends_each_plot_once(place: Place) -> None:
    task, _ = run(place, 1.0, "own")
    plots = place.server.state.plots.get(task["id"], [])
    assert sorted(event["metric"] for event in plots) == ["Optimization Objective", "Parallel Coordinates", "summary"]
    assert {event.get("iter", 0) for event in plots} == {0}


@pytest.mark.parametrize("own", [(), ("own",)], ids=["stock", "own"])
def test_less_than_15_requests_a_job_reports_counted_apart(place: Place, own: tuple[str, ...]) -> None:
    before = len(place.tasks())
    run(place, 1.0, *own, "jobs=8")
    assert len(place.tasks()) - before == 8
    ours = [request for request in place.server.requests.kept if MARK.lower() in request.headers]
    assert 0 < len(ours) < 15 * 8


def test_the_best_k_are_kept_the_others_are_archived_and_a_failed_job_holds_no_place(place: Place) -> None:
    place.jobs(lambda task: falling(task, 2, "failed") if float(value_of(task, "lr")) < LOW else falling(task))
    task, printed = run(place, 1.0, "own", "jobs=8", "top=2")
    assert task["status"] == "completed", printed
    completed = [trial for trial in place.state().trials if trial.finished and trial.finished.state == "completed"]
    assert len(completed) < len(place.state().trials)
    best = sorted(completed, key=lambda trial: trial.finished.values[0] if trial.finished else 0)
    kept = {trial.last.job_id for trial in best[:2] if trial.last}
    tasks = place.server.state.tasks
    for trial in completed:
        assert trial.last is not None
        archived = "archived" in tasks[trial.last.job_id]["system_tags"]
        assert archived == (trial.last.job_id not in kept)
    projects = {tasks[trial.last.job_id]["project"] for trial in completed if trial.last}
    assert [place.server.state.projects[project]["name"] for project in projects] == ["spawned"]
