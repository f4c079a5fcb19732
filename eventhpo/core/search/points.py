"""How many points a sampler can propose, so that a rule can say that the space is used up."""

from __future__ import annotations

import math
from collections.abc import Mapping

from eventhpo.core.search.ranges import FINITE, from_job
from eventhpo.core.search.space import fitting, length, names_of, set_point
from eventhpo.core.search.spec import Parameter, ParameterSet, Scalar, Search


def size(search: Search) -> int | None:
    """Return how many points the sampler can propose, None if infinite or more than `FINITE`."""
    args = search.sampler.args
    counts: list[int | None]
    if search.sampler.name == "GridSampler":
        counts = [len(values) for values in args["search_space"].values()]
    else:
        fixed = args.get("fixed_params", {}) if search.sampler.name == "PartialFixedSampler" else {}
        counts = [length(p) for p in search.space if p.name not in fixed]
    known = [c for c in counts if c is not None]
    total = math.prod(known)
    return total if len(known) == len(counts) and total <= FINITE else None


def proposable(search: Search, params: Mapping[str, Scalar]) -> bool:
    """Whether the sampler can propose this point of the space: Grid and PartialFixed know fewer."""
    args = search.sampler.args
    if search.sampler.name == "GridSampler":
        return all(params.get(name) in values for name, values in args["search_space"].items())
    if search.sampler.name == "PartialFixedSampler":
        return all(params.get(name) == value for name, value in args["fixed_params"].items())
    return True


def known(space: tuple[Parameter, ...], params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return what a sampler can know of *params*: the point values of those that lie in *space*.

    Of a `ParameterSet` that is the first set which they name wholly, or nothing.
    """
    point: dict[str, Scalar] = {}
    for p in space:
        if isinstance(p, ParameterSet):
            point |= _known_set(p, params)
        elif p.name in params:
            try:
                point[p.name] = from_job(p, params[p.name])
            except ValueError:
                continue  # a caller may try what the space does not hold; it is no part of the point then
    return point


def _known_set(p: ParameterSet, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    k = next(iter(fitting(p, params)), None)
    if k is None or any(name not in params for name in names_of(p.sets[k])):
        return {}
    return {p.name: k} | set_point(p, k, params)
