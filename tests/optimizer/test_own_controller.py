"""Our `HyperParameterOptimizer` on jobs of this machine, without a server."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from clearml.automation import RandomSearch

from eventhpo import HyperParameterOptimizer, OptimizerOptuna
from eventhpo.errors import Usage
from tests.optimizer.harness import SPACE, Place


def controller(place: Place, **changes: Any) -> HyperParameterOptimizer:
    given: dict[str, Any] = {
        "objective_metric_title": "validation",
        "objective_metric_series": "accuracy",
        "objective_metric_sign": "max",
        "max_number_of_concurrent_tasks": 1,
        "max_iteration_per_job": None,
        "total_max_jobs": 2,
        "pool_period_min": 0.001,
        "optuna_sampler": "RandomSampler",
        "log": place.log,
        "jobs": place.jobs(),
    }
    made = HyperParameterOptimizer("base", list(SPACE), **(given | changes))
    place.made.append(made.get_optimizer())
    return made


def test_it_drives_our_class_unless_told_otherwise_and_there_is_no_limit_of_time(place):
    search = controller(place)
    assert type(search.get_optimizer()) is OptimizerOptuna
    assert search.start()
    assert (search.get_time_limit(), search.reached_time_limit()) == (None, False)
    assert search.wait(timeout=1)
    assert [t.finished.state for t in place.state().trials] == ["completed"] * 2


def test_several_objectives_run_and_their_values_come_from_the_log(place):
    search = controller(
        place,
        objective_metric_title=["validation", "train"],
        objective_metric_series=["accuracy", "loss"],
        objective_metric_sign=["max", "min"],
    )
    assert isinstance(search.get_optimizer(), OptimizerOptuna)
    assert str(type(search.get_optimizer())) == str(OptimizerOptuna)  # what is connected to a task
    search.start()
    assert search.wait(timeout=1)
    for trial in place.state().trials:
        job_id = trial.last.job_id
        assert search._objective_metric.get_objective(job_id) == list(trial.finished.values)


def test_the_callback_has_a_float_and_an_int_and_none_for_a_job_that_failed(place):
    (place.folder / "fail-0").touch()
    search = controller(place, max_failures_per_trial=0)
    calls = []
    search.start(job_complete_callback=lambda *given: calls.append(given))
    assert search.wait(timeout=1)
    failed, completed = (t.last.job_id for t in place.state().trials)
    assert search._objective_metric.get_objective(failed) is None
    search._experiment_completed_cb(completed, [0.0], [4], {"General/x": 1.0}, completed)
    assert calls == [(completed, 0.0, 4, {"General/x": 1.0}, completed)]
    assert [type(given) for given in calls[0]] == [str, float, int, dict, str]


def test_a_limit_of_time_that_is_not_reached_and_a_wait_that_ends_before_the_search(place):
    place.hold.touch()
    search = controller(place, optimization_time_limit=60.0)
    assert isinstance(search.get_time_limit(), datetime)
    search.start()
    assert not search.wait(timeout=0)
    assert not search.reached_time_limit()
    search.stop(wait_for_reporter=False)


def test_another_strategy_is_refused(place):
    with pytest.raises(Usage, match="OptimizerOptuna"):
        controller(place, optimizer_class=RandomSearch)
