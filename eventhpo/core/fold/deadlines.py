"""What the passing of time brings about: one list, for the loop that waits and for the fold of a tick.

Two clocks, never mixed: *ours* for wall time and back-off, the *jobs'* for how long
jobs ran.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.clocks import ClockReading, elapsed
from eventhpo.core.fold.events import ClockTicked
from eventhpo.core.fold.state import Attempt, Failure, State

SECOND = 1_000_000


class Now(msgspec.Struct, frozen=True):
    """Both clocks at one moment."""

    ours: ClockReading
    jobs: ClockReading

    @classmethod
    def of(cls, tick: ClockTicked) -> Now:
        """Return the clocks as *tick* has them."""
        return cls(ClockReading(tick.clock, tick.boot_clock), ClockReading(tick.jobs_clock, tick.jobs_boot_clock))


class Deadline(msgspec.Struct, frozen=True):
    """Something that happens in so many microseconds; it is reached when nothing is left of them."""

    left: int
    failure: Failure | None = None  # its back-off is over
    attempt: Attempt | None = None  # its time limit is reached

    @property
    def reached(self) -> bool:
        """Whether it has come."""
        return self.left <= 0


def back_off(count: int) -> int:
    """Return microseconds to wait after the *count*-th failure in a row: 1 s doubling to 5 min."""
    return min(300, 1 << min(count - 1, 10)) * SECOND


def deadlines(state: State, now: Now) -> Iterator[Deadline]:
    """Yield all that a clock brings about and no tick has brought yet, as of *now*, in no particular order."""
    if state.finished is not None:
        return
    yield from _back_offs(state, state.course.time_of(now.ours))
    for attempt in limited(state):
        yield _time_limit(state, attempt, now.jobs)
    yield from _search_limits(state, now)


def failures(state: State) -> Iterator[Failure]:
    """Yield every effect that failed and did not succeed since."""
    if state.poll_failure is not None:
        yield state.poll_failure
    for trial in state.active.values():
        for attempt in trial.attempts:
            yield from attempt.failures.values()


def limited(state: State) -> Iterator[Attempt]:
    """Yield every attempt that runs and will be stopped at `time_limit_per_job`."""
    if state.finished is not None or state.limits.time_limit_per_job is None:
        return
    for trial in state.active.values():
        for attempt in trial.attempts:
            if attempt.ended is None and attempt.started is not None and attempt.stop is None:
                yield attempt


def _back_offs(state: State, time: int) -> Iterator[Deadline]:
    for failure in failures(state):
        if failure.until is not None:
            # Logs without a boot clock go by wall time: a back-off also ends when that was set back.
            left = 0 if time < failure.since else failure.until - time
            yield Deadline(left, failure=failure)


def _time_limit(state: State, attempt: Attempt, jobs: ClockReading) -> Deadline:
    assert attempt.started is not None
    assert state.limits.time_limit_per_job is not None
    limit = budget.minutes(state.limits.time_limit_per_job)
    return Deadline(limit - elapsed(attempt.started, jobs), attempt=attempt)


def _search_limits(state: State, now: Now) -> Iterator[Deadline]:
    """Yield the limits of the whole search that the last tick was short of."""
    if state.ending is not None and state.ending.at_once:
        return
    limits = state.limits
    if limits.wall_time_limit is not None and state.first_clock is not None:
        at = state.first_clock + budget.minutes(limits.wall_time_limit)
        if at > state.clock:
            yield Deadline(at - state.course.time_of(now.ours))
    if limits.compute_time_limit is not None:
        limit = budget.minutes(limits.compute_time_limit)
        left = _compute_left(state, limit, now.jobs)
        before = _compute_left(state, limit, state.jobs_clock)
        if left is not None and before is not None and before > 0:
            yield Deadline(left)


def _compute_left(state: State, limit: int, jobs: ClockReading) -> int | None:
    """Return in how long the attempts that run will have used up *limit*, None if none runs."""
    starts = [a.started for t in state.active.values() for a in t.attempts if a.ended is None and a.started is not None]
    if not starts:
        return None
    used = state.totals.compute + _unsettled(state) + sum(elapsed(start, jobs) for start in starts)
    return -((used - limit) // len(starts))


def _unsettled(state: State) -> int:
    ended = (a for t in state.active.values() for a in t.attempts if a.ended is not None and a.charge is None)
    return sum(budget.compute_time(a, state.jobs_clock) for a in ended)
