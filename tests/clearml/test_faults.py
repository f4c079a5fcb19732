"""What ClearML's own class gets wrong on a server and this one must not: the behaviour that docs/faults.md promises.

What needs no server is in tests/optimizer/test_faults.py.
"""

from __future__ import annotations

import pytest

from eventhpo.controller.effects import job_item
from eventhpo.core.fold.events import EffectFailed, JobEnded, MetricObserved
from eventhpo.errors import Usage
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.protocol import PollResult
from tests.clearml.users import METRIC, Place, falling, value_of
from tests.clearml_server import Script
from tests.optimizer.harness import Thread
from tests.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK reads its configuration by such calls


def sent(place: Place) -> list[str]:
    """Return the requests that were sent, without logins."""
    return [r.endpoint for r in place.server.requests.kept if r.endpoint != "auth.login"]


def test_a_job_whose_agent_is_dead_is_lost_and_run_again(place: Place) -> None:
    scripted = place.server.script(lambda task: falling(task, 1, end=None))
    optimizer = place.optimizer(total_max_jobs=1, max_iteration_per_job=None)
    running = Thread(optimizer.start)
    eventually(lambda: any(job.iterations() == 1 for job in optimizer.get_running_jobs()), "its point")
    scripted.dead = True
    place.server.clock.advance(25 * 60)
    eventually(lambda: len(place.tasks()) == 2, "the retry")
    place.jobs(falling)
    running.ended()
    first, second = place.tasks()
    assert second["parent"] == first["parent"]
    assert f"retry of {first['id']}" in second["tags"]
    assert [(e.attempt, e.how) for e in place.of(JobEnded)][-1] == (1, "completed")
    assert place.states() == ["completed"]


def test_a_silent_job_whose_worker_still_reports_is_waited_for(place: Place) -> None:
    """The negative of the one above: the same silence, and an agent that lives."""
    scripted = place.server.script(lambda task: falling(task, 1, end=None))
    optimizer = place.optimizer(total_max_jobs=1, max_iteration_per_job=None)
    running = Thread(optimizer.start)
    (job,) = eventually(lambda: [j for j in optimizer.get_running_jobs() if j.iterations() == 1], "its point")
    place.server.clock.advance(25 * 60)
    asked = place.server.count("tasks.get_all")
    eventually(lambda: place.server.count("tasks.get_all") > asked + 10, "more polls")
    assert [j.task_id() for j in optimizer.get_running_jobs()] == [job.task_id()]
    scripted.jobs.pop(job.task_id())
    place.server.call("tasks.completed", task=job.task_id())
    running.ended()
    assert len(place.tasks()) == 1


def test_a_zero_out_of_nowhere_is_noted_beside_the_point(place: Place) -> None:
    place.jobs(lambda task: Script.curve(*METRIC, [0.5, 0.0]))
    place.done(total_max_jobs=1)
    assert ["0.0" in str(note) for event in place.of(MetricObserved) for note in event.bad] == [True]
    place.jobs(lambda task: Script.curve(*METRIC, [0.5, 0.25]))
    place.done(total_max_jobs=2)
    assert [note for event in place.of(MetricObserved) if event.trial == 1 for note in event.bad] == []


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_launch_is_a_clone_an_enqueue_and_one_look_for_all(place: Place, jobs: int) -> None:
    optimizer = place.optimizer(total_max_jobs=jobs, num_concurrent_workers=jobs)
    made = [optimizer.create_job() for _ in range(jobs)]
    assert all(made)
    before = len(sent(place))
    assert sent(place)[-jobs:] == ["tasks.clone"] * jobs
    for job in made:
        assert job is not None
        job.launch()
    assert sent(place)[before:] == ["tasks.get_all", "tasks.enqueue"] * jobs
    optimizer.start()
    assert len(place.tasks()) == jobs


def test_the_loop_looks_once_for_all_that_it_launches(place: Place) -> None:
    place.done(num_concurrent_workers=4)
    first = sent(place).index("tasks.clone")
    assert sent(place)[first : first + 9] == ["tasks.clone"] * 4 + ["tasks.get_all"] + ["tasks.enqueue"] * 4


def test_the_best_are_asked_of_nobody_and_have_no_failed_job_and_no_draft(place: Place) -> None:
    place.jobs(lambda task: falling(task, 2, end="failed" if float(value_of(task, "lr")) < 0.2 else "completed"))
    optimizer = place.optimizer(total_max_jobs=2)
    for lr in (0.1, 0.5):
        optimizer.enqueue_trial({"General/lr": lr, "General/kind": "a"})
    optimizer.start()
    optimizer = place.optimizer(total_max_jobs=3)
    draft = optimizer.create_job()
    assert draft is not None
    asked = place.server.count()
    (found,) = optimizer.get_top_experiments_details(9)
    assert found["hyper_parameters"]["General/lr"] == "0.5"
    everything = optimizer.get_top_experiments_details(9, include_failed=True)
    assert {row["task_id"] for row in everything} == {task["id"] for task in place.tasks()}
    assert place.server.count() == asked


def test_a_missing_queue_is_told_before_the_start_and_uses_up_nothing(place: Place) -> None:
    with pytest.raises(Usage, match="there is no queue 'defalt' on this ClearML server; did you mean 'default'"):
        place.done(execution_queue="defalt")
    assert place.tasks() == []
    assert not place.log.exists()


def test_a_queue_that_is_lost_holds_the_launches_and_uses_up_no_trial(place: Place) -> None:
    place.sent_again = True
    optimizer = place.optimizer(total_max_jobs=3, num_concurrent_workers=2)
    job = optimizer.create_job()
    assert job is not None
    gone = place.server.state.queues.pop(place.server.queue("hpo"))
    running = Thread(optimizer.start)
    failures = eventually(lambda: place.of(EffectFailed), "a launch that fails")
    assert "the queue hpo is gone" in failures[0].error
    assert set(place.states()) == {None}
    assert {task["status"] for task in place.tasks()} == {"created"}
    place.server.state.queues[gone["id"]] = gone
    running.ended()
    assert place.states() == ["completed"] * 3


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(0, 2.0), (4, 12.0), (15, 45.0), (600, 60.0)], ids=lambda value: f"{value:g}"
)
def test_the_wait_between_two_polls_follows_the_age_of_the_youngest_job(
    place: Place, minutes: int, seconds: float
) -> None:
    place.jobs(lambda task: falling(task, 1, end=None))
    optimizer = place.optimizer(total_max_jobs=1, on_stop="leave")
    running = Thread(optimizer.start)
    eventually(lambda: any(job.started() for job in optimizer.get_running_jobs()), "its start")
    optimizer.stop()
    running.ended()
    place.server.clock.advance(minutes * 60)
    backend = ClearmlChoice().open(place.log, place.state())
    (attempt,) = place.state().trials[0].attempts
    polled = backend.poll([job_item(place.state(), attempt, "poll")], place.state().search.objectives)
    assert isinstance(polled, PollResult)
    assert backend.shortest_wait == pytest.approx(seconds, abs=1.5)  # the server's Date has whole seconds
