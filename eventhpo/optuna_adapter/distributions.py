"""The space as Optuna's distributions."""

from __future__ import annotations

import warnings
from typing import assert_never

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from eventhpo.core.search.ranges import Grid, bounds, grid, integers
from eventhpo.core.search.space import dimensions
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    Range,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.optuna_adapter.space_checks import parameter_mistakes


def distribution(p: Range) -> BaseDistribution:
    """Return Optuna's distribution for *p*; it contains no value that *p* does not allow.

    Raises:
        ValueError: *p* is not sound (`parameter_mistakes`).
    """
    if wrong := parameter_mistakes(p):
        raise ValueError(f"{p.name}: {wrong[0]}")
    match p:
        case DiscreteParameterRange():
            return CategoricalDistribution(p.values)
        case UniformIntegerParameterRange():
            values = integers(p)
            return IntDistribution(values[0], values[-1], step=p.step_size)
        case UniformParameterRange() | LogUniformParameterRange():
            if (steps := grid(p)) is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # that `to_ask` is no whole number of steps away
                    return FloatDistribution(steps.low, to_ask(steps), step=steps.step)
            low, high = bounds(p)
            return FloatDistribution(low, high, log=isinstance(p, LogUniformParameterRange))
        case _:
            assert_never(p)


def to_ask(steps: Grid) -> float:
    """Return the upper bound to pass to Optuna, so that its last value is the last of *steps*.

    Optuna reckons with printed decimals. If the printed last value is not a whole number
    of steps from the first, Optuna would drop it; half a step more keeps it.
    """
    last = steps.at(steps.count - 1)
    return last if steps.ends_exactly() else last + steps.step / 2


def distributions(space: tuple[Parameter, ...]) -> dict[str, BaseDistribution]:
    """Return the distribution of each name that a point may hold, in the order in which a sampler is asked."""
    return {name: distribution(p) for name, p in dimensions(space).items()}
