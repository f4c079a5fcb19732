"""How a search ends, how only a run of it ends, and how either goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.controller.requests import EnqueueRequest, LimitsRequest, accepted
from eventhpo.core.fold import budget
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    EndReason,
    Event,
    JobCreated,
    JobEnded,
    JobStarted,
    JobStopSent,
    LimitsChanged,
    MetricObserved,
    PointEnqueued,
    SearchEnding,
    SearchFinished,
    SearchReopened,
    StopAsked,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import ComponentConfig, DiscreteParameterRange, LimitChanges, Objective
from eventhpo.errors import Usage
from eventhpo.log.reader import read
from eventhpo.testing.searches import X, search, simulate
from eventhpo.testing.simulated import Script, Scripts
from tests.core.rules import OVER_ONE, Hand, Log, deeds, each, ended, line, observed, run
from tests.core.worlds import left_at_each
from tests.memory import MEMORY

STOP = StopAsked(scope="search", why="a person")
ABORT = StopAsked(scope="run", jobs="abort", why="a signal")
LEAVE = StopAsked(scope="run", jobs="leave", why="a second signal")
FAILING = each(Script(points=line(0.5), how="failed"))
TWO = (DiscreteParameterRange(name="General/x", values=(1, 2)),)


def limits(**changes: object) -> Event:
    return LimitsChanged(changes=LimitChanges(**changes))  # type: ignore[arg-type]


def values(*found: float) -> Scripts:
    return each(*(Script(points=line(value)) for value in found))


# ---------------------------------------------------------------- reasons

REASONS: dict[str, tuple[dict[str, object], Scripts, SearchEnding, int]] = {
    "iterations": (
        {"max_iteration_per_job": 2, "total_max_jobs": 3},
        each(Script(points=line(0.5, 0.4))),
        SearchEnding(reason="budget", at_once=False),
        3,
    ),
    "iterations that are left over but too few": (
        {"max_iteration_per_job": 4, "total_max_jobs": 2},
        each(Script(points=line(0.5, 0.4, 0.3))),  # 3 + 3 of 8: no 4 are left
        SearchEnding(reason="budget", at_once=False),
        2,
    ),
    "trials": ({"total_max_jobs": 2}, values(0.5), SearchEnding(reason="budget", at_once=False), 2),
    "max_trials": (
        {"max_trials": 2, "total_max_jobs": 5},
        values(0.5),
        SearchEnding(reason="budget", at_once=False, detail="max_trials = 2"),
        2,
    ),
    "max_trials before the iterations are used": (
        {"max_trials": 4, "total_max_jobs": 9, "max_iteration_per_job": 2, "pruner": OVER_ONE},
        each(Script(points=line(2.0, 2.0))),
        SearchEnding(reason="budget", at_once=False, detail="max_trials = 4"),
        4,
    ),
    "iterations before max_trials": (
        {"max_trials": 4, "total_max_jobs": 3, "max_iteration_per_job": 2},
        each(Script(points=line(0.5, 0.4))),
        SearchEnding(reason="budget", at_once=False),
        3,
    ),
    "too many failures": (
        {"max_failed_trials": 2, "max_failures_per_trial": 0},
        FAILING,
        SearchEnding(reason="failures", at_once=False, detail="2 trials failed (max_failed_trials = 2)"),
        2,
    ),
    "the first three failed": (
        {"max_failures_per_trial": 0},
        FAILING,
        SearchEnding(reason="failures", at_once=False, detail="the first 3 trials all failed"),
        3,
    ),
    "target": (
        {"target_value": 0.2},
        values(0.5, 0.3, 0.2, 0.1),
        SearchEnding(reason="target_value", at_once=False, detail="0.2 reaches 0.2"),
        3,
    ),
    "patience": (
        {"patience": 2, "total_max_jobs": 9},
        values(0.5, 0.4, 0.4, 0.45, 0.1),
        SearchEnding(reason="patience", at_once=False, detail="no gain in 2 completed trials"),
        4,
    ),
    "space": (
        {"space": TWO, "total_max_jobs": None},
        values(0.5),
        SearchEnding(reason="space", at_once=False, detail="all 2 points were tried"),
        2,
    ),
    "compute time": (
        {"compute_time_limit": 0.5, "total_max_jobs": None},
        each(Script(points=line(0.5), hangs=True)),
        SearchEnding(reason="compute_time_limit", at_once=True),
        1,
    ),
    "wall time": (
        {"wall_time_limit": 0.5, "total_max_jobs": None},
        each(Script(points=line(0.5), hangs=True)),
        SearchEnding(reason="wall_time_limit", at_once=True),
        1,
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_is_an_event_of_its_own_and_leaves_the_search_finished(tmp_path: Path, name: str) -> None:
    given, scripts, ending, trials = REASONS[name]
    log = run(tmp_path / "s.db", search(**given), scripts)  # type: ignore[arg-type]
    assert log.one(SearchEnding) == ending
    assert log.one(SearchFinished) == SearchFinished(state="finished", reason=ending.reason)
    assert isinstance(log.rows[-1].event, SearchFinished)
    assert len(log.of(TrialSuggested)) == trials
    assert len(log.of(TrialFinished)) == trials


def test_a_stop_leaves_the_search_stopped(tmp_path: Path) -> None:
    stop = msgspec.structs.replace(STOP, request="r1")
    log = run(tmp_path / "s.db", search(), each(Script(points=line(0.5), hangs=True)), asks=[(7, stop)])
    assert log.one(SearchEnding) == SearchEnding(reason="stop", at_once=True)
    assert log.one(SearchFinished) == SearchFinished(state="stopped", reason="stop")


@pytest.mark.parametrize(
    ("sign", "target", "trials"), [("max", 0.4, 3), ("max_global", 0.4, 2), ("min", 0.1, 3), ("min_global", 0.05, 2)]
)
def test_a_target_is_reached_by_the_value_that_the_sampler_is_told(
    tmp_path: Path, sign: str, target: float, trials: int
) -> None:
    edge = 0.9 if sign.startswith("max") else 0.05
    scripts = each(Script(points=line(0.3)), Script(points=line(edge, 0.3)), Script(points=line(target)))
    objective = Objective("validation", "loss", sign)  # type: ignore[arg-type]
    log = run(tmp_path / "s.db", search(objectives=(objective,), target_value=target), scripts)
    assert log.one(SearchEnding).reason == "target_value"
    assert len(log.of(TrialSuggested)) == trials


def test_a_target_is_looked_at_when_a_trial_completes_and_not_before() -> None:
    hand = Hand(search(target_value=0.5))
    assert hand.poll(observed(0, 0, line(0.1))) == ["JobsContinued 0.0@1"]
    hand.poll(observed(0, 0, ((2, 0.9),), start=1), ended(0))
    assert "SearchEnding target_value" not in hand.said
    hand.log()


def test_a_pruned_or_failed_trial_reaches_no_target_and_is_no_trial_without_gain(tmp_path: Path) -> None:
    what = search(pruner=OVER_ONE, target_value=-1.0, patience=2, total_max_jobs=9, max_failures_per_trial=0)
    scripts = each(
        Script(points=line(0.5)),
        Script(points=line(-9.0, 2.0), hangs=True),  # pruned
        Script(points=line(-9.0), how="failed"),
        Script(points=line(0.6)),
    )
    log = run(tmp_path / "s.db", what, scripts)
    assert [state for state, _ in log.ends()] == ["completed", "pruned", "failed", "completed", "completed"]
    assert log.one(SearchEnding).reason == "patience"


def test_any_gain_begins_the_patience_anew(tmp_path: Path) -> None:
    what = search(patience=2, total_max_jobs=9)
    log = run(tmp_path / "s.db", what, values(0.5, 0.6, 0.4, 0.4, 0.39, 0.39, 0.7))
    assert log.one(SearchEnding).reason == "patience"
    assert len(log.of(TrialFinished)) == 7


@pytest.mark.parametrize(("workers", "failed"), [(1, 3), (3, 3), (5, 5)])
def test_the_first_trials_that_all_fail_are_three_or_as_many_as_there_are_workers(workers: int, failed: int) -> None:
    hand = Hand(search(num_concurrent_workers=workers, total_max_jobs=20, max_failures_per_trial=0))
    for trial in range(failed):
        assert hand.state.ending is None
        hand.poll(ended(trial, how="failed"))
    assert hand.log().one(SearchEnding).detail == f"the first {failed} trials all failed"


@pytest.mark.parametrize("well", ["completed", "pruned"])
def test_once_a_trial_went_well_only_the_limit_of_failures_counts(tmp_path: Path, well: str) -> None:
    what = search(pruner=OVER_ONE, total_max_jobs=7, max_failures_per_trial=0)
    first = Script(points=line(0.5 if well == "completed" else 2.0), hangs=well == "pruned")
    log = run(tmp_path / "s.db", what, each(first, Script(how="failed")))
    assert [state for state, _ in log.ends()] == [well, *["failed"] * 6]
    assert log.one(SearchEnding).reason == "budget"


# ---------------------------------------------------------------- at once


def under_way() -> Hand:
    """Return a search with a job that runs, one that is only bound, one that is only an intent, and a due retry."""
    hand = Hand(search(num_concurrent_workers=4, total_max_jobs=4, max_iteration_per_job=5))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed"))
    assert hand.said == ["BudgetUpdated 0.0"]  # 20 - 1 - 15 leave 4: the retry waits
    return hand


def bound_and_unbound() -> Hand:
    hand = Hand(search(num_concurrent_workers=1, total_max_jobs=9))
    hand.record(limits(num_concurrent_workers=3), None)
    hand.refuse("draft", 2)
    hand.refuse("launch", 1)
    hand.carry_on()
    return hand


def test_a_stop_of_the_search_ends_all_at_once_and_what_never_started_is_charged_nothing() -> None:
    hand = bound_and_unbound()
    hand.record(STOP, None)
    assert hand.carry_on() == [
        "SearchEnding stop",
        "Cancel 2.0",
        "BudgetUpdated 2.0",
        "TrialFinished 2 aborted",
        "Stop 0.0 1.0",
    ]
    hand.poll(ended(0, how="stopped"), ended(1, how="cancelled"))
    assert hand.said[-1] == "SearchFinished stop"
    log = hand.log()
    assert [(e.trial, e.iterations) for e in log.of(BudgetUpdated)] == [(2, 0), (0, 1), (1, 0)]
    assert [state for state, _ in log.ends()] == ["aborted"] * 3
    assert log.of(JobStarted, 1) == log.of(JobStarted, 2) == []


@pytest.mark.parametrize("reason", ["stop", "compute_time_limit", "wall_time_limit"])
def test_an_end_at_once_suggests_retries_and_launches_nothing_any_more(reason: EndReason) -> None:
    hand = under_way()
    if reason == "stop":
        hand.record(STOP, None)
    else:
        hand.record(limits(**{reason: 0.5}), None)
        hand.carry_on()
        hand.later(ours=1, jobs=1)
        hand.poll(hand.tick(), then=False)
    assert hand.carry_on() == [f"SearchEnding {reason}", "TrialFinished 0 failed", "Stop 1.0 2.0 3.0"]
    hand.poll(*(ended(trial, how="stopped") for trial in (1, 2, 3)))
    log = hand.log()
    assert log.one(SearchFinished).reason == reason
    assert [state for state, _ in log.ends()] == ["failed", "aborted", "aborted", "aborted"]
    behind = [type(r.event) for r in log.rows if r.seq > log.seq(SearchEnding)]
    assert not {TrialSuggested, JobCreated, JobStarted} & set(behind)


def test_an_aborted_trial_has_no_value_for_the_sampler_though_it_reported_one() -> None:
    hand = Hand(search())
    hand.poll(observed(0, 0, line(0.5)))
    hand.record(STOP, None)
    hand.carry_on()
    hand.poll(ended(0, how="completed"))  # it came to its end while it was being stopped: the log's order decides
    assert hand.log().one(TrialFinished) == TrialFinished(
        trial=0, state="aborted", why="stopped with the run or the search"
    )


def test_what_was_settled_before_the_end_at_once_stays_settled() -> None:
    hand = Hand(search(pruner=OVER_ONE, num_concurrent_workers=2, max_iteration_per_job=2, total_max_jobs=9))
    hand.poll(observed(0, 0, line(2.0)), observed(1, 0, line(0.5, 0.4)))
    hand.record(STOP, None)
    hand.carry_on()
    hand.poll(ended(0, how="stopped"), ended(1, how="stopped"))
    assert hand.log().ends() == [("pruned", None), ("completed", (0.4,))]


def test_the_wall_time_counts_from_the_first_start_with_the_pauses() -> None:
    hand = Hand(search(wall_time_limit=60.0))
    hand.later(ours=1)
    hand.record(LEAVE, None)
    hand.later(ours=58)
    hand.start()
    assert hand.carry_on() == []
    assert hand.poll(observed(0, 0, line(0.5))) == ["JobsContinued 0.0@1"]
    hand.later(ours=1)
    assert hand.poll(hand.tick()) == ["SearchEnding wall_time_limit", "Stop 0.0"]
    assert budget.wall_used(hand.state) == 3_600_000_000
    hand.log()


# ---------------------------------------------------------------- letting jobs finish


SOFT: dict[str, dict[str, object]] = {
    "target_value": {"target_value": 0.5},
    "patience": {"patience": 1},
    "failures": {"max_failed_trials": 1},
}


@pytest.mark.parametrize("reason", SOFT)
def test_a_soft_end_starts_no_new_trial_and_lets_jobs_and_due_retries_finish(reason: EndReason) -> None:
    hand = Hand(search(num_concurrent_workers=3, total_max_jobs=9, **SOFT[reason]))
    match reason:
        case "target_value":
            hand.poll(observed(0, 0, line(0.5)), ended(0))
        case "patience":
            hand.poll(observed(0, 0, line(0.5)), ended(0))
            hand.poll(observed(3, 0, line(0.6)), ended(3))
        case _:
            hand.poll(ended(0, how="completed"))  # without a value: failed, and not retried
    assert hand.said[-1] == f"SearchEnding {reason}"
    assert hand.poll(observed(1, 0, line(0.7)), ended(1, how="failed"))[-3:] == [
        "JobCreated 1.1 slot 0",
        "Draft 1.1",
        "Launch 1.1",
    ]
    assert hand.poll(observed(1, 1, line(0.9)), ended(1, 1)) == [
        "JobsContinued 1.1@1",
        "BudgetUpdated 1.1",
        "TrialFinished 1 completed",
    ]
    assert hand.poll(observed(2, 0, line(0.9)), ended(2))[-1] == f"SearchFinished {reason}"
    log = hand.log()
    assert log.of(JobStopSent) == []
    assert log.one(SearchFinished).state == "finished"


def test_an_end_at_once_may_follow_one_that_lets_jobs_finish_and_gives_the_search_its_state() -> None:
    hand = Hand(search(num_concurrent_workers=2, target_value=0.5))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    hand.record(STOP, None)
    assert hand.carry_on() == ["SearchEnding stop", "Stop 1.0"]
    hand.poll(ended(1, how="stopped"))
    log = hand.log()
    assert [e.reason for e in log.of(SearchEnding)] == ["target_value", "stop"]
    assert log.one(SearchFinished) == SearchFinished(state="stopped", reason="stop")


def test_a_search_says_once_why_it_ends_but_a_persons_stop_has_the_last_word() -> None:
    hand = Hand(search(num_concurrent_workers=2, target_value=0.5, patience=1, compute_time_limit=1.0))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    hand.later(jobs=1)
    hand.poll(hand.tick())
    assert hand.carry_on() == []
    hand.record(STOP, None)
    assert hand.carry_on() == ["SearchEnding stop"]
    hand.poll(ended(1, how="stopped"))
    assert [e.reason for e in hand.log().of(SearchEnding)] == ["target_value", "compute_time_limit", "stop"]


def test_the_budget_of_trials_is_used_up_when_the_last_is_suggested_and_its_job_still_runs() -> None:
    hand = Hand(search(total_max_jobs=1))
    assert hand.said[:3] == ["TrialSuggested 0", "SearchEnding budget", "JobCreated 0.0 slot 0"]
    assert hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed"))[1:2] == ["JobCreated 0.1 slot 0"]
    assert hand.poll(observed(0, 1, line(0.5)), ended(0, 1))[-1] == "SearchFinished budget"
    hand.log()


# ---------------------------------------------------------------- going on


def finished() -> Hand:
    hand = Hand(search(total_max_jobs=1))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert hand.said[-1] == "SearchFinished budget"
    return hand


def test_a_finished_search_rests_whatever_controller_starts() -> None:
    hand = finished()
    hand.start()
    assert hand.action() == actions.Rest("finished")


def test_new_limits_reopen_a_finished_search_and_end_it_again_if_they_do_not_help() -> None:
    hand = finished()
    hand.record(limits(num_concurrent_workers=2), None)
    assert hand.carry_on() == ["SearchEnding budget", "SearchFinished budget"]
    hand.record(limits(total_max_jobs=2), None)
    assert hand.carry_on()[:3] == ["TrialSuggested 1", "SearchEnding budget", "JobCreated 1.0 slot 0"]
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    assert len(hand.log().of(SearchFinished)) == 3


def test_more_trials_let_a_search_go_on_that_had_its_number_and_a_retry_needs_none() -> None:
    hand = Hand(search(max_trials=1, total_max_jobs=9, max_iteration_per_job=2))
    assert hand.poll(ended(0, how="failed"))[1:2] == ["JobCreated 0.1 slot 0"]
    assert hand.poll(observed(0, 1, line(0.5, 0.4)), ended(0, 1))[-1] == "SearchFinished budget"
    with pytest.raises(Usage, match="eventhpo resume --max-trials N"):
        accepted(hand.state, EnqueueRequest(params={"General/x": 0.5}), None)
    hand.record(limits(max_trials=None), None)
    assert hand.carry_on()[:1] == ["TrialSuggested 1"]
    hand.record(limits(max_trials=2), None)
    assert hand.carry_on() == ["SearchEnding budget"]
    assert hand.poll(observed(1, 0, line(0.5, 0.4)), ended(1))[-1] == "SearchFinished budget"
    assert [e.detail for e in hand.log().of(SearchEnding)] == ["max_trials = 1", "max_trials = 2"]


def test_new_limits_reopen_a_search_that_reached_its_target_and_it_ends_at_the_next_that_does() -> None:
    hand = Hand(search(target_value=0.5))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    hand.record(limits(target_value=0.25), None)
    hand.carry_on()
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    assert hand.state.ending is None
    hand.poll(observed(2, 0, line(0.2)), ended(2))
    assert [e.detail for e in hand.log().of(SearchEnding)] == ["0.5 reaches 0.5", "0.2 reaches 0.25"]


def stopped() -> Hand:
    hand = Hand(search(num_concurrent_workers=2))
    hand.record(STOP, None)
    hand.carry_on()
    hand.poll(ended(0, how="stopped"), ended(1, how="stopped"))
    return hand


def test_new_limits_do_not_reopen_a_stopped_search_but_reopening_does_and_its_points_are_free() -> None:
    hand = stopped()
    tried = [t.params for t in hand.state.trials]
    hand.record(limits(total_max_jobs=9), None)
    assert hand.action() == actions.Rest("finished")
    hand.record(SearchReopened(), None)
    assert hand.carry_on()[:2] == ["TrialSuggested 2", "JobCreated 2.0 slot 0"]
    assert all(hand.state.point_key(params) not in hand.state.taken for params in tried)
    assert (hand.state.finished, hand.state.ending) == (None, None)
    hand.log()


def test_a_point_for_a_search_that_is_over_is_refused_with_the_way_to_reopen_it() -> None:
    point = EnqueueRequest(params={"General/x": 0.5})
    with pytest.raises(Usage, match="new limits reopen it"):
        accepted(finished().state, point, None)
    with pytest.raises(Usage, match="--reopen"):
        accepted(stopped().state, point, None)
    with pytest.raises(Usage, match="--reopen"):
        accepted(stopped().state, LimitsRequest(changes=LimitChanges(total_max_jobs=9)), None)


GRID = ComponentConfig("GridSampler", {"search_space": {"General/x": [1.0, 2.0]}})
FINITE: dict[str, dict[str, object]] = {
    "a finite space": {"space": TWO},
    "a grid": {"space": (msgspec.structs.replace(X, max_value=9.0),), "sampler": GRID},
    "listed by force": {"space": TWO, "sampler": ComponentConfig("BruteForceSampler")},
}


@pytest.mark.parametrize("case", FINITE)
def test_a_search_whose_space_is_used_up_takes_a_persons_point_and_goes_on(case: str) -> None:
    hand = Hand(search(total_max_jobs=9, max_failures_per_trial=0, **FINITE[case]))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert hand.poll(ended(1, how="failed"))[-1] == "SearchFinished space"
    failed = hand.state.trials[1].params
    for event in accepted(hand.state, EnqueueRequest(params=failed), "an id"):
        hand.record(event, None)
    assert hand.carry_on()[:2] == ["TrialSuggested 2", "JobCreated 2.0 slot 0"]
    assert hand.state.trials[2].params == failed
    assert hand.poll(observed(2, 0, line(0.4)), ended(2))[-1] == "SearchFinished space"
    assert [e.state for e in hand.log().of(TrialFinished)] == ["completed", "failed", "completed"]
    assert len(hand.log().of(SearchReopened)) == 1


def test_a_persons_point_outside_the_grid_is_tried_after_the_grid_is_used_up() -> None:
    hand = Hand(search(total_max_jobs=9, **FINITE["a grid"]))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert hand.poll(observed(1, 0, line(0.5)), ended(1))[-1] == "SearchFinished space"
    for event in accepted(hand.state, EnqueueRequest(params={"x": 7.5}), None):
        hand.record(event, None)
    assert hand.carry_on()[0] == "TrialSuggested 2"
    assert hand.state.trials[2].params == {"General/x": 7.5}
    assert hand.poll(observed(2, 0, line(0.4)), ended(2))[-1] == "SearchFinished space"
    with pytest.raises(Usage, match=r"expected a number from 0\.0 to 9\.0"):
        accepted(hand.state, EnqueueRequest(params={"x": 9.5}), None)
    hand.log()


def test_a_stop_before_anything_was_suggested_ends_the_search_without_a_trial(tmp_path: Path) -> None:
    log = run(tmp_path / "s.db", search(), values(0.5), inputs=[STOP])
    assert [type(r.event) for r in log.rows[2:]] == [ControllerStarted, SearchEnding, SearchFinished]


def test_a_trial_that_has_no_job_yet_is_aborted_when_the_search_stops() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=9))
    hand.record(limits(num_concurrent_workers=3), None)
    hand.step(hand.action())
    hand.record(STOP, None)
    assert hand.carry_on() == ["SearchEnding stop", "TrialFinished 2 aborted", "Stop 0.0 1.0"]
    assert hand.log().one(TrialFinished).why == "the search ended before it had a job"


def test_a_trial_that_has_no_job_and_no_budget_with_nothing_running_is_aborted() -> None:
    hand = Hand(search(num_concurrent_workers=1, total_max_jobs=4, max_iteration_per_job=2))
    hand.record(limits(num_concurrent_workers=2), None)
    hand.step(hand.action())
    hand.record(limits(total_max_jobs=1), None)
    assert hand.carry_on() == []
    hand.poll(observed(0, 0, line(0.5, 0.4)), ended(0))
    assert hand.said[-3:] == ["TrialFinished 1 aborted", "SearchEnding budget", "SearchFinished budget"]
    assert hand.log().one(TrialFinished, 1).why == "no budget for a job"


# ---------------------------------------------------------------- only the run


def test_an_aborted_run_goes_no_further_than_to_stop_what_must_stop() -> None:
    hand = bound_and_unbound()
    hand.record(ABORT, None)
    assert hand.carry_on() == ["Cancel 2.0", "BudgetUpdated 2.0", "TrialFinished 2 aborted", "Stop 0.0 1.0"]
    assert hand.action() == actions.Rest("run stopped")
    assert hand.state.ending is None
    assert hand.state.finished is None
    hand.log()


def test_the_next_controller_lifts_the_stop_of_a_run_and_what_was_marked_stays_aborted() -> None:
    hand = bound_and_unbound()
    hand.record(ABORT, None)
    hand.carry_on()
    hand.start()
    assert hand.carry_on()[:2] == ["TrialSuggested 3", "JobCreated 3.0 slot 2"]
    hand.poll(observed(0, 0, line(0.5)), ended(0), ended(1, how="cancelled"))
    assert [e.state for e in hand.log().of(TrialFinished)] == ["aborted"] * 3


def test_a_stop_that_is_still_backing_off_when_a_run_ends_is_sent_by_the_next_run() -> None:
    hand = Hand(search())
    hand.refuse("stop", 0)
    hand.record(ABORT, None)
    assert hand.carry_on() == ["Stop 0.0"]
    assert hand.action() == actions.Rest("run stopped")
    hand.start()
    hand.later(ours=1)
    assert hand.carry_on() == []
    assert hand.poll(hand.tick()) == ["Stop 0.0"]
    hand.poll(ended(0, how="stopped"))
    assert hand.log().one(TrialFinished).state == "aborted"


def test_a_run_that_leaves_its_jobs_ends_at_once_with_whatever_is_due_undone() -> None:
    hand = Hand(search(num_concurrent_workers=2))
    hand.poll(ended(0, how="failed"), then=False)
    hand.record(LEAVE, None)
    assert hand.action() == actions.Rest("run stopped")
    hand.start()
    assert hand.carry_on() == ["BudgetUpdated 0.0", "JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
    hand.log()


def test_a_second_signal_leaves_what_the_first_would_have_stopped_and_the_mark_stays() -> None:
    hand = Hand(search())
    hand.record(ABORT, None)
    hand.record(LEAVE, None)
    assert hand.action() == actions.Rest("run stopped")
    hand.start()
    assert hand.carry_on() == ["Stop 0.0"]
    hand.log()


def test_a_due_retry_is_no_live_attempt_and_outlives_the_run() -> None:
    hand = under_way()
    hand.record(ABORT, None)
    hand.carry_on()
    hand.start()
    hand.poll(*(ended(trial, how="stopped") for trial in (1, 2, 3)))
    assert "JobCreated 0.1 slot 0" in hand.said
    hand.log()


def decisions(log: Log) -> list[Event]:
    """Return the decisions without what names a row."""
    found: list[Event] = []
    for row in log.rows:
        event = row.event
        if isinstance(event, JobCreated):
            event = msgspec.structs.replace(event, key="")
        if isinstance(event, BudgetUpdated):
            event = msgspec.structs.replace(event, compute_time=0)
        if isinstance(event, Decision):
            found.append(event)
    return found


SHORT = search(pruner=OVER_ONE, num_concurrent_workers=2, total_max_jobs=4, max_iteration_per_job=3)
MIXED = each(
    Script(points=line(0.5, 0.4, 0.3)),
    Script(points=line(0.5, 2.0, 0.1), overrun=1),
    Script(points=line(0.5, 0.4), how="failed"),
)


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def test_a_run_that_is_left_at_any_row_goes_on_as_if_it_had_not_been(memory: Path) -> None:
    alone = run(memory / "alone.db", SHORT, MIXED)
    rows = range(3, alone.rows[-1].seq)
    for row, log in zip(rows, left_at_each(memory, rows, LEAVE, SHORT, MIXED), strict=True):
        assert decisions(log) == decisions(alone), row
        assert len(log.of(StopAsked)) == 1
        drafts = [d.key for d in deeds(memory / f"{row}.db") if d.what == "draft"]
        assert len(drafts) == len(set(drafts)) == len(log.of(JobCreated))


def test_a_run_that_is_aborted_at_any_row_ends_no_search_and_starts_nothing_behind_the_signal(memory: Path) -> None:
    alone = run(memory / "alone.db", SHORT, MIXED)
    rows = range(3, alone.rows[-1].seq - 1)
    for row, log in zip(rows, left_at_each(memory, rows, ABORT, SHORT, MIXED), strict=True):
        asked = log.seq(StopAsked)
        again = next((r.seq for r in log.rows_of(ControllerStarted) if r.seq > asked), log.rows[-1].seq + 1)
        between = {type(r.event) for r in log.rows if asked < r.seq < again}
        assert not {TrialSuggested, JobCreated, JobStarted, MetricObserved} & between, row
        assert log.one(SearchFinished).state == "finished", row


def test_a_run_is_not_stopped_twice_by_the_stop_of_an_earlier_epoch(tmp_path: Path) -> None:
    asks: Sequence[tuple[int, Event]] = [(7, msgspec.structs.replace(ABORT, request="r1"))]
    path = tmp_path / "s.db"
    what = search(total_max_jobs=3)
    hanging = each(Script(points=line(0.5), hangs=True), Script(points=line(0.4)))
    first = simulate(path, what, hanging, asks=asks)
    assert (first.finished, first.run_stop is None) == (None, False)
    second = simulate(path, what, hanging, asks=asks)
    assert second.finished == SearchFinished(state="finished", reason="budget")
    assert Log(read(path, verify=True).rows).ends() == [("aborted", None), ("completed", (0.4,)), ("completed", (0.4,))]


def test_a_point_that_waits_when_a_search_ends_is_tried_once_it_goes_on() -> None:
    hand = Hand(search(num_concurrent_workers=1))
    hand.record(PointEnqueued(params={"General/x": 0.5}), None)
    hand.record(STOP, None)
    hand.carry_on()
    hand.poll(ended(0, how="stopped"))
    hand.record(SearchReopened(), None)
    hand.carry_on()
    assert (hand.state.trials[1].source, hand.state.trials[1].params) == ("user", {"General/x": 0.5})
    assert [e.how for e in hand.log().of(JobEnded)] == ["stopped"]
