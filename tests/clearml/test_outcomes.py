"""Each row of the table in docs/clearml.md: what happens to a task or to the server, and what becomes of the search."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.events import ClockTicked, EffectFailed, JobEnded, JobReturned, JobStarted, MetricObserved
from eventhpo.core.fold.state import State
from eventhpo.errors import Unanswered, Usage
from eventhpo.jobs.clearml import session
from replay.decide.check_prefixes import check_prefixes
from tests.clearml.harness import (
    METRIC,
    Hours,
    base_task,
    begin,
    falling,
    launches,
    of,
    our_tasks,
    outcomes,
    rows,
    run,
    unhurried,
)
from tests.clearml_server import ClearmlServer, Script
from tests.clearml_server.failing import How

NAME = (METRIC.title, METRIC.series)
HOUR = 3600.0
BROKEN: list[How] = ["500", "502", "503", "reset", "half", "no_meta", "not_json"]
DONE = [("completed", "")] * 4

Then = Callable[[dict[str, Any]], object]


def first(server: ClearmlServer) -> dict[str, Any]:
    return our_tasks(server)[0]


def one_job(
    server: ClearmlServer, path: Path, then: Then, *, at: int = 2, script: Script | None = None, **limits: Any
) -> State:
    """A search of one job that does nothing but run; *then* happens to its task at wait *at*."""
    only = script or Script.curve(*NAME, [0.5, 0.25], end=None)
    again = Script.curve(*NAME, [0.5, 0.25, 0.125])
    server.script(lambda task: only if task["id"] == first(server)["id"] and not began.get("it") else again)
    began: dict[str, bool] = {}

    def after(waits: int) -> None:
        if waits == at:
            began["it"] = True
            then(first(server))

    begin(path, unhurried(base_task(server), 1, **{"total_max_jobs": 1, **limits}))
    state = run(path, clock=Hours(server, then=after))
    assert not [c for c in check_prefixes(rows(path)) if c.divergence], "what was decided is decided again"
    return state


def ends(path: Path) -> list[tuple[str, str]]:
    return [(e.how, e.why) for e in of(path, JobEnded)]


# ---------------------------------------------------------------- what becomes of a task


@pytest.mark.parametrize("end", ["completed", "publish", "close"])
def test_a_task_that_completed_or_was_published_or_closed_has_completed(
    server: ClearmlServer, path: Path, end: str
) -> None:
    def then(task: dict[str, Any]) -> None:
        server.call("tasks.stopped" if end == "close" else "tasks.completed", task=task["id"])
        if end != "completed":
            server.call(f"tasks.{end}", task=task["id"])

    assert outcomes(one_job(server, path, then)) == [("completed", "")]


def test_a_task_that_failed_is_tried_again_as_max_failures_per_trial_says(server: ClearmlServer, path: Path) -> None:
    server.script(lambda task: Script.curve(*NAME, [0.5], end="failed", step=1))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2, max_failures_per_trial=2, max_failed_trials=1))
    state = run(path, clock=Hours(server))
    assert [len(t.attempts) for t in state.trials] == [3]
    assert outcomes(state) == [("failed", "failed")]
    assert {how for how, _ in ends(path)} == {"failed"}


def test_why_a_task_failed_is_what_its_status_says(server: ClearmlServer, path: Path) -> None:
    script = Script.curve(*NAME, [0.5], end="failed")
    server.script(lambda task: Script(script.points, end="failed", message="CUDA out of memory"))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_failures_per_trial=0))
    state = run(path, clock=Hours(server))
    assert outcomes(state) == [("failed", "failed; CUDA out of memory")]


def test_an_agent_that_is_ended_loses_its_job_which_is_run_again(server: ClearmlServer, path: Path) -> None:
    """A machine that is taken away, or SIGTERM: its agent says so in words that look like a person's."""
    said = {"status_reason": "user abort", "status_message": "Changed by clearml-agent spot:0"}
    state = one_job(server, path, lambda task: server.call("tasks.stopped", task=task["id"], **said), total_max_jobs=2)
    assert outcomes(state) == [("completed", "")]
    assert [end.how for end in of(path, JobEnded)] == ["lost", "completed"]
    assert of(path, JobEnded)[0].why == "its agent was ended (user abort; Changed by clearml-agent spot:0)"


def test_an_agent_that_carries_out_a_person_s_abort_does_not_lose_its_job(server: ClearmlServer, path: Path) -> None:
    said = {"status_reason": "task was stopped by tasks.stop", "status_message": "Changed by clearml-agent spot:0"}
    state = one_job(server, path, lambda task: server.call("tasks.stopped", task=task["id"], **said))
    assert [state for state, _ in outcomes(state)] == ["aborted"]


def test_a_task_that_a_person_stopped_is_aborted_and_keeps_what_its_status_says(
    server: ClearmlServer, path: Path
) -> None:
    state = one_job(server, path, lambda task: server.call("tasks.stopped", task=task["id"], status_message="by ada"))
    assert outcomes(state) == [("aborted", "aborted by somebody (by ada)")]
    assert len(state.trials[0].attempts) == 1


def test_a_task_aborted_in_the_web_page_is_aborted(server: ClearmlServer, path: Path) -> None:
    [(state, why)] = outcomes(one_job(server, path, lambda task: server.user.abort(task["id"])))
    assert (state, why[:19]) == ("aborted", "aborted by somebody")


def test_a_task_that_the_watchdog_stopped_is_lost_and_tried_again(server: ClearmlServer, path: Path) -> None:
    state = one_job(server, path, lambda task: server.watchdog(task["id"]), total_max_jobs=2)
    assert ends(path)[0][0] == "lost"
    assert "non-responsive" in ends(path)[0][1]
    assert outcomes(state) == [("completed", "")]
    assert len(state.trials[0].attempts) == 2


def test_a_lost_task_is_tried_again_as_max_lost_per_trial_says(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 1, end=None))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=3, max_lost_per_trial=2, max_failed_trials=1))
    state = run(path, clock=Hours(server, then=lambda waits: server.watchdog(*(t["id"] for t in our_tasks(server)))))
    assert len(state.trials[0].attempts) == 3
    assert outcomes(state)[0][0] == "failed"


def test_a_task_that_was_deleted_is_lost_and_tried_again(server: ClearmlServer, path: Path) -> None:
    state = one_job(server, path, lambda task: server.user.delete(task["id"]), total_max_jobs=2)
    assert ends(path)[0] == ("lost", "its task was deleted")
    assert outcomes(state) == [("completed", "")]


def test_a_task_whose_agent_died_is_lost_after_20_minutes_and_tried_again(server: ClearmlServer, path: Path) -> None:
    clock: dict[str, float] = {}

    def die(task: dict[str, Any]) -> None:
        assert server.scripted is not None
        server.scripted.dead = True
        clock["died"] = server.clock.now().timestamp()

    def after(waits: int) -> None:
        assert server.scripted is not None
        if waits == 3:
            die(first(server))
        if of_retry(server) and "retried" not in clock:
            clock.setdefault("retried", server.clock.now().timestamp())
            server.scripted.jobs.clear()
            server.scripted.dead = False

    server.script(falling(server, 3, end="completed"))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2))
    state = run(path, clock=Hours(server, then=after))
    assert 1200 < clock["retried"] - clock["died"] < 1200 + 2 * 120 + 10
    assert ends(path)[0][0] == "lost"
    assert "its worker scripted:0 is gone" in ends(path)[0][1]
    assert outcomes(state) == [("completed", "")]


def of_retry(server: ClearmlServer) -> list[dict[str, Any]]:
    return our_tasks(server)[1:]


def under_a_worker(server: ClearmlServer, path: Path, runs: str | None, seconds: float) -> float:
    """A search whose first task falls silent for *seconds*; its worker reports that it *runs* a task meanwhile.

    Return for how long it was silent before it was taken for lost.
    """
    at: dict[str, float] = {}

    def after(waits: int) -> None:
        assert server.scripted is not None
        now = server.clock.now().timestamp()
        if waits == 3:
            server.scripted.dead, at["silent"] = True, now
        if server.scripted.dead:
            server.call("workers.status_report", worker="scripted:0", timestamp=0, **({"task": runs} if runs else {}))
        if of_retry(server) and "retried" not in at:
            at["retried"] = now
            server.scripted.jobs.clear()
        if waits > 3 and (now - at["silent"] > seconds or "retried" in at):
            server.scripted.dead = False

    server.script(falling(server))
    begin(path, unhurried(base_task(server), 1, max_iteration_per_job=None, total_max_jobs=1))
    state = run(path, clock=Hours(server, then=after))
    assert outcomes(state) == [("completed", "")]
    return at.get("retried", at["silent"]) - at["silent"]


def test_a_silent_task_whose_worker_reports_no_task_is_not_lost_within_an_hour(
    server: ClearmlServer, path: Path
) -> None:
    assert under_a_worker(server, path, None, 0.8 * HOUR) == 0
    assert {how for how, _ in ends(path)} == {"completed"}


def test_it_is_lost_after_an_hour(server: ClearmlServer, path: Path) -> None:
    assert HOUR < under_a_worker(server, path, None, 9 * HOUR) < HOUR + 2 * 120 + 10
    assert ends(path)[0][0] == "lost"
    assert "its worker scripted:0 runs nothing" in ends(path)[0][1]


def test_a_silent_task_whose_worker_runs_another_one_is_lost_after_20_minutes(
    server: ClearmlServer, path: Path
) -> None:
    """An agent that was restarted under its name."""
    other = server.make_task("other")
    assert 1200 < under_a_worker(server, path, other, 9 * HOUR) < 1200 + 2 * 120 + 10
    assert ends(path)[0][0] == "lost"
    assert f"its worker scripted:0 runs {other}" in ends(path)[0][1]


def test_a_lost_task_that_shows_itself_is_stopped_and_ends_a_second_time(server: ClearmlServer, path: Path) -> None:
    """Its retry waits in the queue meanwhile, of a worker that was cut off."""

    def after(waits: int) -> None:
        assert server.scripted is not None
        if waits == 3:
            server.scripted.dead = True
        if of_retry(server):
            server.scripted.dead = False

    server.script(falling(server, 3, end="completed"))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2))
    state = run(path, clock=Hours(server, then=after))
    lost, again = our_tasks(server)
    assert [(e.trial, e.attempt) for e in of(path, JobReturned)] in ([(0, 0)], [])
    assert lost["status"] in ("stopped", "completed")
    assert [how for how, _ in ends(path)].count("lost") == 1
    assert len([e for e in of(path, JobEnded) if e.attempt == 0]) == 2
    assert again["status"] == "completed"
    assert outcomes(state) == [("completed", "")]


@pytest.mark.parametrize("what", ["reset", "dequeue"])
def test_a_task_that_was_reset_or_taken_from_its_queue_is_aborted_after_2_minutes(
    server: ClearmlServer, path: Path, what: str
) -> None:
    at: dict[str, float] = {}

    def then(task: dict[str, Any]) -> None:
        server.simulate_user(what, task["id"])
        at["then"] = server.clock.now().timestamp()

    if what == "dequeue":  # before anybody takes it
        server.script(lambda task: None)
        begin(path, unhurried(base_task(server), 1, total_max_jobs=1))
        clock = Hours(server, then=lambda waits: then(first(server)) if waits == 2 else waits < 20 or clock.stop())
        server.scripted.dead = True  # type: ignore[union-attr]
        state = run(path, clock=clock)
    else:
        state = one_job(server, path, then, script=Script.curve(*NAME, [0.5], end=None))
    (outcome, why), *_ = outcomes(state)
    assert outcome == "aborted"
    assert why == f"its task was {'reset' if what == 'reset' else 'taken out of its queue'} by somebody"
    assert server.clock.now().timestamp() - at["then"] > 120
    assert len(state.trials[0].attempts) == 1


def test_a_queue_that_is_deleted_under_a_queued_job_is_told_and_the_job_waits_for_another(
    server: ClearmlServer, path: Path
) -> None:
    errors: list[str] = []

    def after(waits: int) -> None:
        if waits == 2:
            server.scripted = None
            server.user.delete_queue(server.queue())
        errors[:] = [e.error for e in of(path, EffectFailed)]
        if errors and "default" not in {q["name"] for q in server.state.queues.values()}:
            server.call("queues.create", name="default")
            server.script(falling(server))

    server.script(lambda task: None, slots=0)  # nobody takes it
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1))
    state = run(path, clock=Hours(server, then=after))
    how, why = ends(path)[0]
    assert how == "lost"
    assert why.startswith("its queue was deleted: Queue ")
    assert "the queue default is gone" in errors[0]
    assert "launches wait for a queue of that name" in errors[0]
    assert outcomes(state) == [("completed", "")]
    assert state.trials[0].attempts[0].charge == 0


@pytest.mark.parametrize("pause", [0, 1])
def test_an_autoscaler_queues_a_task_again_and_the_same_attempt_goes_on(
    server: ClearmlServer, path: Path, pause: int
) -> None:
    """Its points come again, two of them with other values: kept, and of no effect."""

    def then(task: dict[str, Any]) -> None:
        server.user.enqueue_again(task["id"])

    state = one_job(server, path, then, at=4, script=Script.curve(*NAME, [0.5, 0.375], end=None))
    assert len(our_tasks(server)) == 1
    attempt = state.trials[0].attempts[0]
    assert attempt.curves[0].values == [0.5, 0.375, 0.125]
    assert attempt.curves[0].repeats == {2: 0.25}
    assert outcomes(state) == [("completed", "")]
    assert len(of(path, JobStarted)) == 1


def test_a_task_that_is_archived_when_it_is_over_is_what_it_was(server: ClearmlServer, path: Path) -> None:
    def then(task: dict[str, Any]) -> None:
        server.call("tasks.completed", task=task["id"])
        server.user.archive(task["id"])

    assert outcomes(one_job(server, path, then)) == [("completed", "")]


def test_a_running_task_that_is_archived_is_stopped_by_the_server_and_so_aborted(
    server: ClearmlServer, path: Path
) -> None:
    assert outcomes(one_job(server, path, lambda task: server.user.archive(task["id"])))[0][0] == "aborted"


def test_changed_tags_change_nothing(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))

    def after(waits: int) -> None:
        for task in our_tasks(server):
            server.user.tag(task["id"], ["optimization", "of somebody"])

    begin(path, unhurried(base_task(server)))
    assert outcomes(run(path, clock=Hours(server, then=after))) == DONE
    assert len(our_tasks(server)) == 4


def test_a_task_that_is_edited_before_its_launch_runs_as_it_stands(server: ClearmlServer, path: Path) -> None:
    """What it ran with is in its end."""
    server.script(falling(server))

    def after(waits: int) -> None:
        if waits == 1:
            first(server)["hyperparams"]["General"]["lr"]["value"] = "0.9375"

    server.fail("tasks.enqueue", "reset", times=1)
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1))
    state = run(path, clock=Hours(server, then=after))
    assert outcomes(state) == [("completed", "")]
    [ended] = of(path, JobEnded)
    assert ended.hyper_parameters["General/lr"] == "0.9375"
    assert state.trials[0].attempts[0].curves[0].values[-1] > 0.9375


def test_a_script_that_reports_something_else_has_failed_and_says_what_it_reported(
    server: ClearmlServer, path: Path
) -> None:
    server.script(lambda task: Script.curve("valid", "loss", [0.5]))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1))
    [(state, why)] = outcomes(run(path, clock=Hours(server)))
    assert state == "failed"
    assert why == "reported no validation/loss; it did report valid/loss"


# ---------------------------------------------------------------- what becomes of the server


@pytest.mark.parametrize("how", BROKEN)
def test_an_hour_without_answers_is_survived_with_few_requests_and_every_reason_told(
    server: ClearmlServer, path: Path, how: How
) -> None:
    """All requests fail, whatever they do; in the log stands how often, and why."""
    server.script(falling(server, 6))
    begin(path, unhurried(base_task(server), max_iteration_per_job=6))
    outage: dict[str, Any] = {}

    def after(waits: int) -> None:
        if waits == 3:
            outage["begin"] = clock.now()
            outage["fault"] = server.fail(lambda request: True, how, times=None)
        elif "fault" in outage and clock.now() - outage["begin"] > HOUR * 1e6:
            outage["fault"].cancel()

    clock = Hours(server, then=after)
    state = run(path, clock=clock)
    assert outcomes(state) == DONE
    assert len(our_tasks(server)) == 4
    assert set(launches(server).values()) == {1}
    failures = of(path, EffectFailed)
    assert failures
    assert len(failures) <= outage["fault"].hits <= 3 * 25
    assert all(event.error for event in failures)
    polls = [event.count for event in failures if event.effect == "poll"]
    assert polls == list(range(1, len(polls) + 1))
    assert not [c for c in check_prefixes(rows(path)) if c.divergence]


def test_the_back_off_is_a_second_doubling_to_five_minutes(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 2, end=None))
    begin(path, unhurried(base_task(server), 1, pool_period_min=60.0))
    clock = Hours(server, then=lambda waits: server.down() if waits == 2 else clock.stop() if waits > 200 else None)
    run(path, clock=clock)
    gaps = [round((b.clock - a.clock) / 1e6) for a, b in itertools.pairwise(of(path, EffectFailed))]
    least = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert all(low <= gap <= low + 121 for low, gap in zip(least, gaps, strict=False))
    assert gaps[:5] == [low + 2 for low in least[:5]]  # and the pause before a poll
    assert len(gaps) > len(least)


def test_a_server_that_is_away_for_an_hour(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 6))
    begin(path, unhurried(base_task(server), max_iteration_per_job=6))

    def after(waits: int) -> None:
        if waits == 3:
            server.down()
        elif sum(clock.waits) > HOUR:
            server.up()

    clock = Hours(server, then=after)
    assert outcomes(run(path, clock=clock)) == DONE
    assert not any(event.in_doubt for event in of(path, EffectFailed))


def test_a_server_that_times_out_after_doing_the_work(
    server: ClearmlServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "READ", 0.1)
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    faults = [server.fail(name, "hang", effect="after", times=1) for name in ("tasks.clone", "tasks.enqueue")]
    assert outcomes(run(path, clock=Hours(server))) == DONE
    assert [fault.hits for fault in faults] == [1, 1]
    assert len(our_tasks(server)) == 4
    assert set(launches(server).values()) == {1}


def test_ctrl_c_ends_the_wait_for_a_server_at_once(server: ClearmlServer, path: Path) -> None:
    """Also with abort: the stops are tried once."""
    server.script(falling(server, 2, end=None))
    begin(path, unhurried(base_task(server)))

    def after(waits: int) -> None:
        if waits == 3:
            server.down()
        if waits == 9:
            clock.stop("abort")

    clock = Hours(server, then=after)
    state = run(path, clock=clock)
    assert len(clock.waits) == 9
    assert state.finished is None
    assert state.run_stop is not None
    assert len([e for e in of(path, EffectFailed) if e.effect == "stop"]) == 2


@pytest.mark.parametrize("how", ["down", *BROKEN])
def test_a_controller_that_gets_no_answer_begins_nothing(server: ClearmlServer, path: Path, how: Any) -> None:
    begin(path, unhurried(base_task(server)))
    before = rows(path)
    if how == "down":
        server.down()
    else:
        server.fail("tasks.get_all", how, times=None)
    with pytest.raises(Unanswered, match="nothing was begun") as refused:
        run(path)
    assert refused.value.code == 4
    assert rows(path) == before


def test_credentials_that_are_refused_end_the_command_before_a_start(server: ClearmlServer, path: Path) -> None:
    begin(path, unhurried(base_task(server)))
    server.api.options.access_key = "another"
    with pytest.raises(Usage, match="does not let us in") as refused:
        run(path)
    assert refused.value.code == 2
    assert len(rows(path)) == 1


def test_credentials_that_are_refused_later_are_waited_for_with_the_reason(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 6))
    begin(path, unhurried(base_task(server), max_iteration_per_job=6))
    key = server.api.options.access_key

    def after(waits: int) -> None:
        if waits == 3:
            server.expire_tokens()
            server.api.options.access_key = "another"
        if waits == 12:
            server.api.options.access_key = key

    assert outcomes(run(path, clock=Hours(server, then=after))) == DONE
    assert any("does not let us in" in event.error for event in of(path, EffectFailed))


def test_tokens_that_expire_are_renewed_and_nobody_notices(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    server.requests.clear()
    state = run(path, clock=Hours(server, then=lambda waits: server.expire_tokens()))
    assert outcomes(state) == DONE
    assert not of(path, EffectFailed)
    assert server.count("auth.login") > 3


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_off_by_a_day_changes_nothing(server: ClearmlServer, path: Path, days: int) -> None:
    """Jobs are timed by the server's `Date` and its own times of tasks; here it and we are a day apart or more."""
    server.clock.set_off(days * 86_400)
    server.script(falling(server, 6))
    begin(path, unhurried(base_task(server), max_iteration_per_job=6, time_limit_per_job=60.0))
    state = run(path, clock=Hours(server))
    assert outcomes(state) == DONE
    assert all(0 < a.ended.finished_at - a.started_at < 600e6 for t in state.trials for a in t.attempts)  # type: ignore[operator,union-attr]
    assert all(e.how == "completed" for e in of(path, JobEnded))


def test_the_time_limit_of_a_job_is_by_the_servers_clock(server: ClearmlServer, path: Path) -> None:
    """Ours stands still here."""
    server.script(falling(server, 2, end=None))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, time_limit_per_job=30.0))
    clock = Hours(then=lambda waits: server.clock.advance(600) if waits == 4 or waits > 6 else None)
    state = run(path, clock=clock)
    [(outcome, why)] = outcomes(state)
    assert (outcome, why) == ("completed", "reached time_limit_per_job")
    assert max(tick.jobs_clock for tick in of(path, ClockTicked)) > 0
    assert first(server)["status_message"] == "time"


def test_one_bad_job_does_not_end_the_search(server: ClearmlServer, path: Path) -> None:
    """Deleted, aborted, failed and silent beside each other."""
    fates = iter(["delete", "abort", "fail"])
    done: set[str] = set()
    server.script(falling(server, 3))

    def after(waits: int) -> None:
        for task in our_tasks(server):
            if task["status"] == "in_progress" and task["id"] not in done:
                done.add(task["id"])
                fate = next(fates, None)
                if fate == "fail":
                    server.call("tasks.failed", task=task["id"])
                elif fate is not None:
                    server.simulate_user(fate, task["id"])

    begin(path, unhurried(base_task(server), total_max_jobs=6))
    state = run(path, clock=Hours(server, then=after))
    assert state.finished is not None
    assert [s for s, _ in outcomes(state)].count("aborted") == 1
    assert [s for s, _ in outcomes(state)].count("completed") >= 4


def test_reports_of_a_job_that_failed_are_kept(server: ClearmlServer, path: Path) -> None:
    server.script(lambda task: Script.curve(*NAME, [0.5, 0.25], end="failed"))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1, max_failures_per_trial=0))
    state = run(path, clock=Hours(server))
    assert state.trials[0].attempts[0].curves[0].values == [0.5, 0.25]
    assert [e.values for e in of(path, MetricObserved)] in ([(0.5,), (0.25,)], [(0.5, 0.25)])
