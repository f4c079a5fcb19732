"""What the budget went to: the winner, other completed jobs, pruned ones, failures, and what came late."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import outcome, rank
from eventhpo.views import formatting

BudgetPart: TypeAlias = Literal["winner", "completed", "pruned", "failed", "aborted"]
PARTS: tuple[BudgetPart, ...] = ("winner", "completed", "pruned", "failed", "aborted")


class BudgetShare(msgspec.Struct):
    """Jobs that are over, the iterations that they were charged and microseconds that they ran."""

    jobs: int = 0
    iterations: int = 0
    compute_time: int = 0


class Spent(msgspec.Struct, frozen=True):
    """The charged iterations by what became of them; `late` were reported and not charged."""

    parts: dict[BudgetPart, BudgetShare]
    used: int
    reserved: int
    limit: int | None
    late: int


def spent(state: State) -> Spent:
    """Return where the charges of all settled jobs went; the parts add up to `used`.

    An attempt that failed or was lost counts as failed, also where a later one completed.
    """
    parts: dict[BudgetPart, BudgetShare] = {part: BudgetShare() for part in PARTS}
    winner = next((t.number for t in rank.top(state, 1, only_completed=True)), None)
    late = 0
    for attempt in (a for t in state.trials for a in t.attempts if a.charge is not None):
        share = parts[_part(state, attempt, winner)]
        share.jobs += 1
        share.iterations += attempt.charge or 0
        share.compute_time += budget.compute_time(attempt, state.jobs_clock)
        late += attempt.late
    return Spent(parts, state.totals.charged, budget.reserved(state), budget.limit(state), late)


def _part(state: State, attempt: Attempt, winner: int | None) -> BudgetPart:
    match outcome.end_of(state, attempt).outcome:
        case "completed":
            return "winner" if attempt.trial == winner else "completed"
        case "pruned":
            return "pruned"
        case "aborted":
            return "aborted"
        case _:
            return "failed"


def render_spent(spent: Spent) -> list[str]:
    """Return *spent* as lines, a part a line; parts without a job are left out."""
    of = "" if spent.limit is None else f" of {spent.limit}"
    lines = [f"budget: {spent.used}{of} iterations used"]
    for part, share in spent.parts.items():
        if share.jobs:
            percent = 100 * share.iterations / spent.used if spent.used else 0.0
            jobs, time = formatting.plural(share.jobs, "job"), formatting.duration(share.compute_time)
            lines.append(f"  {part:<10} {share.iterations:>6} iterations  {percent:4.0f} %  {jobs}, {time}")
    if spent.late:
        lines.append(f"  {'late':<10} {spent.late:>6} iterations reported after an end, not charged")
    return lines
