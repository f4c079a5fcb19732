"""What a caller asks for is an input first; then the rules decide, and a request that nothing is left for lapses."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from eventhpo.core.fold.event_parts import ImportedTrial, JobExtras
from eventhpo.core.fold.events import (
    AbortRequested,
    BudgetUpdated,
    ControllerStarted,
    DrivenByHand,
    JobRequested,
    LaunchRequested,
    OptimizerTaskSet,
    PointEnqueued,
    RequestLapsed,
    StopAsked,
    TrialFinished,
    TrialsImported,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import ComponentConfig, DiscreteParameterRange, UniformIntegerParameterRange
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from tests.core.rules import Hand, each, ended, line, observed, run, shown

BY_HAND, BY_LOOP = DrivenByHand(), DrivenByHand(by_hand=False)
TWO = (DiscreteParameterRange(name="General/x", values=(1, 2)),)
THREE = (UniformIntegerParameterRange(name="General/x", min_value=1, max_value=3),)
GOOD = each(Script(points=line(0.5, 0.4)))


def ask(name: str = "r1", **params: object) -> JobRequested:
    """Ask for the next suggestion, or for a job of *params*."""
    given = {f"General/{k}": v for k, v in params.items()} or None
    return JobRequested(request=name, params=given)  # type: ignore[arg-type]


def by_hand(*asked: JobRequested, **what: object) -> Hand:
    """Return a search that is driven by hand, after these requests."""
    return Hand(search(**what), BY_HAND, *asked)  # type: ignore[arg-type]


def then(hand: Hand, *inputs: object) -> list[str]:
    """Record *inputs* and return what follows, in words."""
    for event in inputs:
        hand.record(event, None)  # type: ignore[arg-type]
    return hand.carry_on()


# ---------------------------------------------------------------- driven by hand


def test_by_hand_nothing_is_suggested_unless_it_is_asked_for():
    hand = by_hand()
    assert hand.said == []
    assert hand.action() == actions.Rest("by hand")


def test_one_request_is_one_suggestion_and_one_draft_that_nobody_launches():
    hand = by_hand(ask())
    assert hand.said == ["TrialSuggested 0", "JobCreated 0.0 slot 0", "Draft 0.0"]
    assert hand.action() == actions.Poll(((0, 0),))
    assert hand.state.trials[0].request == "r1"
    hand.log()


def test_a_draft_made_by_hand_is_launched_when_that_is_asked_for():
    hand = by_hand(ask())
    assert then(hand, LaunchRequested(trial=0, attempt=0)) == ["Launch 0.0"]
    hand.log()


def test_a_draft_made_by_hand_is_launched_when_the_loop_takes_over():
    hand = by_hand(ask(), num_concurrent_workers=2)
    assert then(hand, BY_LOOP) == ["TrialSuggested 1", "JobCreated 1.0 slot 1", "Draft 1.0", "Launch 0.0 1.0"]
    hand.log()


def test_what_the_loop_began_is_carried_on_although_it_is_driven_by_hand_now():
    hand = Hand(search(max_failures_per_trial=1))
    hand.record(BY_HAND, None)
    said = hand.poll(ended(0, how="failed"))
    assert said == ["BudgetUpdated 0.0", "JobCreated 0.1 slot 0", "Draft 0.1", "Launch 0.1"]
    hand.log()


def test_a_retry_of_a_job_made_by_hand_needs_no_launch_of_its_own():
    hand = by_hand(ask(), max_failures_per_trial=1)
    then(hand, LaunchRequested(trial=0, attempt=0))
    assert hand.poll(ended(0, how="failed"))[-2:] == ["Draft 0.1", "Launch 0.1"]
    hand.log()


def test_it_is_the_same_search_by_hand_and_by_the_loop(tmp_path):
    sampler = ComponentConfig("TPESampler", {"n_startup_trials": 2})
    what = search(total_max_jobs=4, sampler=sampler)
    loop = run(tmp_path / "loop.db", what, GOOD, cut=9)
    hand = Hand(what, BY_HAND)
    for n in range(4):
        then(hand, ask(f"r{n}"))
        then(hand, LaunchRequested(trial=n, attempt=0))
        hand.poll(observed(n, 0, line(0.5, 0.4)), ended(n))
    mine = [e.params for e in hand.log().of(TrialSuggested)]
    assert mine == [e.params for e in loop.of(TrialSuggested)]


def test_a_controller_that_starts_changes_nothing_of_who_drives():
    hand = by_hand(ask())
    hand.start()
    assert hand.carry_on() == []
    assert hand.state.by_hand
    hand.log()


# ---------------------------------------------------------------- requests


def test_requests_are_answered_in_their_order():
    hand = by_hand(ask("first"), ask("second", x=0.25), num_concurrent_workers=2)
    assert [(t.request, t.source) for t in hand.state.trials] == [("first", "sampler"), ("second", "caller")]
    hand.log()


def test_a_request_is_answered_before_the_loop_suggests():
    hand = Hand(search(num_concurrent_workers=2), ask("mine", x=0.25))
    assert [t.request for t in hand.state.trials] == ["mine", None]
    hand.log()


LACKING = {
    "no slot is free": {"num_concurrent_workers": 1},
    "no point is left": {"num_concurrent_workers": 3, "total_max_jobs": None, "space": TWO},
}


@pytest.mark.parametrize("why", LACKING)
def test_a_request_that_something_is_lacking_for_lapses_with_the_reason(why):
    hand = by_hand(ask("r0"), **LACKING[why])
    if why == "no point is left":
        then(hand, ask("r1"))
    assert then(hand, ask("last")) == ["RequestLapsed"]
    assert hand.log().one(RequestLapsed) == RequestLapsed(request="last", why=why)
    assert hand.state.lapsed == {"last": why}
    assert hand.state.asked == []


def test_a_callers_own_point_needs_none_of_the_samplers():
    hand = by_hand(ask("a"), ask("b"), num_concurrent_workers=3, total_max_jobs=None, space=TWO)
    assert then(hand, ask("c", x=1)) == ["TrialSuggested 2", "JobCreated 2.0 slot 2", "Draft 2.0"]
    hand.log()


def test_iterations_that_are_reserved_are_no_budget_for_a_request():
    hand = by_hand(ask("a"), num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=1)
    assert then(hand, ask("b")) == ["RequestLapsed"]
    assert hand.log().one(RequestLapsed).why == "no budget is left"


@pytest.mark.parametrize("jobs", ["abort", "leave"])
def test_a_request_lapses_when_the_run_was_stopped(jobs):
    hand = by_hand()
    said = then(hand, StopAsked(scope="run", jobs=jobs), ask())
    if jobs == "abort":
        assert said == ["RequestLapsed"]
        assert hand.log().one(RequestLapsed).why == "the run was stopped"
    else:
        hand.start()
        assert hand.carry_on()[0] == "TrialSuggested 0"  # it waits in the log until the next run
        hand.log()


def test_a_request_lapses_when_the_search_is_ending():
    hand = Hand(search(total_max_jobs=1))
    hand.record(StopAsked(scope="search"), None)
    assert "RequestLapsed" in then(hand, ask())
    assert hand.log().one(RequestLapsed).why == "the search is ending"


def test_a_request_for_a_search_that_is_over_lapses_too():
    hand = Hand(search(total_max_jobs=1))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert hand.state.finished is not None
    assert then(hand, ask()) == ["RequestLapsed"]
    hand.log()


def test_a_users_point_comes_first_when_a_suggestion_is_asked_for():
    hand = by_hand()
    then(hand, PointEnqueued(params={"General/x": 0.25}), ask())
    (trial,) = hand.state.trials
    assert (trial.params, trial.source, trial.request) == ({"General/x": 0.25}, "user", "r1")
    hand.log()


def test_what_a_caller_wants_of_its_job_stays_with_the_trial():
    extras = JobExtras(tags=("mine",), parent="somebody", task_overrides={"script.branch": "dev"})
    hand = by_hand(JobRequested(request="r1", params={"General/x": 0.5}, extras=extras))
    assert hand.state.trials[0].extras == extras
    hand.log()


# ---------------------------------------------------------------- a caller's own parameters


def test_a_callers_point_is_seen_by_the_sampler_as_far_as_the_space_holds_it():
    hand = by_hand(ask("in", x=0.25), num_concurrent_workers=2)
    then(hand, ask("out", x=7.0, other="b"))
    assert hand.state.trials[1].params == {"General/x": 7.0, "General/other": "b"}
    assert [t.params for t in shown(hand.state)] == [{"General/x": 0.25}, {}]
    hand.log()


def test_a_callers_point_is_charged_like_any_other():
    hand = by_hand(ask(x=0.25), max_iteration_per_job=4, total_max_jobs=2)
    then(hand, LaunchRequested(trial=0, attempt=0))
    hand.poll(observed(0, 0, line(0.5, 0.4, 0.3)), ended(0))
    assert hand.log().one(BudgetUpdated).iterations == 3


def test_a_sampler_does_not_propose_what_a_caller_holds():
    hand = by_hand(ask("a", x=1), ask("b"), ask("c"), space=THREE, num_concurrent_workers=3, total_max_jobs=None)
    assert sorted(t.params["General/x"] for t in hand.state.trials) == [1, 2, 3]
    hand.log()


# ---------------------------------------------------------------- aborts


def test_a_job_that_was_aborted_is_stopped_and_its_trial_is_not_tried_again():
    hand = Hand(search(max_failures_per_trial=3, total_max_jobs=1))
    assert then(hand, AbortRequested(trial=0, attempt=0, why="abort()")) == ["Stop 0.0"]
    said = hand.poll(observed(0, 0, line(0.5)), ended(0, how="stopped"))
    assert said[:2] == ["BudgetUpdated 0.0", "TrialFinished 0 aborted"]
    log = hand.log()
    assert log.one(TrialFinished).values is None
    assert log.state.totals.trials["failed"] == 0


STOPPED = "stopped with the run or the search"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("a person: it diverges",), "a person: it diverges"),
        (("",), "aborted by request"),
        (("the first", "the second"), "the first"),
        (("abort()",), STOPPED),  # as logs have it from before reasons were told on
    ],
    ids=["a reason", "none", "two", "an old log"],
)
def test_the_reason_of_an_abort_is_that_of_the_trials_end(asked, said):
    hand = Hand(search(total_max_jobs=1))
    for why in asked:
        then(hand, AbortRequested(trial=0, attempt=0, why=why))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="stopped"))
    assert hand.log().one(TrialFinished).why == said


def test_an_abort_behind_a_stop_of_the_run_does_not_change_why_the_trial_ended():
    hand = Hand(search(total_max_jobs=1))
    then(hand, StopAsked(scope="run"))
    then(hand, AbortRequested(trial=0, attempt=0, why="too late"))
    assert hand.state.attempt(0, 0).fate_why == ""


def test_a_draft_that_was_aborted_never_runs_and_costs_nothing():
    hand = by_hand(ask(), max_iteration_per_job=4)
    hand.answers["stop", 0, 0] = ended(0, how="cancelled")
    said = then(hand, AbortRequested(trial=0, attempt=0))
    assert said == ["Stop 0.0", "BudgetUpdated 0.0", "TrialFinished 0 aborted"]
    assert hand.log().one(BudgetUpdated).iterations == 0


def test_an_abort_of_what_is_over_changes_nothing():
    hand = Hand(search(total_max_jobs=2))
    hand.poll(observed(0, 0, line(0.5)), ended(0))
    assert then(hand, AbortRequested(trial=0, attempt=0)) == []
    assert hand.state.attempt(0, 0).fate is None
    hand.log()


def test_an_abort_behind_a_prune_leaves_the_prune():
    hand = Hand(search(pruner=ComponentConfig("ThresholdPruner", {"upper": 1.0})))
    hand.poll(observed(0, 0, line(2.0)))
    then(hand, AbortRequested(trial=0, attempt=0))
    said = hand.poll(ended(0, how="stopped"))
    assert "TrialFinished 0 pruned" in said
    hand.log()


def test_the_sampler_sees_an_aborted_trial_as_failed_and_its_point_is_free():
    hand = Hand(search(space=TWO, total_max_jobs=None))
    first = hand.state.trials[0].params
    then(hand, AbortRequested(trial=0, attempt=0))
    hand.poll(ended(0, how="stopped"))
    assert shown(hand.state)[0].state == TrialState.FAIL
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    tried = [t.params for t in hand.state.trials if t.finished is None or t.finished.state != "aborted"]
    assert first in tried or hand.state.finished is None
    hand.log()


# ---------------------------------------------------------------- trials of another study


def imported(*trials: ImportedTrial) -> TrialsImported:
    return TrialsImported(study="before", trials=trials)


def one(
    n: int, x: float, state: str = "completed", value: float | None = None, curve: tuple[float, ...] = ()
) -> ImportedTrial:
    return ImportedTrial(
        number=n,
        params={"General/x": x},
        point={"General/x": x},
        state=state,  # type: ignore[arg-type]
        values=None if state == "pruned" else (x if value is None else value,),
        iterations=tuple(range(1, len(curve) + 1)),
        reported=curve,
    )


def test_imported_trials_are_the_first_and_the_next_number_is_behind_them():
    hand = Hand(search(), imported(one(0, 0.5), one(3, 0.25, "pruned", curve=(0.3, 0.2))))
    assert hand.said[0] == "TrialSuggested 2"
    assert [t.state for t in shown(hand.state)] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]
    assert shown(hand.state)[1].intermediate_values == {1: 0.3, 2: 0.2}
    hand.log()


def test_no_budget_is_charged_for_imported_trials():
    hand = Hand(search(total_max_jobs=1), imported(*(one(n, n / 8) for n in range(8))))
    hand.poll(observed(8, 0, line(0.5)), ended(8))
    assert hand.state.finished is not None
    assert hand.state.totals.jobs == 1
    assert hand.state.totals.trials["completed"] == 1
    hand.log()


def test_a_point_that_was_imported_is_a_duplicate_and_counts_as_tried():
    hand = Hand(search(space=THREE, total_max_jobs=None), imported(one(0, 1), one(1, 2)))
    assert hand.state.trials[2].params == {"General/x": 3}
    hand.poll(observed(2, 0, line(0.5)), ended(2))
    assert hand.state.finished is not None
    assert hand.state.finished.reason == "space"
    hand.log()


def test_a_sampler_that_starts_at_random_is_past_its_start_with_enough_of_them():
    def first(startup: int) -> object:
        what = search(sampler=ComponentConfig("TPESampler", {"n_startup_trials": startup}))
        return Hand(what, imported(*(one(n, n / 9, value=n / 9) for n in range(8)))).state.trials[8].params

    assert first(8) == first(3) != first(9)
    assert first(9) == first(99)


def test_imported_trials_are_in_no_list_of_jobs_and_never_active():
    hand = Hand(search(), imported(one(0, 0.5)))
    assert list(hand.state.active) == [1]
    assert hand.state.trials[0].attempts == []


def test_imported_values_reach_no_target_and_use_up_no_patience():
    what = search(target_value=0.5, patience=2, total_max_jobs=2)
    hand = Hand(what, imported(*(one(n, n / 9, value=0.1) for n in range(4))))
    assert hand.state.reached is None
    assert hand.said[0] == "TrialSuggested 4"
    hand.log()


def test_a_median_of_imported_curves_prunes():
    median = ComponentConfig("MedianPruner", {"n_startup_trials": 2})
    hand = Hand(search(pruner=median), imported(*(one(n, n / 9, curve=(0.1, 0.1)) for n in range(3))))
    assert hand.poll(observed(3, 0, line(0.9)))[0] == "JobPruned 3.0@1"
    hand.log()


# ---------------------------------------------------------------- the task it runs under


def test_the_optimizers_task_is_the_one_that_was_set_last():
    hand = Hand(search(), OptimizerTaskSet(task_id="a"))
    then(hand, OptimizerTaskSet(task_id="b", name="again"))
    assert hand.state.optimizer_task == OptimizerTaskSet(task_id="b", name="again")
    hand.log()


def test_such_inputs_stand_anywhere_and_discharge_nothing():
    hand = Hand(search(num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.5)), then=False)
    hand.record(OptimizerTaskSet(task_id="b"), None)
    hand.record(LaunchRequested(trial=0, attempt=0), None)
    hand.start()
    hand.carry_on()
    assert len(hand.log().of(ControllerStarted)) == 2
