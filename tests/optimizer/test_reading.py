"""What the class answers: the shapes that are documented, at any time, from any thread, from the log alone."""

from __future__ import annotations

import shutil
import threading

import pytest
from clearml.automation import Objective
from clearml.automation.job import ClearmlJob
from clearml.automation.optimization import Budget, MultiObjective

from eventhpo.errors import Usage
from tests.optimizer.harness import Thread, reported
from tests.waiting import eventually

ACCURACY = "validation/accuracy"
NUMBERS = ("value", "min_value", "max_value")

READINGS = {
    "get_running_jobs": ((), []),
    "get_created_jobs_ids": ((), {}),
    "get_created_jobs_tasks": ((), {}),
    "get_objective_metric": ((), ("validation", "accuracy")),
    "get_top_experiments": ((3,), []),
    "get_top_experiments_details": ((3, True, True), []),
    "get_top_experiments_id_metrics_pair": ((3, True), []),
}


# ---------------------------------------------------------------- when


@pytest.mark.parametrize("name", READINGS)
def test_before_the_start_every_reading_method_is_empty_and_makes_no_log(place, name):
    arguments, expected = READINGS[name]
    assert getattr(place.optimizer(), name)(*arguments) == expected
    assert not place.log.exists()


def test_before_the_start_nothing_is_spent(place):
    found = place.optimizer().budget
    assert isinstance(found, Budget)
    assert found.to_dict()["jobs"] == {"limit": 4, "used": 0}
    assert place.optimizer().compute_time == 0.0


def test_other_threads_read_while_start_runs(place):
    optimizer = place.optimizer(num_concurrent_workers=2, total_max_jobs=8)
    over = threading.Event()

    def read_on() -> int:
        times = 0
        while not over.is_set():
            for name, (arguments, _) in READINGS.items():
                getattr(optimizer, name)(*arguments)
            optimizer.budget.to_dict()
            for job in optimizer.get_created_jobs_tasks().values():
                assert job.task_id()
                job.status()
            times += 1
        return times

    readers = [Thread(read_on) for _ in range(2)]
    optimizer.start()
    over.set()
    assert all(reader.ended() for reader in readers)
    assert len(optimizer.get_created_jobs_ids()) == 8


def test_running_jobs_are_those_that_run_and_none_that_is_over(place):
    (place.folder / "hold-1").touch()
    optimizer = place.optimizer(num_concurrent_workers=2, total_max_jobs=2)
    running = Thread(optimizer.start)
    eventually(lambda: len(optimizer.get_created_jobs_ids()) == 2 and len(optimizer.get_running_jobs()) == 1)
    (job,) = optimizer.get_running_jobs()
    assert job.task_parameter_override == list(optimizer.get_created_jobs_ids().values())[1]
    (place.folder / "hold-1").unlink()
    running.ended()
    assert optimizer.get_running_jobs() == []


# ---------------------------------------------------------------- shapes


@pytest.fixture
def ended(place):
    """An optimizer whose search of four trials, the second of them failed, is over."""
    (place.folder / "fail-1").touch()
    optimizer = place.optimizer()
    optimizer.start()
    return optimizer


def params(optimizer):
    return list(optimizer.get_created_jobs_ids().values())


def test_created_jobs_are_their_native_parameters_by_task_id_in_order(ended, place):
    found = ended.get_created_jobs_ids()
    assert list(found) == [t.attempts[0].job_id for t in place.state().trials]
    assert [set(p) for p in found.values()] == [{"General/x", "General/kind"}] * 4
    assert {type(p["General/x"]) for p in found.values()} == {float}
    tasks = ended.get_created_jobs_tasks()
    assert list(tasks) == list(found)
    assert ended.parameter_override_history == list(found.values())
    assert all(isinstance(job, ClearmlJob) and job.task_id() == task_id for task_id, job in tasks.items())


def test_every_attempt_is_listed(place):
    (place.folder / "fail-0").touch()
    optimizer = place.optimizer(total_max_jobs=1, max_failures_per_trial=1)
    optimizer.start()
    assert len(optimizer.get_created_jobs_ids()) == 2
    assert params(optimizer)[0] == params(optimizer)[1]


def test_details_are_those_of_the_documented_example(ended):
    best = max((p for n, p in enumerate(params(ended)) if n != 1), key=lambda p: p["General/x"])
    x = best["General/x"]
    (found,) = ended.get_top_experiments_details(1)
    assert found == {
        "task_id": next(i for i, p in ended.get_created_jobs_ids().items() if p == best),
        "hyper_parameters": {"General/x": str(x), "General/kind": best["General/kind"]},
        "metrics": {
            ACCURACY: {
                "metric": "validation",
                "variant": "accuracy",
                "value": x,
                "min_value": x * 2 / 3,
                "max_value": x * 2,
                "min_value_iteration": 3,
                "max_value_iteration": 1,
                "first_value": x * 2,
                "first_value_iteration": 1,
                "count": 4,
                "mean_value": pytest.approx(x * 7 / 6),
                "x_axis_label": None,
            }
        },
    }


def test_all_metrics_are_there_when_they_are_asked_for(ended):
    (found,) = ended.get_top_experiments_details(1, all_metrics=True)
    assert found["metrics"]["train/loss"] == {
        "metric": "train",
        "variant": "loss",
        "value": 1 / 3,
        "min_value": 1 / 3,
        "max_value": 1.0,
        "min_value_iteration": 3,
        "max_value_iteration": 1,
        "first_value": 1.0,
        "first_value_iteration": 1,
        "count": 3,
        "mean_value": pytest.approx(11 / 18),
        "x_axis_label": None,
    }
    assert set(found["metrics"]) == {ACCURACY, "train/loss"}


@pytest.mark.parametrize("all_metrics", [False, True])
def test_pairs_are_those_of_the_documented_example(ended, all_metrics):
    details = ended.get_top_experiments_details(3, all_metrics=all_metrics)
    found = ended.get_top_experiments_id_metrics_pair(3, all_metrics=all_metrics)
    assert found == [(d["task_id"], d["metrics"]) for d in details]
    assert all(type(pair) is tuple for pair in found)


def test_numbers_are_floats_and_hyper_parameters_are_text(place):
    place.script(
        """
        from eventhpo import job
        job.report_scalar("validation", "accuracy", 3, 1)
        job.report_scalar("validation", "other", float("nan"), 1)
        """
    )
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.start()
    (found,) = optimizer.get_top_experiments_details(1, all_metrics=True, all_hyper_parameters=True)
    assert {type(m[n]) for m in found["metrics"].values() for n in NUMBERS} == {float}
    assert found["metrics"][ACCURACY]["value"] == 3.0
    assert {type(v) for v in found["hyper_parameters"].values()} == {str}


def test_top_experiments_are_objects_with_what_a_task_is_asked_for(ended):
    tasks = ended.get_top_experiments(2)
    details = ended.get_top_experiments_details(2)
    assert [t.id for t in tasks] == [d["task_id"] for d in details]
    assert [t.get_parameters() for t in tasks] == [d["hyper_parameters"] for d in details]
    assert {t.status for t in tasks} == {"completed"}
    metrics = details[0]["metrics"][ACCURACY]
    assert tasks[0].get_last_scalar_metrics()["validation"]["accuracy"] == {
        "last": metrics["value"],
        "min": metrics["min_value"],
        "max": metrics["max_value"],
    }
    assert tasks[0].get_last_iteration() == 4
    best = ended.get_created_jobs_ids()[tasks[0].id]
    assert tasks[0].name == f"base: General/kind={best['General/kind']} General/x={best['General/x']}"


@pytest.mark.parametrize(
    ("scheme", "name"),
    [(lambda name, params: f"{name} of {len(params)}", "base of 2"), (lambda name, params: False, "base")],
)
def test_jobs_are_named_by_the_scheme_and_by_nobody_if_it_says_so(place, scheme, name):
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.set_job_naming_scheme(scheme)
    optimizer.start()
    (task,) = optimizer.get_top_experiments(1)
    assert task.name == name


# ---------------------------------------------------------------- which, and in which order


def values(optimizer, **which):
    return [d["metrics"][ACCURACY]["value"] for d in optimizer.get_top_experiments_details(9, **which)]


def test_the_best_come_first_and_failed_ones_only_when_they_are_asked_for(ended, place):
    assert len(values(ended)) == 3
    assert values(ended) == sorted(values(ended), reverse=True)
    everything = ended.get_top_experiments_details(9, include_failed=True)
    failed = place.state().trials[1].attempts[0].job_id
    assert len(everything) == 4
    assert failed in [d["task_id"] for d in everything]
    assert failed in [pair[0] for pair in ended.get_top_experiments_id_metrics_pair(9, include_failed=True)]
    assert failed in [task.id for task in ended.get_top_experiments(9, include_failed=True)]


def test_no_more_are_returned_than_were_asked_for(ended):
    assert [len(ended.get_top_experiments_details(k)) for k in (0, 1, 2, 9)] == [0, 1, 2, 3]


@pytest.mark.parametrize("top_k", [-1, "3", 1.5, None, True])
def test_how_many_are_wanted_is_a_whole_number(ended, top_k):
    for read in (
        ended.get_top_experiments,
        ended.get_top_experiments_details,
        ended.get_top_experiments_id_metrics_pair,
    ):
        with pytest.raises(Usage, match=f"top_k is {top_k!r}, expected a whole number from 0 on"):
            read(top_k)


def test_a_running_job_is_listed_unless_only_completed_ones_are_wanted(place):
    (place.folder / "hold-1").touch()
    optimizer = place.optimizer(total_max_jobs=2)
    running = Thread(optimizer.start)
    eventually(lambda: [job.iterations() for job in optimizer.get_running_jobs()] == [3] and place.state().trials[1:])
    assert len(values(optimizer)) == 2
    assert len(values(optimizer, only_completed=True)) == 1
    assert len(optimizer.get_top_experiments(9, only_completed=True)) == 1
    assert len(optimizer.get_top_experiments_id_metrics_pair(9, only_completed=True)) == 1
    (place.folder / "hold-1").unlink()
    running.ended()


def test_what_reached_its_limit_counts_as_completed(place):
    place.hold.touch()
    optimizer = place.optimizer(max_iteration_per_job=2, total_max_jobs=2)
    optimizer.start()
    assert len(values(optimizer, only_completed=True)) == 2
    assert {job.status() for job in optimizer.get_created_jobs_tasks().values()} == {"stopped"}


def test_a_draft_is_listed_only_when_failed_ones_are(place):
    optimizer = place.optimizer()
    job = optimizer.create_job()
    assert optimizer.get_top_experiments(9) == []
    assert [t.id for t in optimizer.get_top_experiments(9, include_failed=True)] == [job.task_id()]
    assert optimizer.get_running_jobs() == []
    assert list(optimizer.get_created_jobs_ids()) == [job.task_id()]


def test_equal_values_are_in_the_order_of_their_trials(place):
    place.script('from eventhpo import job\njob.report_scalar("validation", "accuracy", 0.5, 1)\n')
    optimizer = place.optimizer(num_concurrent_workers=2)
    optimizer.start()
    by_trial = [t.attempts[0].job_id for t in place.state().trials]
    assert [d["task_id"] for d in optimizer.get_top_experiments_details(9)] == by_trial
    assert [d["task_id"] for d in optimizer.get_top_experiments_details(2)] == by_trial[:2]


def test_zero_is_a_value(place):
    place.script('from eventhpo import job\njob.report_scalar("validation", "accuracy", job.trial - 2.0, 1)\n')
    optimizer = place.optimizer()
    optimizer.start()
    assert values(optimizer) == [1.0, 0.0, -1.0, -2.0]


@pytest.mark.parametrize(("order", "extremum", "best"), [("min", False, 0), ("max", True, 1), ("min", True, 2)])
def test_an_order_by_the_extreme_is_by_the_extreme(place, order, extremum, best):
    place.script(
        """
        from eventhpo import job
        for i, value in enumerate([(0.3, 0.2, 0.1), (0.4, 9.0, 0.5), (0.4, -9.0, 0.4)][job.trial]):
            job.report_scalar("validation", "accuracy", value, i)
        """
    )
    optimizer = place.optimizer(
        total_max_jobs=3, objective_metric=Objective("validation", "accuracy", order=order, extremum=extremum)
    )
    optimizer.start()
    assert list(optimizer.get_created_jobs_ids()).index(optimizer.get_top_experiments(1)[0].id) == best


def test_several_objectives_are_ordered_by_their_fronts(place):
    place.script(
        """
        from eventhpo import job
        a, b = [(0.5, 0.5), (0.9, 0.9), (0.4, 0.6), (1.0, 0.1)][job.trial]
        job.report_scalar("t", "a", a, 1)
        job.report_scalar("t", "b", b, 1)
        """
    )
    both = MultiObjective(title=["t", "t"], series=["a", "b"], order=["max", "max"], extremum=[False, False])
    optimizer = place.optimizer(objective_metric=both, optuna_pruner=None)
    optimizer.start()
    ids = list(optimizer.get_created_jobs_ids())
    assert [ids.index(task.id) for task in optimizer.get_top_experiments(4)] == [1, 3, 0, 2]
    (found,) = optimizer.get_top_experiments_details(1)
    assert set(found["metrics"]) == {"t/a", "t/b"}


# ---------------------------------------------------------------- from the log alone


def test_the_log_answers_when_the_jobs_folders_are_gone(ended, place):
    before = [
        ended.get_created_jobs_ids(),
        ended.get_top_experiments_details(9, all_metrics=True, all_hyper_parameters=True, include_failed=True),
        [task.status for task in ended.get_top_experiments(9)],
    ]
    shutil.rmtree(place.folder / "search.db.jobs")
    again = place.optimizer()
    again.start()  # it is over: nothing is done, and the log is open
    assert before == [
        again.get_created_jobs_ids(),
        again.get_top_experiments_details(9, all_metrics=True, all_hyper_parameters=True, include_failed=True),
        [task.status for task in again.get_top_experiments(9)],
    ]
    assert [job.get_console_output() for job in again.get_created_jobs_tasks().values()] == [[]] * 4


# ---------------------------------------------------------------- jobs


def test_a_job_that_is_over_answers_as_a_job_of_clearml_does(ended):
    jobs = list(ended.get_created_jobs_tasks().values())
    good, failed = jobs[0], jobs[1]
    x = good.task_parameter_override["General/x"]
    assert (good.status(), good.is_completed(), good.is_stopped(), good.is_failed()) == ("completed", True, True, False)
    assert good.get_metric("validation", "accuracy") == (x * 2 / 3, x * 2, x)
    assert good.get_metric("train", "loss") == (1 / 3, 1.0, 1 / 3)
    assert good.iterations() == 4
    assert good.elapsed() > 0
    assert good.elapsed() == good.elapsed()
    assert good.started()
    assert not good.is_running()
    assert not good.is_pending()
    assert not good.is_cached_task()
    assert not good.delete()
    assert isinstance(good.worker(), str)
    assert good.wait(timeout=0.0)
    assert f"x is {x}" in good.get_console_output()[0]
    assert (failed.status(), failed.is_failed(), failed.status_message()) == ("failed", True, "exit 3")
    with pytest.raises(KeyError, match="nothing/here"):
        good.get_metric("nothing", "here")


def test_a_job_that_runs_says_so_and_can_be_waited_for(place):
    place.hold.touch()
    optimizer = place.optimizer(total_max_jobs=1)
    running = Thread(optimizer.start)
    (job,) = reported(optimizer, 1)
    assert (job.status(), job.is_running(), job.is_stopped(), job.started()) == ("in_progress", True, False, True)
    assert not job.wait(timeout=0.0)
    waiting = Thread(lambda: job.wait(pool_period=0.01))
    place.hold.unlink()
    assert waiting.ended()
    assert job.is_completed()
    running.ended()


def test_a_job_that_had_ended_well_before_its_abort_keeps_its_end_and_shows_it(place):
    place.hold.touch()
    optimizer = place.optimizer(total_max_jobs=1)
    job = optimizer.create_job()
    job.launch()
    eventually(lambda: optimizer.monitor_job(job) and job.iterations() == 3)
    place.hold.unlink()
    eventually(lambda: list(place.folder.glob("search.db.jobs/*/exit.json")), "its end, which nobody has read")
    job.abort(why="too slow")
    eventually(lambda: optimizer.monitor_job(job) or job.is_stopped())
    assert place.state().attempt(0, 0).ended.how == "completed"
    assert (job.status(), job.is_completed(), job.is_aborted()) == ("completed", True, False)
    assert repr(job) == f"<job {job.task_id()}: completed>"
    assert place.state().attempt(0, 0).curves[0].in_time == 4


def test_two_handles_of_one_job_are_equal(ended):
    first, second = (ended.get_created_jobs_tasks() for _ in range(2))
    assert list(first.values()) == list(second.values())
    assert len({*first.values(), *second.values()}) == 4


def test_what_was_used_is_there_in_clearmls_class(ended):
    found = ended.budget
    assert found.jobs.used == 1.0
    assert len(found.iterations.current) == 4
    assert ended.compute_time > 0
    assert found.to_dict()["jobs"] == {"limit": 4, "used": 1.0}
