"""What ClearML's own class gets wrong and this one must not: the behaviour that docs/faults.md promises.

Where a rule of the core shows it already, the page names that test and none stands here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

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
from clearml.automation.optimization import MultiObjective
from clearml.automation.parameters import Parameter

from eventhpo import LocalJobs, OptimizerOptuna
from eventhpo.core.fold.events import SearchFinished, TrialFinished, TrialsImported, TrialSuggested
from eventhpo.core.search import spec
from eventhpo.errors import Usage
from eventhpo.jobs.local.folder import AttemptFolder
from eventhpo.jobs.protocol import BoundJob, PollResult, Refused
from eventhpo.log.reader import read
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script, SimulatedClock, SimulatedJobs
from tests.core.rules import Log, each, shown
from tests.core.worlds import controlled
from tests.jobs.harness import ROOT, start_of
from tests.waiting import eventually

X = UniformParameterRange("General/x", 0.0, 1.0)
ACCURACY = Objective("validation", "accuracy", order="max")
OVER_ONE = {"name": "ThresholdPruner", "upper": 1.0}  # prunes at the first point above 1

ONE_POINT = """
from eventhpo import job
x = job.connect({"x": 0.0})["x"]
job.report_scalar("validation", "accuracy", x, 1)
"""
FOREVER = ONE_POINT + "import signal\nwhile True:\n    signal.pause()\n"


class Here:
    """A folder with a script and the logs of searches that run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script(ONE_POINT)

    def script(self, text: str) -> None:
        (self.folder / "train.py").write_text(textwrap.dedent(text))

    def reporting(self, *values: float, then: str = "") -> None:
        """Have each job report *values* at 1, 2, ..., and do *then*."""
        report = "job.report_scalar('validation', 'accuracy', value, at)"
        loop = f"for at, value in enumerate({list(values)}, 1):\n    {report}\n"
        self.script("import signal, sys\nfrom eventhpo import job\n" + loop + then)

    def optimizer(self, log: str = "search.db", **changes: Any) -> OptimizerOptuna:
        """Return a search of two jobs, one at a time, at random, without pruning; *changes* are arguments."""
        plain: dict[str, Any] = {
            "base_task_id": "digits",
            "hyper_parameters": [X],
            "objective_metric": ACCURACY,
            "execution_queue": "default",
            "num_concurrent_workers": 1,
            "max_iteration_per_job": None,
            "total_max_jobs": 2,
            "pool_period_min": 0.01,
            "optuna_sampler": "RandomSampler",
            "optuna_pruner": "NopPruner",
            "log": self.folder / log,
            "jobs": LocalJobs(command=["python", "train.py"], folder=self.folder),
            "max_failures_per_trial": 0,
            "seed": 7,
        }
        return OptimizerOptuna(**(plain | changes))

    def done(self, log: str = "search.db", *, points: Sequence[float] = (), **changes: Any) -> OptimizerOptuna:
        """Return the search run to its end, *points* of x first."""
        found = self.optimizer(log, **changes)
        for x in points:
            found.enqueue_trial({"General/x": x})
        found.start()
        return found

    def log(self, log: str = "search.db") -> Log:
        return Log(read(self.folder / log, verify=True).rows)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A folder whose jobs can import eventhpo; what a failing test leaves running is ended."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield Here(tmp_path)
    for path in tmp_path.glob("*.jobs/*/started.json"):
        ticket = AttemptFolder(path.parent).ticket()
        if ticket is not None and ticket.pid and start_of(ticket.pid) == ticket.start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(ticket.pid, signal.SIGKILL)


def states(log: Log) -> list[str]:
    return [state for state, _ in log.ends()]


# ---------------------------------------------------------------- arguments


def test_the_trials_of_an_earlier_study_are_there_before_the_first_suggestion(here: Here) -> None:
    study = optuna.create_study(direction="maximize", study_name="last week")
    study.optimize(lambda trial: trial.suggest_float("General/x", 0.0, 1.0), n_trials=12)
    optimizer = here.done(total_max_jobs=1, optuna_sampler="TPESampler", continue_previous_study=study)
    log = here.log()
    assert (log.one(TrialsImported).study, len(log.one(TrialsImported).trials)) == ("last week", 12)
    before = shown(log.before(log.seq(TrialSuggested)))
    assert [(t.params, t.value, t.state) for t in before] == [(t.params, t.value, t.state) for t in study.trials]
    assert len(optimizer.get_created_jobs_ids()) == 1


def test_sampler_pruner_seed_and_name_of_a_study_are_used_among_the_further_arguments(here: Here) -> None:
    given = optuna.samplers.TPESampler(n_startup_trials=3, seed=11)
    pruner = optuna.pruners.PercentilePruner(30.0)
    kwargs: dict[str, Any] = {"sampler": given, "pruner": pruner, "study_name": "mine", "seed": None}
    here.done(total_max_jobs=1, optuna_sampler=None, optuna_pruner=None, **kwargs)
    found = here.log().state.search
    assert (found.name, found.seed) == ("mine", 11)
    assert (found.sampler.name, found.sampler.args["n_startup_trials"]) == ("TPESampler", 3)
    assert (found.pruner.name, found.pruner.args["percentile"]) == ("PercentilePruner", 30.0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("storage", "the log is the storage"),
        ("direction", "the objective"),
        ("load_if_exists", "carried on"),
        ("optuna_samplers", "did you mean 'optuna_sampler'.* Known: .*nan_policy, .*sampler"),
    ],
)
def test_an_argument_that_has_no_effect_is_refused_with_the_reason(here: Here, name: str, says: str) -> None:
    with pytest.raises(Usage, match=f"{name}= is .*{says}"):
        here.optimizer(**{name: "anything"})


KINDS = ParameterSet(
    [
        {"General/kind": "sgd", "momentum": DiscreteParameterRange("General/momentum", [0.0, 0.9])},
        {"General/kind": "adam"},
    ]
)


def test_a_set_of_parameters_is_sampled_and_its_job_gets_what_the_chosen_one_holds(here: Here) -> None:
    optimizer = here.done(hyper_parameters=[KINDS], total_max_jobs=None)
    found = sorted(optimizer.get_created_jobs_ids().values(), key=str)
    assert found == [
        {"General/kind": "adam"},
        {"General/kind": "sgd", "General/momentum": 0.0},
        {"General/kind": "sgd", "General/momentum": 0.9},
    ]
    assert here.log().one(SearchFinished).reason == "space"
    here.optimizer(hyper_parameters=[KINDS], total_max_jobs=None).start()  # the recorded search, not another one


NESTED = "a ParameterSet inside a ParameterSet"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (ParameterSet([{"General/x": [1, 2]}]), r"General/x: the value \[1, 2\] is a list"),
        (ParameterSet([{"x": 1, "General/x": 2}]), r"set1\[0\]: General/x is there twice"),
        (ParameterSet([{"x": ParameterSet([{"x": 1}])}]), NESTED),
        (ParameterSet([]), "set1"),
    ],
    ids=["list", "twice", "nested", "empty"],
)
def test_a_set_of_parameters_that_cannot_be_expressed_is_refused(here: Here, given: Parameter, says: str) -> None:
    y = UniformParameterRange("General/y", 0.0, 1.0)
    with pytest.raises(Usage, match=says):
        here.optimizer(hyper_parameters=[y, given])


class Own(Parameter):  # type: ignore[misc]
    """A parameter of nobody's knowledge."""


def test_a_parameter_that_cannot_be_expressed_is_refused_by_its_name(here: Here) -> None:
    with pytest.raises(Usage, match="'General/own', a Own, is not supported; use UniformParameterRange"):
        here.optimizer(hyper_parameters=[X, Own("General/own")])


RANGES: list[tuple[Parameter, set[float]]] = [
    (UniformIntegerParameterRange("General/x", 0, 10, step_size=4), {0, 4, 8}),
    (UniformIntegerParameterRange("General/x", 0, 8, step_size=4, include_max_value=False), {0, 4}),
    (UniformParameterRange("General/x", 0, 1, step_size=0.25), {0.0, 0.25, 0.5, 0.75, 1.0}),
    (UniformParameterRange("General/x", 0, 1, step_size=0.25, include_max_value=False), {0.0, 0.25, 0.5, 0.75}),
    (UniformParameterRange("General/x", 0, 1, step_size=0.4), {0.0, 0.4, 0.8}),
    (LogUniformParameterRange("General/x", -3, -1, step_size=1), {0.001, 0.01, 0.1}),
    (LogUniformParameterRange("General/x", -3, -1, step_size=1, include_max_value=False), {0.001, 0.01}),
]


def tried(optimizer: OptimizerOptuna) -> list[float]:
    """Return the x of each job in ascending order."""
    return sorted(float(str(params["General/x"])) for params in optimizer.get_created_jobs_ids().values())


@pytest.mark.parametrize(("given", "values"), RANGES, ids=[f"{type(g).__name__}-{len(v)}" for g, v in RANGES])
def test_step_and_end_of_a_range_are_kept_and_nothing_lies_beyond(
    here: Here, given: Parameter, values: set[float]
) -> None:
    optimizer = here.done(hyper_parameters=[given], total_max_jobs=None, num_concurrent_workers=3)
    assert tried(optimizer) == sorted(values)
    assert here.log().one(SearchFinished).reason == "space"


TWO = MultiObjective(["validation", "test"], ["accuracy", "accuracy"], ["max", "max"], [False, False])
TWO_POINTS = ONE_POINT + 'job.report_scalar("test", "accuracy", x, 1)\n'


@pytest.mark.parametrize(
    ("objective", "metrics"),
    [
        (ACCURACY, ("validation", "accuracy")),
        (TWO, [("validation", "accuracy"), ("test", "accuracy")]),
    ],
    ids=["Objective", "MultiObjective"],
)
def test_a_single_objective_works_as_several_do(here: Here, objective: object, metrics: object) -> None:
    here.script(TWO_POINTS)
    optimizer = here.done(objective_metric=objective)
    assert optimizer.get_objective_metric() == metrics
    assert states(here.log()) == ["completed", "completed"]


def test_importing_the_class_writes_nothing_into_a_task() -> None:
    code = """
    import sys
    from clearml import Task
    before = dict(Task._force_requirements)
    from eventhpo import OptimizerOptuna
    assert OptimizerOptuna.__module__ == "eventhpo.optimizer.optimizer"
    assert Task._force_requirements == before == {}
    assert "clearml.automation.optuna" not in sys.modules
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, env=environment)


# ---------------------------------------------------------------- running


def test_a_duplicate_costs_no_job_and_four_points_are_four_jobs(here: Here) -> None:
    four = DiscreteParameterRange("General/x", [0.1, 0.2, 0.3, 0.4])
    optimizer = here.done(hyper_parameters=[four], total_max_jobs=12, num_concurrent_workers=4)
    assert tried(optimizer) == [0.1, 0.2, 0.3, 0.4]
    assert here.log().one(SearchFinished).reason == "space"


def test_a_job_that_cannot_be_started_has_failed_and_is_no_running_job(here: Here) -> None:
    optimizer = here.done(jobs=LocalJobs(["no-such-program-{slot}"], folder=here.folder), total_max_jobs=1)
    (job,) = optimizer.get_created_jobs_tasks().values()
    assert optimizer.get_running_jobs() == []
    assert job.is_failed()
    assert "no-such-program-0" in job.status_message()


def test_a_pruned_job_is_no_running_job(here: Here) -> None:
    here.reporting(2.0, then="signal.pause()")
    optimizer = here.done(total_max_jobs=1, optuna_pruner=OVER_ONE)
    (job,) = optimizer.get_created_jobs_tasks().values()
    assert states(here.log()) == ["pruned"]
    assert optimizer.get_running_jobs() == []
    assert (job.is_aborted(), job.is_running()) == (True, False)


class Waits(SimulatedClock):
    """Notes how long each wait is meant to be."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        self.seconds.append(seconds)
        super().wait(seconds, due, meanwhile)


class Looks(SimulatedJobs):
    """Counts the looks at the jobs."""

    looks = 0

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[spec.Objective]) -> PollResult | Refused:  # type: ignore[override]
        Looks.looks += 1
        return super().poll(jobs, objectives)


def test_each_look_at_the_jobs_has_its_wait_before_any_report_too_and_in_a_short_period(tmp_path: Path) -> None:
    clock, period = Waits(), 0.0001  # minutes: six milliseconds, which a whole number of seconds would make none
    silent = Script(points=(), hangs=True)
    what = search(total_max_jobs=1, pool_period_min=period, time_limit_per_job=5.0)
    Looks.looks = 0
    log = controlled(tmp_path / "s.db", what, each(silent), backend=lambda *given: Looks(*given[:3]), clock=clock)
    assert states(log) == ["failed"]
    assert len(clock.seconds) >= Looks.looks > 0
    assert all(0 < seconds <= period * 60 for seconds in clock.seconds)


def by_steps(optimizer: OptimizerOptuna) -> None:
    while optimizer.process_step():
        pass


@pytest.mark.parametrize("run", [OptimizerOptuna.start, by_steps], ids=["start", "process_step"])
def test_stop_takes_no_new_trial_and_the_next_run_goes_on(here: Here, run: Callable[[OptimizerOptuna], None]) -> None:
    here.script(FOREVER)
    optimizer = here.optimizer(num_concurrent_workers=2, total_max_jobs=4)
    running = threading.Thread(target=run, args=[optimizer])
    running.start()
    # A job that has reported has read its script, which is written anew below.
    reports = "search.db.jobs/*/reports.jsonl"
    eventually(lambda: len(list(here.folder.glob(reports))) == 2, "two jobs that have reported")
    assert [job.is_running() for job in optimizer.get_running_jobs()] == [True, True]
    optimizer.stop()
    running.join(60)
    assert not running.is_alive()
    assert len(optimizer.get_created_jobs_ids()) == 2
    here.script(ONE_POINT)
    run(optimizer)
    assert states(here.log()) == ["aborted", "aborted", "completed", "completed"]
    assert optimizer.get_running_jobs() == []


@pytest.mark.parametrize("run", [OptimizerOptuna.start, by_steps], ids=["start", "process_step"])
def test_a_stop_before_the_run_has_begun_is_heeded_once(here: Here, run: Callable[[OptimizerOptuna], None]) -> None:
    optimizer = here.optimizer()
    optimizer.stop()
    run(optimizer)
    assert optimizer.get_created_jobs_ids() == {}
    run(optimizer)
    assert len(optimizer.get_created_jobs_ids()) == 2


def test_one_bad_job_ends_neither_the_search_nor_another_job(here: Here) -> None:
    here.script(ONE_POINT + "if x > 0.5:\n    raise RuntimeError('out of memory')\n")
    here.done(points=[0.1, 0.9, 0.2], total_max_jobs=3, num_concurrent_workers=2)
    assert states(here.log()) == ["completed", "failed", "completed"]


def test_a_job_that_crashes_without_a_report_has_failed_and_says_why(here: Here) -> None:
    here.reporting(then="sys.exit(3)")
    optimizer = here.done(total_max_jobs=1)
    (job,) = optimizer.get_created_jobs_tasks().values()
    assert states(here.log()) == ["failed"]
    assert job.status_message() == "exit 3"


def test_the_pruner_sees_a_bad_step_between_two_looks(here: Here) -> None:
    here.reporting(*[0.5] * 6, 2.0, *[0.5] * 13, then="signal.pause()")
    here.done(total_max_jobs=1, optuna_pruner=OVER_ONE)
    assert here.log().verdicts(0)[-1] == ("prune", 7, 7)


@pytest.mark.parametrize(("extremum", "ends"), [(True, "completed"), (False, "pruned")])
def test_the_pruner_is_shown_what_the_objective_means(here: Here, extremum: bool, ends: str) -> None:
    here.reporting(5.0, 1.0, then="signal.pause()" if not extremum else "")
    objective = Objective("validation", "accuracy", order="max", extremum=extremum)
    here.done(objective_metric=objective, total_max_jobs=1, optuna_pruner={"name": "ThresholdPruner", "lower": 2.0})
    assert states(here.log()) == [ends]


def test_a_job_that_ran_to_its_limit_is_not_pruned_by_what_is_seen_with_its_end(here: Here) -> None:
    here.reporting(*[0.5] * 7, 2.0)
    optimizer = here.done(total_max_jobs=1, max_iteration_per_job=8, optuna_pruner=OVER_ONE)
    assert states(here.log()) == ["completed"]
    assert here.log().verdicts(0)[-1] == ("too late", 8, 8)
    assert len(optimizer.get_top_experiments(5, only_completed=True)) == 1


def test_a_seed_reproduces_a_search_with_several_workers(here: Here) -> None:
    found = []
    for name in ("a.db", "b.db"):
        here.done(
            name,
            num_concurrent_workers=3,
            total_max_jobs=6,
            optuna_sampler=optuna.samplers.RandomSampler(seed=5),
            seed=None,
        )
        found.append([event.params for event in here.log(name).of(TrialSuggested)])
    assert found[0] == found[1]
    assert len({params["General/x"] for params in found[0]}) == 6


def test_the_same_script_with_the_same_log_knows_all_that_was_before(here: Here) -> None:
    first = here.done(total_max_jobs=2)
    again = here.optimizer(total_max_jobs=3)
    assert again.get_created_jobs_ids() == {}
    again.start()
    assert list(again.get_created_jobs_ids().items())[:2] == list(first.get_created_jobs_ids().items())
    assert len(again.get_created_jobs_ids()) == 3
    assert len(again.budget.jobs.current) == 3


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(("retries", "runs"), [(0, 1), (2, 3)])
def test_how_often_a_failed_job_is_run_again_is_an_argument(here: Here, retries: int, runs: int) -> None:
    here.reporting(then="sys.exit(1)")
    optimizer = here.done(total_max_jobs=1, max_failures_per_trial=retries)
    assert len(optimizer.get_created_jobs_ids()) == runs
    assert states(here.log()) == ["failed"]


def test_how_many_trials_may_fail_is_an_argument(here: Here) -> None:
    here.reporting(then="sys.exit(1)")
    here.done(total_max_jobs=9, max_failed_trials=2)
    assert states(here.log()) == ["failed", "failed"]
    assert here.log().one(SearchFinished).reason == "failures"


@pytest.mark.parametrize(("policy", "ends"), [("fail", ("failed", None)), ("worst", ("completed", (0.25,)))])
def test_what_a_nan_makes_of_its_trial_is_an_argument(
    here: Here, policy: str, ends: tuple[str, tuple[float, ...] | None]
) -> None:
    here.script(ONE_POINT + "if x > 0.5:\n    job.report_scalar('validation', 'accuracy', float('nan'), 2)\n")
    here.done(points=[0.25, 0.75], nan_policy=policy)
    assert here.log().ends() == [("completed", (0.25,)), ends]


def test_a_job_that_failed_halfway_with_the_best_value_is_no_result(here: Here) -> None:
    here.script(ONE_POINT + "if x > 0.5:\n    raise RuntimeError('halfway')\n")
    optimizer = here.done(points=[0.1, 0.9])
    good, bad = optimizer.get_created_jobs_ids()
    assert [task.id for task in optimizer.get_top_experiments(5)] == [good]
    with_failed = optimizer.get_top_experiments_details(5, include_failed=True)
    assert [row["task_id"] for row in with_failed] == [bad, good]
    assert with_failed[0]["metrics"]["validation/accuracy"]["value"] == 0.9
    (failed,) = (event for event in here.log().of(TrialFinished) if event.trial == 1)
    assert (failed.state, failed.values) == ("failed", None)


# ---------------------------------------------------------------- results


def test_a_job_stopped_at_its_limit_of_iterations_counts_as_completed(here: Here) -> None:
    here.reporting(*[0.5] * 6, then="signal.pause()")
    optimizer = here.done(total_max_jobs=1, max_iteration_per_job=5)
    (job,) = optimizer.get_created_jobs_tasks().values()
    assert job.status() == "stopped"
    assert [task.id for task in optimizer.get_top_experiments(5, only_completed=True)] == [job.task_id()]


def test_the_best_of_several_objectives_are_the_best_of_all_jobs_and_not_the_first(here: Here) -> None:
    here.script(TWO_POINTS)
    optimizer = here.done(objective_metric=TWO, points=[0.1, 0.5, 0.9], total_max_jobs=3)
    found = [row["hyper_parameters"]["General/x"] for row in optimizer.get_top_experiments_details(3)]
    assert found == ["0.9", "0.5", "0.1"]
    assert [task.get_parameters()["General/x"] for task in optimizer.get_top_experiments(1)] == ["0.9"]


def test_a_draft_is_no_result_unless_asked_for(here: Here) -> None:
    optimizer = here.optimizer()
    job = optimizer.create_job()
    assert job is not None
    assert optimizer.get_top_experiments(5) == []
    assert [task.id for task in optimizer.get_top_experiments(5, include_failed=True)] == [job.task_id()]
    optimizer.start()
    assert len(optimizer.get_top_experiments(5)) == 2
