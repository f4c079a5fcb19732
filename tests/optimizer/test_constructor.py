"""What the class takes, what it refuses, and that making one has no effect."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import numpy as np
import optuna
import pytest
from clearml.automation import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Objective,
    ParameterSet,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from clearml.automation.job import ClearmlJob
from clearml.automation.optimization import MultiObjective
from clearml.automation.optuna import OptimizerOptuna as Stock
from clearml.automation.parameters import Parameter

from eventhpo import LocalJobs, OptimizerOptuna
from eventhpo.core.search import spec
from eventhpo.errors import Usage
from eventhpo.optimizer.job_handle import JobHandle
from tests.optimizer.harness import SPACE, Place

EMPTY = inspect.Parameter.empty
STARS = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


# ---------------------------------------------------------------- the stock class


def arguments(function: object) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def test_the_constructor_takes_the_stock_arguments_in_their_order_with_their_defaults():
    theirs = [(p.name, p.default) for p in arguments(Stock.__init__) if p.kind not in STARS]
    ours = [(p.name, p.default) for p in arguments(OptimizerOptuna.__init__) if p.kind not in STARS]
    assert ours[: len(theirs)] == theirs


def test_every_argument_of_its_own_is_keyword_only_has_a_default_and_is_spelled_out():
    stock = {p.name for p in arguments(Stock.__init__)}
    own = [p for p in arguments(OptimizerOptuna.__init__) if p.name not in stock]
    assert {p.kind for p in own} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(p.default is not EMPTY for p in own)
    assert [p.name for p in own] == [
        *("log", "jobs", "on_stop", "max_failures_per_trial", "max_lost_per_trial", "max_failed_trials"),
        *("nan_policy", "target_value", "patience", "wall_time_limit", "max_trials", "seed", "take_over", "adopt"),
        *("new_parameters", "upload_every"),
    ]


PUBLIC = sorted(n for n, v in inspect.getmembers(Stock, callable) if not n.startswith("_"))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_can_be_called_as_that_of_the_stock_class(name):
    theirs, ours = arguments(getattr(Stock, name)), arguments(getattr(OptimizerOptuna, name))
    assert [(p.name, p.kind, p.default) for p in ours[: len(theirs)]] == [(p.name, p.kind, p.default) for p in theirs]
    assert all(p.kind == inspect.Parameter.KEYWORD_ONLY and p.default is not EMPTY for p in ours[len(theirs) :])


def test_the_methods_of_the_stock_class_are_the_ones_that_these_tests_know():
    assert {"start", "stop", "process_step", "update_budget_per_job", "helper_create_job"} <= set(PUBLIC)


def attributes(*constructors: object) -> set[str]:
    """Return the public names that constructors set on the instance."""
    source = "".join(inspect.getsource(one) for one in constructors)
    return set(re.findall(r"self\.([a-z]\w*)(?:: [^=\n]+)? = ", source))


@pytest.mark.parametrize("name", sorted(attributes(Stock.__init__, Stock.__bases__[0].__init__)))
def test_every_public_attribute_of_the_stock_class_is_there(place, name):
    assert hasattr(place.optimizer(), name)


def test_the_attributes_of_the_stock_class_are_the_ones_that_these_tests_know():
    known = attributes(Stock.__init__, Stock.__bases__[0].__init__)
    assert {"budget", "compute_time_limit", "pool_period_minutes", "parameter_override_history"} <= known


PUBLIC_OF_A_JOB = sorted(n for n, v in inspect.getmembers(ClearmlJob, callable) if not n.startswith("_"))
OF_NO_JOB = {"get_metric_req_params", "register_hashing_callback"}  # about ClearML's requests, not about a job


@pytest.mark.parametrize("name", PUBLIC_OF_A_JOB)
def test_every_public_method_of_a_job_is_its_own_and_can_be_called_as_that_of_clearml(name):
    theirs, ours = arguments(getattr(ClearmlJob, name)), arguments(getattr(JobHandle, name))
    assert [(p.name, p.kind, p.default) for p in ours[: len(theirs)]] == [(p.name, p.kind, p.default) for p in theirs]
    assert all(p.kind == inspect.Parameter.KEYWORD_ONLY and p.default is not EMPTY for p in ours[len(theirs) :])
    assert name in vars(JobHandle) or name in OF_NO_JOB


# The documentation of the class: its methods, and the names and defaults of their arguments.
DOCUMENTED: dict[str, dict[str, object]] = {
    "create_job": {},
    "get_created_jobs_ids": {},
    "get_created_jobs_tasks": {},
    "get_objective_metric": {},
    "get_running_jobs": {},
    "get_top_experiments": {"top_k": EMPTY},
    "get_top_experiments_details": {
        "top_k": EMPTY,
        "all_metrics": False,
        "all_hyper_parameters": False,
        "only_completed": False,
    },
    "get_top_experiments_id_metrics_pair": {"top_k": EMPTY, "all_metrics": False, "only_completed": False},
    "helper_create_job": {
        "base_task_id": EMPTY,
        "parameter_override": None,
        "task_overrides": None,
        "tags": None,
        "parent": None,
        "kwargs": EMPTY,
    },
    "monitor_job": {"job": EMPTY},
    "process_step": {},
    "set_job_class": {"job_class": EMPTY},
    "set_job_default_parent": {"job_parent_task_id": EMPTY, "project_name": None},
    "set_job_naming_scheme": {"naming_function": EMPTY},
    "set_optimizer_task": {"task": EMPTY},
    "start": {},
    "stop": {},
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_method_takes_the_documented_arguments(name):
    found = [p for p in arguments(getattr(OptimizerOptuna, name)) if p.name != "self"]
    documented = DOCUMENTED[name]
    assert {p.name: p.default for p in found if p.name in documented} == documented
    assert [p.name for p in found if p.name not in documented and p.kind != inspect.Parameter.KEYWORD_ONLY] == []


def test_the_documented_methods_are_those_of_the_stock_class_and_the_page_of_this_one_has_no_other_of_it():
    assert set(PUBLIC) - set(DOCUMENTED) == {"update_budget_per_job"}


@pytest.mark.parametrize("name", PUBLIC)
def test_no_public_method_is_left_to_the_stock_class(name):
    assert getattr(OptimizerOptuna, name) is not getattr(Stock.__bases__[0], name, None)


def test_it_bears_another_name_than_the_stock_class_whose_controller_finds_classes_by_name():
    assert OptimizerOptuna.__name__ != Stock.__name__
    assert issubclass(OptimizerOptuna, Stock.__bases__[0])


# ---------------------------------------------------------------- no effect


def test_making_one_writes_no_file_and_opens_no_log(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    before = sorted(place.folder.rglob("*"))
    optimizer = place.optimizer(log=None)
    optimizer.set_job_default_parent("a-parent", project_name="a project")
    optimizer.set_job_naming_scheme(lambda name, params: name)
    optimizer.set_optimizer_task(None)
    assert sorted(place.folder.rglob("*")) == before


ASIDE = """
import sys
{code}
loaded = [name for name in ("clearml", "optuna", "sqlite3") if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize("code", ["import eventhpo", "import eventhpo.job", "from eventhpo import job", "dir()"])
def test_a_training_script_waits_for_neither_clearml_nor_optuna(code):
    subprocess.run([sys.executable, "-c", ASIDE.format(code=code)], check=True)


UNTOUCHED = """
from clearml import Task
from clearml.backend_api import Session
def refuse(*args, **kwargs):
    raise AssertionError("a call to the server")
Session.send_request = refuse
before = dict(Task._force_requirements)
from eventhpo import LocalJobs, OptimizerOptuna
from clearml.automation import Objective, UniformParameterRange
OptimizerOptuna("base", [UniformParameterRange("x", 0, 1)], Objective("a", "b"), "queue", 1, None, 3,
                jobs=LocalJobs(["true"]))
assert Task._force_requirements == before, Task._force_requirements
assert Task.current_task() is None
"""


def test_importing_and_making_one_leave_the_users_task_alone_and_ask_no_server(tmp_path):
    subprocess.run([sys.executable, "-c", UNTOUCHED], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- keywords


def test_an_unknown_keyword_is_refused_with_the_nearest_and_all_that_are_known(place):
    with pytest.raises(Usage, match="max_iterations_per_job=") as error:
        place.optimizer(max_iterations_per_job=3)
    assert "did you mean 'max_iteration_per_job'?" in str(error.value)
    for name in ("study_name", "sampler", "log", "jobs", "execution_queue"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("storage", "the log is the storage"),
        ("direction", "the objective says its direction"),
        ("directions", "the objectives say their directions"),
        ("load_if_exists", "a log that exists is carried on"),
    ],
)
def test_what_has_another_home_here_is_refused_with_the_reason(place, name, reason):
    with pytest.raises(Usage, match=f"{name}= is not accepted: {reason}"):
        place.optimizer(**{name: "something"})


def test_sampler_pruner_seed_and_study_name_are_honoured(place):
    optimizer = place.optimizer(
        optuna_sampler=None,
        optuna_pruner=None,
        sampler=optuna.samplers.TPESampler(n_startup_trials=3),
        pruner={"name": "MedianPruner", "n_startup_trials": 2},
        study_name="my search",
    )
    found = optimizer._session.asked.search
    assert found.sampler.name == "TPESampler"
    assert found.sampler.args["n_startup_trials"] == 3
    assert found.pruner == spec.ComponentConfig("MedianPruner", found.pruner.args)
    assert found.pruner.args["n_startup_trials"] == 2
    assert found.name == "my search"
    assert found.seed == 5


def test_the_seed_of_a_samplers_instance_is_the_seed_of_the_search(place):
    found = place.optimizer(seed=None, optuna_sampler=optuna.samplers.RandomSampler(seed=77))._session.asked.search
    assert found.seed == 77


def test_the_searchs_name_is_that_of_the_base_task_where_none_is_given(place):
    assert place.optimizer()._session.asked.search.name == "base"


@pytest.mark.parametrize("name", ["sampler", "pruner"])
def test_one_thing_that_is_given_twice_is_refused(place, name):
    with pytest.raises(Usage, match=f"optuna_{name}= and {name}= are the same thing"):
        place.optimizer(**{name: "RandomSampler"})


WRONG = {
    "num_concurrent_workers": (0, -1, 1.5, "2", None, True),
    "total_max_jobs": (0, -3, 2.5, "10"),
    "pool_period_min": (-1, float("nan"), "2", None),
    "time_limit_per_job": (0, -1, float("inf"), "x"),
    "compute_time_limit": (-2, float("nan")),
    "wall_time_limit": (-1, "soon"),
    "max_failures_per_trial": (-1, 1.5, None),
    "max_lost_per_trial": (-1, None),
    "max_failed_trials": (0, -1, 0.5),
    "target_value": (float("nan"), "high"),
    "patience": (0, -1, 1.5),
    "max_iteration_per_job": (0, -1, 2.5, "15"),
    "min_iteration_per_job": (-1, 2.5, "15"),
    "nan_policy": ("ignore", None),
    "on_stop": ("kill", None),
    "seed": (-1, 1.5, "abc"),
    "jobs": ("python train.py",),
    "objective_metric": (None, "accuracy"),
    "hyper_parameters": ([], None, [UniformParameterRange("x", 0, 1)] * 2, [3]),
    "base_task_id": (None, 7),
    "optuna_sampler": ("NoSampler", 3, {"name": "TPESampler", "n_trials": 4}),
    "optuna_pruner": ("NoPruner", 3, {"name": "MedianPruner", "n_trials": 4}),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_a_value_out_of_range_is_refused_by_the_arguments_name(place, name, value):
    with pytest.raises(Usage) as error:
        place.optimizer(**{name: value})
    known = {"optuna_sampler": "sampler", "optuna_pruner": "pruner", "hyper_parameters": ""}
    assert known.get(name, name) in str(error.value).lower()


def test_a_pruner_that_is_asked_only_beyond_the_limit_is_refused(place):
    with pytest.raises(Usage, match="min_iteration_per_job is 9, expected at most max_iteration_per_job"):
        place.optimizer(min_iteration_per_job=9, max_iteration_per_job=3)


@pytest.mark.parametrize("name", ["target_value", "patience"])
def test_an_end_that_needs_one_objective_is_refused_with_several(place, name):
    with pytest.raises(Usage, match=name):
        place.optimizer(objective_metric=several("max", "min"), optuna_pruner=None, **{name: 3})


def test_all_wrong_limits_are_named_at_once(place):
    with pytest.raises(Usage) as error:
        place.optimizer(num_concurrent_workers=0, patience=-1, pool_period_min=-1)
    for name in ("num_concurrent_workers", "patience", "pool_period_min"):
        assert name in str(error.value)


def test_numpy_numbers_are_numbers(place):
    found = place.optimizer(
        total_max_jobs=np.int64(3), pool_period_min=np.float64(0.5), max_iteration_per_job=np.int32(4)
    )
    assert found._session.asked.search.limits.total_max_jobs == 3
    assert found._session.asked.search.max_iteration_per_job == 4


@pytest.mark.parametrize("command", [[], "python train.py"])
def test_a_command_is_a_list_of_words(command):
    with pytest.raises(ValueError, match="expected a list of words"):
        LocalJobs(command)


# ---------------------------------------------------------------- the space

RANGES = {
    "a float": (
        UniformParameterRange("General/x", 1, 2),
        spec.UniformParameterRange(name="General/x", min_value=1.0, max_value=2.0),
    ),
    "a float on a grid, without its end": (
        UniformParameterRange("General/x", 0.0, 1.0, step_size=0.25, include_max_value=False),
        spec.UniformParameterRange(
            name="General/x", min_value=0.0, max_value=1.0, step_size=0.25, include_max_value=False
        ),
    ),
    "exponents": (
        LogUniformParameterRange("General/x", -3, 0),
        spec.LogUniformParameterRange(name="General/x", min_value=-3.0, max_value=0.0, base=10.0),
    ),
    "exponents of two on a grid": (
        LogUniformParameterRange("General/x", 0, 4, base=2, step_size=1, include_max_value=False),
        spec.LogUniformParameterRange(
            name="General/x", min_value=0.0, max_value=4.0, base=2.0, step_size=1.0, include_max_value=False
        ),
    ),
    "an integer": (
        UniformIntegerParameterRange("General/x", 4, 64, step_size=4, include_max_value=False),
        spec.UniformIntegerParameterRange(
            name="General/x", min_value=4, max_value=64, step_size=4, include_max_value=False
        ),
    ),
    "values": (
        DiscreteParameterRange("General/x", [2, 2.5, "a", True, None]),
        spec.DiscreteParameterRange(name="General/x", values=(2, 2.5, "a", True, None)),
    ),
    "numpy's numbers": (
        DiscreteParameterRange("General/x", np.array([1, 2])),
        spec.DiscreteParameterRange(name="General/x", values=(1, 2)),
    ),
    "numpy's scalars": (
        UniformIntegerParameterRange("General/x", np.int64(1), np.int64(9), step_size=np.int64(2)),
        spec.UniformIntegerParameterRange(name="General/x", min_value=1, max_value=9, step_size=2),
    ),
    "numpy's scalars among values": (
        DiscreteParameterRange("General/x", (np.float64(0.5), np.str_("a"), np.bool_(True))),
        spec.DiscreteParameterRange(name="General/x", values=(0.5, "a", True)),
    ),
    "a name without its section": (
        UniformParameterRange("x", 0, 1),
        spec.UniformParameterRange(name="General/x", min_value=0.0, max_value=1.0),
    ),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_range_of_clearml_is_that_range_with_all_its_arguments(place, case):
    given, expected = RANGES[case]
    (found,) = place.optimizer(hyper_parameters=[given])._session.asked.search.space
    assert found == expected
    assert [type(v) for v in getattr(found, "values", ())] == [type(v) for v in getattr(expected, "values", ())]


class Own(Parameter):
    """A user's own class."""


class OwnRange(UniformParameterRange):
    """A subclass may mean anything."""


REFUSED = {
    "a class of one's own": Own("General/mine"),
    "a subclass": OwnRange("General/mine", 0, 1),
    "values that JSON lacks": DiscreteParameterRange("General/mine", [[1, 2], [3, 4]]),
    "no value": DiscreteParameterRange("General/mine", []),
    "bounds that are swapped": UniformParameterRange("General/mine", 2, 1),
    "a bound that is no number": UniformParameterRange("General/mine", float("nan"), 1),
    "no step": UniformIntegerParameterRange("General/mine", 1, 9, step_size=0),
    "a step below zero": UniformParameterRange("General/mine", 1, 9, step_size=-1.0),
    "values that are the same": DiscreteParameterRange("General/mine", ["a", "a"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_expressed_or_sampled_is_refused_by_its_name(place, case):
    with pytest.raises(Usage, match="General/mine"):
        place.optimizer(hyper_parameters=[REFUSED[case]])


# ---------------------------------------------------------------- the objective

SIGNS = [("max", False, "max"), ("min", False, "min"), ("max", True, "max_global"), ("min", True, "min_global")]


@pytest.mark.parametrize(("order", "extremum", "sign"), SIGNS)
def test_an_objective_has_its_sign_and_whether_its_extreme_counts(place, order, extremum, sign):
    found = place.optimizer(objective_metric=Objective("validation", "accuracy", order=order, extremum=extremum))
    assert found._session.asked.search.objectives == (spec.Objective("validation", "accuracy", sign),)
    assert found.get_objective_metric() == ("validation", "accuracy")


def several(*signs: str) -> MultiObjective:
    names = [f"s{n}" for n in range(len(signs))]
    return MultiObjective(title=["t"] * len(signs), series=names, order=list(signs), extremum=[False] * len(signs))


def test_several_objectives_are_a_list_in_their_order(place):
    found = place.optimizer(objective_metric=several("max", "min"), optuna_pruner=None)
    assert found._session.asked.search.objectives == (
        spec.Objective("t", "s0", "max"),
        spec.Objective("t", "s1", "min"),
    )
    assert found.get_objective_metric() == [("t", "s0"), ("t", "s1")]


def test_a_pruner_is_not_used_with_several_objectives_and_the_log_of_messages_says_so(place, caplog):
    optimizer = place.optimizer(
        objective_metric=MultiObjective(
            title=["validation", "train"], series=["accuracy", "loss"], order=["max", "min"], extremum=[False, True]
        ),
        optuna_pruner=optuna.pruners.MedianPruner(),
        total_max_jobs=1,
    )
    optimizer.start()
    assert place.state().search.pruner.name == "NopPruner"
    assert "the pruner is not used" in caplog.text


def test_the_space_is_written_down_as_it_was_given(place):
    place.optimizer(total_max_jobs=1).start()
    assert [p.name for p in place.state().search.space] == [p.name for p in SPACE]


def test_the_place_of_these_tests_uses_the_class_of_this_tree(place):
    assert isinstance(place, Place)
    assert isinstance(place.optimizer(), OptimizerOptuna)


# ---------------------------------------------------------------- names in the command


def test_a_name_in_the_command_that_only_some_jobs_get_is_refused_as_in_a_search_file(place):
    sets = ParameterSet([{"General/kind": "a", "General/depth": 3}, {"General/kind": "b"}])
    with pytest.raises(Usage, match=r"jobs.command\[1\]: .* some sets have no General/depth"):
        place.optimizer(hyper_parameters=[SPACE[0], sets], jobs=LocalJobs(["python", "{General/depth}"]))


def test_a_name_in_the_command_that_is_nearly_one_of_the_space_is_refused_with_that(place):
    with pytest.raises(Usage, match=r'jobs.command\[1\]: found "{General/y}".*did you mean "{General/x}"'):
        place.optimizer(jobs=LocalJobs(["python", "{General/y}", "{General/x}", "{x: 1}"], place.folder))


def test_a_command_that_is_no_program_is_refused_by_the_start_and_nothing_is_made(place):
    found = place.optimizer(jobs=LocalJobs(["no-such-program"], folder=place.folder))
    before = sorted(place.folder.iterdir())
    with pytest.raises(Usage, match="there is no program no-such-program on PATH"):
        found.start()
    assert sorted(place.folder.iterdir()) == before
