"""What the passing of time brings about: one list, for the loop that waits and for the fold of a tick.

Two clocks, never mixed: *ours* for wall time and back-off, the *door's* for how long
jobs ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from eventhpo.core import budget
from eventhpo.core.state import Attempt, Failure, State

SECOND = 1_000_000


class Due(msgspec.Struct, frozen=True):
    """Something that happens when a clock reaches `at` (microseconds)."""

    clock: Literal["ours", "jobs"]
    at: int
    failure: Failure | None = None  # its back-off is over
    attempt: Attempt | None = None  # its time limit is reached


def back_off(count: int) -> int:
    """Return microseconds to wait after the *count*-th failure in a row: 1 s doubling to 5 min."""
    return min(300, 1 << min(count - 1, 10)) * SECOND


def dues(state: State) -> Iterator[Due]:
    """Yield all that is still to come by a clock, in no particular order."""
    if state.finished is not None:
        return
    for failure in failures(state):
        if failure.until is not None:
            yield Due("ours", failure.until, failure=failure)
    yield from _time_limits(state)
    yield from _search_limits(state)


def failures(state: State) -> Iterator[Failure]:
    """Yield every effect that failed and did not succeed since."""
    if state.poll_failure is not None:
        yield state.poll_failure
    for trial in state.active.values():
        for attempt in trial.attempts:
            yield from attempt.failures.values()


def _time_limits(state: State) -> Iterator[Due]:
    if state.limits.time_limit_per_job is None:
        return
    limit = budget.minutes(state.limits.time_limit_per_job)
    for trial in state.active.values():
        for attempt in trial.attempts:
            if attempt.ended is None and attempt.started_at is not None and attempt.stop is None:
                yield Due("jobs", attempt.started_at + limit, attempt=attempt)


def _search_limits(state: State) -> Iterator[Due]:
    if state.ending is not None and state.ending.at_once:
        return
    limits = state.limits
    if limits.wall_time_limit is not None and state.first_clock is not None:
        at = state.first_clock + budget.minutes(limits.wall_time_limit)
        if at > state.clock:
            yield Due("ours", at)
    if limits.compute_time_limit is not None:
        at_jobs = _compute_due(state, budget.minutes(limits.compute_time_limit))
        if at_jobs is not None and at_jobs > state.jobs_clock:
            yield Due("jobs", at_jobs)


def _compute_due(state: State, limit: int) -> int | None:
    """Return when the attempts that run now will have used up *limit*, None if none runs."""
    starts = [
        a.started_at for t in state.active.values() for a in t.attempts if a.ended is None and a.started_at is not None
    ]
    if not starts:
        return None
    return -((state.totals.compute + _unsettled(state) - limit - sum(starts)) // len(starts))


def _unsettled(state: State) -> int:
    ended = (a for t in state.active.values() for a in t.attempts if a.ended is not None and a.charge is None)
    return sum(budget.compute_time(a, state.jobs_clock) for a in ended)


def reached(due: Due, clock: int, jobs_clock: int) -> bool:
    """Whether *due* has come; a back-off also ends when our clock was set back."""
    if due.failure is not None and clock < due.failure.since:
        return True
    return due.at <= (clock if due.clock == "ours" else jobs_clock)
