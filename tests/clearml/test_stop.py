"""Ending tasks: in one request or two, for good, and with what was settled in the status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventhpo.controller.controller import Controller
from eventhpo.core.fold.events import EffectFailed, JobEnded, JobPruned, JobRunsOn, StopAsked
from eventhpo.core.scheduler.actions import Rest
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.protocol import Ended, Queued, Refused, Stopping
from eventhpo.testing.simulated import START
from replay.decide.check_prefixes import check_prefixes
from tests.clearml.harness import (
    METRIC,
    Hours,
    base_task,
    begin,
    falling,
    of,
    our_tasks,
    outcomes,
    rows,
    run,
    unhurried,
)
from tests.clearml.test_launch import backend, draft, made
from tests.clearml.test_poll import job, seen
from tests.clearml_server import ClearmlServer, Script

NAME = (METRIC.title, METRIC.series)


@pytest.fixture
def jobs(server: ClearmlServer) -> ClearmlBackend:
    return backend(server, base_task(server))


def waiting(server: ClearmlServer, jobs: ClearmlBackend) -> str:
    """A job that a queue has."""
    task = str(made(server, jobs, draft())["id"])
    assert jobs.launch([job(task, started=False, queued=False)]) == [Queued()]
    return task


def started(server: ClearmlServer, jobs: ClearmlBackend) -> str:
    """A job that runs, and was seen to."""
    task = waiting(server, jobs)
    server.script(lambda task: Script.curve(*NAME, [0.5] * 9, end=None))
    server.advance()
    seen(jobs, job(task))
    return task


def asked(server: ClearmlServer) -> list[str]:
    found = [r.endpoint for r in server.requests.kept]
    server.requests.clear()
    return found


def test_a_running_job_is_stopped_by_one_request(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    task = started(server, jobs)
    asked(server)
    assert jobs.stop([job(task, stopping=True, settled="pruned 3")]) == [Stopping()]
    assert asked(server) == ["tasks.stopped"]
    found = server.task(task)
    assert (found["status"], found["status_reason"], found["status_message"]) == ("stopped", "eventhpo", "pruned 3")


def test_a_waiting_job_is_stopped_by_two_and_never_starts(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    task = waiting(server, jobs)
    asked(server)
    assert jobs.stop([job(task, started=False, stopping=True)]) == [Stopping()]
    assert asked(server) == ["tasks.dequeue", "tasks.stopped"]
    never_runs(server, task)
    [early] = seen(jobs, job(task, started=False, stopping=True))
    assert (early.ended, early.runs_on) == (None, False)  # an agent may have taken it in that moment
    server.clock.advance(12)
    [end] = seen(jobs, job(task, started=False, stopping=True))
    assert end.ended is not None
    assert (end.ended.how, end.ended.started_at, end.started) == ("stopped", None, None)


def test_a_job_that_an_agent_had_taken_and_starts_all_the_same_is_told_again(server: ClearmlServer) -> None:
    jobs = backend(server, base_task(server))
    server.script(lambda task: Script.curve(*NAME, [0.5] * 9, end=None), on=None, slow=True)
    task = waiting(server, jobs)
    server.advance()
    assert jobs.stop([job(task, started=False, stopping=True, settled="aborted")]) == [Stopping()]
    assert server.task(task)["status"] == "stopped"
    told = job(task, started=False, stopping=True, settled="aborted", stops=1)
    assert [(one.ended, one.runs_on) for one in seen(jobs, told)] == [(None, False)]
    server.advance()
    [one] = seen(jobs, told)
    assert (one.ended, one.runs_on, one.started is not None) == (None, True, True)
    again = job(task, stopping=True, settled="aborted", stops=1)
    assert jobs.stop([again]) == [Stopping()]
    [end] = seen(jobs, again)
    assert end.ended is not None
    assert (end.ended.how, end.ended.why, end.ended.by_itself) == ("stopped", "aborted", False)


@pytest.mark.parametrize("how", ["completed", "failed", "stopped"])
def test_before_an_abort_it_is_looked_whether_the_job_is_over(
    server: ClearmlServer, jobs: ClearmlBackend, how: str
) -> None:
    """One request for all; what has ended since the last poll is left alone, and keeps its end."""
    task, other = started(server, jobs), started(server, jobs)
    server.call(f"tasks.{how}", task=task, status_reason="its own")
    asked(server)
    both = [job(task, stopping=True, settled="aborted"), job(other, trial=1, stopping=True, settled="aborted")]
    assert jobs.stop(both) == [Stopping(over=True), Stopping()]
    assert asked(server) == ["tasks.get_all", "tasks.stopped"]
    assert (server.task(task)["status"], server.task(task)["status_reason"]) == (how, "its own")
    [end, _] = seen(jobs, job(task, stopping=True, stops=1), job(other, trial=1, stopping=True, settled="aborted"))
    assert end.ended is not None
    assert end.ended.how == how
    assert how != "stopped" or end.ended.why == "aborted by somebody (its own)"


def test_a_stop_that_is_asked_again_after_a_lost_answer_is_ours(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    """The job did not end by itself: the first request had stopped it."""
    task = started(server, jobs)
    server.fail("tasks.stopped", "reset", effect="after")
    told = job(task, stopping=True, settled="aborted")
    [answer] = jobs.stop([told])
    assert isinstance(answer, Refused)
    assert jobs.stop([told]) == [Stopping()]


def test_a_job_that_completes_between_the_look_and_the_stop_is_over(
    server: ClearmlServer, jobs: ClearmlBackend
) -> None:
    task = started(server, jobs)
    server.call("tasks.completed", task=task)
    assert jobs.stop([job(task, stopping=True, settled="pruned 1")]) == [Stopping(over=True)]


def test_those_that_this_process_has_not_seen_are_read_in_one_request_more(server: ClearmlServer) -> None:
    base = base_task(server)
    jobs = backend(server, base)
    tasks = [str(made(server, jobs, draft(trial))["id"]) for trial in range(3)]
    jobs.launch([job(task, trial=i, started=False, queued=False) for i, task in enumerate(tasks[:2])])
    asked(server)
    fresh = backend(server, base)
    asked(server)
    answers = fresh.stop([job(task, trial=i, started=False, queued=i < 2) for i, task in enumerate(tasks)])
    assert answers == [Stopping(), Stopping(), Ended(how="cancelled", why="stopped before it started")]
    two = ["tasks.dequeue", "tasks.stopped"]
    assert asked(server) == ["auth.login", "tasks.get_all", *two, *two, "tasks.stopped"]
    for task in tasks:
        never_runs(server, task)


def test_a_job_whose_enqueue_was_in_doubt_is_taken_from_its_queue(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    """The log does not say that a queue has it, and one has."""
    task = str(made(server, jobs, draft())["id"])
    server.fail("tasks.enqueue", "reset", effect="after")
    [answer] = jobs.launch([job(task, started=False, queued=False)])
    assert isinstance(answer, Refused)
    assert answer.in_doubt
    jobs.stop([job(task, started=False, queued=False)])
    never_runs(server, task)


def test_a_job_that_started_unseen_is_stopped_with_its_start_and_points(
    server: ClearmlServer, jobs: ClearmlBackend
) -> None:
    task = waiting(server, jobs)
    server.script(lambda task: Script.curve(*NAME, [0.5] * 9, end=None))
    server.advance(2)
    assert jobs.stop([job(task, started=False, stopping=True)]) == [Stopping()]
    [end] = seen(jobs, job(task, started=False, stopping=True))
    assert end.started is not None
    assert end.curves[0].iterations == (1, 2)
    assert end.ended is not None
    assert end.ended.how == "stopped"


@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.parametrize("how", ["completed", "failed"])
def test_a_job_that_is_over_keeps_its_end(server: ClearmlServer, jobs: ClearmlBackend, how: str, noticed: bool) -> None:
    """But one that failed since the last poll: a server lets it become stopped, and what was settled counts anyway."""
    task = started(server, jobs)
    server.call(f"tasks.{how}", task=task)
    if noticed:
        seen(jobs, job(task))
    over = noticed or how == "completed"
    assert jobs.stop([job(task, stopping=True)]) == [Stopping(over=over)]
    assert server.task(task)["status"] == (how if noticed or how == "completed" else "stopped")


def test_a_job_that_is_over_and_that_the_log_has_not_seen_start_keeps_its_end(server: ClearmlServer) -> None:
    """A controller was away for the whole of its life."""
    base = base_task(server)
    task = waiting(server, backend(server, base))
    server.call("tasks.started", task=task)
    server.call("tasks.completed", task=task)
    assert backend(server, base).stop([job(task, started=False, queued=False, stopping=True)]) == [Stopping(over=True)]
    assert server.task(task)["status"] == "completed"


def test_a_job_that_was_queued_again_under_its_id_never_starts_again(
    server: ClearmlServer, jobs: ClearmlBackend
) -> None:
    task = started(server, jobs)
    server.scripted.jobs.clear()  # type: ignore[union-attr]
    server.user.enqueue_again(task)
    server.scripted.dead = True  # type: ignore[union-attr]
    seen(jobs, job(task))
    assert jobs.stop([job(task, stopping=True)]) == [Stopping()]
    never_runs(server, task)


def test_a_job_that_was_reset_is_stopped_all_the_same(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    task = started(server, jobs)
    server.user.reset(task)
    assert jobs.stop([job(task, stopping=True)]) == [Stopping()]
    assert server.task(task)["status"] == "stopped"


def test_a_job_that_was_deleted_is_lost_as_the_next_poll_reads(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    task = started(server, jobs)
    server.user.delete(task)
    assert jobs.stop([job(task, stopping=True)]) == [Stopping()]
    [end] = seen(jobs, job(task, stopping=True))
    assert end.ended == Ended(how="lost", why="its task was deleted")


def test_one_that_does_not_answer_spares_the_others_its_time_out(server: ClearmlServer, jobs: ClearmlBackend) -> None:
    task = started(server, jobs)
    fault = server.fail("tasks.stopped", "reset", times=None)
    answers = jobs.stop([job(task, trial=i) for i in range(4)])
    assert fault.hits == 1
    assert all(isinstance(answer, Refused) for answer in answers)


# ---------------------------------------------------------------- in a search


@pytest.mark.parametrize("effect", ["before", "after"])
def test_a_stop_whose_answer_is_lost_is_sent_again(server: ClearmlServer, path: Path, effect: Any) -> None:
    server.script(falling(server, 9, end=None))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_iteration_per_job=2))
    server.fail("tasks.stopped", "reset", effect=effect, times=3)
    state = run(path, clock=Hours(server))
    assert outcomes(state) == [("completed", "")]
    assert len([e for e in of(path, EffectFailed) if e.effect == "stop"]) == (3 if effect == "before" else 1)
    assert our_tasks(server)[0]["status_message"] == "limit"


def test_a_pruned_job_has_its_verdict_in_its_status(server: ClearmlServer, path: Path) -> None:
    server.script(lambda task: Script.curve(*NAME, [0.75 if t == "mine" else 0.5 for t in range(9)], end=None))
    pruner = ComponentConfig("ThresholdPruner", {"upper": 0.25})
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_iteration_per_job=9, pruner=pruner))
    clock = Hours(server, then=lambda waits: clock.stop() if waits > 20 else None)
    run(path, clock=clock)
    verdicts = of(path, JobPruned)
    assert verdicts
    stopped = [task["status_message"] for task in our_tasks(server) if task["status"] == "stopped"]
    assert stopped[: len(verdicts)] == [f"pruned {v.judged}" for v in verdicts][: len(stopped)]
    assert {e.why for e in of(path, JobEnded)} == {f"pruned {v.judged}" for v in verdicts}


def test_ctrl_c_with_abort_stops_what_runs_and_what_waits(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 9, end=None), slots=1)
    begin(path, unhurried(base_task(server), 3, max_iteration_per_job=9))
    clock = Hours(server, then=lambda waits: clock.stop("abort") if waits == 3 else None)
    run(path, clock=clock)
    assert [task["status"] for task in our_tasks(server)] == ["stopped"] * 3
    assert {task["status_message"] for task in our_tasks(server)} == {"aborted"}
    assert not server.state.queues[server.queue("default")]["entries"]


def slow_agent(server: ClearmlServer) -> None:
    """The first job is taken by an agent that starts it a step later; the others reach their limit."""

    def play(task: dict[str, Any]) -> Script:
        first = task["id"] == our_tasks(server)[0]["id"]
        return Script.curve(*NAME, [0.5] * 9, end=None) if first else Script.curve(*NAME, [0.5, 0.4, 0.3])

    server.script(play, slow=True, slots=1)


def test_a_job_that_starts_after_its_stop_is_stopped_by_the_next_controller(server: ClearmlServer, path: Path) -> None:
    """It held the only slot for ever: its stop counted, although it had not taken effect."""
    slow_agent(server)
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2, max_iteration_per_job=3))
    clock = Hours(server, then=lambda waits: clock.stop("abort") if waits == 1 else None)
    run(path, clock=clock)
    [task] = our_tasks(server)
    server.advance()
    assert task["status"] == "in_progress"
    state = run(path, clock=Hours(server))
    assert outcomes(state)[0] == ("aborted", "stopped with the run or the search")
    assert [state for state, _ in outcomes(state)[1:]] == ["completed"] * (len(our_tasks(server)) - 1)
    assert len(of(path, JobRunsOn)) == 1
    assert our_tasks(server)[0]["status"] == "stopped"
    assert [c.divergence for c in check_prefixes(rows(path)) if c.divergence] == []


class SeesStopsThrough(Controller):
    """A controller as `OptimizerOptuna.start()` drives it."""

    def run(self) -> Rest:
        rest = super().run()
        self.see_stops_through()
        return rest


def test_a_run_that_aborts_its_jobs_tells_one_that_starts_all_the_same_again(server: ClearmlServer, path: Path) -> None:
    """Nothing of it is in the log: the next controller reads the end as it would have without."""
    slow_agent(server)
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2, max_iteration_per_job=3))
    clock = Hours(server, then=lambda waits: clock.stop("abort") if waits == 1 else None)
    run(path, clock=clock, make=SeesStopsThrough)
    [task] = our_tasks(server)
    assert task["started"]  # the agent did start it
    never_runs(server, task["id"])
    assert of(path, JobRunsOn) == []
    assert [c.divergence for c in check_prefixes(rows(path)) if c.divergence] == []
    slow_agent(server)
    state = run(path, clock=Hours(server))
    assert outcomes(state)[0] == ("aborted", "stopped with the run or the search")
    assert [c.divergence for c in check_prefixes(rows(path)) if c.divergence] == []


def test_a_run_that_aborts_its_jobs_does_not_watch_them_for_ever(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 4, end=None))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_iteration_per_job=9))

    def again(waits: int) -> None:
        [task] = our_tasks(server)
        if waits == 3:
            clock.stop("abort")
        if task["status"] == "stopped":
            server.call("tasks.started", task=task["id"], force=True)

    clock = Hours(server, then=again)
    run(path, clock=clock, make=SeesStopsThrough)
    assert sum(clock.waits[3:]) < 120
    assert len([r for r in server.requests.kept if r.endpoint == "tasks.stopped"]) > 1


def test_a_job_that_will_not_stop_is_told_seldom(server: ClearmlServer, path: Path) -> None:
    """An agent starts it again after every stop: at most once in five minutes, and for as long as it takes."""
    server.script(falling(server, 4, end=None))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_iteration_per_job=2))

    def again(waits: int) -> None:
        [task] = our_tasks(server)
        if task["status"] == "stopped" and clock.now() - START < 2 * 3600e6:
            server.call("tasks.started", task=task["id"], force=True)

    clock = Hours(server, then=again)
    state = run(path, clock=clock)
    assert outcomes(state) == [("completed", "")]
    stops = [r for r in server.requests.kept if r.endpoint == "tasks.stopped"]
    assert 24 <= len(stops) <= 24 + 9
    assert len(of(path, JobRunsOn)) == len(stops) - 1


@pytest.mark.parametrize("scope", ["search", "run"])
def test_a_job_that_had_completed_before_the_stop_was_asked_keeps_its_value(
    server: ClearmlServer, path: Path, scope: Any
) -> None:
    """It ended seconds before the next poll would have seen it; its last point is not in the log yet."""
    server.script(falling(server, 2, end=None))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_iteration_per_job=9))

    def then(waits: int) -> None:
        if waits == 4:
            [task] = our_tasks(server)
            event = {"type": "training_stats_scalar", "task": task["id"], "metric": NAME[0], "variant": NAME[1]}
            server.call("events.add_batch", lines=[{**event, "iter": 3, "value": 0.125}])
            server.call("tasks.completed", task=task["id"])
            assert clock.controller is not None
            clock.controller.interrupt(StopAsked(scope=scope, jobs="abort"))

    clock = Hours(server, then=then)
    state = run(path, clock=clock)
    if scope == "run":
        state = run(path, clock=Hours(server))
    assert outcomes(state) == [("completed", "")]
    assert state.trials[0].finished is not None
    assert state.trials[0].finished.values == (0.125,)
    assert [c.divergence for c in check_prefixes(rows(path)) if c.divergence] == []


def never_runs(server: ClearmlServer, task: str) -> None:
    """Whatever a worker takes from the queues, it is not this one."""
    ran: list[str] = []

    def play(found: dict[str, Any]) -> None:
        ran.append(found["id"])

    server.script(play)
    server.advance(3)
    assert task not in ran
    assert server.task(task)["status"] == "stopped"
