"""The order in which a search does what is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventhpo.core.fold.event_families import Decision, Input
from eventhpo.core.fold.events import (
    ClockTicked,
    JobBound,
    JobCreated,
    JobPruned,
    JobsContinued,
    JobStarted,
    LimitsChanged,
    StopAsked,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import LimitChanges
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from tests.core.rules import OVER_ONE, RUNGS, Hand, Log, each, ended, line, observed, run, words
from tests.crash.scenarios import SCENARIOS


def busy(**limits: object) -> Hand:
    """Return a search with four jobs under way."""
    return Hand(search(pruner=OVER_ONE, num_concurrent_workers=4, total_max_jobs=20, max_iteration_per_job=5, **limits))


def poll_with_everything(hand: Hand, *more: object) -> list[str]:
    """Let job 0 go on, job 1 deserve a prune, job 2 fail and job 3 complete, in one poll read backwards."""
    return hand.poll(
        observed(3, 0, line(0.4)),
        ended(3),
        ended(2, how="failed", code=1),
        observed(1, 0, line(0.5, 2.0)),
        observed(0, 0, line(0.5)),
        *more,  # type: ignore[arg-type]
    )


def test_what_one_poll_makes_due_is_done_in_the_one_order() -> None:
    hand = busy()
    assert poll_with_everything(hand) == [
        "JobsContinued 0.0@1 1.0@1",  # judge, by trial number whatever was read first
        "JobPruned 1.0@2",
        "JobsContinued 3.0@1",
        "BudgetUpdated 2.0",  # settle
        "BudgetUpdated 3.0",
        "TrialFinished 3 completed",  # finish; 1 is pruned and has not ended, 2 has a retry
        "Stop 1.0",
        "JobCreated 2.1 slot 2",  # retry
        "TrialSuggested 4",  # suggest and create
        "JobCreated 4.0 slot 3",
        "Draft 2.1 4.0",  # carry on, all of one stage before the next
        "Launch 2.1 4.0",
    ]
    assert hand.action() == actions.Poll(((0, 0), (1, 0), (2, 1), (4, 0)))
    hand.log()


def test_an_end_that_lets_jobs_finish_stands_behind_the_finish_of_trials_and_before_stops_and_retries() -> None:
    hand = busy(target_value=0.4)
    assert poll_with_everything(hand)[5:] == [
        "TrialFinished 3 completed",
        "SearchEnding target_value",
        "Stop 1.0",
        "JobCreated 2.1 slot 2",
        "Draft 2.1",
        "Launch 2.1",
    ]
    hand.log()


def test_an_end_at_once_stands_before_stops_and_nothing_is_retried_or_suggested_behind_it() -> None:
    hand = busy(wall_time_limit=1.0)
    hand.later(ours=1.0)
    assert poll_with_everything(hand, hand.tick())[5:] == [
        "TrialFinished 3 completed",
        "SearchEnding wall_time_limit",
        "TrialFinished 2 failed",
        "Stop 0.0 1.0",
    ]
    hand.log()


def test_the_order_of_rows_in_a_poll_changes_no_decision() -> None:
    backwards, forwards = busy(), busy()
    forwards.poll(
        observed(0, 0, line(0.5)),
        observed(1, 0, line(0.5, 2.0)),
        ended(2, how="failed", code=1),
        observed(3, 0, line(0.4)),
        ended(3),
    )
    assert poll_with_everything(backwards) == forwards.said


@pytest.mark.parametrize(("first", "second", "pruned"), [(0.2, 0.7, [1]), (0.7, 0.2, [])])
def test_of_two_jobs_in_one_poll_the_lower_trial_number_is_judged_first(
    first: float, second: float, pruned: list[int], tmp_path: Path
) -> None:
    """The better one fills the rung before the worse one is looked at, or it does not."""
    jobs = each(Script(points=line(first)), Script(points=line(second), hangs=bool(pruned)))
    log = run(tmp_path / "s.db", search(pruner=RUNGS, num_concurrent_workers=2, total_max_jobs=2), jobs)
    assert [e.trial for e in log.of(JobPruned)] == pruned
    by_hand = Hand(search(pruner=RUNGS, num_concurrent_workers=2, total_max_jobs=2))
    by_hand.poll(observed(1, 0, line(second)), observed(0, 0, line(first)))  # read in the other order
    assert [e.trial for e in by_hand.log().of(JobPruned)] == pruned


def test_the_points_of_one_trial_are_judged_in_their_order_in_the_curve() -> None:
    hand = Hand(search(pruner=OVER_ONE))
    assert hand.poll(observed(0, 0, line(0.1, 0.2, 1.5, 0.3, 1.6)))[:3] == [
        "JobsContinued 0.0@2",
        "JobPruned 0.0@3",
        "Stop 0.0",
    ]
    hand.log()


def test_points_are_judged_before_the_end_that_stands_behind_them_is_settled() -> None:
    hand = Hand(search(pruner=OVER_ONE, total_max_jobs=1))
    said = hand.poll(observed(0, 0, line(0.1, 0.2)), ended(0))
    assert said[:3] == ["JobsContinued 0.0@2", "BudgetUpdated 0.0", "TrialFinished 0 completed"]
    hand.log()


def test_a_search_that_ends_has_judged_settled_and_finished_first() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=3, total_max_jobs=1))
    assert hand.poll(observed(0, 0, line(0.1, 0.2, 0.3)), ended(0)) == [
        "JobsContinued 0.0@3",
        "BudgetUpdated 0.0",
        "TrialFinished 0 completed",
        "SearchEnding budget",
        "SearchFinished budget",
    ]
    assert hand.action() == actions.Rest("finished")
    hand.log()


def test_a_retry_goes_before_any_suggestion() -> None:
    hand = Hand(search(max_iteration_per_job=3, total_max_jobs=9))
    assert hand.poll(ended(0, how="failed"))[:2] == ["BudgetUpdated 0.0", "JobCreated 0.1 slot 0"]
    hand.log()


def test_retries_go_by_trial_number() -> None:
    hand = busy()
    said = hand.poll(ended(3, how="failed"), ended(1, how="lost"), ended(0, how="failed"))
    assert said[3:6] == ["JobCreated 0.1 slot 0", "JobCreated 1.1 slot 1", "JobCreated 3.1 slot 3"]
    hand.log()


def test_each_suggested_trial_has_its_job_before_the_next_is_suggested() -> None:
    hand = Hand(search(num_concurrent_workers=2))
    assert hand.said == [
        "TrialSuggested 0",
        "JobCreated 0.0 slot 0",
        "TrialSuggested 1",
        "JobCreated 1.0 slot 1",
        "Draft 0.0 1.0",
        "Launch 0.0 1.0",
    ]
    hand.log()


def test_a_trial_that_waits_for_a_job_gets_it_before_another_is_suggested() -> None:
    hand = Hand(search(num_concurrent_workers=1, max_iteration_per_job=2, total_max_jobs=5))
    hand.poll(observed(0, 0, line(0.5)), ended(0), then=False)
    while "TrialSuggested 1" not in (said := hand.step(hand.action())):
        assert said
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=2)), None)
    assert hand.carry_on()[:3] == ["JobCreated 1.0 slot 0", "TrialSuggested 2", "JobCreated 2.0 slot 1"]
    hand.log()


def test_stops_go_before_retries_suggestions_and_launches() -> None:
    hand = busy()
    said = hand.poll(observed(1, 0, line(2.0)), observed(3, 0, line(2.0)), ended(0, how="failed"), ended(2))
    effects_and_jobs = [s for s in said if s.split()[0] in ("Stop", "JobCreated", "TrialSuggested", "Draft", "Launch")]
    assert effects_and_jobs[0] == "Stop 1.0 3.0"
    hand.log()


def test_what_may_exist_unbound_is_removed_before_bound_jobs_are_told_to_stop() -> None:
    hand = Hand(search(num_concurrent_workers=3))
    hand.poll(*(e for n in range(3) for e in (observed(n, 0, line(0.5)), ended(n))), then=False)
    while not isinstance(hand.action(), actions.Draft):
        hand.step(hand.action())
    hand.refuse("draft", 4)
    hand.step(hand.action())
    hand.carry_on()
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == [
        "SearchEnding stop",
        "Cancel 4.0",
        "BudgetUpdated 4.0",
        "TrialFinished 4 aborted",
        "Stop 3.0 5.0",
    ]
    hand.log()


def test_a_run_that_is_stopped_with_its_jobs_goes_no_further_than_stopping_them() -> None:
    hand = busy()
    hand.poll(observed(0, 0, line(2.0)), ended(1, how="failed"), then=False)
    hand.record(StopAsked(scope="run", jobs="abort"), None)
    assert hand.carry_on() == ["BudgetUpdated 1.0", "Stop 0.0 2.0 3.0"]
    assert hand.action() == actions.Rest("run stopped")
    hand.log()


def test_a_run_that_leaves_its_jobs_does_nothing_more_at_all() -> None:
    hand = busy()
    hand.poll(observed(0, 0, line(2.0)), ended(1, how="failed"), then=False)
    hand.record(StopAsked(scope="run", jobs="leave"), None)
    assert hand.carry_on() == []
    assert hand.action() == actions.Rest("run stopped")
    hand.log()


def test_all_jobs_are_drafted_before_any_is_launched(tmp_path: Path) -> None:
    log = run(tmp_path / "s.db", search(num_concurrent_workers=4, total_max_jobs=4), each(Script(points=line(0.5))))
    receipts = [words(r.event) for r in log.rows if isinstance(r.event, JobBound | JobStarted)]
    assert receipts == [f"JobBound {n}.0" for n in range(4)] + [f"JobStarted {n}.0" for n in range(4)]


@pytest.mark.parametrize("name", ["time limit", "compute limit", "wall limit", "refused effects"])
def test_a_tick_is_the_last_row_of_its_poll(name: str, tmp_path: Path) -> None:
    log = scenario(name, tmp_path)
    ticks = log.rows_of(ClockTicked)
    assert ticks
    for tick in ticks:
        behind = log.rows[tick.seq]
        assert isinstance(behind.event, Decision) or behind.cause != tick.cause


@pytest.mark.parametrize("name", ["rungs, limit and late points", "failures and retries", "lost and back"])
def test_decisions_of_one_kind_between_two_inputs_go_by_trial_number(name: str, tmp_path: Path) -> None:
    log = scenario(name, tmp_path)
    run_of: list[Decision] = []
    for row in log.rows:
        if isinstance(row.event, Input):
            run_of = []
            continue
        if isinstance(row.event, Decision) and not isinstance(row.event, JobsContinued | JobCreated | TrialSuggested):
            same = [e for e in run_of if type(e) is type(row.event) and hasattr(e, "trial")]
            assert all(e.trial < getattr(row.event, "trial", 1 << 30) for e in same)
            run_of.append(row.event)


def scenario(name: str, tmp_path: Path) -> Log:
    made = SCENARIOS[name]()
    return run(tmp_path / "s.db", made.search, made.scripts, cut=made.cut, inputs=made.inputs, asks=made.asks)
