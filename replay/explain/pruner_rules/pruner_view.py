"""What a pruner sees of a search when it is asked about one point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

VisibleState: TypeAlias = Literal["completed", "pruned", "failed", "running"]


class TrialCurve(msgspec.Struct, frozen=True):
    """A trial as the pruner sees it: its points so far, its told value, its value at each rung it completed."""

    trial: int
    state: VisibleState
    points: dict[int, float]
    value: float | None = None
    rungs: dict[int, float] = {}

    @property
    def last(self) -> int:
        """Its last iteration."""
        return max(self.points)


class PrunerView(msgspec.Struct, frozen=True):
    """All trials by number, the one in question as `own` (it is not among `others`)."""

    name: str  # of the search; HyperbandPruner draws brackets by it
    maximize: bool
    own: TrialCurve
    others: Sequence[TrialCurve]

    def completed(self) -> list[TrialCurve]:
        """Return the completed trials."""
        return [curve for curve in self.others if curve.state == "completed"]

    def best(self, values: Iterable[float]) -> float:
        """Return the best of *values*, NaN aside; NaN if there is nothing else."""
        numbers = [v for v in values if not math.isnan(v)]
        if not numbers:
            return math.nan
        return max(numbers) if self.maximize else min(numbers)

    def gap(self, value: float, cut: float) -> float:
        """Return how much better *value* is than *cut*; negative if it is worse."""
        return value - cut if self.maximize else cut - value


def due_since(own: TrialCurve, warmup: int, interval: int) -> tuple[int, bool]:
    """Return the iteration at which the question of the last point became due, and whether this point is its first.

    Pruners that are asked every `interval_steps` iterations are asked at the first point
    of each such stretch (Optuna's `_is_first_in_interval_step`).
    """
    since = (own.last - warmup) // interval * interval + warmup
    before = max((step for step in own.points if step != own.last), default=-1)
    return since, before < since
