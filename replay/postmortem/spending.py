"""What the budget was spent on, how much of it on repeated points, and which trials cost the most."""

from __future__ import annotations

from collections import Counter

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.views import budget_use as spent
from eventhpo.views.budget_use import Spent
from eventhpo.views.statuses import TrialStatus, trial_status

COSTLIEST = 3  # of each kind: enough to see whether one stands out


class Repeats(msgspec.Struct, frozen=True):
    """Trials with the point of an earlier trial, and the iterations that they were charged."""

    trials: list[int]
    iterations: int


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial cost in all its attempts.

    `compute_time` is in microseconds of the backend's clock, None while a job of it runs.
    """

    trial: int
    status: TrialStatus
    attempts: int
    iterations: int
    compute_time: int | None


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What the budget was spent on; `late` counts the iterations reported after a job's end, by what ended it."""

    spent: Spent
    held: int  # reserved by jobs that are not settled
    repeats: Repeats
    late: dict[str, int]
    slowest: list[Cost]
    costliest: list[Cost]


def spending(state: State) -> Spending:
    """Return what the budget of *state* was spent on."""
    costs = [_cost(state, t) for t in state.trials if t.attempts]
    return Spending(
        spent=spent.spent(state),
        held=budget.reserved(state),
        repeats=_repeats(state),
        late=_late(state),
        slowest=sorted((c for c in costs if c.compute_time is not None), key=_slowest)[:COSTLIEST],
        costliest=sorted(costs, key=lambda c: (-c.iterations, c.trial))[:COSTLIEST],
    )


def _cost(state: State, trial: Trial) -> Cost:
    return Cost(
        trial=trial.number,
        status=trial_status(trial),
        attempts=len(trial.attempts),
        iterations=sum(_iterations(state, a) for a in trial.attempts),
        compute_time=None if any(a.ended is None for a in trial.attempts) else _ran(state, trial),
    )


def _ran(state: State, trial: Trial) -> int:
    return sum(budget.compute_time(a, state.jobs_clock) for a in trial.attempts)


def _slowest(cost: Cost) -> tuple[int, int]:
    return -(cost.compute_time or 0), cost.trial


def _iterations(state: State, attempt: Attempt) -> int:
    """Return the charge of *attempt*, or what it would be charged if it ended now."""
    return budget.charge(state, attempt) if attempt.charge is None else attempt.charge


def _repeats(state: State) -> Repeats:
    seen = set()
    repeated = []
    for trial in state.trials:
        key = tuple(sorted(trial.params.items())) if state.study is not None else state.point_key(trial.params)
        if key in seen and trial.source != "imported":
            repeated.append(trial)
        if trial.finished is None or trial.finished.state != "aborted":  # the point of an aborted trial is free again
            seen.add(key)
    charged = sum(_iterations(state, a) for t in repeated for a in t.attempts)
    return Repeats([t.number for t in repeated], charged)


# what ended a job whose points came late, by its fate
_ENDS = {"pruned": "a prune", "limit": "the iteration limit", "time": "the time limit", "aborted": "a stop"}


def _late(state: State) -> dict[str, int]:
    late: Counter[str] = Counter()
    for attempt in (a for t in state.trials for a in t.attempts if a.late):
        late[_ENDS.get(attempt.fate or "", "its end")] += attempt.late
    return dict(late.most_common())
