"""When a trial gets another attempt, and what that takes over from the one before."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from eventhpo.core.fold.event_parts import Attr
from eventhpo.core.fold.events import (
    BudgetUpdated,
    Event,
    InheritanceClaimed,
    JobCreated,
    JobEnded,
    JobPruned,
    JobReturned,
    JobsContinued,
    JobStopSent,
    LimitsChanged,
    SearchFinished,
    StopAsked,
    TrialFinished,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import free_slot
from eventhpo.core.search.spec import ComponentConfig, LimitChanges
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from tests.core.rules import OVER_ONE, Hand, by_attempt, each, ended, line, observed, run, shown

NO_MORE = ["BudgetUpdated 0.0", "TrialFinished 0 failed"]
ANOTHER = ["BudgetUpdated 0.0", "JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
RUNG_AT_3 = ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 3, "reduction_factor": 2})


def one(**more: object) -> Hand:
    """Return a search of one worker with its first job under way."""
    return Hand(search(**({"num_concurrent_workers": 1, "total_max_jobs": 9} | more)))  # type: ignore[arg-type]


def returned(trial: int, attempt: int = 0) -> Event:
    return JobReturned(trial=trial, attempt=attempt)


# ---------------------------------------------------------------- which ends, and how often


@pytest.mark.parametrize("how", ["failed", "lost", "launch_failed"])
def test_a_retry_is_created_only_behind_the_end_or_loss_of_its_predecessor(how: str) -> None:
    hand = one()
    assert hand.poll(observed(0, 0, line(0.5))) == ["JobsContinued 0.0@1"]
    assert hand.poll(ended(0, how=how)) == ANOTHER
    log = hand.log()
    end, charged, retry = (log.seq(kind, 0, n) for kind, n in ((JobEnded, 0), (BudgetUpdated, 0), (JobCreated, 1)))
    assert end < charged < retry


@pytest.mark.parametrize(("allowed", "attempts"), [(0, 1), (1, 2), (3, 4)])
@pytest.mark.parametrize(("how", "limit"), [("failed", "max_failures_per_trial"), ("lost", "max_lost_per_trial")])
def test_a_limit_of_one_retry_is_at_most_two_runs(
    tmp_path: Path, how: str, limit: str, allowed: int, attempts: int
) -> None:
    what = search(total_max_jobs=1, **{"max_failures_per_trial": 9, "max_lost_per_trial": 9} | {limit: allowed})
    log = run(tmp_path / "s.db", what, each(Script(points=line(0.5), how=how)))  # type: ignore[arg-type]
    assert [e.attempt for e in log.of(JobCreated, 0)] == list(range(attempts))
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="failed", why=f"it {how}")


def test_by_default_a_trial_has_one_retry_after_failures_and_three_after_losses() -> None:
    limits = search().limits
    assert (limits.max_failures_per_trial, limits.max_lost_per_trial) == (1, 3)


def test_failures_and_losses_are_counted_apart(tmp_path: Path) -> None:
    ends = ("lost", "failed", "lost", "failed", "completed")
    scripts = by_attempt(*(Script(points=line(0.5), how=how) for how in ends))  # type: ignore[arg-type]
    what = search(total_max_jobs=1, max_failures_per_trial=1, max_lost_per_trial=2)
    log = run(tmp_path / "s.db", what, scripts)
    assert [e.how for e in log.of(JobEnded)] == ["lost", "failed", "lost", "failed"]
    assert log.one(TrialFinished).state == "failed"


@pytest.mark.parametrize(
    ("points", "how", "state"),
    [
        ((), "completed", "failed"),  # no value of the objective
        (line(float("nan")), "completed", "failed"),
        (line(0.5), "completed", "completed"),
        (line(0.5), "stopped", "aborted"),  # by a person
        ((), "cancelled", "aborted"),
    ],
)
def test_other_ends_are_not_retried(points: tuple[tuple[int, float], ...], how: str, state: str) -> None:
    hand = one(max_failures_per_trial=9, max_lost_per_trial=9)
    events = [observed(0, 0, points)] if points else []
    hand.poll(*events, ended(0, how=how))
    log = hand.log()
    assert log.one(TrialFinished).state == state
    assert [e.attempt for e in log.of(JobCreated, 0)] == [0]


@pytest.mark.parametrize("points", [(), line(0.5)])
def test_an_attempt_that_reached_its_time_limit_is_not_retried_with_or_without_a_value(
    points: tuple[tuple[int, float], ...],
) -> None:
    hand = one(time_limit_per_job=5.0, max_failures_per_trial=9)
    hand.later(jobs=5)
    assert hand.poll(*([observed(0, 0, points)] if points else []), hand.tick())[-1] == "Stop 0.0"
    said = hand.poll(ended(0, how="failed", code=9))
    assert said[:2] == ["BudgetUpdated 0.0", f"TrialFinished 0 {'completed' if points else 'failed'}"]


def test_a_pruned_attempt_is_not_retried_however_its_process_ends() -> None:
    hand = one(pruner=OVER_ONE)
    assert hand.poll(observed(0, 0, line(2.0))) == ["JobPruned 0.0@1", "Stop 0.0"]
    assert hand.poll(ended(0, how="failed", code=1))[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 pruned"]


def test_a_lower_limit_takes_away_a_retry_that_is_not_created_yet() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=4))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed"))  # 8 - 1 - 4 leave 3: the retry has to wait
    assert hand.said == ["BudgetUpdated 0.0"]
    hand.record(LimitsChanged(changes=LimitChanges(max_failures_per_trial=0)), None)
    assert hand.carry_on() == ["TrialFinished 0 failed"]
    hand.log()


# ---------------------------------------------------------------- its place and its budget


def test_a_retry_goes_before_any_suggestion_and_retries_go_by_trial_number() -> None:
    hand = Hand(search(num_concurrent_workers=3, total_max_jobs=9))
    assert hand.poll(ended(2, how="failed"), ended(1), ended(0, how="lost")) == [
        "BudgetUpdated 0.0",
        "BudgetUpdated 1.0",
        "BudgetUpdated 2.0",
        "TrialFinished 1 failed",  # it reported nothing
        "JobCreated 0.1 slot 0",
        "JobCreated 2.1 slot 1",
        "TrialSuggested 3",
        "JobCreated 3.0 slot 2",
        "Draft 0.1 2.1 3.0",
        "Launch 0.1 2.1 3.0",
    ]
    hand.log()


def test_a_retry_reserves_anew_and_waits_with_all_suggestions_until_it_fits() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=4))
    assert hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed")) == ["BudgetUpdated 0.0"]
    assert hand.log().one(BudgetUpdated) == BudgetUpdated(
        trial=0, attempt=0, iterations=1, late=0, compute_time=0, used=1, reserved=4
    )
    said = hand.poll(observed(1, 0, line(0.5, 0.4)), ended(1))
    assert said[-4:] == ["TrialFinished 1 completed", "JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
    assert hand.state.totals.reservations == 1
    said = hand.poll(observed(0, 1, line(0.5, 0.4, 0.3, 0.2)), ended(0, 1))
    assert said[-3:] == ["TrialFinished 0 completed", "SearchEnding budget", "SearchFinished budget"]
    assert [e.used for e in hand.log().of(BudgetUpdated)] == [1, 3, 7]


def test_a_trial_whose_retry_cannot_fit_with_nothing_running_fails_for_lack_of_budget(tmp_path: Path) -> None:
    what = search(total_max_jobs=1, max_iteration_per_job=3)
    log = run(tmp_path / "s.db", what, each(Script(points=line(0.5), how="failed")))
    assert len(log.of(JobCreated)) == 1
    why = "no budget for another attempt after: it failed"
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="failed", why=why)
    assert log.one(SearchFinished).reason == "budget"


# ---------------------------------------------------------------- lost, and seen alive


def lost_and_seen() -> Hand:
    """Return a search whose trial 0 was lost, has a retry under way, and whose first attempt shows itself."""
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=9, max_iteration_per_job=5))
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="lost"))
    assert hand.said == ANOTHER
    hand.poll(returned(0), observed(0, 0, ((3, 0.1),), start=2))
    return hand


def test_a_lost_attempt_is_polled_on_until_it_has_ended_a_second_time() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=9))
    hand.poll(ended(0, how="lost"))
    assert hand.action() == actions.Poll(((0, 0), (0, 1), (1, 0)))
    hand.poll(ended(0, 0, how="completed"))  # never seen alive in between
    assert hand.action() == actions.Poll(((0, 1), (1, 0)))
    assert hand.said == []  # its trial goes by the attempt that runs
    hand.log()


def test_a_lost_attempt_that_is_seen_alive_is_stopped_again_and_its_retry_goes_on() -> None:
    hand = lost_and_seen()
    assert hand.said == ["Stop 0.0"]
    assert hand.action() == actions.Poll(((0, 0), (0, 1), (1, 0)))
    hand.log()


def test_an_attempt_that_is_back_holds_a_slot_but_no_reservation_and_no_charge() -> None:
    hand = lost_and_seen()
    assert (hand.state.totals.charged, hand.state.totals.reservations) == (2, 2)
    said = hand.poll(observed(1, 0, line(0.5)), ended(1))
    assert said[-1] == "TrialFinished 1 completed"  # a worker would be free, were it not for the one that is back
    assert free_slot(hand.state) is None
    said = hand.poll(ended(0, 0, how="stopped"))
    assert said == ["TrialSuggested 2", "JobCreated 2.0 slot 1", "Draft 2.0", "Launch 2.0"]
    assert [(e.trial, e.attempt) for e in hand.log().of(BudgetUpdated)] == [(0, 0), (1, 0)]


def test_the_points_of_an_attempt_that_is_back_stay_its_own() -> None:
    hand = lost_and_seen()
    hand.poll(observed(0, 1, line(0.9)), ended(0, 1))
    log = hand.log()
    assert log.one(TrialFinished).values == (0.9,)
    assert log.state.attempt(0, 0).curves[0].iterations == [1, 2, 3]
    assert log.state.attempt(0, 1).curves[0].iterations == [1]
    assert [(e.attempt, e.iterations) for e in log.of(BudgetUpdated, 0)] == [(0, 2), (1, 1)]
    assert all(v.attempt == 1 or v.judged <= 2 for e in log.of(JobsContinued) for v in e.verdicts if v.trial == 0)


def test_a_retry_waits_for_the_second_end_of_an_attempt_that_is_back() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=4))
    assert hand.poll(ended(0, how="lost"), observed(0, 0, ())) == ["BudgetUpdated 0.0"]  # 8 - 1 - 4: no room yet
    assert hand.poll(returned(0)) == ["Stop 0.0"]
    assert hand.poll(observed(1, 0, line(0.5)), ended(1))[-1] == "TrialFinished 1 completed"
    assert hand.poll(ended(0, 0, how="failed")) == ["JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
    hand.log()


def test_the_end_of_the_search_waits_for_the_second_end_of_an_attempt_that_is_back() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=2, max_lost_per_trial=0))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="lost"))
    assert hand.said == ["BudgetUpdated 0.0", "TrialFinished 0 failed"]
    assert hand.poll(returned(0)) == ["Stop 0.0"]
    assert hand.poll(observed(1, 0, line(0.5)), ended(1))[-1] == "TrialFinished 1 completed"
    assert hand.action() == actions.Poll(((0, 0),))
    assert hand.poll(ended(0, 0, how="stopped")) == ["SearchFinished budget"]
    hand.log()


def test_a_lost_attempt_that_does_not_show_itself_keeps_nothing_waiting(tmp_path: Path) -> None:
    what = search(total_max_jobs=1, max_lost_per_trial=0)
    log = run(tmp_path / "s.db", what, each(Script(points=line(0.5), how="lost", returns=((2, 0.5),))))
    assert log.of(JobReturned) == []
    assert isinstance(log.rows[-1].event, SearchFinished)


def test_a_finished_trial_is_looked_at_no_more_once_its_lost_attempt_is_over_for_good() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=9, max_lost_per_trial=0))
    hand.poll(ended(0, how="lost"))
    assert list(hand.state.active) == [0, 1, 2]
    hand.poll(returned(0))
    hand.poll(ended(0, 0, how="stopped"))
    assert list(hand.state.active) == [1, 2]
    hand.log()


def test_a_real_search_stops_what_is_back_and_retries_once(tmp_path: Path) -> None:
    what = search(num_concurrent_workers=2, total_max_jobs=3, max_iteration_per_job=4)
    back = Script(points=line(0.5, 0.4), how="lost", returns=((3, 0.1), (4, 0.1)))
    good = Script(points=line(0.5, 0.4, 0.3, 0.2))
    log = run(tmp_path / "s.db", what, lambda trial, attempt, params: back if (trial, attempt) == (0, 0) else good)
    assert [e.attempt for e in log.of(JobCreated, 0)] == [0, 1]
    assert log.seq(JobReturned) < log.seq(JobStopSent, 0, 0) < log.rows_of(JobEnded, 0, 0)[1].seq
    assert [e.how for e in log.of(JobEnded, 0, 0)] == ["lost", "stopped"]


# ---------------------------------------------------------------- checkpoints


def failed_after(*values: float, **more: object) -> Hand:
    """Return a search whose first attempt reported *values* in one poll and then failed, with its retry under way."""
    hand = one(**({"pruner": RUNG_AT_3, "max_iteration_per_job": 9} | more))
    hand.poll(observed(0, 0, line(*values)))
    hand.poll(observed(0, 0, ((len(values) + 1, 0.3),), start=len(values)), ended(0, how="failed"))
    return hand


def claim(iteration: int, attempt: int = 1) -> Event:
    return InheritanceClaimed(trial=0, attempt=attempt, iteration=iteration)


def test_the_last_points_of_an_attempt_that_failed_in_their_poll_are_judged_when_they_are_inherited() -> None:
    hand = failed_after(0.5, 0.4)  # its third point, on the rung, came with its end
    assert hand.log().verdicts(0) == [("go on", 2, 2)]
    hand.poll(claim(3), observed(0, 1, ((4, 0.2),)))
    log = hand.log()
    (verdict,) = log.of(JobsContinued)[-1].verdicts
    assert (verdict.attempt, verdict.judged, verdict.iteration) == (1, 4, 4)
    assert [a.iteration for a in verdict.attrs] == [3]
    assert log.state.attempt(0, 1).curves[0].iterations == [1, 2, 3, 4]


def test_inherited_points_are_judged_even_before_the_retry_has_one_of_its_own_and_may_prune_it() -> None:
    hand = one(pruner=OVER_ONE, max_iteration_per_job=9)
    hand.poll(observed(0, 0, line(0.5, 2.0)), ended(0, how="failed"))
    assert hand.said == ANOTHER
    assert hand.poll(claim(2)) == ["JobsContinued 0.1@1", "JobPruned 0.1@2", "Stop 0.1"]
    hand.poll(ended(0, 1, how="stopped"))
    log = hand.log()
    assert log.one(TrialFinished).state == "pruned"
    assert [e.iterations for e in log.of(BudgetUpdated)] == [2, 1]  # nothing but what is inherited: at least 1


@pytest.mark.parametrize(("iteration", "inherited"), [(0, 0), (1, 1), (2, 2), (3, 3), (99, 3)])
def test_a_retry_inherits_through_the_iteration_that_it_names_or_to_the_end_and_is_charged_what_is_new(
    iteration: int, inherited: int
) -> None:
    hand = failed_after(0.5, 0.4)
    hand.poll(claim(iteration), observed(0, 1, ((5, 0.2), (6, 0.2))), ended(0, 1))
    log = hand.log()
    assert log.state.attempt(0, 1).curves[0].iterations == [*range(1, inherited + 1), 5, 6]
    assert [(e.attempt, e.iterations) for e in log.of(BudgetUpdated, 0)] == [(0, 3), (1, 6 - inherited)]


def test_the_pruners_attributes_of_inherited_points_are_inherited_and_of_no_others() -> None:
    hand = failed_after(0.5, 0.4, 0.3)
    assert [(a.iteration, a.name) for a in hand.state.attempt(0, 0).attrs] == [(3, "completed_rung_0")]
    other = failed_after(0.5, 0.4, 0.3)
    hand.poll(claim(3), then=False)
    other.poll(claim(2), then=False)
    assert hand.state.attempt(0, 1).attrs == [Attr(3, "completed_rung_0", 0.3)]
    assert (hand.state.attempt(0, 1).judged, other.state.attempt(0, 1).judged) == (3, 2)
    assert other.state.attempt(0, 1).attrs == []
    assert shown(hand.state)[0].system_attrs == {"completed_rung_0": 0.3}
    assert shown(hand.state)[0].intermediate_values == {1: 0.5, 2: 0.4, 3: 0.3}


def test_without_a_claim_the_curve_starts_anew_and_what_the_pruner_wrote_is_dropped() -> None:
    hand = failed_after(0.5, 0.4, 0.3, sampler=ComponentConfig("NSGAIISampler", {"population_size": 2}))
    sampled = hand.state.trials[0].attrs
    assert sampled
    assert shown(hand.state)[0].intermediate_values == {}
    assert set(shown(hand.state)[0].system_attrs) == set(sampled)  # what the sampler wrote stays
    hand.poll(observed(0, 1, line(0.9)), ended(0, 1))
    log = hand.log()
    assert log.state.attempt(0, 1).curves[0].iterations == [1]
    assert [e.iterations for e in log.of(BudgetUpdated, 0)] == [4, 1]


@pytest.mark.parametrize("late", ["behind a point", "a first attempt"])
def test_a_claim_behind_a_point_or_of_a_first_attempt_inherits_nothing(late: str) -> None:
    hand = failed_after(0.5, 0.4)
    attempt = 1 if late == "behind a point" else 0
    if attempt:
        hand.poll(observed(0, 1, ((3, 0.2),)))
    before = repr(hand.state.attempt(0, attempt))
    hand.poll(claim(2, attempt))
    assert repr(hand.state.attempt(0, attempt)) == before
    hand.log()


def test_late_points_are_not_inherited() -> None:
    """What a job reports behind its loss is late: its charge is frozen, and a retry would inherit what nobody paid."""
    hand = one(pruner=OVER_ONE, max_iteration_per_job=6)
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="lost"))
    hand.poll(returned(0), observed(0, 0, line(0.3, 0.2, start=3), start=2))
    hand.poll(claim(4))
    assert hand.log().state.attempt(0, 1).curves[0].iterations == [1, 2]


def test_a_search_with_checkpoints_charges_no_iteration_twice(tmp_path: Path) -> None:
    first = Script(points=line(0.5, 0.4, 0.3), how="failed")
    second = Script(points=((3, 0.3), (4, 0.2), (5, 0.1), (6, 0.1)), resumes_from=3)
    log = run(tmp_path / "s.db", search(total_max_jobs=2, max_iteration_per_job=6), by_attempt(first, second))
    assert [e.iterations for e in log.of(BudgetUpdated, 0)] == [3, 3]
    assert log.state.attempt(0, 1).curves[0].iterations == [1, 2, 3, 4, 5, 6]


# ---------------------------------------------------------------- between attempts, and at the end


def test_for_the_sampler_a_trial_is_running_between_its_attempts_too() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=4))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed"))
    assert hand.state.trials[0].attempts[0].charge == 1
    assert shown(hand.state)[0].state is TrialState.RUNNING
    hand.poll(observed(1, 0, line(0.5, 0.4)), ended(1))
    hand.poll(ended(0, 1, how="failed"))
    assert shown(hand.state)[0].state is TrialState.FAIL


def test_an_end_at_once_takes_away_a_retry_that_waits() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=4))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed", why="out of memory"))
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == ["SearchEnding stop", "TrialFinished 0 failed", "Stop 1.0"]
    assert hand.log().one(TrialFinished, 0).why == "out of memory"


def test_the_pruner_has_no_verdict_on_an_attempt_that_was_lost() -> None:
    hand = one(pruner=OVER_ONE)
    hand.poll(observed(0, 0, line(2.0)), ended(0, how="lost"))
    assert hand.said == ANOTHER
    hand.poll(returned(0), observed(0, 0, ((2, 3.0),), start=1))
    assert hand.said == ["Stop 0.0"]
    assert hand.log().of(JobPruned) == []
