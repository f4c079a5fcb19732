"""What the last metrics of a task that is over add to its curve: double precision, and single values."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventhpo.core.fold.event_parts import ExactValue
from eventhpo.core.fold.events import JobEnded
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import Objective
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.views import top
from replay.decide.check_prefixes import check_prefixes
from tests.clearml.harness import METRIC, Hours, base_task, begin, of, our_tasks, rows, run, search, unhurried
from tests.clearml.test_poll import Pairs, backend, job, report, running, seen, single
from tests.clearml_server import ClearmlServer, Script

SINGLE_VALUE = -(2**31)  # what the SDK's report_single_value sends as the iteration
SUMMARY = Objective("Summary", "accuracy", "max")
NAME = (METRIC.title, METRIC.series)


def exact_of(server: ClearmlServer, pairs: Pairs, others: Pairs = ()) -> list[tuple[int, float]]:
    """Return which points of a job that is over the backend knows in double precision."""
    jobs, task = backend(server), running(server)
    report(server, task, pairs)
    if others:
        report(server, task, others, "train", "loss")
    server.call("tasks.completed", task=task)
    [one] = seen(jobs, job(task))
    assert one.ended is not None
    assert all(exact.title == METRIC.title for exact in one.ended.exact)
    return sorted((exact.iteration, float(exact.value)) for exact in one.ended.exact)


def one_trial(server: ClearmlServer, path: Path, points: list[tuple[int, str, str, float]], **changes: object) -> State:
    """A search of one job that reports *points*."""
    server.script(lambda task: Script(points, step=len(points)))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, **changes))
    state = run(path, clock=Hours(server))
    assert not [c for c in check_prefixes(rows(path)) if c.divergence]
    return state


# ---------------------------------------------------------------- double precision


def test_the_value_of_a_trial_is_what_its_job_reported_in_double_precision(server: ClearmlServer, path: Path) -> None:
    """Curves come in single precision: 0.1 as 0.10000000149011612."""
    state = one_trial(server, path, [(1, *NAME, 0.3), (2, *NAME, 0.1), (3, *NAME, 0.2)], max_iteration_per_job=3)
    [trial] = state.trials
    assert trial.attempts[0].curves[0].values == [single(0.3), single(0.1), single(0.2)], "curves stay as read"
    assert trial.finished is not None
    assert trial.finished.values == (0.2,)
    assert rank.values(state, trial) == [0.2]
    [row] = top.rows(state)
    metric = row.metrics["validation/loss"]
    assert (metric.value, metric.min_value, metric.max_value, metric.first_value) == (0.2, 0.1, 0.3, 0.3)


@pytest.mark.parametrize(("sign", "best"), [("max_global", 0.3), ("min_global", 0.1)])
def test_so_is_the_best_value_of_a_curve(server: ClearmlServer, path: Path, sign: str, best: float) -> None:
    objective = Objective(*NAME, sign)  # type: ignore[arg-type]
    state = one_trial(server, path, [(1, *NAME, 0.3), (2, *NAME, 0.1), (3, *NAME, 0.2)], objectives=(objective,))
    assert state.trials[0].finished is not None
    assert state.trials[0].finished.values == (best,)


def test_a_target_in_double_precision_is_reached(server: ClearmlServer, path: Path) -> None:
    server.script(lambda task: Script.curve(*NAME, [0.9, 0.7]))  # 0.7 in single precision is below it
    objective = Objective(*NAME, "max")
    begin(path, unhurried(base_task(server), 1, total_max_jobs=4, target_value=0.7, objectives=(objective,)))
    state = run(path, clock=Hours(server))
    assert state.finished is not None
    assert (state.finished.reason, len(state.trials)) == ("target_value", 1)


def test_the_last_value_counts_where_another_series_went_further(server: ClearmlServer) -> None:
    assert exact_of(server, [(1, 0.3), (2, 0.1), (3, 0.2)], others=[(100, 5.0)]) == [(1, 0.3), (2, 0.1), (3, 0.2)]


def test_of_two_points_with_the_same_32_bits_it_is_that_of_the_tasks_last_iteration(server: ClearmlServer) -> None:
    near = 0.2 + 1e-12
    assert single(near) == single(0.2)
    assert exact_of(server, [(1, 0.3), (2, 0.2), (3, 0.1), (4, near)])[-1] == (4, near)


def test_and_is_not_told_where_that_is_of_another_series(server: ClearmlServer) -> None:
    near = 0.2 + 1e-12
    found = exact_of(server, [(1, 0.3), (2, 0.2), (3, 0.1), (4, near)], others=[(100, 5.0)])
    assert found == [(1, 0.3), (3, 0.1)]


def test_a_value_of_an_iteration_that_the_job_went_back_to_is_not_taken_for_the_last(
    server: ClearmlServer, path: Path
) -> None:
    """The server's last value is that of the last batch, whatever its iteration."""
    jobs, task = backend(server), running(server)
    report(server, task, [(1, 0.3), (5, 0.2)])
    report(server, task, [(2, 0.25)])
    server.call("tasks.completed", task=task)
    [one] = seen(jobs, job(task))
    assert one.ended is not None
    assert [e.iteration for e in one.ended.exact if e.value == 0.25] in ([], [2])
    assert ExactValue(*NAME, 5, 0.25) not in one.ended.exact


def test_a_value_that_the_server_averaged_stays_as_read(server: ClearmlServer) -> None:
    assert exact_of(server, [(1, 0.3), (2, 0.1), (2, 0.2)]) == [(1, 0.3)]


# ---------------------------------------------------------------- single values


def test_a_single_value_as_objective_is_read_when_the_job_is_over(server: ClearmlServer, path: Path) -> None:
    points = [(1, "train", "loss", 0.5), (7, "train", "loss", 0.4), (SINGLE_VALUE, "Summary", "accuracy", 0.7)]
    state = one_trial(server, path, points, objectives=(SUMMARY,), max_iteration_per_job=None)
    [trial] = state.trials
    assert trial.finished is not None
    assert (trial.finished.state, trial.finished.values) == ("completed", (0.7,))
    assert trial.attempts[0].charge == 7, "what it cost is the last iteration of anything"
    assert [e.how for e in of(path, JobEnded)] == ["completed"]


def test_a_single_value_of_a_task_that_ran_on_before_is_one_too(server: ClearmlServer, path: Path) -> None:
    """The SDK adds the iterations of the run before to all iterations, to that of a single value too."""
    points = [(12, "train", "loss", 0.4), (SINGLE_VALUE + 10, "Summary", "accuracy", 0.7)]
    state = one_trial(server, path, points, objectives=(SUMMARY,), max_iteration_per_job=None)
    assert state.trials[0].attempts[0].curves[0].iterations == [12]
    assert state.trials[0].finished is not None
    assert state.trials[0].finished.values == (0.7,)


def test_a_single_value_may_stand_next_to_a_curve(server: ClearmlServer, path: Path) -> None:
    points = [(1, *NAME, 0.5), (3, *NAME, 0.25), (SINGLE_VALUE, "Summary", "accuracy", 0.7)]
    state = one_trial(server, path, points, objectives=(METRIC, SUMMARY), max_iteration_per_job=None)
    assert state.trials[0].finished is not None
    assert state.trials[0].finished.values == (0.25, 0.7)


def test_a_base_task_that_reported_it_so_is_taken_with_a_warning(server: ClearmlServer) -> None:
    base = base_task(server)
    report(server, base, [(SINGLE_VALUE, 0.7)], "Summary", "accuracy")
    _, warnings = ClearmlChoice().described(search(base, objectives=(SUMMARY,)))
    assert len(warnings) == 1
    assert "Summary/accuracy by report_single_value, which is read only when a job is over" in warnings[0]


def test_without_a_value_the_trial_fails_as_before(server: ClearmlServer, path: Path) -> None:
    points = [(1, "train", "loss", 0.5), (SINGLE_VALUE, "Summary", "size", 0.7)]
    state = one_trial(server, path, points, objectives=(SUMMARY,), max_iteration_per_job=None)
    assert state.trials[0].finished is not None
    assert state.trials[0].finished.state == "failed"
    assert "reported no Summary/accuracy; it did report Summary/size, train/loss" in state.trials[0].finished.why
    assert len(our_tasks(server)) == 1
