"""What a job is charged, what is reserved, what still fits; and the two clocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventhpo.core.fold import budget
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.deadlines import Now, deadlines
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ClockTicked,
    InheritanceClaimed,
    JobCreated,
    JobEnded,
    JobReturned,
    LimitsChanged,
    MetricObserved,
    ReportsRead,
    SearchFinished,
    StopAsked,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import MINUTE, LimitChanges
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import SECOND, Script
from tests.core.rules import OVER_ONE, Hand, Log, by_attempt, each, ended, line, observed, run, shown
from tests.crash.scenarios import SCENARIOS

# ---------------------------------------------------------------- the charge of an attempt


@pytest.mark.parametrize(
    ("points", "charge", "late"),
    [
        ((), 1, 0),
        (((0, 0.5),), 1, 0),
        (((1, 0.5),), 1, 0),
        (((3, 0.5),), 3, 0),
        (((3, 0.5), (1, 0.4)), 3, 0),
        (((5, 0.5),), 5, 0),
        (((3, 0.5), (8, 0.4)), 5, 3),
        (((8, 0.5),), 5, 3),
    ],
)
@pytest.mark.parametrize("how", ["completed", "failed", "lost", "stopped"])
def test_an_attempt_is_charged_its_highest_iteration_at_least_one_at_most_the_limit(
    points: tuple[tuple[int, float], ...], charge: int, late: int, how: str
) -> None:
    hand = Hand(search(max_iteration_per_job=5, max_failures_per_trial=0, max_lost_per_trial=0))
    if points:
        hand.poll(observed(0, 0, points))
    hand.poll(ended(0, how=how))
    found = hand.log().of(BudgetUpdated)[0]
    assert (found.iterations, found.late) == (charge, late)


def test_without_a_limit_of_iterations_an_attempt_is_charged_its_highest(tmp_path: Path) -> None:
    log = run(tmp_path / "s.db", search(total_max_jobs=1), each(Script(points=((70, 0.5), (900, 0.4)))))
    assert log.one(BudgetUpdated) == BudgetUpdated(
        trial=0,
        attempt=0,
        iterations=900,
        late=0,
        compute_time=log.one(BudgetUpdated).compute_time,
        used=900,
        reserved=0,
    )


def test_a_retry_that_inherits_is_charged_what_lies_behind_the_last_iteration_that_it_inherited() -> None:
    hand = Hand(search(max_iteration_per_job=9, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed"))
    hand.poll(InheritanceClaimed(trial=0, attempt=1, iteration=2), observed(0, 1, ((3, 0.3), (7, 0.2))))
    hand.poll(ended(0, 1))
    assert [e.iterations for e in hand.log().of(BudgetUpdated, 0)] == [3, 5]


def test_a_retry_that_claims_more_than_there_is_inherits_and_pays_from_the_last_there_is() -> None:
    hand = Hand(search(max_iteration_per_job=9, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="failed"))
    hand.poll(InheritanceClaimed(trial=0, attempt=1, iteration=8), observed(0, 1, ((9, 0.2),)))
    hand.poll(ended(0, 1))
    assert [e.iterations for e in hand.log().of(BudgetUpdated, 0)] == [2, 7]


def test_a_retry_that_inherits_and_adds_nothing_is_charged_one() -> None:
    hand = Hand(search(max_iteration_per_job=9, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed"))
    hand.poll(InheritanceClaimed(trial=0, attempt=1, iteration=3), ended(0, 1))
    assert [e.iterations for e in hand.log().of(BudgetUpdated, 0)] == [3, 1]


def test_a_retry_that_inherits_nothing_is_charged_in_full() -> None:
    hand = Hand(search(max_iteration_per_job=9, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed"))
    hand.poll(observed(0, 1, line(0.5, 0.4, 0.3, 0.2)), ended(0, 1))
    assert [e.iterations for e in hand.log().of(BudgetUpdated, 0)] == [3, 4]


def test_a_pruned_attempt_is_charged_through_the_point_that_its_verdict_names() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=9))
    hand.poll(observed(0, 0, line(0.5, 2.0, 0.3, 0.2)))
    hand.poll(observed(0, 0, ((8, 0.1),), start=4), ended(0, how="stopped"))
    found = hand.log().of(BudgetUpdated)[0]
    assert (found.iterations, found.late) == (2, 6)


def test_a_pruned_retry_is_charged_behind_what_it_inherited() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=9))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed"))
    hand.poll(InheritanceClaimed(trial=0, attempt=1, iteration=3), observed(0, 1, ((5, 0.3), (6, 2.0))))
    hand.poll(ended(0, 1, how="stopped"))
    assert [e.iterations for e in hand.log().of(BudgetUpdated, 0)] == [3, 3]


def test_the_charge_is_frozen_at_the_loss_whatever_comes_behind_it() -> None:
    hand = Hand(search(max_iteration_per_job=9, max_lost_per_trial=0, num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="lost"))
    hand.poll(JobReturned(trial=0, attempt=0), observed(0, 0, ((7, 0.3),), start=2))
    hand.poll(ended(0, how="stopped"))
    log = hand.log()
    assert [e.iterations for e in log.of(BudgetUpdated, 0)] == [2]
    assert log.state.totals.charged == 2


def test_a_charge_counts_points_that_were_never_judged() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=9, max_failures_per_trial=0))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed"))
    assert hand.log().of(BudgetUpdated)[0].iterations == 3


@pytest.mark.parametrize("overrun", [0, 1, 4])
def test_late_iterations_are_shown_beside_the_charge_and_decide_nothing(overrun: int, tmp_path: Path) -> None:
    """However slowly stops take effect, the decisions are the same, only `late` and times differ."""

    def decided(by: int) -> list[object]:
        def job(trial: int, attempt: int, params: object) -> Script:
            return Script(points=line(0.5, 2.0 if trial % 2 else 0.4, *[0.3] * 6), overrun=by, ends_apart=True)

        path = tmp_path / f"{by}.db"
        log = run(path, search(pruner=OVER_ONE, max_iteration_per_job=4, total_max_jobs=4), job, cut=1)
        found: list[object] = []
        for row in log.rows:
            match row.event:
                case BudgetUpdated(trial=trial, attempt=attempt, iterations=n, used=used, reserved=reserved):
                    found.append((trial, attempt, n, used, reserved))
                case JobCreated(trial=trial, attempt=attempt, slot=slot):
                    found.append((trial, attempt, slot))
                case JobEnded(trial=trial):
                    pass
                case Decision():
                    found.append(row.event)
        return found

    assert decided(overrun) == decided(2)


@pytest.mark.parametrize("scope", ["search", "run"])
def test_what_an_aborted_job_reports_until_it_is_gone_is_late_and_charged_to_nobody(scope: str) -> None:
    """A stop that takes effect slowly must not cost the next jobs their budget."""
    hand = Hand(search(max_iteration_per_job=9, total_max_jobs=3))
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    hand.record(StopAsked(scope="search" if scope == "search" else "run"), None)
    hand.carry_on()
    if scope == "run":
        hand.start()
    hand.poll(observed(0, 0, line(0.3, 0.2, start=3), start=2), ended(0, how="stopped"))
    found = hand.log().of(BudgetUpdated, 0)[0]
    assert (found.iterations, found.late) == (2, 2)
    assert hand.log().one(TrialFinished, 0).state == "aborted"


@pytest.mark.parametrize("overrun", [0, 2, 5])
def test_how_long_an_aborted_job_goes_on_changes_no_later_decision(overrun: int, tmp_path: Path) -> None:
    def job(trial: int, attempt: int, params: object) -> Script:
        return Script(points=line(*[0.5] * (3 if trial else 9)), overrun=overrun, ends_apart=True)

    what, stop = search(max_iteration_per_job=9, total_max_jobs=3), StopAsked(scope="run", request="r")
    path = tmp_path / "s.db"
    run(path, what, job, asks=((10, stop),))
    log = run(path, what, job, asks=((10, stop),))  # the next controller carries on
    assert log.one(SearchFinished).reason == "budget"
    assert [e.iterations for e in log.of(BudgetUpdated)] == [6, 3, 3, 3, 3, 3]


def test_what_a_lost_job_reports_behind_its_loss_is_inherited_by_nobody_and_paid_once() -> None:
    hand = Hand(search(max_iteration_per_job=9, total_max_jobs=3, num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="lost"))
    assert hand.said[1] == "JobCreated 0.1 slot 0"
    hand.poll(JobReturned(trial=0, attempt=0), observed(0, 0, ((7, 0.3),), start=2))
    hand.poll(InheritanceClaimed(trial=0, attempt=1, iteration=7), observed(0, 1, ((8, 0.2),)))
    hand.poll(ended(0, 1))
    log = hand.log()
    assert [(e.attempt, e.iterations) for e in log.of(BudgetUpdated, 0)] == [(0, 2), (1, 6)]
    assert shown(log.state)[0].intermediate_values == {1: 0.5, 2: 0.4, 8: 0.2}


def test_an_attempt_that_never_started_is_charged_nothing() -> None:
    hand = Hand(search(max_iteration_per_job=5, total_max_jobs=4), StopAsked(scope="search"))
    assert hand.said == ["SearchEnding stop", "SearchFinished stop"]
    for how in ("launch_failed", "cancelled"):
        hand = Hand(search(max_iteration_per_job=5, total_max_jobs=4, max_failures_per_trial=0))
        hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
        hand.answers["launch", 1, 0] = ended(1, how=how)
        hand.carry_on()
        found = hand.log().of(BudgetUpdated, 1)[0]
        assert (found.iterations, found.used, found.compute_time) == (0, 1, 0)


# ---------------------------------------------------------------- slots and reservations


def test_a_slot_and_a_reservation_are_held_until_the_end_also_behind_a_prune() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=4, total_max_jobs=9))
    assert hand.poll(observed(0, 0, line(2.0)))[:1] == ["JobPruned 0.0@1"]
    assert hand.poll(observed(0, 0, line(0.1, start=2), start=1)) == []
    assert budget.reserved(hand.state) == 4
    assert hand.poll(ended(0, how="stopped"))[2:4] == ["TrialSuggested 1", "JobCreated 1.0 slot 0"]
    found = hand.log().of(BudgetUpdated)[0]
    assert (found.used, found.reserved) == (1, 0)


def test_a_job_starts_only_if_its_reservation_fits_beside_all_others() -> None:
    """Of 12 iterations two jobs hold 4 each; one job more fits only where the others leave 4."""
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=3, num_concurrent_workers=9))
    assert [s for s in hand.said if s.startswith("JobCreated")] == [f"JobCreated {n}.0 slot {n}" for n in range(3)]
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert "TrialSuggested 3" not in hand.said  # 1 + 4 + 4 are taken, 3 are left
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    assert "TrialSuggested 3" in hand.said  # 1 + 1 + 4
    assert "TrialSuggested 4" not in hand.said
    hand.log()


def test_pruning_buys_more_jobs_and_the_charges_never_exceed_the_budget(tmp_path: Path) -> None:
    def job(trial: int, attempt: int, params: object) -> Script:
        return Script(points=line(*([0.5] * 4)) if trial % 3 == 0 else line(2.0, 0.5, 0.5, 0.5), overrun=2)

    what = search(pruner=OVER_ONE, max_iteration_per_job=4, total_max_jobs=5, num_concurrent_workers=3)
    log = run(tmp_path / "s.db", what, job, cut=1)
    assert len(log.of(JobCreated)) > 5
    assert log.of(BudgetUpdated)[-1].used <= 20
    for update in log.of(BudgetUpdated):
        assert update.used + update.reserved <= 20
    assert log.state.totals.charged == sum(e.iterations for e in log.of(BudgetUpdated))
    assert log.one(SearchFinished).reason == "budget"


def test_the_budget_is_used_when_no_reservation_fits_and_none_is_held() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2, num_concurrent_workers=2))
    assert hand.state.ending is None
    assert hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0))[-1] == "TrialFinished 0 completed"
    assert hand.state.ending is None  # 2 are used, 4 held, 2 left
    assert hand.poll(observed(1, 0, line(0.5, 0.4, 0.3)), ended(1))[1:] == [
        "BudgetUpdated 1.0",
        "TrialFinished 1 completed",
        "SearchEnding budget",
        "SearchFinished budget",
    ]
    hand.log()


def test_the_last_reservation_fits_to_the_iteration() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3, 0.2)), ended(0))
    assert hand.said[-1] == "Launch 1.0"
    hand.log()


def test_without_a_limit_of_iterations_the_limit_counts_trials_and_nothing_is_reserved(tmp_path: Path) -> None:
    jobs = by_attempt(Script(how="failed"), Script(points=line(0.5)))
    log = run(tmp_path / "s.db", search(total_max_jobs=3, num_concurrent_workers=2), jobs)
    assert len(log.of(TrialSuggested)) == 3
    assert len(log.of(JobCreated)) == 6  # a retry is no trial
    assert {e.reserved for e in log.of(BudgetUpdated)} == {0}
    assert log.one(SearchFinished).reason == "budget"


def test_without_a_limit_of_jobs_there_is_none(tmp_path: Path) -> None:
    what = search(max_iteration_per_job=3, total_max_jobs=None, wall_time_limit=3.0)
    log = run(tmp_path / "s.db", what, each(Script(points=line(0.5, 0.4, 0.3))))
    assert log.one(SearchFinished).reason == "wall_time_limit"
    assert log.of(BudgetUpdated)[-1].used > 18
    assert budget.limit(log.state) is None


# ---------------------------------------------------------------- retries


def test_a_retry_reserves_anew_beside_what_its_predecessor_was_charged() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed"))
    assert hand.said[1] == "JobCreated 0.1 slot 0"
    assert (hand.state.totals.charged, budget.reserved(hand.state)) == (3, 4)
    hand.log()


def test_a_retry_that_cannot_fit_waits_while_something_runs_and_nothing_is_suggested_before_it() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2, num_concurrent_workers=2))
    assert hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed")) == ["BudgetUpdated 0.0"]
    assert hand.poll(observed(1, 0, line(0.5)), ended(1))[3:] == ["JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
    hand.log()


def test_a_retry_that_cannot_fit_with_nothing_running_fails_for_lack_of_budget() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2, num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="failed", why="exit code 1"))
    assert hand.poll(observed(1, 0, line(0.5, 0.4)), ended(1))[1:] == [
        "BudgetUpdated 1.0",
        "TrialFinished 0 failed",
        "TrialFinished 1 completed",
        "SearchEnding budget",
        "SearchFinished budget",
    ]
    assert hand.log().one(TrialFinished, 0).why == "no budget for another attempt after: exit code 1"


def test_a_retry_of_a_lost_job_that_is_back_waits_with_its_failure_for_its_second_end() -> None:
    """A job that is back holds no reservation, but it runs."""
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=2, num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0, how="lost"))
    hand.poll(JobReturned(trial=0, attempt=0))
    assert hand.said == ["Stop 0.0"]
    assert hand.poll(observed(1, 0, line(0.5, 0.4)), ended(1))[1:] == [
        "BudgetUpdated 1.0",
        "TrialFinished 1 completed",
        "SearchEnding budget",
    ]
    assert hand.poll(ended(0, how="stopped")) == ["TrialFinished 0 failed", "SearchFinished budget"]
    hand.log()


def test_new_limits_let_a_retry_go_that_waits_for_the_second_end_of_its_predecessor() -> None:
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=1))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), then=False)
    hand.carry_on()
    hand.poll(ended(0, how="lost"), JobReturned(trial=0, attempt=0))
    assert hand.said == ["BudgetUpdated 0.0", "SearchEnding budget", "Stop 0.0"]
    hand.record(LimitsChanged(changes=LimitChanges(total_max_jobs=2)), None)
    assert hand.poll(ended(0, how="stopped")) == ["JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
    hand.log()


# ---------------------------------------------------------------- trials without a job


def jobless(*, running: bool) -> Hand:
    """Return a search whose newest trial was suggested and has no job yet, beside a job or not."""
    workers = 2 if running else 1
    hand = Hand(search(max_iteration_per_job=4, total_max_jobs=9, num_concurrent_workers=workers))
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    while hand.state.trials[-1].number != workers:
        hand.step(hand.action())
    assert hand.state.trials[-1].attempts == []
    return hand


def test_a_trial_without_a_job_that_cannot_fit_with_nothing_running_is_aborted() -> None:
    hand = jobless(running=False)
    hand.record(LimitsChanged(changes=LimitChanges(total_max_jobs=1)), None)
    assert hand.carry_on() == ["TrialFinished 1 aborted", "SearchEnding budget", "SearchFinished budget"]
    assert hand.log().one(TrialFinished, 1).why == "no budget for a job"


def test_a_trial_without_a_job_that_cannot_fit_waits_while_something_runs() -> None:
    hand = jobless(running=True)
    hand.record(LimitsChanged(changes=LimitChanges(total_max_jobs=2)), None)
    assert hand.carry_on() == []
    assert hand.poll(observed(1, 0, line(0.5)), ended(1))[3:5] == ["JobCreated 2.0 slot 0", "Draft 2.0"]
    hand.log()


@pytest.mark.parametrize("running", [False, True])
def test_a_trial_without_a_job_is_aborted_when_the_search_stops(running: bool) -> None:
    hand = jobless(running=running)
    hand.record(StopAsked(scope="search"), None)
    number = 2 if running else 1
    assert hand.carry_on() == [
        "SearchEnding stop",
        f"TrialFinished {number} aborted",
        *(["Stop 1.0"] if running else ["SearchFinished stop"]),
    ]
    hand.log()


def test_a_trial_without_a_job_still_gets_one_under_an_end_that_lets_jobs_finish() -> None:
    hand = Hand(search(total_max_jobs=1))
    assert hand.said[:3] == ["TrialSuggested 0", "SearchEnding budget", "JobCreated 0.0 slot 0"]
    hand.log()


# ---------------------------------------------------------------- times and clocks


def test_compute_time_is_from_the_start_to_the_end_in_the_receipts_by_the_clock_of_the_jobs() -> None:
    hand = Hand(search(max_iteration_per_job=4))
    start = hand.jobs_clock
    hand.later(ours=77.0, jobs=3.0)
    hand.poll(observed(0, 0, line(0.5)), ended(0, finished_at=start + 1_234_567))
    found = hand.log().of(BudgetUpdated)[0]
    assert found.compute_time == 1_234_567
    assert hand.state.totals.compute == 1_234_567


def test_an_end_that_knows_the_start_gives_it_where_no_start_was_seen() -> None:
    hand = Hand(search(max_iteration_per_job=4, max_failures_per_trial=0))
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    hand.answers["launch", 1, 0] = ended(1, how="failed", started_at=5 * SECOND, finished_at=7 * SECOND)
    hand.carry_on()
    found = hand.log().of(BudgetUpdated, 1)[0]
    assert (found.compute_time, found.iterations) == (2 * SECOND, 1)


def test_the_compute_limit_adds_up_ended_and_running_jobs_by_the_clock_of_the_jobs() -> None:
    """One minute that is over, then two jobs side by side; our clock has no say."""
    hand = Hand(search(num_concurrent_workers=2, compute_time_limit=3.0))
    start = hand.jobs_clock
    hand.later(ours=900.0, jobs=1.0)
    hand.poll(observed(0, 0, line(0.5)), ended(0, finished_at=start + MINUTE), hand.tick())
    assert hand.said[-1] == "Launch 2.0"
    hand.later(jobs=0.4)
    assert hand.poll(hand.tick()) == []
    assert budget.compute_used(hand.state) == round((1 + 1.4 + 0.4) * MINUTE)
    assert [due.left for due in deadlines(hand.state, hand.now)] == [round(0.1 * MINUTE)]
    hand.later(jobs=0.1)
    assert hand.poll(hand.tick()) == ["SearchEnding compute_time_limit", "Stop 1.0 2.0"]
    hand.log()


def test_wall_time_is_by_our_clock_from_the_first_start_pauses_included() -> None:
    hand = Hand(search(wall_time_limit=10.0))
    hand.later(ours=4.0, jobs=900.0)
    assert hand.poll(hand.tick()) == []
    hand.later(ours=5.0)  # nobody is at work
    hand.start()
    assert hand.carry_on() == []
    hand.later(ours=1.0)
    assert hand.poll(hand.tick()) == ["SearchEnding wall_time_limit", "Stop 0.0"]
    assert budget.wall_used(hand.state) == 10 * MINUTE
    hand.log()


def test_a_back_off_is_over_by_our_clock_only() -> None:
    hand = Hand(search())
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    hand.refuse("draft", 1)
    hand.carry_on()
    assert isinstance(hand.action(), actions.Wait)
    hand.later(jobs=900.0)
    assert hand.poll(hand.tick()) == []
    hand.later(ours=1 / 60)
    assert hand.poll(hand.tick()) == ["Draft 1.0", "Launch 1.0"]
    hand.log()


TIMED = ["time limit", "compute limit", "wall limit", "refused effects"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_tick_is_appended_only_when_something_is_due(name: str, tmp_path: Path) -> None:
    log = scenario(name, tmp_path)
    ticks = log.rows_of(ClockTicked)
    assert ticks or name not in TIMED
    for row in ticks:
        assert isinstance(row.event, ClockTicked)
        before = log.before(row.seq)
        assert any(item.reached for item in deadlines(before, Now.of(row.event)))


@pytest.mark.parametrize("name", TIMED)
def test_what_was_due_when_a_poll_began_has_its_tick_behind_the_observations_of_that_poll(
    name: str, tmp_path: Path
) -> None:
    """Simulated time stands still while a poll looks, so its first row shows when it began."""
    log = scenario(name, tmp_path)
    seen = 0
    for row in log.rows:
        if row.cause != row.seq - 1 or not isinstance(row.event, MetricObserved | ReportsRead):
            continue
        last = [r for r in log.rows[row.seq - 1 :] if r.cause == row.cause][-1]
        if isinstance(last.event, ClockTicked):
            seen += 1
            assert (last.event.clock, last.event.jobs_clock) == (row.at, row.at)
        else:
            assert not any(
                item.reached for item in deadlines(log.after(last.seq), Now(ClockReading(row.at), ClockReading(row.at)))
            )
    assert seen or name != "refused effects"


def scenario(name: str, tmp_path: Path) -> Log:
    made = SCENARIOS[name]()
    return run(tmp_path / "s.db", made.search, made.scripts, cut=made.cut, inputs=made.inputs, asks=made.asks)
