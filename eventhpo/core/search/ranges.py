"""A range in numbers: which values a parameter has, by what a sampler and by what a job knows them.

A *point value* is what Optuna knows a value by, a *job value* what the job gets.
They differ in one case only: a `LogUniformParameterRange` with a step is a grid of
exponents to Optuna, and its job gets `base ** exponent`.

Values on a grid are computed in decimals, as Optuna does where it enumerates one:
the fourth value of 0, 0.1, ... is 0.3 and not 0.30000000000000004. So a point is
the same point whichever sampler, person or enumeration named it.

Nothing here imports Optuna: reading a search file must not cost what that costs.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import lru_cache
from typing import assert_never

from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Range,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.core.validation.mistakes import shown

FINITE = 100_000  # points of a space that is still enumerated; a larger one counts as infinite
DEFAULT_SECTION = "General"  # where ClearML puts a parameter that names no section

_OFF_GRID = 1e-8  # part of a step by which Optuna lets a value lie off its grid
_DECIMALS = Context(prec=60)  # the 26 digits of a sound grid times a count of 2**53, and room: nothing is rounded


class Grid:
    """`count` floats, `step` apart, from `low` on; each free of the noise that adding up leaves."""

    __slots__ = ("count", "low", "step")

    def __init__(self, low: float, step: float, count: int) -> None:
        self.low, self.step, self.count = low, step, count

    def at(self, k: int) -> float:
        """Return the *k*-th value, from 0."""
        return float(_DECIMALS.fma(Decimal(k), Decimal(str(self.step)), Decimal(str(self.low))))

    def ends_exactly(self) -> bool:
        """Whether the last value, as it is printed, is still a whole number of steps from the first."""
        width = _DECIMALS.subtract(Decimal(str(self.at(self.count - 1))), Decimal(str(self.low)))
        return _DECIMALS.remainder(width, Decimal(str(self.step))) == 0

    def near(self, value: float) -> int:
        """Return which value of the grid is nearest to *value*."""
        return min(max(round((value - self.low) / self.step), 0), self.count - 1)

    def snap(self, value: float) -> float:
        """Return the value of the grid nearest to *value*."""
        return self.at(self.near(value))

    def holds(self, value: float) -> bool:
        """Whether *value* is on the grid, but for noise."""
        return abs(value - self.snap(value)) <= _OFF_GRID * self.step


@lru_cache(maxsize=1024)
def _float_grid(low: float, high: float, step: float, include_max: bool) -> Grid:
    width = _DECIMALS.subtract(Decimal(str(high)), Decimal(str(low)))
    steps, rest = _DECIMALS.divmod(width, Decimal(str(step)))
    last_is_max = rest == 0
    return Grid(low, step, int(steps) + (0 if last_is_max and not include_max else 1))


def ending_at(low: float, step: float, last: float) -> Grid:
    """Return the grid from *low* on whose last value is *last*, but for noise."""
    return Grid(low, step, round((last - low) / step) + 1)


def full_name(name: str) -> str:
    """Return *name* as `Section/name`; without a section it stands in ClearML's default one."""
    return name if "/" in name else f"{DEFAULT_SECTION}/{name}"


def grid(p: UniformParameterRange | LogUniformParameterRange) -> Grid | None:
    """Return the grid of *p*, of exponents for a logarithmic range; None if it has no step."""
    if p.step_size is None:
        return None
    return _float_grid(float(p.min_value), float(p.max_value), float(p.step_size), p.include_max_value)


def bounds(p: UniformParameterRange | LogUniformParameterRange) -> tuple[float, float]:
    """Return the smallest and the largest job value of *p*.

    Without a step and without its maximum a range ends at the last float below it.
    """
    if (points := grid(p)) is not None:
        return _from_exponent(p, points.at(0)), _from_exponent(p, points.at(points.count - 1))
    low, high = _from_exponent(p, float(p.min_value)), _from_exponent(p, float(p.max_value))
    return low, high if p.include_max_value else math.nextafter(high, -math.inf)


def integers(p: UniformIntegerParameterRange) -> range:
    """Return the values of *p*; none lies above its maximum."""
    return range(p.min_value, p.max_value + (1 if p.include_max_value else 0), p.step_size)


def _from_exponent(p: UniformParameterRange | LogUniformParameterRange, x: float) -> float:
    return float(p.base) ** x if isinstance(p, LogUniformParameterRange) else x


# ---------------------------------------------------------------- point values and job values


def snap(p: Range, suggested: Scalar) -> Scalar:
    """Return the point value that a sampler's *suggested* value stands for: the nearest one on the grid."""
    match p:
        case UniformParameterRange() | LogUniformParameterRange():
            value = _as_float(suggested)
            return value if (points := grid(p)) is None else points.snap(value)
        case UniformIntegerParameterRange():
            return int(_as_float(suggested))
        case DiscreteParameterRange():
            return suggested
        case _:
            assert_never(p)


def to_job(p: Range, point_value: Scalar) -> Scalar:
    """Return what the job gets for *point_value*; never out of range, in the type of the range."""
    value = snap(p, point_value)
    if isinstance(p, LogUniformParameterRange) and p.step_size is not None:
        return _from_exponent(p, _as_float(value))
    return value


def from_job(p: Range, value: Scalar) -> Scalar:
    """Return the point value of a job's *value*.

    Raises:
        ValueError: *value* is none of *p*'s; the text says what was expected.
    """
    match p:
        case DiscreteParameterRange():
            return _listed(p, value)
        case UniformIntegerParameterRange():
            if isinstance(value, bool) or not isinstance(value, int) or value not in integers(p):
                raise ValueError(described(p))
            return value
        case UniformParameterRange() | LogUniformParameterRange():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(described(p))
            return _in_range(p, float(value))
        case _:
            assert_never(p)


def _listed(p: DiscreteParameterRange, value: Scalar) -> Scalar:
    for listed in p.values:
        # In Python True == 1; in a search file they are different values. 1 and 1.0 are the same number.
        if isinstance(listed, bool) == isinstance(value, bool) and listed == value:
            return listed
    raise ValueError(described(p))


def _in_range(p: UniformParameterRange | LogUniformParameterRange, value: float) -> float:
    points = grid(p)
    low, high = bounds(p)
    if points is None:
        if not low <= value <= high:
            raise ValueError(described(p))
        return value
    if isinstance(p, UniformParameterRange):
        if not points.holds(value):
            raise ValueError(described(p))
        return points.snap(value)
    # An exponent is found again through a logarithm, so it is compared as the value that it gives.
    exponent = points.snap(math.log(value) / math.log(p.base)) if value > 0 else math.nan
    if not math.isclose(_from_exponent(p, exponent), value, rel_tol=1e-9):
        raise ValueError(described(p))
    return exponent


def _as_float(value: Scalar) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a sampler suggested {value!r} for a range of numbers")
    return float(value)


def described(p: Range) -> str:
    """Return the values of *p* in words."""
    match p:
        case DiscreteParameterRange():
            return "one of " + shown(list(p.values))
        case UniformIntegerParameterRange():
            values = integers(p)
            step = "" if p.step_size == 1 else f" in steps of {p.step_size}"
            return f"a whole number from {values[0]} to {values[-1]}{step}"
        case UniformParameterRange() | LogUniformParameterRange():
            low, high = bounds(p)
            step = "" if p.step_size is None else f" in steps of {p.step_size!r}"
            if isinstance(p, LogUniformParameterRange):
                scale = f"{step} of the exponent of {p.base!r}" if step else ", on a log scale"
                return f"a number from {low:.12g} to {high:.12g}{scale}"  # powers are off by last digits
            return f"a number from {low!r} to {high!r}{step}"
        case _:
            assert_never(p)


# ---------------------------------------------------------------- how many values, and which


def length(p: Range) -> int | None:
    """Return how many values *p* has; None if it is a range without a step."""
    match p:
        case DiscreteParameterRange():
            return len(p.values)
        case UniformIntegerParameterRange():
            return len(integers(p))
        case UniformParameterRange() | LogUniformParameterRange():
            if (points := grid(p)) is not None:
                return points.count
            low, high = bounds(p)
            return 1 if low == high else None
        case _:
            assert_never(p)


def listed(p: Range) -> list[Scalar]:
    """Return the point values of *p*, in its order.

    Raises:
        ValueError: They are without end.
    """
    match p:
        case DiscreteParameterRange():
            return list(p.values)
        case UniformIntegerParameterRange():
            return list(integers(p))
        case UniformParameterRange() | LogUniformParameterRange():
            if (steps := grid(p)) is not None:
                return [steps.at(k) for k in range(steps.count)]
            if length(p) is None:
                raise ValueError(f"{p.name} is a range without a step: its points cannot be listed")
            return [bounds(p)[0]]
        case _:
            assert_never(p)
