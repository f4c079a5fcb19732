"""How an attempt ends: the table row by row, and what decides between two ends."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from optuna.trial import TrialState

from eventhpo.controller.effects import receipt
from eventhpo.core.fold.event_parts import OtherSeries
from eventhpo.core.fold.events import (
    BudgetUpdated,
    EffectFailed,
    JobCreated,
    JobEnded,
    JobPruned,
    JobQueued,
    JobReturned,
    JobsContinued,
    JobStarted,
    JobStopSent,
    MetricObserved,
    ReportsRead,
    SearchFinished,
    StopAsked,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions, rank
from eventhpo.core.search.spec import ComponentConfig, DiscreteParameterRange, Objective
from eventhpo.jobs.protocol import Ended
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from tests.core.rules import OVER_ONE, RUNGS, Hand, Log, by_attempt, deeds, each, ended, line, observed, run, shown

GREATEST = Objective("validation", "loss", "max_global")
FAIL, COMPLETE, PRUNED, RUNNING = TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING


def one(path: Path, *scripts: Script, cut: int = 20, **what: object) -> Log:
    """Return the log of a search of one trial; *scripts* are those of its attempts."""
    settings = {"pruner": OVER_ONE, "total_max_jobs": 1, "max_failures_per_trial": 2, "max_lost_per_trial": 2}
    return run(path / "s.db", search(**(settings | what)), by_attempt(*scripts), cut=cut)  # type: ignore[arg-type]


def is_told(log: Log, state: TrialState, value: float | None = None) -> None:
    """Assert what sampler and pruner see of trial 0."""
    seen = shown(log.state)[0]
    assert (seen.state, seen.values) == (state, None if value is None else [value])


def attempts(log: Log, trial: int = 0) -> int:
    return len(log.of(JobCreated, trial))


# ---------------------------------------------------------------- the table


def test_an_exit_without_fault_with_a_value_completes_the_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4)))
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="completed", values=(0.4,))
    is_told(log, COMPLETE, 0.4)
    assert attempts(log) == 1


def test_an_extremum_counts_over_the_whole_curve(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.9, 0.4)), objectives=(GREATEST,))
    assert log.ends() == [("completed", (0.9,))]
    is_told(log, COMPLETE, 0.9)


def test_a_job_stopped_at_the_limit_of_iterations_completes_its_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4, 0.3, 0.2), hangs=True), max_iteration_per_job=3)
    assert log.one(JobEnded).how == "stopped"
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="completed", values=(0.3,))
    is_told(log, COMPLETE, 0.3)
    assert attempts(log) == 1


def test_a_job_stopped_at_its_time_limit_with_a_value_completes_its_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4), hangs=True), time_limit_per_job=1.0)
    assert log.one(JobEnded).how == "stopped"
    assert log.one(TrialFinished) == TrialFinished(
        trial=0, state="completed", values=(0.4,), why="reached time_limit_per_job"
    )
    is_told(log, COMPLETE, 0.4)
    assert attempts(log) == 1


@pytest.mark.parametrize("how", ["stopped", "failed", "lost"])
def test_a_job_at_its_time_limit_without_a_value_fails_its_trial_and_is_not_retried(how: str) -> None:
    hand = Hand(search(time_limit_per_job=1.0, max_failures_per_trial=5, max_lost_per_trial=5))
    hand.later(jobs=1.0)
    hand.poll(hand.tick())
    hand.poll(observed(0, 0, line(0.5)), ended(0, how=how))
    assert hand.said[:3] == ["BudgetUpdated 0.0", "TrialFinished 0 failed", "TrialSuggested 1"]
    why = "reached time_limit_per_job; reported no validation/loss in time; "
    assert hand.log().one(TrialFinished).why == why + "it did report validation/loss too late, from iteration 1 on"
    is_told(hand.log(), FAIL)


def test_a_pruned_job_prunes_its_trial_which_shows_its_judged_points_only(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 2.0, 0.1, 0.2), hangs=True))
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="pruned")
    is_told(log, PRUNED, 2.0)
    assert shown(log.state)[0].intermediate_values == dict(line(0.5, 2.0))
    assert log.state.totals.trials == {"completed": 0, "pruned": 1, "failed": 0, "aborted": 0}
    assert attempts(log) == 1


@pytest.mark.parametrize(
    ("others", "reported"),
    [(("acc", "time"), "other/acc, other/time"), ((), "nothing")],
)
def test_an_exit_without_fault_and_without_a_value_fails_the_trial_and_names_what_was_reported(
    others: tuple[str, ...], reported: str
) -> None:
    hand = Hand(search(max_failures_per_trial=5))
    found = tuple(OtherSeries("other", name, 0, 1.0, 1.0, 1.0) for name in others)
    hand.poll(reports(0, found), ended(0))
    assert hand.said[:3] == ["BudgetUpdated 0.0", "TrialFinished 0 failed", "TrialSuggested 1"]
    log = hand.log()
    assert log.one(TrialFinished).why == f"reported no validation/loss; it did report {reported}"
    is_told(log, FAIL)


def reports(trial: int, others: tuple[OtherSeries, ...]) -> ReportsRead:
    return ReportsRead(trial=trial, attempt=0, from_=0, to=1, others=others)


def test_with_several_objectives_one_without_a_value_fails_the_trial() -> None:
    accuracy = Objective("validation", "accuracy", "max")
    hand = Hand(search(objectives=(Objective("validation", "loss", "min"), accuracy)))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert hand.log().one(TrialFinished).why == "reported no validation/accuracy; it did report validation/loss"
    is_told(hand.log(), FAIL)


def test_an_exit_with_a_fault_is_retried_and_then_fails_the_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5), how="failed"))
    assert [e.how for e in log.of(JobEnded)] == ["failed"] * 3  # two retries
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="failed", why="it failed")
    is_told(log, FAIL)


def test_a_retry_that_ends_well_completes_the_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5), how="failed"), Script(points=line(0.6)))
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="completed", values=(0.6,))
    is_told(log, COMPLETE, 0.6)


def test_a_job_killed_by_a_signal_is_a_failure_like_others() -> None:
    hand = Hand(search(max_failures_per_trial=1))
    assert hand.poll(ended(0, how="failed", signal=9, why="killed by SIGKILL"))[1] == "JobCreated 0.1 slot 0"
    assert hand.poll(ended(0, 1, how="failed", signal=9, why="killed by SIGKILL"))[1] == "TrialFinished 0 failed"
    assert hand.log().one(TrialFinished).why == "killed by SIGKILL"


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_so_many_retries_after_failures_as_allowed_and_so_many_after_losses(most: int, tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    failed = one(tmp_path, Script(how="failed"), max_failures_per_trial=most, max_lost_per_trial=0)
    lost = one(tmp_path / "lost", Script(how="lost"), max_lost_per_trial=most, max_failures_per_trial=0)
    assert attempts(failed) == attempts(lost) == most + 1


def test_losses_have_a_limit_of_their_own() -> None:
    """Failed, lost, failed: neither count has passed its limit of one until the second failure."""
    hand = Hand(search(max_failures_per_trial=1, max_lost_per_trial=1, total_max_jobs=3))
    assert hand.poll(ended(0, how="failed"))[1] == "JobCreated 0.1 slot 0"
    assert hand.poll(ended(0, 1, how="lost"))[1] == "JobCreated 0.2 slot 0"
    assert hand.poll(ended(0, 2, how="failed"))[1] == "TrialFinished 0 failed"
    hand.log()


def test_a_lost_job_that_is_not_retried_fails_its_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5), how="lost"), max_lost_per_trial=0)
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="failed", why="it lost")
    is_told(log, FAIL)


@pytest.mark.parametrize("at_limit", [False, True])
def test_a_last_value_that_is_nan_fails_the_trial_without_a_retry(at_limit: bool, tmp_path: Path) -> None:
    script = Script(points=line(0.5, 0.4, math.nan))
    log = one(tmp_path, script, pruner=ComponentConfig("NopPruner"), max_iteration_per_job=3 if at_limit else 9)
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="failed", why="its value is NaN (nan_policy = fail)")
    is_told(log, FAIL)
    assert attempts(log) == 1


def test_a_last_value_that_is_nan_is_told_as_the_worst_of_the_completed_trials(tmp_path: Path) -> None:
    jobs = each(*(Script(points=line(0.1, v)) for v in (0.5, 0.9, 0.7, math.nan)))
    log = run(tmp_path / "s.db", search(nan_policy="worst", total_max_jobs=4), jobs)
    assert log.ends() == [("completed", (v,)) for v in (0.5, 0.9, 0.7, 0.9)]
    assert log.of(TrialFinished)[3].why == "its value is NaN: told as the worst"
    seen = shown(log.state)[3]
    assert (seen.state, seen.value) == (COMPLETE, 0.9)
    assert math.isnan(rank.values(log.state, log.state.trials[3])[0])  # type: ignore[arg-type]


def test_the_worst_of_an_objective_to_be_maximised_is_the_least(tmp_path: Path) -> None:
    jobs = each(*(Script(points=line(v)) for v in (0.5, 0.2, math.nan)))
    objective = Objective("validation", "loss", "max")
    log = run(tmp_path / "s.db", search(objectives=(objective,), nan_policy="worst", total_max_jobs=3), jobs)
    assert log.ends()[2] == ("completed", (0.2,))


def test_a_nan_with_nothing_completed_yet_fails_its_trial(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(math.nan)), pruner=ComponentConfig("NopPruner"), nan_policy="worst")
    assert log.one(TrialFinished).state == "failed"
    assert log.one(TrialFinished).why == "its value is NaN, and no completed trial has a worst value yet"
    is_told(log, FAIL)


def test_an_extremum_is_nan_only_where_every_point_is(tmp_path: Path) -> None:
    """The objective's value decides: the last one, or the extremum."""
    jobs = each(Script(points=line(0.5, math.nan)), Script(points=line(math.nan, math.nan)))
    log = run(tmp_path / "s.db", search(objectives=(GREATEST,), total_max_jobs=2), jobs)
    assert log.ends() == [("completed", (0.5,)), ("failed", None)]


FOUR = (DiscreteParameterRange(name="General/x", values=(1, 2, 3, 4)),)


@pytest.mark.parametrize("ask", ["stop", "compute"])
def test_a_job_stopped_with_the_search_aborts_its_trial_whose_point_is_free_again(ask: str) -> None:
    hand = Hand(search(space=FOUR, compute_time_limit=2.0, total_max_jobs=9))
    hand.poll(observed(0, 0, line(0.5)))
    hand.later(jobs=2.0)
    if ask == "stop":
        hand.record(StopAsked(scope="search"), None)
        hand.carry_on()
    else:
        hand.poll(hand.tick())
    hand.poll(ended(0, how="stopped"))
    assert hand.said[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 aborted"]
    log = hand.log()
    assert log.one(TrialFinished).values is None
    is_told(log, FAIL)
    assert (log.state.taken, log.state.totals.tried) == ({}, 0)
    assert attempts(log) == 1


@pytest.mark.parametrize("how", ["completed", "failed", "lost", "stopped"])
def test_what_a_job_does_behind_the_abort_does_not_change_it(how: str) -> None:
    hand = Hand(search(max_failures_per_trial=5))
    hand.poll(observed(0, 0, line(0.5)))
    hand.record(StopAsked(scope="search"), None)
    hand.carry_on()
    hand.poll(observed(0, 0, line(0.1, start=2), start=1), ended(0, how=how))
    assert hand.log().one(TrialFinished).state == "aborted"
    assert attempts(hand.log()) == 1


def test_a_job_aborted_by_a_person_aborts_its_trial_and_is_not_retried(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4), how="stopped"))
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="aborted", why="it stopped")
    is_told(log, FAIL)
    assert attempts(log) == 1
    assert log.state.totals.trials["completed"] == 0


def test_a_launch_that_failed_for_good_is_a_failure_is_charged_nothing_and_retried() -> None:
    hand = Hand(search(max_failures_per_trial=1, max_iteration_per_job=4, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    hand.answers["launch", 1, 0] = ended(1, how="launch_failed", why="no such command")
    hand.answers["launch", 1, 1] = ended(1, 1, how="launch_failed", why="no such command")
    hand.carry_on()
    assert hand.log().verdicts(1) == []
    log = hand.log()
    assert [e.iterations for e in log.of(BudgetUpdated, 1)] == [0, 0]
    assert log.one(TrialFinished, 1) == TrialFinished(trial=1, state="failed", why="no such command")
    assert shown(log.state)[1].state is FAIL
    assert attempts(log, 1) == 2


# ---------------------------------------------------------------- the log's order decides


@pytest.mark.parametrize(
    ("how", "state"), [("completed", "completed"), ("failed", "failed"), ("stopped", "aborted"), ("lost", "failed")]
)
def test_an_end_read_before_the_verdict_counts(how: str, state: str) -> None:
    hand = Hand(search(pruner=OVER_ONE, max_failures_per_trial=0, max_lost_per_trial=0))
    hand.poll(observed(0, 0, line(0.5, 2.0, 0.4)), ended(0, how=how))
    log = hand.log()
    assert log.of(JobPruned) == []
    assert log.one(TrialFinished).state == state
    assert log.verdicts(0) == ([("too late", 2, 2), ("go on", 3, 3)] if how == "completed" else [])


def test_a_prune_that_came_too_late_filled_the_rungs_all_the_same() -> None:
    """Trial 1 is told apart from trial 0 at its first rung, too late; its rung stands in the log."""
    hand = Hand(search(pruner=RUNGS, num_concurrent_workers=2, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.1, 0.1)), observed(1, 0, line(0.7, 0.6)), ended(1))
    log = hand.log()
    assert log.verdicts(1)[0] == ("too late", 1, 1)
    late = next(v for e in log.of(JobsContinued) for v in e.verdicts if v.too_late)
    assert [(a.iteration, a.name, a.value) for a in late.attrs] == [(1, "completed_rung_0", 0.7)]


def test_the_points_of_an_attempt_that_completed_are_judged_to_the_last_one() -> None:
    hand = Hand(search(pruner=OVER_ONE))
    hand.poll(observed(0, 0, line(2.0, 2.0, 0.5)), ended(0))
    assert hand.log().verdicts(0) == [("too late", 1, 1), ("too late", 2, 2), ("go on", 3, 3)]
    assert shown(hand.state)[0].intermediate_values == dict(line(2.0, 2.0, 0.5))


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_the_points_of_an_attempt_at_its_limit_are_judged_to_that_of_the_limit(how: str) -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=3))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3, 0.2, 0.1)), ended(0, how=how))
    assert hand.log().verdicts(0) == [("go on", 3, 3)]


@pytest.mark.parametrize("how", ["completed", "failed", "lost", "stopped"])
@pytest.mark.parametrize("more", [(), line(0.1, 0.2, start=3)])
def test_a_verdict_read_before_the_end_prunes_however_the_process_ends(
    how: str, more: tuple[tuple[int, float], ...]
) -> None:
    hand = Hand(search(pruner=OVER_ONE, max_failures_per_trial=5, max_lost_per_trial=5, max_iteration_per_job=4))
    assert hand.poll(observed(0, 0, line(0.5, 2.0)))[-1] == "Stop 0.0"
    behind = [observed(0, 0, more, start=2)] if more else []
    assert hand.poll(*behind, ended(0, how=how))[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 pruned"]
    log = hand.log()
    assert log.of(BudgetUpdated)[0].iterations == 2
    is_told(log, PRUNED, 2.0)
    assert attempts(log) == 1


@pytest.mark.parametrize("how", ["completed", "failed", "lost", "stopped"])
def test_a_limit_reached_first_completes_even_if_the_job_then_crashes(how: str) -> None:
    hand = Hand(search(max_iteration_per_job=3, max_failures_per_trial=5))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)))
    assert hand.poll(ended(0, how=how))[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 completed"]
    is_told(hand.log(), COMPLETE, 0.3)


def test_a_limit_reached_before_the_search_is_stopped_completes_the_trial() -> None:
    hand = Hand(search(max_iteration_per_job=3))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)))
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == ["SearchEnding stop", "Stop 0.0"]
    hand.poll(ended(0, how="stopped"))
    assert hand.log().one(TrialFinished).state == "completed"


def test_a_prune_before_the_search_is_stopped_prunes_the_trial() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=3))
    hand.poll(observed(0, 0, line(2.0)))
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == ["SearchEnding stop"]  # its stop is out already
    hand.poll(ended(0, how="stopped"))
    assert hand.log().one(TrialFinished).state == "pruned"


def test_an_end_read_with_the_tick_of_the_time_limit_counts() -> None:
    hand = Hand(search(time_limit_per_job=1.0))
    hand.later(jobs=9.0)
    hand.poll(observed(0, 0, line(0.5)), ended(0), hand.tick())
    assert hand.log().one(TrialFinished) == TrialFinished(trial=0, state="completed", values=(0.5,))


# ---------------------------------------------------------------- launches in doubt


def in_doubt(*, first: bool) -> Hand:
    """Return a search whose trial 1 cannot be launched for good, its first try (or its second) having been in doubt."""
    hand = Hand(search(max_failures_per_trial=0, max_lost_per_trial=0, max_iteration_per_job=4, total_max_jobs=9))
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    hand.refuse("launch", 1, in_doubt=first)
    hand.carry_on()
    hand.later(ours=1.0)
    return hand


def test_a_launch_in_doubt_that_took_place_is_never_made_again(tmp_path: Path) -> None:
    script = Script(points=line(0.4), refusals={"launch": 9}, launch_fails_at=2, in_doubt=True)
    path = tmp_path / "s.db"
    jobs = each(Script(points=line(0.5)), script, Script(points=line(0.5)))
    log = run(path, search(max_lost_per_trial=0, total_max_jobs=3, max_iteration_per_job=4), jobs)
    assert [e.in_doubt for e in log.of(EffectFailed, 1)] == [True]
    assert [e.how for e in log.of(JobEnded, 1)] == ["completed"]
    assert [d.what for d in deeds(path) if d.trial == 1] == ["draft", "launch"]
    assert log.ends()[1] == ("completed", (0.4,))


def test_an_attempt_whose_launch_was_in_doubt_once_ends_as_lost_when_it_cannot_be_launched() -> None:
    hand = in_doubt(first=True)
    gone = receipt(hand.state.attempt(1, 0), "launch", Ended(how="launch_failed", why="no machine"), hand.clock)
    assert gone == JobEnded(trial=1, attempt=0, how="lost", why="no machine")
    hand.answers["launch", 1, 0] = gone
    hand.poll(hand.tick())
    assert hand.said[:3] == ["Launch 1.0", "BudgetUpdated 1.0", "TrialFinished 1 failed"]
    assert hand.action() == actions.Poll(((1, 0), (2, 0)))  # watched
    assert hand.poll(JobReturned(trial=1, attempt=0)) == ["Stop 1.0"]
    hand.log()


def test_an_attempt_whose_launch_was_never_in_doubt_fails_for_good() -> None:
    hand = in_doubt(first=False)
    gone = receipt(hand.state.attempt(1, 0), "launch", Ended(how="launch_failed"), hand.clock)
    assert gone == JobEnded(trial=1, attempt=0, how="launch_failed")
    hand.answers["launch", 1, 0] = gone
    hand.poll(hand.tick())
    assert hand.log().one(TrialFinished, 1).why == "launch failed"
    assert hand.action() == actions.Poll(((2, 0),))


def test_a_bound_attempt_that_shows_itself_started_is_launched_and_not_enqueued_again() -> None:
    hand = in_doubt(first=True)
    assert hand.action() == actions.Poll(((1, 0),))
    assert hand.poll(JobStarted(trial=1, attempt=0, started_at=hand.jobs_clock), hand.tick()) == []
    assert hand.action() == actions.Poll(((1, 0),))
    assert hand.log().of(EffectFailed)[0].in_doubt


def test_a_queued_attempt_is_launched_once_and_starts_when_it_is_seen(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5), queued=True))
    assert log.seq(JobQueued) < log.seq(JobStarted)
    assert [d.what for d in deeds(tmp_path / "s.db")] == ["draft", "launch"]


# ---------------------------------------------------------------- a stop before the launch


def held_back(effect: str, *, in_doubt: bool = False) -> Hand:
    """Return a search of which trial 1 is stuck before *effect*."""
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=9))
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    hand.refuse(effect, 1, in_doubt=in_doubt)
    hand.carry_on()
    return hand


def test_a_stop_before_the_draft_cancels_the_intent_by_its_key_and_is_charged_nothing() -> None:
    hand = held_back("draft", in_doubt=True)
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == [
        "SearchEnding stop",
        "Cancel 1.0",
        "BudgetUpdated 1.0",
        "TrialFinished 1 aborted",
        "SearchFinished stop",
    ]
    log = hand.log()
    assert log.of(BudgetUpdated)[-1].iterations == 0
    assert log.of(JobStarted, 1) == []


def test_a_draft_found_by_the_key_of_a_cancelled_intent_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    jobs = each(Script(points=line(0.5)), Script(refusals={"draft": 9}, in_doubt=True))
    stop = StopAsked(scope="search", request="r")
    rows = run(tmp_path / "t.db", search(wall_time_limit=1.0), jobs).rows
    seq = next(r.seq for r in rows if isinstance(r.event, EffectFailed))
    log = run(path, search(), jobs, asks=((seq - 1, stop),))
    done = [d for d in deeds(path) if d.trial == 1]
    assert [d.what for d in done] == ["draft", "cancel"]
    assert len({d.key for d in done} | {log.one(JobCreated, 1).key}) == 1
    assert log.one(BudgetUpdated, 1).iterations == 0
    assert log.one(TrialFinished, 1).state == "aborted"


@pytest.mark.parametrize("started", [False, True])
def test_a_stop_of_a_bound_job_before_its_launch_is_a_stop_like_others(started: bool) -> None:
    hand = held_back("launch")
    hand.record(StopAsked(scope="search"), None)
    hand.answers["stop", 1, 0] = (
        JobStopSent(trial=1, attempt=0) if started else ended(1, how="cancelled", why="it had not started")
    )
    said = hand.carry_on()
    assert said[:2] == ["SearchEnding stop", "Stop 1.0"]
    if started:
        hand.poll(JobStarted(trial=1, attempt=0, started_at=hand.jobs_clock), ended(1, how="stopped"))
    log = hand.log()
    assert log.one(BudgetUpdated, 1).iterations == int(started)
    assert log.one(TrialFinished, 1).state == "aborted"
    assert log.one(SearchFinished).state == "stopped"


# ---------------------------------------------------------------- what the sampler sees, and when


def test_to_the_sampler_a_pruned_trial_shows_at_its_verdict() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=4))
    hand.poll(observed(0, 0, line(0.5, 2.0)), then=False)
    assert shown(hand.state)[0].state is RUNNING
    hand.carry_on()
    assert hand.state.trials[0].finished is None
    is_told(hand.log(), PRUNED, 2.0)


def test_to_the_sampler_a_completed_trial_shows_when_it_is_finished() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=2))
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    is_told(hand.log(), RUNNING)
    hand.poll(ended(0), then=False)
    assert hand.step(hand.action()) == ["BudgetUpdated 0.0"]
    assert shown(hand.state)[0].state is RUNNING
    assert hand.step(hand.action()) == ["TrialFinished 0 completed"]
    is_told(hand.log(), COMPLETE, 0.4)


def test_for_the_sampler_a_trial_runs_from_its_suggestion_on_and_between_attempts_too() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2, num_concurrent_workers=2))
    assert [t.state for t in shown(hand.log().after(hand.log().seq(TrialSuggested, 0)))] == [RUNNING]
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="failed"))
    assert hand.said == ["BudgetUpdated 0.0"]  # its retry waits for trial 1
    assert [t.state for t in shown(hand.state)] == [RUNNING, RUNNING]
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    assert hand.said[3] == "JobCreated 0.1 slot 0"
    assert shown(hand.state)[0].state is RUNNING
    hand.log()


@pytest.mark.parametrize("how", ["failed", "lost", "stopped"])
def test_reports_count_also_when_the_job_then_fails_they_stay_with_the_attempt_and_are_shown(how: str) -> None:
    hand = Hand(search(max_failures_per_trial=0, max_lost_per_trial=0))
    hand.poll(observed(0, 0, line(0.5, 0.4)), reports(0, (OtherSeries("t", "s", 2, 1.0, 1.0, 1.0),)), ended(0, how=how))
    attempt = hand.log().state.attempt(0, 0)
    assert attempt.curves[0].values == [0.5, 0.4]
    assert list(attempt.others) == [("t", "s")]
    trials = rank.top(hand.state, include_failed=True)
    assert trials[0].number == 0
    assert rank.values(hand.state, trials[0]) == [0.4]
    assert hand.log().of(MetricObserved, 0)[0].values == (0.5, 0.4)
