"""ClearML's own `HyperParameterOptimizer` around this class, for one objective, with no server anywhere."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from clearml.automation import HyperParameterOptimizer
from clearml.automation.job import ClearmlJob, LocalClearmlJob

from eventhpo import OptimizerOptuna
from eventhpo.core.fold.events import StopAsked, TrialFinished, TrialSuggested
from eventhpo.errors import Usage
from eventhpo.log import lease
from tests.jobs.harness import ROOT
from tests.optimizer.harness import SPACE, Place, processes_in, reported
from tests.waiting import eventually


class Stock:
    """Controllers of ClearML on one log; none is left running."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.made: list[HyperParameterOptimizer] = []

    def controller(self, optimizer: Any = OptimizerOptuna, **changes: Any) -> HyperParameterOptimizer:
        """Return a controller of four trials with one worker; *changes* are arguments."""
        given: dict[str, Any] = {
            "objective_metric_title": "validation",
            "objective_metric_series": "accuracy",
            "objective_metric_sign": "max",
            "max_number_of_concurrent_tasks": 1,
            "max_iteration_per_job": None,
            "total_max_jobs": 4,
            "pool_period_min": 0.001,
            "optuna_sampler": "RandomSampler",
            "optuna_pruner": "NopPruner",
            "log": self.place.log,
            "jobs": self.place.jobs(),
            "max_failures_per_trial": 0,
        }
        found = HyperParameterOptimizer("base", list(SPACE), optimizer_class=optimizer, **(given | changes))
        self.made.append(found)
        self.place.made.append(found.get_optimizer())
        return found

    def close(self) -> None:
        for one in self.made:
            with contextlib.suppress(AttributeError):  # it was never started
                one._stop_event.set()
            one.stop()


@pytest.fixture
def stock(place, capsys):
    found = Stock(place)
    yield found
    place.hold.unlink(missing_ok=True)
    found.close()


# ---------------------------------------------------------------- whose class runs

CONNECTED = """
import sys
from clearml import Task
Task.set_offline(True)
from clearml.automation import HyperParameterOptimizer, UniformParameterRange
from clearml.automation.optuna import OptimizerOptuna as Theirs
from eventhpo import LocalJobs, OptimizerOptuna as Ours

task = Task.init("a project", "an optimizer", auto_connect_frameworks=False, auto_resource_monitoring=False)
space = [UniformParameterRange("General/x", 0.0, 1.0)]
controller = HyperParameterOptimizer(
    "base", space, "validation", "accuracy", "max", optimizer_class=Ours, max_number_of_concurrent_tasks=1,
    max_iteration_per_job=4, min_iteration_per_job=None, total_max_jobs=2, pool_period_min=0.001,
    optuna_sampler={{"name": "TPESampler", "n_startup_trials": 3}}, optuna_pruner="NopPruner", seed=5,
    log="search.db", jobs=LocalJobs([sys.executable, "-S", "train.py"]),
)
assert type(controller.get_optimizer()) is Ours, type(controller.get_optimizer())
assert not isinstance(controller.get_optimizer(), Theirs)

class OptimizerOptuna(Ours):
    "Has the name by which the controller finds its own class."

swapped, _, _ = controller._connect_args(optimizer_class=OptimizerOptuna, hyper_param_configuration=space)
assert swapped is OptimizerOptuna, swapped

{then}
"""

# The reporting thread's round, as the controller has it; only what asks the server is left out.
REPORTS = """
import threading

class WithoutServer(HyperParameterOptimizer):
    def _report_active_workers(self, task_logger, iteration):
        pass

    def _report_completed_status(self, completed_jobs, cur_completed_jobs, task_logger, title, force=False):
        assert cur_completed_jobs == set(self.optimizer.get_created_jobs_tasks()) != set()
        seen.append({job: dict(**params) for job, params in self.optimizer.get_created_jobs_ids().items()})
        statuses.update(job.status() for job in self.optimizer.get_created_jobs_tasks().values())

seen, statuses = [], set()
controller.start()
assert controller.wait(timeout=1)
optimizer = controller.get_optimizer()
assert optimizer.budget.compute_time.limit is None
optimizer.compute_time_limit = 1e-9  # the path on which the controller reads compute_time
controller.__class__ = WithoutServer
controller._stop_event.set()
controller._thread_reporter.join()
controller._thread = threading.current_thread()
reporter = threading.Thread(target=controller._report_daemon)
reporter.start()
reporter.join()
assert [list(params) for params in seen[-1].values()] == [["General/x"]] * 2, seen
assert statuses == {"completed"}, statuses
children = optimizer._get_child_tasks(parent_task_id=task.id, status=["completed", "stopped"])
assert [child.id for child in children] == list(seen[-1])
assert optimizer._get_child_tasks(status=["failed"]) == []
print("reported twice")
"""


def connected(folder: Path, then: str = "") -> subprocess.CompletedProcess[str]:
    """Run a controller that is connected to a task without a server, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLEARML")}
    settings = folder / "clearml.conf"
    settings.write_text("sdk.development.report_use_subprocess: false\n")  # else its end takes 10 s
    environment |= {"PYTHONPATH": str(ROOT), "CLEARML_CONFIG_FILE": str(settings)}
    environment |= {"CLEARML_CACHE_DIR": str(folder / "cache"), "HOME": str(folder)}
    code = CONNECTED.format(then=then)
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_the_controller_runs_this_class_and_not_its_own_of_that_name(place):
    found = connected(place.folder, "controller.start()\nassert controller.wait(timeout=1)\n")
    assert found.returncode == 0, found.stderr
    assert [t.finished.state for t in place.state().trials] == ["completed"] * 2
    assert place.state().search.sampler.args["n_startup_trials"] == 3
    assert place.state().optimizer_task.name == "an optimizer"


def test_what_the_reporting_thread_reads_is_there_on_the_path_of_a_limit_too(place):
    found = connected(place.folder, textwrap.dedent(REPORTS))
    assert found.returncode == 0, found.stderr
    assert "reported twice" in found.stdout
    assert "reached compute time limit" in found.stdout + found.stderr


# ---------------------------------------------------------------- to the end


@pytest.mark.parametrize("start", ["start", "start_locally"])
def test_a_search_runs_to_its_end_and_the_controller_answers_from_the_log(stock, place, start):
    controller = stock.controller()
    assert getattr(controller, start)()
    assert controller.wait(timeout=1)
    assert not controller.is_running()
    state = place.state()
    assert (state.finished.reason, len(state.trials)) == ("budget", 4)
    best = max(t.params["General/x"] for t in state.trials)
    (task,) = controller.get_top_experiments(1)
    assert task.get_parameters()["General/x"] == str(best)
    (row,) = controller.get_top_experiments_details(1, all_metrics=True, only_completed=True)
    assert row["hyper_parameters"] == task.get_parameters()
    assert set(row["metrics"]) == {"validation/accuracy", "train/loss"}
    assert controller.get_num_active_experiments() == 0
    assert lease.holder(place.log) is None


def test_an_optimizer_that_was_made_before_is_used_as_it_is(stock, place):
    mine = place.optimizer(total_max_jobs=1)
    controller = stock.controller(mine)
    assert controller.get_optimizer() is mine
    controller.start()
    assert controller.wait(timeout=1)
    assert len(place.launches()) == 1


@pytest.mark.parametrize("limit", [None, 4])
def test_the_remaining_budget_is_not_negative_after_retries(stock, place, limit):
    (place.folder / "fail-0").touch()
    controller = stock.controller(max_failures_per_trial=3, total_max_jobs=2, max_iteration_per_job=limit)
    controller.start()
    assert controller.wait(timeout=1)
    assert sum(place.launches().values()) == 5
    assert 0 < controller.get_optimizer().budget.to_dict()["jobs"]["used"] <= 1


def test_what_runs_is_shown_and_waiting_ends_without_the_end_of_the_search(stock, place):
    place.hold.touch()
    controller = stock.controller(max_number_of_concurrent_tasks=2)
    controller.start()
    reported(controller.get_optimizer(), 2)
    assert not controller.wait(timeout=0)
    assert controller.get_num_active_experiments() == 2
    assert [task.status for task in controller.get_active_experiments()] == ["in_progress"] * 2
    assert len(controller.get_top_experiments(5)) == 2


# ---------------------------------------------------------------- stopped, and run again


def test_its_stop_ends_the_run_and_another_controller_on_the_log_carries_it_on(stock, place):
    place.hold.touch()
    controller = stock.controller(max_number_of_concurrent_tasks=2)
    controller.start()
    reported(controller.get_optimizer(), 2)
    controller.stop()
    eventually(lambda: lease.holder(place.log) is None, "the end of the run")
    eventually(lambda: not processes_in(place.folder), "the end of the jobs")
    assert controller.get_num_active_experiments() == 0
    assert len(place.of(TrialSuggested)) == 2
    assert [e.scope for e in place.of(StopAsked)] == ["run"]
    place.hold.unlink()
    again = stock.controller()
    again.start()
    assert again.wait(timeout=1)
    assert [e.state for e in place.of(TrialFinished)] == ["aborted"] * 2 + ["completed"] * 2


def test_its_stop_aborts_what_the_class_was_to_leave_and_lets_go_of_the_log(stock, place):
    place.hold.touch()
    controller = stock.controller(on_stop="leave", total_max_jobs=1)
    controller.start()
    reported(controller.get_optimizer(), 1)
    controller.stop(timeout=1)
    eventually(lambda: not processes_in(place.folder), "the end of the job")
    assert lease.holder(place.log) is None


def test_a_stop_right_behind_its_start_is_not_lost(stock, place):
    place.hold.touch()
    controller = stock.controller()
    controller.start()
    running = controller._thread
    controller.stop()
    eventually(lambda: not running.is_alive(), "the end of the run")
    assert len(place.launches()) <= 1
    assert lease.holder(place.log) is None


# ---------------------------------------------------------------- what it refuses


def test_several_objectives_are_refused_by_it_before_this_class_is_asked(stock):
    several = {"objective_metric_title": ["a", "b"], "objective_metric_series": ["a", "b"]}
    with pytest.raises(ValueError, match="Multi parameter optimization"):
        stock.controller(**several, objective_metric_sign=["max", "max"])


@pytest.mark.parametrize("kind", [ClearmlJob, LocalClearmlJob])
def test_its_own_classes_of_jobs_change_nothing(stock, kind):
    stock.controller().set_default_job_class(kind)


def test_another_class_of_jobs_is_refused(stock):
    with pytest.raises(Usage, match="LocalJobs"):
        stock.controller().set_default_job_class(type("Mine", (ClearmlJob,), {}))
