"""One objective of one attempt, point by point.

For decisions a curve is its points of strictly rising iteration, the first value
of each. Repeats, conflicts and rewinds stay in their events, for people.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import msgspec

from eventhpo.core.spec import Objective


class Curve(msgspec.Struct):
    """Points in rising order; those from position `cut` on are late, if it is set."""

    iterations: list[int] = []
    values: list[float] = []
    reported: int = 0  # points in the log, repeats and rewinds among them
    repeats: dict[int, float] = {}  # the newest value of each iteration that was reported out of order, for people
    cut: int | None = None

    def add(self, points: Iterable[tuple[int, float]]) -> Iterator[int]:
        """Take in reported points; yield the iteration of each that the curve keeps."""
        for iteration, value in points:
            self.reported += 1
            if not self.iterations or iteration > self.iterations[-1]:
                self.iterations.append(iteration)
                self.values.append(value)
                yield iteration
            else:
                self.repeats[iteration] = value

    @property
    def highest(self) -> int | None:
        """The highest iteration reported, late points included."""
        return self.iterations[-1] if self.iterations else None

    @property
    def in_time(self) -> int:
        """How many points are not late."""
        return len(self.iterations) if self.cut is None else min(self.cut, len(self.iterations))

    def end_at(self, position: int) -> None:
        """Make the points from *position* on late; an earlier cut stays."""
        self.cut = position if self.cut is None else min(self.cut, position)


def meaning(objective: Objective, values: list[float]) -> float | None:
    """Return what *values* are worth by the objective's kind: the last, or the extremum.

    NaN gives way to any number in an extremum. None if there is no value.
    """
    if not values:
        return None
    if not objective.extremum:
        return values[-1]
    best = values[0]
    for value in values[1:]:
        if objective.better(value, best):
            best = value
    return best


def extend_meaning(objective: Objective, before: float | None, value: float) -> float:
    """Return the meaning of a curve whose meaning was *before*, with *value* behind it."""
    if before is None or not objective.extremum:
        return value
    return value if objective.better(value, before) else before


def inherit(curve: Curve, through: int) -> Curve:
    """Return the points of *curve* that are not late, through iteration *through*."""
    count = sum(1 for i in curve.iterations[: curve.in_time] if i <= through)
    return Curve(iterations=curve.iterations[:count], values=curve.values[:count])


def spread(values: list[float]) -> tuple[float, float]:
    """Return the least and the greatest of *values*, NaN aside unless there is nothing else."""
    numbers = [v for v in values if not math.isnan(v)] or [math.nan]
    return min(numbers), max(numbers)
