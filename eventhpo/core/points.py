"""How many points a space has: pure arithmetic, so that a rule can say that it is used up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from eventhpo.core.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    Scalar,
    Search,
    UniformIntegerParameterRange,
    UniformParameterRange,
)

MOST = 100_000  # a larger space counts as infinite: nobody enumerates it


def steps(low: float, high: float, step: float, *, include_max: bool) -> int:
    """Return how many grid points lie between two bounds, counted in decimals as they were written."""
    a, b, s = (Decimal(str(x)) for x in (low, high, step))
    count = int((b - a) / s) + 1
    on_grid = a + (count - 1) * s == b
    return count - 1 if on_grid and not include_max and count > 1 else count


def count(parameter: Parameter) -> int | None:
    """Return how many values a parameter can take, None if they cannot be counted."""
    match parameter:
        case DiscreteParameterRange(values=values):
            return len(values)
        case UniformIntegerParameterRange() as p:
            return steps(p.min_value, p.max_value, p.step_size, include_max=p.include_max_value)
        case UniformParameterRange() | LogUniformParameterRange() as p:
            if p.step_size is None:
                return 1 if p.min_value == p.max_value else None
            return steps(p.min_value, p.max_value, p.step_size, include_max=p.include_max_value)


def size(search: Search) -> int | None:
    """Return how many points the sampler can propose, None if infinite or above `MOST`."""
    counts: list[int | None]
    if search.sampler.name == "GridSampler":
        grid = search.sampler.args.get("search_space")
        counts = [len(values) for values in grid.values()] if isinstance(grid, Mapping) else [None]
    else:
        fixed = search.sampler.args.get("fixed_params", {}) if search.sampler.name == "PartialFixedSampler" else {}
        counts = [count(p) for p in search.space if p.name not in fixed]
    known = [c for c in counts if c is not None]
    if len(known) < len(counts):
        return None
    total = math.prod(known)
    return total if total <= MOST else None


def proposable(search: Search, params: Mapping[str, Scalar]) -> bool:
    """Whether the sampler can propose this point of the space: Grid and PartialFixed know fewer."""
    args = search.sampler.args
    if search.sampler.name == "GridSampler":
        grid = args.get("search_space", {})
        return all(params.get(name) in values for name, values in grid.items())
    if search.sampler.name == "PartialFixedSampler":
        return all(params.get(name) == value for name, value in args.get("fixed_params", {}).items())
    return True
