"""A stop counts when the job is seen to have stopped, and what had ended before it keeps its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from eventhpo.controller.controller import Controller
from eventhpo.controller.effects import observations
from eventhpo.core.fold import deadlines
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import (
    AbortRequested,
    Event,
    JobCreated,
    JobEnded,
    JobRunsOn,
    JobsContinued,
    JobStopSent,
    StopAsked,
    TrialFinished,
)
from eventhpo.jobs.protocol import Ended, JobUpdate, PollResult
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import SECOND, Script
from tests.core.rules import OVER_ONE, Hand, deeds, each, ended, line, observed, run
from tests.core.test_rules_retries import returned

STOP = StopAsked(scope="search", why="a person")
RUN = StopAsked(scope="run", jobs="abort", why="a person")
ABORT = AbortRequested(trial=0, attempt=0)
ASKS = pytest.mark.parametrize("asked", [STOP, RUN, ABORT], ids=["search", "run", "job"])


def one(**more: object) -> Hand:
    return Hand(search(**({"num_concurrent_workers": 1, "total_max_jobs": 3} | more)))


def over(hand: Hand, trial: int = 0) -> None:
    """Have the next stop find the job over."""
    hand.answers["stop", trial, 0] = JobStopSent(trial=trial, attempt=0, clock=hand.clock, over=True)


def said(hand: Hand, after: float, *, runs_on: bool = True, is_over: bool = False) -> list[type[Event]]:
    """Return which events come of a poll so many seconds after the newest stop of trial 0."""
    end = Ended(how="stopped") if is_over else None
    seen = JobUpdate(trial=0, attempt=0, to=hand.state.attempt(0, 0).cursor, runs_on=runs_on, ended=end)
    at = ClockReading((hand.state.attempt(0, 0).told_at or 0) + round(after * SECOND))
    return [type(event) for event in observations(hand.state, PollResult(clock=0, seen=(seen,)), at)]


# ---------------------------------------------------------------- until it is seen


def test_a_job_that_is_seen_to_go_on_is_told_to_stop_again() -> None:
    hand = one()
    hand.record(STOP, None)
    assert hand.carry_on() == ["SearchEnding stop", "Stop 0.0"]
    for _ in range(3):
        assert hand.poll(JobRunsOn(trial=0, attempt=0)) == ["Stop 0.0"]
    assert hand.poll() == []  # it is not told again before it is seen to go on
    assert hand.poll(ended(0, how="stopped"))[-1] == "SearchFinished stop"
    assert [e.stops for e in hand.state.trials[0].attempts] == [4]
    hand.log()


def test_what_was_settled_stays_and_points_after_it_are_late_however_long_the_job_goes_on() -> None:
    hand = one(max_iteration_per_job=9)
    hand.poll(observed(0, 0, line(0.5)))
    hand.record(ABORT, None)
    hand.carry_on()
    hand.poll(JobRunsOn(trial=0, attempt=0), observed(0, 0, line(0.4, start=2), start=1))
    hand.poll(ended(0, how="completed"))
    log = hand.log()
    assert log.ends() == [("aborted", None)]
    assert hand.state.attempt(0, 0).charge == 1
    assert len(log.of(JobStopSent)) == 2


def test_an_attempt_that_is_back_and_goes_on_is_told_again() -> None:
    hand = one()
    hand.poll(ended(0, how="lost"))
    assert hand.poll(returned(0)) == ["Stop 0.0"]
    assert hand.poll(JobRunsOn(trial=0, attempt=0)) == ["Stop 0.0"]
    hand.poll(ended(0, how="stopped"))
    assert hand.state.attempt(0, 0).gone
    hand.log()


def test_a_stop_is_repeated_after_a_back_off_that_grows() -> None:
    """A second for the first, then twice as long each time, up to five minutes; and when our clock was set back."""
    hand = one()
    assert said(hand, 1000) == []  # it was not told to stop
    hand.record(STOP, None)
    hand.carry_on()
    for count in range(1, 13):
        wait = deadlines.back_off(count) / SECOND
        assert (hand.state.attempt(0, 0).stops, said(hand, wait - 0.001), said(hand, wait)) == (count, [], [JobRunsOn])
        hand.poll(JobRunsOn(trial=0, attempt=0))
    assert wait == 300
    assert said(hand, -1) == [JobRunsOn]
    assert said(hand, 1000, runs_on=False) == []
    assert said(hand, 1000, is_over=True) == [JobEnded]


def test_a_stop_in_a_log_of_before_is_repeated_at_the_first_look() -> None:
    """It does not say when it was sent."""
    hand = one()
    hand.answers["stop", 0, 0] = JobStopSent(trial=0, attempt=0)
    hand.record(STOP, None)
    hand.carry_on()
    assert hand.state.attempt(0, 0).told_at is None
    assert said(hand, hand.clock / SECOND) == [JobRunsOn]


def test_a_search_whose_jobs_do_not_hear_their_first_stops_ends_all_the_same(tmp_path: Path) -> None:
    what = search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=3)
    jobs = each(Script(points=line(*[0.5] * 20), hangs=True, deaf=2), Script(points=line(*[0.5] * 20), hangs=True))
    log = run(tmp_path / "s.db", what, jobs, cut=1)
    assert [len(log.of(JobStopSent, trial)) for trial in (0, 1)] == [3, 1]
    assert [len(log.of(JobRunsOn, trial)) for trial in (0, 1)] == [2, 0]
    assert log.ends() == [("completed", (0.5,))] * 2
    assert [d.trial for d in deeds(tmp_path / "s.db") if d.what == "stop"] == [1, 0]


# ---------------------------------------------------------------- what has ended has ended


@ASKS
@pytest.mark.parametrize("how", ["completed", "failed"])
def test_a_job_that_is_over_when_it_is_to_be_told_keeps_its_end(asked: Event, how: str) -> None:
    """Its value, its charge and its verdicts, as if its end had been read a moment before."""
    hand = one(max_failures_per_trial=0, max_iteration_per_job=9)
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    over(hand)
    hand.record(asked, None)
    hand.carry_on()
    if asked is RUN:
        hand.start()
    hand.poll(observed(0, 0, line(0.3, start=3), start=2), ended(0, how=how))
    log = hand.log()
    assert log.ends()[0] == ((how, (0.3,)) if how == "completed" else (how, None))
    assert hand.state.attempt(0, 0).charge == 3
    judged = [v.judged for e in log.of(JobsContinued) for v in e.verdicts if v.trial == 0]
    assert judged == ([2, 3] if how == "completed" else [2])


@ASKS
def test_a_job_that_ended_by_itself_before_it_heard_keeps_its_end(asked: Event) -> None:
    """The stop was sent, and came too late: the runner says so. Points of before its end that were read since count."""
    hand = one(max_iteration_per_job=9)
    hand.poll(observed(0, 0, line(0.5)))
    hand.record(asked, None)
    hand.carry_on()
    if asked is RUN:
        hand.start()
    hand.poll(observed(0, 0, line(0.4, start=2), start=1))
    assert hand.state.attempt(0, 0).curves[0].in_time == 1
    hand.poll(ended(0, by_itself=True))
    log = hand.log()
    assert log.ends()[0] == ("completed", (0.4,))
    assert hand.state.attempt(0, 0).charge == 2


def test_a_failure_from_before_a_stop_of_the_run_is_retried_by_the_next() -> None:
    hand = one()
    over(hand)
    hand.record(RUN, None)
    hand.carry_on()
    hand.start()
    hand.poll(ended(0, how="failed"))
    assert [e.attempt for e in hand.log().of(JobCreated, 0)] == [0, 1]


@pytest.mark.parametrize(("last", "late"), [(3, 0), (4, 1)])
def test_a_job_that_had_reached_its_limit_when_the_stop_came_too_late_completes_at_it(last: int, late: int) -> None:
    hand = one(max_iteration_per_job=3)
    hand.record(ABORT, None)
    hand.carry_on()
    hand.poll(observed(0, 0, line(*[1 / i for i in range(1, last + 1)])))
    hand.poll(ended(0, how="failed", by_itself=True))
    (finished,) = hand.log().of(TrialFinished, 0)
    assert (finished.state, finished.values) == ("completed", (1 / 3,))
    assert (hand.state.attempt(0, 0).charge, hand.state.attempt(0, 0).late) == (3, late)


def test_a_job_that_was_over_and_runs_again_is_aborted_after_all() -> None:
    """As where somebody goes on with a task that had completed."""
    hand = one()
    over(hand)
    hand.record(AbortRequested(trial=0, attempt=0, why="too slow"), None)
    hand.carry_on()
    assert hand.poll(JobRunsOn(trial=0, attempt=0)) == ["Stop 0.0"]
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="stopped"))
    (finished,) = hand.log().of(TrialFinished, 0)
    assert (finished.state, finished.why) == ("aborted", "too slow")


@pytest.mark.parametrize("fate", ["pruned", "time"])
def test_what_a_verdict_or_a_limit_settled_stays_settled(fate: str) -> None:
    """A stop that finds the job over takes back an abort, and nothing else."""
    hand = one(pruner=OVER_ONE, time_limit_per_job=1.0)
    over(hand)
    if fate == "time":
        hand.poll(observed(0, 0, line(0.5)))
        hand.later(jobs=2)
        hand.poll(hand.tick())
    else:
        hand.poll(observed(0, 0, line(2.0)))
    hand.poll(observed(0, 0, line(0.1, start=2), start=1), ended(0, by_itself=True))
    expected = ("pruned", None) if fate == "pruned" else ("completed", (0.5,))
    assert hand.log().ends()[0] == expected


@pytest.mark.parametrize("ending", [True, False])
def test_no_limit_comes_before_an_end_that_is_still_being_read(tmp_path: Path, ending: bool) -> None:
    """A job has more points than one poll takes: its end is known, and told when all of them are read."""

    class Late(Controller):
        """At the first poll the time is over."""

        def _observe(self, answer: PollResult, now: ClockReading, cause: int) -> None:
            seen = [structs.replace(one, ending=ending and one.ended is None) for one in answer.seen]
            super()._observe(PollResult(clock=answer.clock + 120 * SECOND, seen=tuple(seen)), now, cause)

    what = search(num_concurrent_workers=1, total_max_jobs=1, time_limit_per_job=1.0)
    state = simulate(tmp_path / "s.db", what, each(Script(points=line(*[0.5] * 6))), make=Late)
    attempt = state.attempt(0, 0)
    assert (attempt.fate, attempt.curves[0].in_time) == ((None, 6) if ending else ("time", 2))
