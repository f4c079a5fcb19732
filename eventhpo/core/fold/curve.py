"""One objective of one attempt, point by point.

For decisions a curve is its points of strictly rising iteration, the first value
of each. Repeats, conflicts and rewinds stay in their events, for people.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator

import msgspec

from eventhpo.core.fold.event_parts import ExactValue
from eventhpo.core.search.spec import Objective


class Ignored(msgspec.Struct, frozen=True, gc=False):
    """A point that is not in the curve: `iteration` was reported after `after`, with another value than the curve's."""

    iteration: int
    value: float
    after: int


class Curve(msgspec.Struct, gc=False):
    """Points in rising order; those from position `cut` on are late, if it is set."""

    iterations: list[int] = []
    values: list[float] = []
    reported: int = 0  # points in the log, repeats and rewinds among them
    repeats: dict[int, float] = {}  # the newest value of each iteration that was reported out of order, for people
    cut: int | None = None
    ignored: int = 0  # points whose value the curve does not have: reported out of order, and no mere repetition
    first_ignored: Ignored | None = None

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
                self._ignore(iteration, value)

    def _ignore(self, iteration: int, value: float) -> None:
        """Count a point that came out of order, unless the curve has this very point: then nothing is lost."""
        if _same(self._kept(iteration), value):
            return
        self.ignored += 1
        if self.first_ignored is None:
            self.first_ignored = Ignored(iteration, value, self.iterations[-1])

    def _kept(self, iteration: int) -> float | None:
        at = bisect_left(self.iterations, iteration)
        return self.values[at] if at < len(self.iterations) and self.iterations[at] == iteration else None

    def has(self, iteration: int, value: float) -> bool:
        """Whether this point was reported, as far as that is kept: in order, or as the newest out of order."""
        return _same(self._kept(iteration), value) or _same(self.repeats.get(iteration), value)

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


def _same(kept: float | None, value: float) -> bool:
    return kept is not None and (kept == value or (math.isnan(kept) and math.isnan(value)))


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


def worth(objective: Objective, curve: Curve, count: int, exact: Collection[ExactValue]) -> float | None:
    """Return what the first *count* points of *curve* are worth, in double precision where *exact* has that point.

    A value of *exact* belongs to a point if both have the same iteration and the same value in 32 bits.
    """
    values = curve.values[:count]
    value = meaning(objective, values)
    if value is None or not exact or math.isnan(value):
        return value
    return precise(objective, curve, values.index(value) if objective.extremum else len(values) - 1, exact)


def precise(objective: Objective, curve: Curve, position: int, exact: Iterable[ExactValue]) -> float:
    """Return the value at *position* of *curve*, in double precision where *exact* has that very point."""
    iteration, value = curve.iterations[position], curve.values[position]
    name = (objective.title, objective.series, iteration)
    same = (float(e.value) for e in exact if (e.title, e.series, e.iteration) == name)
    return next((double for double in same if single_precision(double) == value), value)


def single_precision(value: float) -> float:
    """Return *value* as 32 bits hold it."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def extend_meaning(objective: Objective, before: float | None, value: float) -> float:
    """Return the meaning of a curve whose meaning was *before*, with *value* appended."""
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
