"""Whether a parameter can be searched at all: what no float, no grid and no sampler could make sense of."""

from __future__ import annotations

import math
from decimal import Decimal

from eventhpo.core.mistakes import Mistake, shown
from eventhpo.core.ranges import bounds, grid
from eventhpo.core.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.kinds import EXACT

_OPTUNA_DIGITS = 26  # Optuna reckons grids in decimals of 28 digits, and a sum may take one more than its parts


def mistakes(p: Parameter) -> list[Mistake]:
    """Return what is wrong with *p* in itself, by the names of its fields; empty if it is sound."""
    if isinstance(p, DiscreteParameterRange):
        return _value_mistakes(p)
    found = _order_mistakes(p)
    if not found and not isinstance(p, UniformIntegerParameterRange):
        found = _float_mistakes(p)
    return found


def _order_mistakes(
    p: UniformParameterRange | LogUniformParameterRange | UniformIntegerParameterRange,
) -> list[Mistake]:
    width = p.max_value - p.min_value
    if not math.isfinite(width):
        return [Mistake("max_value", p.max_value, "a range whose width a float can hold")]
    if width < 0:
        return [Mistake("min_value", p.min_value, f"at most max_value, which is {shown(p.max_value)}")]
    if width == 0 and not p.include_max_value:
        return [Mistake("include_max_value", False, "true, as min_value is max_value and nothing else is left")]
    if p.step_size is not None and p.step_size <= 0:
        return [Mistake("step_size", p.step_size, "a step above 0")]
    if p.step_size is not None and p.step_size > width > 0:
        return [Mistake("step_size", p.step_size, f"at most max_value - min_value, which is {shown(width)}")]
    return []


def _float_mistakes(p: UniformParameterRange | LogUniformParameterRange) -> list[Mistake]:
    found: list[Mistake] = []
    if p.step_size is not None and _step_is_lost(p.min_value, p.max_value, p.step_size):
        found.append(Mistake("step_size", p.step_size, "a step that floats of this size can tell apart"))
    elif p.step_size is not None and _digits(p.min_value, p.max_value, p.step_size) > _OPTUNA_DIGITS:
        found.append(
            Mistake("step_size", p.step_size, f"bounds and a step of at most {_OPTUNA_DIGITS} digits together")
        )
    elif (values := grid(p)) is not None and not values.ends_exactly():
        # Optuna measures the range by printed decimals, and would take its last value off.
        found.append(
            Mistake("step_size", p.step_size, "fewer digits, so that the last value can be written as a float")
        )
    if isinstance(p, LogUniformParameterRange):
        found += _power_mistakes(p)
    if not found and p.step_size is None and bounds(p)[0] > bounds(p)[1]:
        found.append(Mistake("include_max_value", False, "true, as no float lies between min_value and max_value"))
    return found


def _step_is_lost(low: float, high: float, step: float) -> bool:
    largest = max(abs(low), abs(high))
    return (high - low) / step > EXACT or step < 4 * math.ulp(largest)


def _digits(*numbers: float) -> int:
    """Return how many decimal places lie between the first digit of the largest and the last of the finest."""
    decimals = [Decimal(str(float(one))) for one in numbers]
    return max(one.adjusted() for one in decimals) - min(int(one.as_tuple().exponent) for one in decimals) + 1


def _power_mistakes(p: LogUniformParameterRange) -> list[Mistake]:
    if p.base <= 1:
        return [Mistake("base", p.base, "a base above 1")]
    found = []
    for key, exponent in (("min_value", p.min_value), ("max_value", p.max_value)):
        try:
            power = float(p.base) ** float(exponent)
        except OverflowError:
            power = math.inf
        if not 0 < power < math.inf:
            found.append(Mistake(key, exponent, f"an exponent: {p.base!r} to this power is {power}"))
    return found


def _value_mistakes(p: DiscreteParameterRange) -> list[Mistake]:
    if not p.values:
        return [Mistake("values", [], "at least one value")]
    found = []
    for k, value in enumerate(p.values):
        if isinstance(value, float) and not math.isfinite(value):
            found.append(Mistake(f"values[{k}]", value, "a finite number"))
        elif value in p.values[:k]:
            # Optuna finds a choice again by ==, and True == 1 == 1.0: it would take one for the other.
            first = p.values[p.values.index(value)]
            found.append(Mistake(f"values[{k}]", value, f"a value that differs from {shown(first)}, named before"))
    return found
