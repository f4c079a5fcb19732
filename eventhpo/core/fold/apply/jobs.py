"""What the life of a job does to the state: receipts, ends, failures, time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from eventhpo.core.fold import deadlines
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import (
    ClockTicked,
    EffectFailed,
    Event,
    JobBound,
    JobEnded,
    JobQueued,
    JobReturned,
    JobRunsOn,
    JobStarted,
    JobStopSent,
    Recorded,
)
from eventhpo.core.fold.state import Attempt, Failure, State


def settle(attempt: Attempt, fate: Any, seq: int, why: str = "") -> None:
    """Have it stopped, and let *fate* be its outcome, all further points late, unless that is settled already.

    Late, because no charge may depend on how fast the stop takes effect.
    """
    if attempt.stop is None:
        attempt.stop = seq
    if attempt.fate is None:
        attempt.fate, attempt.fate_why = fate, why
        attempt.closed = fate == "aborted"
        attempt.end_curves()


def spare(state: State, attempt: Attempt) -> None:
    """Take an abort back that came too late: what had ended keeps its end, and its points are judged."""
    if attempt.fate != "aborted":
        return
    attempt.fate, attempt.closed = None, False
    most = state.search.max_iteration_per_job
    for curve in attempt.curves:
        curve.cut = None
        if most is not None and curve.highest is not None and curve.highest >= most:
            attempt.fate = "limit"
            curve.end_at(bisect_right(curve.iterations, most))


def _answered(state: State, row: Recorded, attempt: Attempt) -> None:
    """Count failures of polls anew, if *row* was seen by one and is no receipt of an effect."""
    if row.cause not in (attempt.seq, attempt.stop):
        state.poll_worked(attempt)


def _bound(state: State, row: Recorded, event: JobBound) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.job_id = event.job_id
    attempt.provenance = event.provenance
    attempt.failures.pop("draft", None)
    script, now = event.provenance.script, event.provenance.script_hash
    if script is not None and now is not None:
        if state.scripts.setdefault(script, now) != now and script not in state.changed_scripts:
            state.changed_scripts.append(script)
        state.scripts[script] = now


def _queued(state: State, row: Recorded, event: JobQueued) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.queued = True
    attempt.failures.pop("launch", None)


def _started(state: State, row: Recorded, event: JobStarted) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.started = ClockReading(event.started_at, event.started_boot_clock)
    attempt.failures.pop("launch", None)
    _answered(state, row, attempt)


def _stop_sent(state: State, row: Recorded, event: JobStopSent) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.stop_sent, attempt.told_at = True, None
    if event.clock:
        state.course = state.course.after(ClockReading(event.clock, event.boot_clock))
        attempt.told_at = state.course.time
    attempt.stops += 1
    attempt.failures.pop("stop", None)
    if event.over:
        attempt.over = True
        spare(state, attempt)


def _runs_on(state: State, row: Recorded, event: JobRunsOn) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    _answered(state, row, attempt)
    attempt.stop_sent = False
    if attempt.over:
        attempt.over = False
        settle(attempt, "aborted", row.seq, attempt.fate_why)


def _job_ended(state: State, row: Recorded, event: JobEnded) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    _answered(state, row, attempt)
    if attempt.ended is not None:
        attempt.returned, attempt.gone = False, True
        state.let_go(event.trial)
        return
    if event.by_itself:
        spare(state, attempt)
    attempt.ended = event
    attempt.end_curves()  # a lost one may come back: what it reports then was charged to nobody
    attempt.failures.clear()
    if attempt.started is None and event.started_at is not None:
        attempt.started = ClockReading(event.started_at, event.started_boot_clock)
    if attempt.fate is None and event.how != "completed":
        attempt.closed = True


def _returned(state: State, row: Recorded, event: JobReturned) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    _answered(state, row, attempt)
    attempt.returned = True
    attempt.stop, attempt.stop_sent, attempt.stops, attempt.over = row.seq, False, 0, False


def _effect_failed(state: State, row: Recorded, event: EffectFailed) -> None:
    state.course = state.course.after(ClockReading(event.clock, event.boot_clock))
    since = state.course.time
    failure = Failure(
        count=event.count,
        since=since,
        until=since + deadlines.back_off(event.count),
        error=event.error,
        in_doubt=event.in_doubt,
    )
    if event.trial is None or event.attempt is None:
        state.poll_failure = failure
        return
    attempt = state.attempt(event.trial, event.attempt)
    before = attempt.failures.get(event.effect)
    failure.in_doubt = event.in_doubt or (before is not None and before.in_doubt)  # until it succeeds
    attempt.failures[event.effect] = failure
    if event.effect == "poll":
        state.poll_failure = None  # the poll itself worked
    if event.in_doubt and event.effect == "launch":
        attempt.in_doubt = True


def _ticked(state: State, row: Recorded, event: ClockTicked) -> None:
    now = deadlines.Now.of(event)
    for item in list(deadlines.deadlines(state, now)):
        if not item.reached:
            continue
        if item.failure is not None:
            item.failure.until = None
        if item.attempt is not None:
            settle(item.attempt, "time", row.seq)
    state.course = state.course.after(now.ours)
    state.clock, state.jobs_clock = state.course.time, now.jobs


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    JobBound: _bound,
    JobQueued: _queued,
    JobStarted: _started,
    JobStopSent: _stop_sent,
    JobRunsOn: _runs_on,
    JobEnded: _job_ended,
    JobReturned: _returned,
    EffectFailed: _effect_failed,
    ClockTicked: _ticked,
}
