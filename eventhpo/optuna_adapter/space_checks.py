"""Checks that a parameter can be searched: its range is not empty, and floats and Optuna can represent it."""

from __future__ import annotations

import math
from decimal import Decimal

from eventhpo.core.search.ranges import bounds
from eventhpo.core.search.space import inside, key_of, names_of, set_names
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    ParameterChoice,
    ParameterSet,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.core.validation.mistakes import Mistake, path, shown
from eventhpo.core.validation.validators import EXACT

_OPTUNA_DIGITS = 26  # Optuna reckons grids in decimals of 28 digits, and a sum may take one more than its parts


def parameter_mistakes(p: Parameter) -> list[Mistake]:
    """Return what is wrong with *p* itself, by the names of its fields; empty if nothing is."""
    if isinstance(p, ParameterSet):
        return _set_mistakes(p)
    if isinstance(p, DiscreteParameterRange):
        return _value_mistakes(p)
    mistakes = _order_mistakes(p)
    if not mistakes and not isinstance(p, UniformIntegerParameterRange):
        mistakes = _float_mistakes(p)
    return mistakes


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
    mistakes: list[Mistake] = []
    if p.step_size is not None and _step_is_lost(p.min_value, p.max_value, p.step_size):
        mistakes.append(Mistake("step_size", p.step_size, "a step that floats of this size can tell apart"))
    elif p.step_size is not None and _digits(p.min_value, p.max_value, p.step_size) > _OPTUNA_DIGITS:
        mistakes.append(
            Mistake("step_size", p.step_size, f"bounds and a step of at most {_OPTUNA_DIGITS} digits together")
        )
    if isinstance(p, LogUniformParameterRange):
        mistakes += _power_mistakes(p)
    if not mistakes and p.step_size is None and bounds(p)[0] > bounds(p)[1]:
        mistakes.append(Mistake("include_max_value", False, "true, as no float lies between min_value and max_value"))
    return mistakes


def _step_is_lost(low: float, high: float, step: float) -> bool:
    largest = max(abs(low), abs(high))
    return (high - low) / step > EXACT or step < 4 * math.ulp(largest)


def _digits(*numbers: float) -> int:
    """Return how many decimal places lie between the first digit of the largest and the last of the finest."""
    decimals = [Decimal(str(float(number))) for number in numbers]
    finest = min(int(decimal.as_tuple().exponent) for decimal in decimals)
    return max(decimal.adjusted() for decimal in decimals) - finest + 1


def _power_mistakes(p: LogUniformParameterRange) -> list[Mistake]:
    if p.base <= 1:
        return [Mistake("base", p.base, "a base above 1")]
    mistakes = []
    for key, exponent in (("min_value", p.min_value), ("max_value", p.max_value)):
        try:
            power = float(p.base) ** float(exponent)
        except OverflowError:
            power = math.inf
        if not 0 < power < math.inf:
            mistakes.append(Mistake(key, exponent, f"an exponent: {p.base!r} to this power is {power}"))
    return mistakes


def _value_mistakes(p: DiscreteParameterRange) -> list[Mistake]:
    if not p.values:
        return [Mistake("values", [], "at least one value")]
    mistakes = []
    named: dict[Scalar, Scalar] = {}
    for k, value in enumerate(p.values):
        if isinstance(value, float) and not math.isfinite(value):
            mistakes.append(Mistake(f"values[{k}]", value, "a finite number"))
        elif value in named:
            # Optuna finds a choice again by ==, and True == 1 == 1.0: it would take one for the other.
            first = named[value]
            mistakes.append(Mistake(f"values[{k}]", value, f"a value that differs from {shown(first)}, named before"))
        named.setdefault(value, value)
    return mistakes


# ---------------------------------------------------------------- sets


def name_mistakes(space: tuple[Parameter, ...]) -> list[Mistake]:
    """Return where two parameters of *space* share a name; places start with the parameter's own name.

    The name of a `ParameterSet` and the names of the values in its sets count alike.
    """
    mistakes: list[Mistake] = []
    owner: dict[str, str] = {}
    for p in space:
        for name, place in _claims(p):
            if name in owner:
                mistakes.append(Mistake(place, name, f"a name of its own: {path(owner[name])} has it already"))
            owner.setdefault(name, p.name)
    return mistakes


def _claims(p: Parameter) -> list[tuple[str, str]]:
    """Return each name that *p* uses, and its place."""
    own = [(p.name, path(p.name))]
    if not isinstance(p, ParameterSet):
        return own
    ranges = [(name, path(p.name, "sets", k, r.name)) for k in range(len(p.sets)) for name, r in inside(p, k).items()]
    first = {name: k for k, chosen in reversed(list(enumerate(p.sets))) for name in names_of(chosen)}
    return own + ranges + [(name, path(p.name, "sets", first[name], name)) for name in set_names(p)]


def _set_mistakes(p: ParameterSet) -> list[Mistake]:
    if not p.sets:
        return [Mistake("sets", [], "at least one set")]
    mistakes = [mistake.within("sets", k) for k, chosen in enumerate(p.sets) for mistake in _choice_mistakes(chosen)]
    names = set_names(p)
    seen: dict[object, list[int]] = {}
    for k, chosen in enumerate(p.sets):
        before = seen.setdefault((key_of(names, chosen.values), tuple(r.name for r in chosen.ranges)), [])
        before.append(k)
        if (first := next((n for n in before[:-1] if p.sets[n].ranges == chosen.ranges), None)) is not None:
            what = f"a set that differs from {path('sets', first)}"
            mistakes.append(Mistake(path("sets", k), sorted(names_of(chosen)), what))
    return mistakes


def _choice_mistakes(chosen: ParameterChoice) -> list[Mistake]:
    names = names_of(chosen)
    if not names:
        return [Mistake("", {}, "a value or a range for at least one parameter")]
    mistakes = [mistake.within(r.name) for r in chosen.ranges for mistake in parameter_mistakes(r)]
    for name, value in chosen.values.items():
        if isinstance(value, float) and not math.isfinite(value):
            mistakes.append(Mistake(path(name), value, "a finite number"))
    twice = {name for name in names if names.count(name) > 1}
    return mistakes + [Mistake(path(name), name, "each parameter once in a set") for name in sorted(twice)]
