"""What an attempt costs: iterations, or in a study the reports of its objective."""

from __future__ import annotations

from eventhpo.core.fold import budget
from eventhpo.core.fold.state import Attempt, State


def charge(state: State, attempt: Attempt) -> int:
    """Return the iterations that *attempt* is charged, or would be if it ended now; in a study its reports."""
    return cost(state, attempt) if attempt.charge is None else attempt.charge


def cost(state: State, attempt: Attempt) -> int:
    """Return what *attempt* costs as it is now: iterations; in a study, whose steps may be any numbers, its reports."""
    if not is_study(state):
        return budget.charge(state, attempt)
    if attempt.fate == "pruned" and attempt.judged:
        return attempt.judged
    return max(curve.in_time for curve in attempt.curves)


def is_study(state: State) -> bool:
    """Whether the rows are those of a study, told as a search: its space came trial by trial."""
    return not state.search.space
