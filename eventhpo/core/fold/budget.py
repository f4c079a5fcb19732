"""Iterations: what an attempt is charged, what is reserved, what still fits.

The limit is `max_iteration_per_job * total_max_jobs`. A job starts only if a whole
`max_iteration_per_job` fits next to all charges and reservations, so the sum of the
charges never exceeds it.
"""

from __future__ import annotations

from typing import NamedTuple

from eventhpo.core.fold.clocks import ClockReading, elapsed
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.search.spec import MINUTE


def reservation(state: State) -> int:
    """Return what one job reserves: `max_iteration_per_job`, or nothing where there is none."""
    return state.search.max_iteration_per_job or 0


def reserved(state: State) -> int:
    """Return the iterations that attempts hold in reserve."""
    return state.totals.reservations * reservation(state)


def limit(state: State) -> int | None:
    """Return the iterations of the whole search, None if they are not limited."""
    if state.search.max_iteration_per_job is None or state.limits.total_max_jobs is None:
        return None
    return state.search.max_iteration_per_job * state.limits.total_max_jobs


def fits(state: State, jobs: int = 1) -> bool:
    """Whether the reservations of so many more jobs fit."""
    most = limit(state)
    return most is None or state.totals.charged + reserved(state) + jobs * reservation(state) <= most


class MostTrials(NamedTuple):
    """How many trials there may be, those that were imported aside, and the limit that says so."""

    number: int
    name: str


def most_trials(state: State) -> MostTrials | None:
    """Return what limits the number of trials: `max_trials`, and `total_max_jobs` where iterations are not limited."""
    limits = state.limits
    by_jobs = limits.total_max_jobs if state.search.max_iteration_per_job is None else None
    given = {"total_max_jobs": by_jobs, "max_trials": limits.max_trials}
    bounds = [MostTrials(number, name) for name, number in given.items() if number is not None]
    return min(bounds, key=lambda bound: bound.number, default=None)


def trials_left(state: State) -> bool:
    """Whether the number of trials allows one more."""
    most = most_trials(state)
    return most is None or len(state.trials) - state.imported < most.number


def exhausted(state: State) -> tuple[str, ...]:
    """Return the limits by which nothing more can be started, ever: nothing fits and nothing is held, or no trial."""
    limits, trials = state.limits, len(state.trials) - state.imported
    jobs = limits.total_max_jobs if state.search.max_iteration_per_job is None else None
    by_jobs = (jobs is not None and trials >= jobs) or (not fits(state) and not state.totals.reservations)
    by_trials = limits.max_trials is not None and trials >= limits.max_trials
    return (*(["total_max_jobs"] if by_jobs else []), *(["max_trials"] if by_trials else []))


def used_up(state: State) -> bool:
    """Whether nothing more can be started, ever."""
    return bool(exhausted(state))


def charged_through(state: State, attempt: Attempt) -> int | None:
    """Return the highest iteration that counts, None if no point does."""
    most = state.search.max_iteration_per_job
    if attempt.fate == "limit" and most is not None:
        return most
    if attempt.fate == "pruned" and attempt.judged:  # a trial of a study may be pruned without a report
        return attempt.curves[0].iterations[attempt.judged - 1]
    inside = (c.iterations[c.in_time - 1] for c in attempt.curves if c.in_time)
    through = max(inside, default=None)
    return through if most is None or through is None else min(through, most)


def charge(state: State, attempt: Attempt) -> int:
    """Return the iterations that *attempt* costs: at least 1 if it ever started, else 0; in a study its reports."""
    if state.study is not None:
        return attempt.reported
    through = charged_through(state, attempt)
    if attempt.started is None and through is None:
        return 0
    return max(1, (through or 0) - attempt.inherited)


def late(state: State, attempt: Attempt) -> int:
    """Return the number of iterations reported after the last one that counts."""
    through = charged_through(state, attempt)
    highest = attempt.highest
    return 0 if highest is None else max(0, highest - (through or 0))


def compute_time(attempt: Attempt, until: ClockReading) -> int:
    """Return microseconds from its start to its end, or to *until* (the jobs' clocks)."""
    return 0 if attempt.started is None else max(0, elapsed(attempt.started, attempt.finished or until))


def compute_used(state: State) -> int:
    """Return microseconds of all attempts as of the last tick."""
    running = (a for t in state.active.values() for a in t.attempts if a.charge is None)
    return state.totals.compute + sum(compute_time(a, state.jobs_clock) for a in running)


def wall_used(state: State) -> int:
    """Return microseconds of our time from the first start of a controller to the last tick, pauses included."""
    return 0 if state.first_clock is None else max(0, state.clock - state.first_clock)


def minutes(value: float) -> int:
    """Return a limit in minutes as microseconds."""
    return round(value * MINUTE)
