"""What docs/faults.md says of ClearML's own class, run: its code and its SDK against the test server.

Left out unless asked for (`--stock`): these are tests of ClearML's code, and each starts a process.
One that fails says that ClearML has mended something, and that the page has to be changed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clearml.users import METRIC, Place, Program, falling
from tests.clearml_server import Script
from tests.waiting import eventually

pytestmark = pytest.mark.stock

BEGIN = """
import json, sys, threading, warnings
import optuna
from clearml import Task
from clearml.automation import *
from clearml.automation.optimization import MultiObjective
from clearml.automation.optuna import OptimizerOptuna
from clearml.automation.optuna import optuna as module

base, queue = sys.argv[1:]
LR, KIND = UniformParameterRange("General/lr", 0.0, 1.0), DiscreteParameterRange("General/kind", ["a", "b"])
LOSS = MultiObjective(title=["validation"], series=["loss"], order=["min"], extremum=[False])

def search(**changes):
    given = dict(base_task_id=base, hyper_parameters=[LR, KIND], objective_metric=LOSS, execution_queue=queue,
        num_concurrent_workers=1, max_iteration_per_job=None, total_max_jobs=4, pool_period_min=0.0001,
        optuna_sampler=optuna.samplers.RandomSampler(seed=5), optuna_pruner=optuna.pruners.NopPruner())
    return OptimizerOptuna(**{**given, **changes})

def done(**changes):
    found = search(**changes)
    found.start()
    return found

def states(found):
    return [trial.state.name for trial in found._study.trials]

def say(what):
    sys.stdout.write("\\nSAID " + json.dumps(what) + "\\n")
    sys.stdout.flush()
"""


def program(place: Place, code: str, queue: str | None = None) -> Program:
    return Program(["-W", "ignore", "-c", BEGIN + code, place.base, queue or place.queue], place.folder, place.server)


def said(place: Place, code: str, queue: str | None = None) -> Any:
    """Return what a program with ClearML's class says."""
    exit_code, out, err = program(place, code, queue).ended()
    lines = [line[5:] for line in out.splitlines() if line.startswith("SAID ")]
    assert lines, f"exit {exit_code}\n{out}\n{err}"
    return json.loads(lines[-1])


def made(place: Place) -> list[dict[str, Any]]:
    return [task for task in place.server.state.tasks.values() if "optimization" in task["tags"]]


# ---------------------------------------------------------------- arguments


def test_an_earlier_study_is_overwritten(place: Place) -> None:
    code = """
study = optuna.create_study()
study.optimize(lambda trial: trial.suggest_float("General/lr", 0, 1), n_trials=3)
found = done(continue_previous_study=study, total_max_jobs=1)
say([len(found._study.trials), found._study is study])
"""
    assert said(place, code) == [1, False]


def test_further_arguments_are_dropped_misspelt_ones_too(place: Place) -> None:
    code = """
found = done(optuna_sampler=None, sampler=optuna.samplers.RandomSampler(), no_such_argument=1, total_max_jobs=1)
say([type(found._study.sampler).__name__, found._optuna_kwargs])
"""
    assert said(place, code) == ["TPESampler", {}]


def test_the_documented_objective_ends_in_an_attribute_error(place: Place) -> None:
    code = """
try:
    done(objective_metric=Objective("validation", "loss", "min"))
except Exception as error:
    say([type(error).__name__, str(error)])
"""
    assert said(place, code) == ["AttributeError", "'Objective' object has no attribute 'len'"]


def test_a_parameter_set_is_refused_in_the_words_of_another_optimizer(place: Place) -> None:
    code = """
try:
    done(hyper_parameters=[ParameterSet([{"General/lr": 0.1}])])
except Exception as error:
    say(str(error))
"""
    assert "not supported yet with OptimizerBOHB" in said(place, code)


def test_steps_and_ends_of_ranges_are_lost(place: Place) -> None:
    code = """
given = [LogUniformParameterRange("a", -3, 0, step_size=1, include_max_value=False),
    UniformParameterRange("b", 0.0, 1.0, include_max_value=False)]
say(search(hyper_parameters=given)._convert_hyper_parameters_to_optuna())
"""
    assert said(place, code) == {
        "a": ["suggest_float", {"low": 0.001, "high": 1, "log": True, "step": None}],
        "b": ["suggest_float", {"low": 0.0, "high": 1.0, "log": False, "step": None}],
    }


def test_a_range_with_a_step_is_sampled_by_a_deprecated_call(place: Place) -> None:
    code = """
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    done(hyper_parameters=[UniformParameterRange("General/lr", 0.0, 1.0, step_size=0.5)], total_max_jobs=1)
say([str(w.message)[:60] for w in heard if "discrete_uniform" in str(w.message)])
"""
    assert said(place, code)


def test_a_whole_number_in_steps_exceeds_its_maximum(place: Place) -> None:
    code = """
values = {UniformIntegerParameterRange("n", 1, 10, step_size=4).get_value()["n"] for _ in range(500)}
say(max(values))
"""
    assert said(place, code) > 10


def test_importing_it_writes_a_requirement_into_the_task(place: Place) -> None:
    assert said(place, "say(sorted(Task._force_requirements))") == ["optuna"]


# ---------------------------------------------------------------- suggestions and pruning


def test_a_duplicate_uses_up_a_trial(place: Place) -> None:
    code = """
found = done(hyper_parameters=[KIND], total_max_jobs=12)
say([len(found._study.trials), len(found.get_created_jobs_ids()), states(found).count("PRUNED")])
"""
    place.jobs(lambda task: Script.curve(*METRIC, [1.0]))
    assert said(place, code) == [12, 2, 10]


def test_with_several_workers_a_seed_reproduces_nothing(place: Place) -> None:
    code = """
runs = [done(num_concurrent_workers=2) for _ in range(2)]
say([sorted(trial.params["General/lr"] for trial in found._study.trials) for found in runs])
"""
    first, second = said(place, code)
    assert len(first) == len(second) == 4
    assert first != second


def test_the_pruner_is_shown_the_last_point_of_each_look(place: Place) -> None:
    place.jobs(lambda task: Script.curve(*METRIC, [0.5] * 6 + [2.0] + [0.5] * 13, step=10))
    code = """
found = done(total_max_jobs=1, optuna_pruner=optuna.pruners.ThresholdPruner(upper=1.0))
say([states(found), len(found._study.trials[0].intermediate_values)])
"""
    ended, points = said(place, code)
    assert (ended, points < 20) == (["COMPLETE"], True)


def test_a_job_that_completed_is_pruned_and_stays_among_the_running_ones(place: Place) -> None:
    place.jobs(lambda task: Script.curve(*METRIC, [0.5] * 7 + [2.0], step=8))
    code = """
found = done(total_max_jobs=1, optuna_pruner=optuna.pruners.ThresholdPruner(upper=1.0))
say([states(found), len(found.get_running_jobs())])
"""
    assert said(place, code) == [["PRUNED"], 1]
    assert [task["last_iteration"] for task in made(place)] == [8]


# ---------------------------------------------------------------- running, stopping, failures


def test_until_the_first_report_it_does_not_wait_between_two_looks(place: Place) -> None:
    """With a period of a minute, 200 requests about one job that has not reported."""
    place.jobs(lambda task: Script(end=None))
    running = program(place, "done(pool_period_min=1, total_max_jobs=1)")
    begun = eventually(lambda: any(t["status"] == "in_progress" for t in made(place)) and place.server.count())
    assert running.killed_when(lambda: place.server.count() > begun + 200)


def test_stop_lets_new_jobs_begin(place: Place) -> None:
    code = """
found = search(total_max_jobs=6)
thread = threading.Thread(target=found.start)
thread.start()
while not found.get_created_jobs_ids():
    threading.Event().wait(0.01)
found.stop()
at_stop = len(found.get_created_jobs_ids())
thread.join()
say([at_stop, len(found.get_created_jobs_ids())])
"""
    at_stop, at_end = said(place, code)
    assert (at_stop < 6, at_end) == (True, 6)


def test_one_exception_about_one_job_ends_the_study(place: Place) -> None:
    code = """
def names(base, parameters):
    raise RuntimeError("one bad job")
found = search()
found.set_job_naming_scheme(names)
try:
    found.start()
except RuntimeError as error:
    say([str(error), states(found)])
"""
    assert said(place, code) == ["one bad job", ["FAIL"]]


def test_a_job_that_crashed_without_a_report_is_pruned(place: Place) -> None:
    place.jobs(lambda task: Script(end="failed"))
    assert said(place, "say(states(done(total_max_jobs=2)))") == ["PRUNED"] * 2


def test_a_job_that_crashed_with_the_best_value_is_complete_ranked_first_and_not_run_again(place: Place) -> None:
    def play(task: Any) -> Script:
        first = len(made(place)) == 1
        return Script.curve(*METRIC, [0.0 if first else 1.0], end="failed" if first else "completed")

    place.jobs(play)
    code = """
found = done(total_max_jobs=2)
say([states(found), [task.status for task in found.get_top_experiments(1)], len(found.get_created_jobs_ids())])
"""
    assert said(place, code) == [["COMPLETE"] * 2, ["failed"], 2]


def test_a_missing_queue_uses_up_all_trials_and_leaves_drafts_among_the_running_jobs(place: Place) -> None:
    code = """
found = done()
say([states(found), len(found.get_running_jobs())])
"""
    assert said(place, code, queue="defalt") == [["FAIL"] * 4, 4]
    assert [task["status"] for task in made(place)] == ["created"] * 4


def test_a_dead_agent_is_waited_for_without_end(place: Place) -> None:
    scripted = place.server.script(lambda task: falling(task, 1, end=None))
    running = program(place, "done(total_max_jobs=1)")
    eventually(lambda: [t for t in made(place) if t["last_iteration"] == 1], "its point")
    scripted.dead = True
    place.server.clock.advance(86_400)
    asked = place.server.count()
    assert running.killed_when(lambda: place.server.count() > asked + 20), "a day later it asks on"


def test_the_waits_between_two_looks_do_not_follow_what_the_jobs_do(place: Place) -> None:
    """The pauses that it asks for by default, noted and not slept: two minutes each, for jobs of no time at all."""
    code = """
asked = []
module.sleep = asked.append
done(total_max_jobs=2, pool_period_min=2.0)
say(asked)
"""
    waits = said(place, code)
    assert waits
    assert set(waits) == {120}


def test_a_period_below_a_second_becomes_none(place: Place) -> None:
    code = """
asked = []
module.sleep = asked.append
done(total_max_jobs=1, pool_period_min=0.016)
say(asked)
"""
    assert set(said(place, code)) == {0}


def test_nan_arrives_as_zero(place: Place) -> None:
    code = """
task = Task.init("p", "nan", auto_connect_frameworks=False, auto_resource_monitoring=False)
task.get_logger().report_scalar("validation", "loss", value=float("nan"), iteration=1)
task.flush(wait_for_uploads=True)
say(task.id)
"""
    curves = place.server.call("events.scalar_metrics_iter_histogram", task=said(place, code))
    assert curves["validation"]["loss"]["y"] == [0.0]


def test_a_launch_is_many_requests(place: Place) -> None:
    """From the look at the base task, which is made for each job, to the enqueue."""
    assert said(place, "say(states(done(total_max_jobs=1)))") == ["COMPLETE"]
    endpoints = [r.endpoint for r in place.server.requests.kept]
    clone, enqueue = endpoints.index("tasks.clone"), endpoints.index("tasks.enqueue")
    assert endpoints[clone - 1] == "tasks.get_by_id", "of the base task"
    assert enqueue - (clone - 1) + 1 == 11


# ---------------------------------------------------------------- results


def test_a_job_stopped_at_its_limit_is_not_completed(place: Place) -> None:
    place.jobs(lambda task: falling(task, 9))
    code = """
found = done(total_max_jobs=2, max_iteration_per_job=2)
say([states(found), len(found.get_top_experiments_details(9, only_completed=True))])
"""
    assert said(place, code) == [["COMPLETE"] * 2, 0]


def test_failed_jobs_and_drafts_are_among_the_best_at_a_request_each(place: Place) -> None:
    place.jobs(lambda task: falling(task, 2, end="failed"))
    code = """
found = done(total_max_jobs=2)
found.helper_create_job(base, parameter_override={"General/lr": 0.5})
say([task.id for task in found.get_top_experiments(9)])
"""
    top = said(place, code)
    assert sorted(place.server.task(task)["status"] for task in top) == ["created", "failed", "failed"]
    endpoints = [r.endpoint for r in place.server.requests.kept]
    behind = len(endpoints) - endpoints[::-1].index("tasks.edit")
    assert endpoints[behind:] == ["tasks.get_all"] + ["tasks.get_by_id"] * 3


TWO = """
TWO = MultiObjective(title=["validation"] * 2, series=["loss", "size"], order=["min"] * 2, extremum=[False] * 2)
found = done(objective_metric=TWO, optuna_pruner=None, total_max_jobs=3)
created = list(found.get_created_jobs_ids())
say([[created.index(task.id) for task in found.get_top_experiments(k)] for k in (1, 2, 3)]
    + [[created.index(row["task_id"]) for row in found.get_top_experiments_details(1)]])
"""


def test_with_several_objectives_a_dominated_job_may_come_before_the_best(place: Place) -> None:
    """The second of three is worse than both others in both objectives, neither of which dominates the other."""
    values = [(1.0, 2.0), (3.0, 3.0), (2.0, 1.0)]

    def both(task: Any) -> Script:
        loss, size = values[len(made(place)) - 1]
        return Script([(1, "validation", "loss", loss), (1, "validation", "size", size)])

    place.jobs(both)
    (_, of_two, of_three, _) = said(place, TWO)
    assert of_three[1] == 1
    assert 1 in of_two


@pytest.mark.parametrize("order", [1, -1], ids=["the first is the best", "the last is the best"])
def test_with_several_objectives_the_best_is_that_of_the_jobs_that_were_fetched(place: Place, order: int) -> None:
    """Details of the best one are those of the job that the server names first, good or bad."""

    def both(task: Any) -> Script:
        value = 10.0 + order * len(made(place))
        return Script([(1, "validation", "loss", value), (1, "validation", "size", value)])

    place.jobs(both)
    assert said(place, TWO)[3] == [0], "always the same job"
