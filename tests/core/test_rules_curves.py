"""What a curve is to a decision, what of it is late, and what a limit and a prune settle."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from optuna.trial import TrialState

from eventhpo.core.fold.curve import Curve, spread
from eventhpo.core.fold.events import (
    BudgetUpdated,
    InheritanceClaimed,
    JobEnded,
    JobPruned,
    JobsContinued,
    MetricObserved,
    StopAsked,
    TrialFinished,
)
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import ComponentConfig, Objective
from eventhpo.optuna_adapter.component_checks import check_pruner
from eventhpo.testing.searches import LOSS, search
from eventhpo.testing.simulated import Script
from tests.core.rules import OVER_ONE, RUNGS, Hand, Log, by_attempt, deeds, each, ended, line, observed, run, shown

ACCURACY = Objective("validation", "accuracy", "max_global")


def one(path: Path, script: Script, *, cut: int = 20, **what: object) -> Log:
    """Return the log of a search of one job."""
    settings = {"pruner": OVER_ONE, "max_iteration_per_job": 5, "total_max_jobs": 1, "max_failures_per_trial": 0}
    return run(path / "s.db", search(**(settings | what)), each(script), cut=cut)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the least and the greatest value

NAN = math.nan


@pytest.mark.parametrize("values", [[NAN, 2.0, 1.0], [2.0, NAN, 1.0], [2.0, 1.0, NAN], [1.0, NAN, NAN, 2.0]])
def test_nan_is_neither_the_least_nor_the_greatest_value_wherever_it_stands(values: list[float]) -> None:
    assert spread(values) == (1.0, 2.0)


def test_of_nan_alone_the_least_and_the_greatest_are_nan() -> None:
    assert [math.isnan(one) for one in spread([NAN, NAN])] == [True, True]


# ---------------------------------------------------------------- the points that count

JUMPING = ((1, 0.5), (3, 0.3), (3, 0.9), (2, 0.1), (1, 0.7), (4, 0.4), (4, 0.4), (2, 0.2))


@pytest.mark.parametrize("cut", [1, 2, 3, 8])
def test_a_curve_is_its_points_of_strictly_rising_iteration_the_first_value_of_each(cut: int, tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=JUMPING), cut=cut)
    curve = log.state.attempt(0, 0).curves[0]
    assert list(zip(curve.iterations, curve.values, strict=True)) == [(1, 0.5), (3, 0.3), (4, 0.4)]
    assert log.verdicts(0)[-1] == ("go on", 3, 4)
    assert shown(log.state)[0].intermediate_values == {1: 0.5, 3: 0.3, 4: 0.4}


def test_repeats_conflicts_and_rewinds_are_kept_for_people(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=JUMPING), cut=3)
    told = [(i, v) for e in log.of(MetricObserved) for i, v in zip(e.iterations, e.values, strict=True)]
    assert told == list(JUMPING)
    assert log.state.attempt(0, 0).reported == len(JUMPING)


def test_a_rewind_is_never_shown_to_the_pruner(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=((1, 0.5), (2, 0.5), (1, 3.0), (2, 3.0), (3, 0.4))))
    assert log.verdicts(0) == [("go on", 3, 3)]


def test_a_poll_that_brings_only_repeats_asks_for_no_verdict() -> None:
    hand = Hand(search(pruner=OVER_ONE))
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    assert hand.poll(observed(0, 0, line(0.5, 0.4), start=2)) == []
    hand.log()


def test_the_last_value_is_the_one_at_the_highest_iteration(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=((1, 0.5), (4, 0.3), (2, 0.1))))
    assert log.ends() == [("completed", (0.3,))]


@pytest.mark.parametrize("how", ["failed", "lost", "stopped"])
def test_an_attempt_that_failed_was_lost_or_aborted_in_the_poll_of_its_points_is_not_judged(how: str) -> None:
    hand = Hand(search(pruner=OVER_ONE, max_failures_per_trial=0, max_lost_per_trial=0))
    said = hand.poll(observed(0, 0, line(0.5, 2.0)), ended(0, how=how))
    assert said[:2] == ["BudgetUpdated 0.0", f"TrialFinished 0 {'aborted' if how == 'stopped' else 'failed'}"]
    assert hand.log().of(JobsContinued) == hand.log().of(JobPruned) == []
    assert hand.state.attempt(0, 0).judged == 0


def test_what_was_judged_before_a_failure_stays_judged_and_the_rest_stays_unjudged() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_failures_per_trial=0))
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    hand.poll(observed(0, 0, line(2.0, start=3), start=2), ended(0, how="failed"))
    assert hand.log().verdicts(0) == [("go on", 2, 2)]
    assert shown(hand.state)[0].intermediate_values == {1: 0.5, 2: 0.4}
    assert shown(hand.state)[0].state is TrialState.FAIL


def test_the_points_behind_an_abort_are_not_judged() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=5))
    hand.poll(observed(0, 0, line(0.5)))
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == ["SearchEnding stop", "Stop 0.0"]
    hand.poll(observed(0, 0, line(2.0, start=2), start=1), ended(0, how="stopped"))
    assert hand.said == ["BudgetUpdated 0.0", "TrialFinished 0 aborted", "SearchFinished stop"]
    assert hand.log().verdicts(0) == [("go on", 1, 1)]


def test_with_several_objectives_the_iteration_is_the_highest_of_any(tmp_path: Path) -> None:
    points = ((1, 0.5, 0), (1, 0.1, 1), (2, 0.4, 0), (3, 0.2, 1))
    log = one(tmp_path, Script(points=points), objectives=(LOSS, ACCURACY), pruner=ComponentConfig("NopPruner"))
    assert log.one(BudgetUpdated).iterations == 3
    assert log.ends() == [("completed", (0.4, 0.2))]


@pytest.mark.parametrize("first", [0, 1])
def test_with_several_objectives_any_of_them_reaches_the_limit(first: int) -> None:
    hand = Hand(
        search(objectives=(LOSS, ACCURACY), max_iteration_per_job=3, total_max_jobs=1, max_failures_per_trial=0)
    )
    hand.poll(
        observed(0, 0, line(0.5, 0.4, 0.3, 0.2)[: 3 if first else 4], objective=first),
        observed(0, 0, line(0.6, 0.7), objective=1 - first),
    )
    assert hand.state.attempt(0, 0).fate == "limit"
    assert hand.said == ([] if first else ["Stop 0.0"])
    hand.poll(ended(0, how="failed"))
    assert hand.said[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 completed"]
    assert hand.log().one(BudgetUpdated).iterations == 3


# ---------------------------------------------------------------- late points


def test_everything_reported_is_recorded_also_behind_a_prune(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 2.0, 0.1, 0.2), hangs=True, overrun=2), total_max_jobs=1)
    told = [(i, v) for e in log.of(MetricObserved, 0) for i, v in zip(e.iterations, e.values, strict=True)]
    assert told == list(line(0.5, 2.0, 0.1, 0.2))


def test_a_verdict_names_how_many_points_it_judged(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=((2, 0.5), (4, 0.4), (5, 0.3))), cut=1)
    assert log.verdicts(0) == [("go on", 1, 2), ("go on", 2, 4), ("go on", 3, 5)]


def test_what_lies_behind_a_prune_is_late_and_neither_sampler_nor_pruner_sees_it() -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=9))
    assert hand.poll(observed(0, 0, line(0.5, 2.0, 0.1))) == ["JobsContinued 0.0@1", "JobPruned 0.0@2", "Stop 0.0"]
    assert hand.poll(observed(0, 0, line(0.2, start=4), start=3)) == []
    curve = hand.state.attempt(0, 0).curves[0]
    assert (curve.in_time, curve.iterations) == (2, [1, 2, 3, 4])
    assert shown(hand.state)[0].intermediate_values == {1: 0.5, 2: 2.0}
    assert shown(hand.state)[0].value == 2.0
    hand.poll(ended(0, how="stopped"))
    assert hand.log().one(BudgetUpdated) == BudgetUpdated(
        trial=0, attempt=0, iterations=2, late=2, compute_time=0, used=2, reserved=0
    )


def test_what_lies_beyond_the_limit_is_late_and_the_sampler_never_sees_it(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4, 0.3, 0.2, 0.6, 0.1, 0.05), overrun=2))
    assert log.ends() == [("completed", (0.6,))]
    assert log.verdicts(0) == [("go on", 5, 5)]
    assert shown(log.state)[0].intermediate_values == dict(line(0.5, 0.4, 0.3, 0.2, 0.6))
    assert log.one(BudgetUpdated).late == 2


def test_late_points_are_shown_to_people_and_count_in_the_rank(tmp_path: Path) -> None:
    jobs = each(Script(points=line(0.5, 0.5, 0.5)), Script(points=line(0.6, 0.6, 0.6, 0.1), overrun=1))
    log = run(tmp_path / "s.db", search(max_iteration_per_job=3, total_max_jobs=2), jobs, cut=9)
    assert log.ends() == [("completed", (0.5,)), ("completed", (0.6,))]
    assert [t.number for t in rank.top(log.state)] == [1, 0]
    assert rank.values(log.state, log.state.trials[1]) == [0.1]


# ---------------------------------------------------------------- before verdicts begin


def test_below_the_least_iteration_the_pruner_is_not_asked_and_such_points_count_as_judged(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(3.0, 3.0, 0.5, 0.4)), min_iteration_per_job=3)
    assert log.verdicts(0) == [("go on", 4, 4)]
    assert log.ends() == [("completed", (0.4,))]
    assert shown(log.state)[0].intermediate_values == dict(line(3.0, 3.0, 0.5, 0.4))


def test_at_the_least_iteration_the_pruner_is_asked() -> None:
    hand = Hand(search(pruner=OVER_ONE, min_iteration_per_job=3))
    assert hand.poll(observed(0, 0, line(3.0, 3.0))) == ["JobsContinued 0.0@2"]
    assert hand.poll(observed(0, 0, line(3.0, start=3), start=2)) == ["JobPruned 0.0@3", "Stop 0.0"]
    assert hand.log().one(JobPruned).judged == 3


def test_a_pruner_that_is_not_asked_writes_nothing() -> None:
    hand = Hand(search(pruner=RUNGS, min_iteration_per_job=3))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3, 0.2)))
    (verdict,) = hand.log().one(JobsContinued).verdicts
    assert min(a.iteration for a in verdict.attrs) >= 3


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize("how", ["completed", "failed", "lost", "stopped"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_point_at_the_limit_settles_that_the_trial_completes_also_where_the_end_stands_in_the_same_poll(
    how: str, apart: bool
) -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=3, total_max_jobs=1))
    points = observed(0, 0, line(0.5, 0.4, 0.3))
    if apart:
        hand.poll(points)
        hand.poll(ended(0, how=how))
    else:
        hand.poll(points, ended(0, how=how))
    log = hand.log()
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="completed", values=(0.3,))
    assert log.verdicts(0) == [("go on", 3, 3)]
    assert log.one(BudgetUpdated).iterations == 3


@pytest.mark.parametrize("how", ["failed", "lost"])
def test_the_first_point_beyond_settles_it_too_where_none_stands_at_the_limit(how: str) -> None:
    hand = Hand(search(pruner=OVER_ONE, max_iteration_per_job=3, total_max_jobs=1))
    hand.poll(observed(0, 0, ((1, 0.5), (2, 0.4), (7, 0.1))), ended(0, how=how))
    log = hand.log()
    assert log.one(TrialFinished) == TrialFinished(trial=0, state="completed", values=(0.4,))
    assert log.verdicts(0) == [("go on", 2, 2)]
    budget_of_it = log.one(BudgetUpdated)
    assert (budget_of_it.iterations, budget_of_it.late) == (3, 4)


def test_a_trial_at_its_limit_is_finished_at_the_end_of_its_job_and_not_before() -> None:
    hand = Hand(search(max_iteration_per_job=3, total_max_jobs=1))
    assert hand.poll(observed(0, 0, line(0.5, 0.4, 0.3))) == ["JobsContinued 0.0@3"]
    assert shown(hand.state)[0].state is TrialState.RUNNING
    assert hand.poll() == []
    assert hand.poll(ended(0))[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 completed"]
    hand.log()


def test_a_script_that_ends_at_its_limit_is_not_stopped(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4, 0.3, 0.2, 0.1), ends_apart=True))
    assert [d.what for d in deeds(tmp_path / "s.db")] == ["draft", "launch"]
    assert log.one(JobEnded).how == "completed"
    assert log.ends() == [("completed", (0.1,))]


def test_the_stop_goes_out_at_the_first_point_beyond() -> None:
    hand = Hand(search(max_iteration_per_job=3))
    assert hand.poll(observed(0, 0, line(0.5, 0.4, 0.3))) == ["JobsContinued 0.0@3"]
    assert hand.poll(observed(0, 0, line(0.2, start=4), start=3)) == ["Stop 0.0"]
    assert hand.state.attempt(0, 0).stop == hand.log().rows_of(MetricObserved)[-1].seq


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_the_pruner_is_asked_at_the_limit_too_and_a_prune_there_is_too_late(cut: int, tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4, 0.3, 0.2, 3.0), ends_apart=True), cut=cut)
    assert log.verdicts(0)[-1] == ("too late", 5, 5)
    assert log.ends() == [("completed", (3.0,))]
    assert log.of(JobPruned) == []


def test_the_rung_at_the_limit_is_filled() -> None:
    hand = Hand(search(pruner=RUNGS, max_iteration_per_job=4))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3, 0.2)))
    (verdict,) = hand.log().one(JobsContinued).verdicts
    assert [a.iteration for a in verdict.attrs] == [1, 2, 4]


@pytest.mark.parametrize("last", [5, 6, 9])
def test_a_prune_at_an_earlier_point_wins_over_the_limit_in_the_same_poll(last: int, tmp_path: Path) -> None:
    points = (*line(0.5, 0.4, 2.0, 0.3), (last, 0.2))
    log = one(tmp_path, Script(points=points, hangs=True), time_limit_per_job=1.0)
    assert log.verdicts(0) == [("go on", 2, 2), ("prune", 3, 3)]
    assert log.ends() == [("pruned", None)]
    charged = log.one(BudgetUpdated)
    assert (charged.iterations, charged.late) == (3, last - 3)
    assert log.state.attempt(0, 0).fate == "pruned"


def test_the_cut_into_polls_does_not_change_which_of_prune_and_limit_wins(tmp_path: Path) -> None:
    script = Script(points=line(0.5, 0.4, 2.0, 0.3, 0.2, 0.1), hangs=True, overrun=9)
    found = []
    for cut in (1, 2, 3, 6):
        (tmp_path / str(cut)).mkdir()
        log = one(tmp_path / str(cut), script, cut=cut)
        found.append((log.ends(), log.one(BudgetUpdated).iterations, log.verdicts(0)[-1]))
    assert found == [([("pruned", None)], 3, ("prune", 3, 3))] * 4


def test_a_prune_at_an_earlier_point_changes_nothing_once_the_end_is_read(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, 0.4, 2.0, 0.3, 0.2), how="failed"))
    assert log.verdicts(0) == [("too late", 3, 3), ("go on", 5, 5)]
    assert log.ends() == [("completed", (0.2,))]


# ---------------------------------------------------------------- the time limit


def timed(**what: object) -> Hand:
    """Return a search with one job, which has reached its time limit at the backend's clock."""
    hand = Hand(search(pruner=OVER_ONE, time_limit_per_job=2.0, max_iteration_per_job=9, **what))
    hand.later(jobs=2.0)
    return hand


def test_points_behind_the_tick_of_the_time_limit_are_late() -> None:
    hand = timed()
    assert hand.poll(observed(0, 0, line(0.5, 0.4)), hand.tick()) == ["JobsContinued 0.0@2", "Stop 0.0"]
    assert hand.poll(observed(0, 0, line(0.1, 3.0, start=3), start=2), ended(0, how="stopped"))[:2] == [
        "BudgetUpdated 0.0",
        "TrialFinished 0 completed",
    ]
    log = hand.log()
    assert log.of(TrialFinished) == [
        TrialFinished(trial=0, state="completed", values=(0.4,), why="reached time_limit_per_job")
    ]
    assert (log.of(BudgetUpdated)[0].iterations, log.of(BudgetUpdated)[0].late) == (2, 2)
    assert log.verdicts(0) == [("go on", 2, 2)]
    assert shown(log.state)[0].intermediate_values == {1: 0.5, 2: 0.4}
    assert rank.values(log.state, log.state.trials[0]) == [3.0]


def test_points_in_the_poll_of_the_tick_stand_before_it_and_are_judged() -> None:
    """Position in the curve decides here too: a prune at a point before the tick wins."""
    hand = timed()
    assert hand.poll(observed(0, 0, line(0.5, 2.0, 0.3)), hand.tick()) == [
        "JobsContinued 0.0@1",
        "JobPruned 0.0@2",
        "Stop 0.0",
    ]
    hand.poll(ended(0, how="stopped"))
    assert hand.log().of(TrialFinished)[0] == TrialFinished(trial=0, state="pruned")


def test_the_iteration_limit_reached_before_the_tick_stays_what_settled_it() -> None:
    hand = timed()
    assert hand.poll(observed(0, 0, ((9, 0.5),)), hand.tick()) == ["JobsContinued 0.0@9", "Stop 0.0"]
    hand.poll(ended(0, how="stopped"))
    assert hand.log().of(TrialFinished)[0] == TrialFinished(trial=0, state="completed", values=(0.5,))


def test_the_iteration_limit_reached_behind_the_tick_changes_nothing() -> None:
    hand = timed()
    hand.poll(observed(0, 0, line(0.5)), hand.tick())
    hand.poll(observed(0, 0, ((9, 0.1), (10, 0.1)), start=1), ended(0, how="failed"))
    log = hand.log()
    assert log.of(TrialFinished)[0].values == (0.5,)
    assert log.of(BudgetUpdated)[0].iterations == 1


def test_with_several_objectives_points_of_each_behind_the_tick_are_late() -> None:
    hand = Hand(search(objectives=(LOSS, ACCURACY), time_limit_per_job=2.0))
    hand.later(jobs=2.0)
    hand.poll(observed(0, 0, line(0.5)), observed(0, 0, line(0.6), objective=1), hand.tick())
    hand.poll(
        observed(0, 0, line(0.1, start=2), start=1),
        observed(0, 0, line(0.9, start=2), start=1, objective=1),
        ended(0, how="stopped"),
    )
    assert hand.log().of(TrialFinished)[0].values == (0.5, 0.6)


def test_points_behind_the_tick_are_late_also_where_a_retry_says_only_then_what_it_inherits() -> None:
    """It completes with what it inherited."""
    hand = Hand(search(pruner=OVER_ONE, time_limit_per_job=2.0, max_iteration_per_job=9))
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0, how="failed"))
    hand.later(jobs=2.0)
    assert hand.poll(hand.tick()) == ["Stop 0.1"]
    claim = InheritanceClaimed(trial=0, attempt=1, iteration=2)
    hand.poll(claim, observed(0, 1, line(0.1, 3.0, start=3)), ended(0, 1, how="stopped"))
    log = hand.log()
    assert log.one(TrialFinished, 0).values == (0.4,)
    assert log.verdicts(0) == [("go on", 2, 2)]
    assert [(e.iterations, e.late) for e in log.of(BudgetUpdated, 0)] == [(2, 0), (1, 2)]


def test_the_time_limit_counts_from_the_start_of_the_job_by_the_clock_of_the_jobs() -> None:
    hand = Hand(search(time_limit_per_job=2.0))
    hand.later(ours=500.0, jobs=1.99)
    assert hand.poll(hand.tick()) == []
    hand.later(jobs=0.01)
    assert hand.poll(hand.tick()) == ["Stop 0.0"]
    hand.log()


# ---------------------------------------------------------------- several objectives


def test_pruning_with_several_objectives_is_refused() -> None:
    (mistake,) = check_pruner(ComponentConfig("MedianPruner"), n_objectives=2)
    assert "nothing is pruned" in str(mistake)
    assert (
        check_pruner(ComponentConfig("MedianPruner"), n_objectives=1)
        == check_pruner(ComponentConfig("NopPruner"), n_objectives=2)
        == []
    )


def test_with_several_objectives_nothing_is_judged(tmp_path: Path) -> None:
    points = tuple((i, 9.0, o) for i in (1, 2) for o in (0, 1))
    log = one(tmp_path, Script(points=points), objectives=(LOSS, ACCURACY))
    assert log.of(JobsContinued) == log.of(JobPruned) == []
    assert log.ends() == [("completed", (9.0, 9.0))]


# ---------------------------------------------------------------- retries and curves


def test_a_retry_begins_its_curve_anew_and_what_the_pruner_wrote_is_dropped(tmp_path: Path) -> None:
    jobs = by_attempt(Script(points=line(0.5, 0.4, 0.3), how="failed", ends_apart=True), Script(points=line(0.2)))
    log = run(tmp_path / "s.db", search(pruner=RUNGS, max_iteration_per_job=5, total_max_jobs=2), jobs, cut=3)
    first, second = log.state.trials[0].attempts
    assert [a.iteration for a in first.attrs] == [1, 2]
    assert [a.iteration for a in second.attrs] == [1]
    assert shown(log.state)[0].intermediate_values == {1: 0.2}
    assert [n for n in shown(log.state)[0].system_attrs if n.startswith("completed_rung")] == ["completed_rung_0"]


def test_a_number_that_is_nan_is_a_point_like_others(tmp_path: Path) -> None:
    log = one(tmp_path, Script(points=line(0.5, math.nan, 0.3)), pruner=ComponentConfig("NopPruner"))
    assert log.verdicts(0) == [("go on", 3, 3)]
    assert log.ends() == [("completed", (0.3,))]


def test_an_earlier_cut_stays_when_a_later_one_follows() -> None:
    curve = Curve(iterations=[1, 2, 3], values=[0.1, 0.2, 0.3])
    curve.end_at(1)
    curve.end_at(2)
    assert curve.in_time == 1


@pytest.mark.parametrize("lengths", [(10, 3), (3, 10)], ids=["long first", "short first"])
def test_what_auto_means_is_settled_by_the_longest_completed_curve(lengths: tuple[int, int]) -> None:
    """Both are completed when the question comes that settles it."""
    hand = Hand(search(pruner=ComponentConfig("HyperbandPruner"), num_concurrent_workers=2, total_max_jobs=4))
    events = [
        event
        for trial, length in enumerate(lengths)
        for event in (observed(trial, 0, line(*[0.5] * length)), ended(trial))
    ]
    hand.poll(*events)
    assert hand.state.totals.trials["completed"] == 2
    hand.poll(observed(2, 0, line(0.5)))
    assert [e.latched for e in hand.log().of(JobsContinued) if e.latched is not None] == [10 + 1]
