"""Acts of people during a search: a trial is cancelled, the search is paused and goes on, a note is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventhpo.controller.requests import CancelRequest, NoteRequest, PauseRequest, UnpauseRequest, accepted
from eventhpo.core.fold.events import (
    AbortRequested,
    DrivenByHand,
    JobEnded,
    JobRequested,
    JobStopSent,
    LimitsChanged,
    RequestLapsed,
    SearchPaused,
    SearchUnpaused,
    StopAsked,
    TrialCancelled,
    TrialNoted,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import DiscreteParameterRange, LimitChanges
from eventhpo.errors import Usage
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from tests.core.rules import OVER_ONE, Hand, each, ended, line, observed, run

CANCEL = TrialCancelled(trial=0, by="alice@gpu-7", why="too slow")
PAUSE, UNPAUSE = SearchPaused(), SearchUnpaused()
TWO_POINTS = (DiscreteParameterRange(name="General/x", values=(1, 2)),)


def one(**more: object) -> Hand:
    return Hand(search(**({"num_concurrent_workers": 1, "total_max_jobs": 3} | more)))


# ---------------------------------------------------------------- a trial is cancelled


def test_the_job_of_a_cancelled_trial_is_stopped_and_the_next_trial_gets_its_slot() -> None:
    hand = one()
    hand.poll(observed(0, 0, line(0.5)))
    hand.record(CANCEL, None)
    assert hand.carry_on() == ["Stop 0.0"]
    assert hand.poll(ended(0, how="stopped"))[:3] == [
        "BudgetUpdated 0.0",
        "TrialFinished 0 aborted",
        "TrialSuggested 1",
    ]
    assert hand.state.trials[0].finished is not None
    assert hand.state.trials[0].finished.why == "cancelled by alice@gpu-7: too slow"
    hand.log()


@pytest.mark.parametrize("cancelled", [True, False])
def test_the_point_of_a_cancelled_trial_stays_taken_and_that_of_an_aborted_one_does_not(cancelled: bool) -> None:
    hand = one(space=TWO_POINTS, total_max_jobs=None)
    hand.record(CANCEL if cancelled else AbortRequested(trial=0, attempt=0), None)
    hand.carry_on()
    hand.poll(ended(0, how="stopped"))
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    tried = {event.params["General/x"] for event in hand.log().of(TrialSuggested)}
    assert (hand.state.finished is not None) == cancelled
    assert len(hand.log().of(TrialSuggested)) == (2 if cancelled else 3)
    assert tried == {1, 2}


def test_a_cancelled_trial_is_not_retried() -> None:
    hand = one(max_failures_per_trial=9, max_lost_per_trial=9)
    hand.record(PAUSE, None)  # the failed trial waits for its retry
    hand.poll(ended(0, how="failed", why="exit 3"))
    hand.record(CANCEL, None)
    assert hand.carry_on() == ["TrialFinished 0 aborted"]
    assert hand.state.trials[0].finished.why == "cancelled by alice@gpu-7: too slow; after: exit 3"
    assert hand.state.totals.trials["failed"] == 0
    hand.log()


def test_a_trial_without_a_job_is_cancelled_at_once() -> None:
    hand = one()
    hand.record(TrialSuggested(trial=1, params={"General/x": 0.5}), hand.state.last_input)  # no slot is free for it
    hand.record(TrialCancelled(trial=1), None)
    assert hand.carry_on() == ["TrialFinished 1 aborted"]
    assert hand.state.trials[1].finished.why == "cancelled"


def test_an_intent_that_has_no_job_is_removed() -> None:
    hand = one()
    hand.refuse("draft", 1)
    hand.poll(ended(0, how="stopped"))
    hand.record(TrialCancelled(trial=1), None)
    assert hand.carry_on()[:3] == ["Cancel 1.0", "BudgetUpdated 1.0", "TrialFinished 1 aborted"]
    hand.log()


def test_a_job_that_had_ended_before_it_heard_of_the_cancel_keeps_its_end() -> None:
    hand = one()
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    hand.answers["stop", 0, 0] = JobStopSent(trial=0, attempt=0, clock=hand.clock, over=True)
    hand.record(CANCEL, None)
    hand.carry_on()
    hand.poll(ended(0))
    assert hand.log().ends()[0] == ("completed", (0.4,))


def test_what_was_settled_before_the_cancel_stays() -> None:
    hand = one(pruner=OVER_ONE)
    hand.poll(observed(0, 0, line(7.0)))
    hand.record(CANCEL, None)
    hand.carry_on()
    hand.poll(ended(0, how="stopped"))
    assert hand.log().ends()[0] == ("pruned", None)


def test_a_lost_job_of_a_cancelled_trial_that_comes_back_is_stopped_and_nothing_waits_for_it(tmp_path: Path) -> None:
    scripts = each(Script(points=line(0.5, 0.4), how="lost", returns=((3, 0.3),)), Script(points=line(0.5)))
    log = run(
        tmp_path / "s.db",
        search(num_concurrent_workers=1, total_max_jobs=2, max_lost_per_trial=3),
        scripts,
        asks=((8, TrialCancelled(trial=0, request="r1")),),
    )
    assert log.ends()[0][0] == "aborted"
    assert len(log.of(JobEnded, 0)) >= 1


# ---------------------------------------------------------------- the search is paused


def test_a_paused_search_starts_nothing_and_judges_what_runs() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=6, pruner=OVER_ONE))
    hand.record(PAUSE, None)
    assert hand.carry_on() == []
    assert hand.poll(observed(0, 0, line(7.0)), observed(1, 0, line(0.5))) == [
        "JobPruned 0.0@1",
        "JobsContinued 1.0@1",
        "Stop 0.0",
    ]
    assert hand.poll(ended(0, how="stopped"), ended(1)) == [
        "BudgetUpdated 0.0",
        "BudgetUpdated 1.0",
        "TrialFinished 0 pruned",
        "TrialFinished 1 completed",
    ]
    assert isinstance(hand.action(), actions.Wait)
    hand.record(UNPAUSE, None)
    assert hand.carry_on()[0] == "TrialSuggested 2"
    hand.log()


def test_a_paused_search_neither_retries_nor_carries_on_what_was_announced() -> None:
    hand = one(max_failures_per_trial=1)
    hand.record(PAUSE, None)
    assert hand.poll(ended(0, how="failed")) == ["BudgetUpdated 0.0"]
    hand.record(UNPAUSE, None)
    hand.step(hand.action())  # JobCreated 0.1
    hand.record(PAUSE, None)
    assert hand.carry_on() == []
    hand.start()  # the pause outlives its controller
    assert hand.carry_on() == []
    hand.record(UNPAUSE, None)
    assert hand.carry_on() == ["Draft 0.1", "Launch 0.1"]
    hand.log()


def test_a_job_that_was_made_and_not_started_waits_for_the_end_of_the_pause() -> None:
    hand = one()
    hand.refuse("launch", 1)
    hand.poll(ended(0))
    hand.record(PAUSE, None)
    hand.later(ours=1)
    assert hand.poll(hand.tick()) == []
    hand.record(UNPAUSE, None)
    assert hand.carry_on() == ["Launch 1.0"]


def test_wall_time_runs_while_a_search_is_paused() -> None:
    hand = one(wall_time_limit=5.0)
    hand.record(PAUSE, None)
    hand.poll(ended(0))
    hand.later(ours=6)
    assert hand.poll(hand.tick()) == ["SearchEnding wall_time_limit", "SearchFinished wall_time_limit"]
    hand.log()


def test_a_paused_search_is_stopped_like_any_other() -> None:
    hand = one()
    hand.record(PAUSE, None)
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == ["SearchEnding stop", "Stop 0.0"]
    assert hand.poll(ended(0, how="stopped"))[-1] == "SearchFinished stop"


def test_new_limits_leave_a_pause_as_it_is() -> None:
    hand = one(total_max_jobs=1)
    hand.record(PAUSE, None)
    hand.poll(ended(0))
    hand.record(LimitsChanged(changes=LimitChanges(total_max_jobs=2)), None)
    assert hand.carry_on() == []
    hand.record(UNPAUSE, None)
    assert hand.carry_on()[0] == "TrialSuggested 1"


def test_a_caller_who_asks_a_paused_search_for_a_job_gets_none_and_waits_for_it_to_go_on() -> None:
    hand = Hand(search(total_max_jobs=3), DrivenByHand())
    hand.record(PAUSE, None)
    hand.record(JobRequested(request="r1"), None)
    hand.carry_on()
    [lapsed] = hand.log().of(RequestLapsed)
    assert lapsed.why == "the search is paused"
    assert isinstance(hand.action(), actions.Wait)
    hand.record(UNPAUSE, None)
    assert isinstance(hand.action(), actions.Rest)


# ---------------------------------------------------------------- a note


def test_a_note_changes_nothing_that_is_decided() -> None:
    hand = one()
    before, cause = hand.action(), hand.state.last_input
    hand.record(TrialNoted(trial=0, text="looks fine", request="r1"), None)
    assert (hand.action(), hand.state.last_input) == (before, cause)
    assert "r1" in hand.state.requests


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("request_of_a_person", "why"),
    [
        (CancelRequest(trial=7), r"there is no trial 7 in this search: its one trial is 0"),
        (NoteRequest(trial=-1, text="x"), r"there is no trial -1"),
        (NoteRequest(trial=0, text=" \n"), r"expected a text that is not empty"),
        (NoteRequest(trial=0, text="x" * 4_001), r"at most 4000 characters"),
        (NoteRequest(trial=0, text="\x1b[2J"), r"without control characters"),
        (UnpauseRequest(), r"the search is not paused"),
    ],
)
def test_what_does_not_fit_the_search_is_refused(request_of_a_person: object, why: str) -> None:
    with pytest.raises(Usage, match=why):
        accepted(one().state, request_of_a_person, None)  # type: ignore[arg-type]


def test_an_act_that_was_done_already_is_refused() -> None:
    hand = one()
    hand.record(PAUSE, None)
    with pytest.raises(Usage, match=f"paused already, since event {hand.state.paused}"):
        accepted(hand.state, PauseRequest(), None)
    hand.record(CANCEL, None)
    with pytest.raises(Usage, match="was cancelled already, at event"):
        accepted(hand.state, CancelRequest(trial=0), None)
    hand.carry_on()
    hand.poll(ended(0, how="stopped"))
    with pytest.raises(Usage, match="trial 0 is aborted already"):
        accepted(hand.state, CancelRequest(trial=0), None)


def test_a_search_that_is_over_cannot_be_paused_and_can_be_noted_on() -> None:
    hand = one(total_max_jobs=1)
    hand.poll(ended(0))
    with pytest.raises(Usage, match="finished already"):
        accepted(hand.state, PauseRequest(), None)
    [noted] = accepted(hand.state, NoteRequest(trial=0, text="two lines\nof text"), None)
    assert isinstance(noted, TrialNoted)
