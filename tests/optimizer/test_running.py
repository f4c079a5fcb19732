"""Running, stopping and carrying on: the same script with the same log."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from clearml.automation import UniformParameterRange

from eventhpo import OptimizerOptuna
from eventhpo.core.fold.events import (
    AbortRequested,
    BudgetUpdated,
    ControllerStarted,
    JobCreated,
    JobEnded,
    JobPruned,
    LimitsChanged,
    OptimizerTaskSet,
    SearchEnding,
    SearchFinished,
    StopAsked,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.errors import Busy, Usage
from eventhpo.log import lease, reader
from tests.optimizer.harness import PACKAGE, SPACE, Place, Thread, forked, killed_when, processes_in, reported
from tests.waiting import eventually

# Reports fifteen points, once it may go on: by `go-<trial>`, or by `go`.
FIFTEEN = """
import os, select
from eventhpo import job
with open("ledger", "a") as ledger:
    ledger.write(os.environ["EVENTHPO_KEY"] + "\\n")
while not os.path.exists(f"go-{job.trial}") and not os.path.exists("go"):
    select.select([], [], [], 0.01)
params = job.connect({"lr": 0.1, "width": 8, "kind": "a"})
for i in range(1, 16):
    job.report_scalar("validation", "accuracy", params["lr"] * params["width"] * (1 + (params["kind"] == "b")), i)
"""

# Reports twice its x, and waits to be pruned if that is above 1: else its end may be read before its verdict.
PRUNABLE = """
import signal
from eventhpo import job
x = job.connect({"x": 0.0})["x"]
job.report_scalar("validation", "accuracy", 2 * x, 1)
while 2 * x > 1:
    signal.pause()
job.report_scalar("validation", "accuracy", x, 2)
"""
OVER_ONE = {"name": "ThresholdPruner", "upper": 1.0}


class ATask:
    """What a task has that the class looks at."""

    def __init__(self, task_id: str, name: str = "an optimizer") -> None:
        self.id = task_id
        self.name = name


# ---------------------------------------------------------------- to the end


def test_a_search_runs_until_its_budget_is_used_and_start_returns(place):
    optimizer = place.optimizer(num_concurrent_workers=2)
    optimizer.start()
    state = place.state()
    assert state.finished is not None
    assert state.finished.reason == "budget"
    assert [t.finished.state for t in state.trials] == ["completed"] * 4
    assert len(place.launches()) == 4
    assert lease.holder(place.log) is None


def test_iterations_are_a_budget_and_pruned_jobs_buy_more_of_them(place):
    place.script(PRUNABLE)
    optimizer = place.optimizer(max_iteration_per_job=2, total_max_jobs=5, optuna_pruner=OVER_ONE)
    optimizer.start()
    state = place.state()
    assert len(place.of(JobPruned)) == state.totals.trials["pruned"] > 1
    assert len(state.trials) > 5
    assert state.totals.charged <= 10
    assert optimizer.budget.iterations.used <= 1.0


def test_a_job_that_fails_ends_its_trial_and_not_the_search(place):
    (place.folder / "fail-1").touch()
    place.optimizer().start()
    assert [e.state for e in place.of(TrialFinished)] == ["completed", "failed", "completed", "completed"]


def test_a_failed_job_is_tried_again_as_often_as_it_was_asked_for(place):
    (place.folder / "fail-0").touch()
    place.optimizer(max_failures_per_trial=2, total_max_jobs=1).start()
    assert [len(t.attempts) for t in place.state().trials] == [3]


def test_a_finished_search_that_is_started_again_does_nothing(place):
    place.optimizer().start()
    place.optimizer().start()
    assert len(place.launches()) == 4


# ---------------------------------------------------------------- killed and run again


SEARCH = """
import sys
from clearml.automation import (
    DiscreteParameterRange, Objective, UniformIntegerParameterRange, UniformParameterRange
)
from eventhpo import LocalJobs, OptimizerOptuna

OptimizerOptuna(
    base_task_id="base",
    hyper_parameters=[
        UniformParameterRange("General/lr", 1e-4, 1e-1),
        UniformIntegerParameterRange("General/width", 4, 64, step_size=4),
        DiscreteParameterRange("General/kind", ["a", "b"]),
    ],
    objective_metric=Objective("validation", "accuracy", order="max"),
    execution_queue="default",
    num_concurrent_workers=1,
    max_iteration_per_job=15,
    total_max_jobs=30,
    pool_period_min=0.001,
    optuna_sampler={"name": "TPESampler", "n_startup_trials": 4},
    optuna_pruner="NopPruner",
    seed=5,
    log="search.db",
    jobs=LocalJobs([sys.executable, "-S", "train.py"]),
).start()
"""


def script_of(place: Place) -> subprocess.Popen[bytes]:
    """Start the place's `search.py` in a process of its own, as a person does."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    with (place.folder / "output").open("ab") as output:
        words = [sys.executable, "search.py"]
        return subprocess.Popen(words, cwd=place.folder, env=environment, stdout=output, stderr=output)


def rows_of(place: Place) -> int:
    """Return how many events are in the log, 0 before there is one."""
    return len(reader.read(place.log).rows) if place.log.exists() else 0


def killed_at(place: Place, row: int) -> bool:
    """Start the script, kill it once the log has so many rows, or let it end; whether it was killed."""
    script = script_of(place)
    eventually(lambda: script.poll() is not None or rows_of(place) >= row, f"row {row}")
    script.kill()
    code = script.wait()
    assert code in (0, -signal.SIGKILL), (place.folder / "output").read_text()
    return code != 0


def decisions(place: Place) -> list[object]:
    """Return what was decided, in order, without what names rows, times or the cut into looks."""
    found: list[object] = []
    for row in place.rows():
        match row.event:
            case TrialSuggested() | TrialFinished() | SearchEnding() | SearchFinished() as event:
                found.append(event)
            case JobCreated(trial=trial, attempt=attempt, slot=slot):
                found.append((trial, attempt, slot))
            case BudgetUpdated() as event:
                found.append((event.trial, event.attempt, event.iterations, event.late, event.used, event.reserved))
    return found


def test_a_script_that_was_killed_twenty_times_comes_to_the_search_that_nobody_disturbed(place, tmp_path):
    (tmp_path / "alone").mkdir()
    alone = Place((tmp_path / "alone").resolve())
    for one in (alone, place):
        one.script(FIFTEEN)
        (one.folder / "search.py").write_text(SEARCH)
    (alone.folder / "go").touch()
    undisturbed = script_of(alone)
    chance = random.Random(3)
    for kill in range(20):  # each has a trial more to go on with, which is ten rows: it gets that far, and to no end
        (place.folder / f"go-{kill}").touch()
        assert killed_at(place, rows_of(place) + chance.randint(1, 8))
    assert len(place.of(ControllerStarted)) >= 19  # the first may have been killed between the log's birth and its own
    (place.folder / "go").touch()
    assert script_of(place).wait() == undisturbed.wait() == 0
    assert len(alone.launches()) == len(place.launches()) == 30
    assert decisions(place) == decisions(alone)
    alone.close()


def test_jobs_of_a_killed_process_go_on_and_are_taken_up_by_the_next(place):
    place.hold.touch()
    child = forked(lambda: place.optimizer(num_concurrent_workers=2).start())
    killed_when(child, lambda: place.log.exists() and len(place.launches()) == 2)
    assert len(processes_in(place.folder)) >= 2
    place.hold.unlink()
    place.optimizer(num_concurrent_workers=2).start()
    assert len(place.launches()) == 4
    assert {a.ended.how for t in place.state().trials for a in t.attempts} == {"completed"}


# ---------------------------------------------------------------- what differs from the record


def test_a_changed_space_is_refused_with_both_sides(place):
    place.optimizer().start()
    other = place.optimizer(hyper_parameters=[UniformParameterRange("General/x", 0.0, 2.0), SPACE[1]])
    with pytest.raises(Usage, match="General/x") as error:
        other.start()
    assert '"max_value":1.0' in str(error.value)
    assert '"max_value":2.0' in str(error.value)
    assert lease.holder(place.log) is None


DIFFERENT = {
    "base_task_id": {"base_task_id": "another"},
    "study_name": {"study_name": "another"},
    "sampler": {"optuna_sampler": "TPESampler"},
    "pruner": {"optuna_pruner": "MedianPruner"},
    "seed": {"seed": 6},
    "max_iteration_per_job": {"max_iteration_per_job": 9},
    "nan_policy": {"nan_policy": "worst"},
    "space": {"hyper_parameters": tuple(reversed(SPACE))},
    "General/kind": {"hyper_parameters": SPACE[:1]},
}


@pytest.mark.parametrize("named", DIFFERENT)
def test_whatever_else_differs_is_refused_by_its_name(place, named):
    place.optimizer(total_max_jobs=1).start()
    with pytest.raises(Usage, match=f"{named}: recorded .*, now "):
        place.optimizer(total_max_jobs=1, **DIFFERENT[named]).start()


def test_the_seed_that_was_drawn_for_a_search_is_that_of_the_record(place):
    place.optimizer(seed=None, total_max_jobs=1).start()
    place.optimizer(seed=None, total_max_jobs=2).start()
    assert len(place.launches()) == 2


def test_changed_limits_are_an_event_and_a_finished_search_goes_on_with_them(place):
    place.optimizer(total_max_jobs=1).start()
    place.optimizer(total_max_jobs=3, num_concurrent_workers=2).start()
    (event,) = place.of(LimitsChanged)
    assert event.changes.given() == {"total_max_jobs": 3, "num_concurrent_workers": 2}
    assert len(place.launches()) == 3


def test_another_optimizer_task_is_an_event_and_the_same_one_is_none(place):
    for task, jobs in (("first", 1), ("first", 1), ("second", 2)):
        optimizer = place.optimizer(total_max_jobs=jobs)
        optimizer.set_optimizer_task(ATask(task))
        optimizer.start()
    assert [e.task_id for e in place.of(OptimizerTaskSet)] == ["first", "second"]
    assert len(optimizer.get_created_jobs_ids()) == 2


# ---------------------------------------------------------------- the name of the log


@pytest.mark.parametrize(("task", "name"), [(None, "base.db"), ("7f3a", "7f3a.db")])
def test_without_a_name_the_log_is_named_after_the_optimizer_task_or_the_base_task(
    place, task, name, monkeypatch, caplog
):
    monkeypatch.chdir(place.folder)
    optimizer = place.optimizer(log=None, total_max_jobs=1)
    if task is not None:
        optimizer.set_optimizer_task(ATask(task))
    with caplog.at_level("WARNING"):
        optimizer.start()
        optimizer.start()
    assert Path(name).exists()
    told = [r.getMessage() for r in caplog.records]
    assert told == [f"no log= was given: this search is recorded in {place.folder / name}"]


def test_a_log_that_was_named_is_told_without_a_warning(place, caplog):
    with caplog.at_level("WARNING"):
        place.optimizer(total_max_jobs=1).start()
    assert caplog.records == []


# ---------------------------------------------------------------- stopping


def by_steps(optimizer: OptimizerOptuna) -> int:
    """Run it a step at a time; return how many there were."""
    steps = 0
    while optimizer.process_step():
        steps += 1
    return steps


def test_stop_from_another_thread_makes_start_return_and_aborts_the_jobs(place):
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=2)
    running = Thread(optimizer.start)
    reported(optimizer, 2)
    optimizer.stop()
    running.ended()
    assert len(place.of(TrialSuggested)) == 2
    assert place.state().finished is None
    assert optimizer.get_running_jobs() == []
    eventually(lambda: not processes_in(place.folder), "the end of the jobs")


def test_what_the_stop_aborted_is_no_failure_and_the_next_start_carries_on(place):
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=2, max_failed_trials=1)
    running = Thread(optimizer.start)
    reported(optimizer, 2)
    optimizer.stop()
    running.ended()
    eventually(lambda: not processes_in(place.folder), "the end of the jobs")  # one that ends first keeps its end
    place.hold.unlink()
    optimizer.start()
    state = place.state()
    assert [t.finished.state for t in state.trials] == ["aborted"] * 2 + ["completed"] * (len(state.trials) - 2)
    assert state.totals.trials["failed"] == 0
    assert state.finished.reason == "budget"


def test_jobs_that_are_left_go_on_and_the_next_start_takes_them_up(place):
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=2, on_stop="leave")
    running = Thread(optimizer.start)
    reported(optimizer, 2)
    optimizer.stop()
    running.ended()
    assert len(processes_in(place.folder)) >= 2
    assert [e.jobs for e in place.of(StopAsked)] == ["leave"]
    place.hold.unlink()
    optimizer.start()
    assert len(place.launches()) == 4
    assert place.state().totals.trials["completed"] == 4


def test_a_stop_before_the_start_makes_it_return_at_once_and_the_one_after_runs(place):
    optimizer = place.optimizer()
    optimizer.stop()
    optimizer.start()
    assert place.launches() == {}
    optimizer.start()
    assert len(place.launches()) == 4


def test_a_stop_between_two_steps_ends_the_run_and_its_jobs(place):
    place.hold.touch()
    optimizer = place.optimizer()
    while not place.launches():
        assert optimizer.process_step()
    optimizer.stop()
    assert not optimizer.process_step()
    assert [e.scope for e in place.of(StopAsked)] == ["run"]
    assert lease.holder(place.log) is None
    eventually(lambda: not processes_in(place.folder), "the end of the job")  # one that ends first keeps its end
    place.hold.unlink()
    optimizer.start()
    assert [t.finished.state for t in place.state().trials] == ["aborted"] + ["completed"] * 3


def test_a_stop_between_two_steps_needs_no_step_to_end_the_jobs(place):
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=2)
    while len(place.launches()) < 2:
        assert optimizer.process_step()
    optimizer.stop()
    eventually(lambda: not processes_in(place.folder), "the end of the jobs")
    assert lease.holder(place.log) is None
    assert optimizer.get_running_jobs() == []
    assert len(place.of(TrialSuggested)) == 2
    before = place.rows()
    assert not optimizer.process_step()  # the stop was meant for it too
    assert place.rows() == before
    place.hold.unlink()
    while optimizer.process_step():
        pass
    assert place.state().finished is not None


def test_a_stop_while_another_thread_is_within_a_step_is_taken_up_by_it(place):
    place.hold.touch()
    optimizer = place.optimizer()

    steps: list[int] = []

    def run() -> None:
        while optimizer.process_step():
            steps.append(len(steps))

    running = Thread(run)
    reported(optimizer, 1)
    eventually(lambda: steps, "the end of a step")
    optimizer.stop()
    running.ended()
    assert [e.scope for e in place.of(StopAsked)] == ["run"]
    assert lease.holder(place.log) is None
    eventually(lambda: not processes_in(place.folder), "the end of the jobs")


def test_a_stop_by_a_step_itself_ends_it(place):
    class Enough(OptimizerOptuna):
        def monitor_job(self, job):
            if len(self.get_created_jobs_ids()) == 2:
                self.stop()
            return super().monitor_job(job)

    place.hold.touch()  # a job that has ended already is monitored no more
    place.optimizer(Enough, num_concurrent_workers=2).start()
    assert len(place.of(TrialSuggested)) == 2
    assert lease.holder(place.log) is None


def test_jobs_that_are_left_between_two_steps_go_on_and_the_next_run_takes_them_up(place):
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=2, on_stop="leave")
    while len(place.launches()) < 2:
        optimizer.process_step()
    optimizer.stop()
    assert lease.holder(place.log) is None
    assert len(processes_in(place.folder)) >= 2
    assert not optimizer.process_step()
    place.hold.unlink()
    optimizer.start()
    assert place.state().totals.trials["completed"] == 4
    assert len(place.launches()) == 4


def test_a_stop_from_any_thread_at_any_moment_of_a_loop_of_steps_leaves_a_log_that_rests(place):
    place.script('from eventhpo import job\njob.report_scalar("validation", "accuracy", 0.5, 1)\n')
    for trials in range(1, 9):
        optimizer = place.optimizer(total_max_jobs=None)  # it cannot end before the stop
        running = Thread(lambda o=optimizer: by_steps(o))
        eventually(lambda o=optimizer, n=trials: len(o.get_created_jobs_ids()) >= 2 * n, "some jobs")
        optimizer.stop()
        running.ended()
        assert lease.holder(place.log) is None
        assert place.state().run_stop is not None
        assert optimizer.get_running_jobs() == []


# ---------------------------------------------------------------- errors, and who holds the log


def test_an_error_in_start_is_raised_to_its_caller(place):
    place.log.write_text("this is no log")
    with pytest.raises(Exception, match=r"search\.db"):
        place.optimizer().start()
    place.log.unlink()


def test_an_error_in_a_subclass_is_raised_and_the_log_is_carried_on_afterwards(place):
    class Wrong(OptimizerOptuna):
        def monitor_job(self, job):
            raise RuntimeError("a mistake of the user's")

    place.hold.touch()
    with pytest.raises(RuntimeError, match="a mistake of the user's"):
        place.optimizer(Wrong).start()
    assert lease.holder(place.log) is None
    place.hold.unlink()
    place.optimizer().start()
    assert len(place.launches()) == 4


def test_the_second_of_two_optimizers_on_one_log_is_told_who_holds_it(place):
    place.hold.touch()
    first = place.optimizer()
    running = Thread(first.start)
    reported(first, 1)
    with pytest.raises(Busy, match=str(os.getpid())):
        place.optimizer().start()
    place.hold.unlink()
    running.ended()
    assert len(place.of(ControllerStarted)) == 1
    assert len(place.launches()) == 4


def test_one_that_asks_for_it_takes_over(place):
    place.hold.touch()
    first = place.optimizer()
    running = Thread(first.start)
    reported(first, 1)
    second = place.optimizer(take_over=True)
    other = Thread(second.start)
    with pytest.raises(Busy):
        running.ended()
    place.hold.unlink()
    other.ended()
    assert len(place.launches()) == 4


# ---------------------------------------------------------------- steps


def test_a_loop_of_steps_is_the_search_that_start_runs(place, tmp_path):
    (tmp_path / "started").mkdir()
    started = Place((tmp_path / "started").resolve())
    for one in (started, place):
        one.script(PRUNABLE)
    arguments = {"optuna_sampler": {"name": "TPESampler", "n_startup_trials": 2}, "optuna_pruner": OVER_ONE}
    started.optimizer(total_max_jobs=6, **arguments).start()
    optimizer = place.optimizer(total_max_jobs=6, **arguments)
    while optimizer.process_step():
        pass
    assert place.params() == started.params()
    assert [e.state for e in place.of(TrialFinished)] == [e.state for e in started.of(TrialFinished)]
    assert place.of(AbortRequested) == []  # a job that is being stopped already is not aborted on top
    assert place.of(JobPruned)
    assert place.state().finished is not None
    started.close()


def test_the_end_of_each_job_is_in_the_log_once(place):
    optimizer = place.optimizer(num_concurrent_workers=2)
    while optimizer.process_step():
        pass
    assert sorted((e.trial, e.how) for e in place.of(JobEnded)) == [(n, "completed") for n in range(4)]
