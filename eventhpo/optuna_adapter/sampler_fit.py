"""Whether a sampler's arguments fit the space and the objectives of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eventhpo.core.search.ranges import FINITE, from_job, full_name, length, to_job
from eventhpo.core.search.space import dimensions, job_names, parameter_sets, single_ranges
from eventhpo.core.search.spec import ComponentConfig, DiscreteParameterRange, Parameter, ParameterSet, Range, Scalar
from eventhpo.core.validation.mistakes import MISSING, Mistake, path, unknown


def fit_mistakes(named: ComponentConfig, space: tuple[Parameter, ...], n_objectives: int) -> list[Mistake]:
    """Return why one sampler, without those nested in it, cannot sample *space*; its types must have been checked."""
    match named.name:
        case "BruteForceSampler":
            return [_too_fine(p) for p in space if _is_too_fine(p)]
        case "CmaEsSampler":
            return _cma(named.args, space, n_objectives)
        case "GridSampler":
            return _no_grid(space) or _grid(named.args["search_space"], single_ranges(space))
        case "NSGAIIISampler":
            return _reference_points(named.args.get("reference_points"), n_objectives)
        case "PartialFixedSampler":
            return _values(("fixed_params",), named.args["fixed_params"], space)
        case _:
            return []


def normalised(named: ComponentConfig, space: tuple[Parameter, ...]) -> ComponentConfig:
    """Return a sampler that fits *space*, with full parameter names and with values as jobs get them.

    So a value in its arguments equals the value that a trial records.
    """
    known = {p.name: p for p in single_ranges(space)}
    args = dict(named.args)
    for key in ("fixed_params", "x0"):
        if args.get(key) is not None:
            args[key] = {name: _canonical(known[name], value) for name, value in _by_full_name(args[key]).items()}
    if named.name == "GridSampler":
        table = _by_full_name(args["search_space"])
        args["search_space"] = {name: [_canonical(known[name], value) for value in table[name]] for name in table}
    for key in ("base_sampler", "independent_sampler"):
        if isinstance(inner := args.get(key), dict):
            part = ComponentConfig(inner["name"], {name: value for name, value in inner.items() if name != "name"})
            args[key] = {"name": part.name} | normalised(part, space).args
    return ComponentConfig(named.name, args)


def _canonical(p: Range, value: Scalar) -> Scalar:
    return to_job(p, from_job(p, value))


def _by_full_name(table: Mapping[str, Any]) -> dict[str, Any]:
    return {full_name(name): value for name, value in table.items()}


# ---------------------------------------------------------------- values of parameters


def _values(keys: tuple[str, ...], table: Mapping[str, Scalar], space: tuple[Parameter, ...]) -> list[Mistake]:
    mistakes = _names(keys, table, space)
    known = {p.name: p for p in single_ranges(space)}
    for name, value in table.items():
        if (p := known.get(full_name(name))) is not None:
            mistakes += _value(path(*keys, name), p, value)
    return mistakes


def _value(place: str, p: Range, value: Scalar) -> list[Mistake]:
    try:
        from_job(p, value)
    except ValueError as wrong:
        return [Mistake(place, value, str(wrong))]
    return []


def _names(keys: tuple[str, ...], table: Mapping[str, object], space: tuple[Parameter, ...]) -> list[Mistake]:
    known = [p.name for p in single_ranges(space)]
    mistakes, seen = [], set()
    for name in table:
        full = full_name(name)
        if full not in known and full in job_names(space):
            mistakes.append(Mistake(path(*keys, name), table[name], "nothing: write the value into its ParameterSet"))
        elif full not in known:
            mistakes.append(unknown(path(*keys, name), full, known, "a parameter of the space"))
        elif full in seen:
            mistakes.append(Mistake(path(*keys, name), name, f"each parameter once: this is {full} again"))
        seen.add(full)
    return mistakes


def _no_grid(space: tuple[Parameter, ...]) -> list[Mistake]:
    what = "one that can leave parameters out, as BruteForceSampler, for {}: a grid has all of them in every point"
    return [Mistake("name", "GridSampler", what.format(path("space", p.name))) for p in parameter_sets(space)]


def _grid(table: Mapping[str, Any], space: tuple[Range, ...]) -> list[Mistake]:
    keys = ("search_space",)
    mistakes = _names(keys, table, space)
    given = _by_full_name(table)
    mistakes += [
        Mistake(path(*keys, p.name), MISSING, "a list of values: a grid names every parameter of the space")
        for p in space
        if p.name not in given
    ]
    known = {p.name: p for p in space}
    for name, values in table.items():
        if (p := known.get(full_name(name))) is not None:
            mistakes += _grid_values((*keys, name), p, values)
    if not mistakes and math.prod(len(values) for values in table.values()) > FINITE:
        # A grid is laid out and shuffled anew for each decision.
        mistakes.append(Mistake(path(*keys), table, f"a grid of at most {FINITE} points"))
    return mistakes


def _grid_values(keys: tuple[str, ...], p: Range, values: object) -> list[Mistake]:
    if not isinstance(values, list | tuple) or not values:
        return [Mistake(path(*keys), values, f"a list of values, each {_of(p)}")]
    mistakes: list[Mistake] = []
    points: list[Scalar] = []
    for k, value in enumerate(values):
        wrong = _value(path(*keys, k), p, value)
        mistakes += wrong
        if wrong:
            continue
        if (point := from_job(p, value)) in points:
            mistakes.append(Mistake(path(*keys, k), value, "each value once: a grid would try it again"))
        points.append(point)
    return mistakes


def _of(p: Range) -> str:
    return "one of its values" if isinstance(p, DiscreteParameterRange) else "in its range"


# ---------------------------------------------------------------- single samplers


def _is_too_fine(p: Parameter) -> bool:
    return any((length(dimension) or FINITE + 1) > FINITE for dimension in dimensions((p,)).values())


def _too_fine(p: Parameter) -> Mistake:
    where = path("space", p.name) if not isinstance(p, ParameterSet) else f"each range in {path('space', p.name)}"
    what = f"a sampler that need not list all values, or a step_size for {where}"
    return Mistake("name", "BruteForceSampler", f"{what} that leaves at most {FINITE}")


def _cma(args: Mapping[str, Any], space: tuple[Parameter, ...], n_objectives: int) -> list[Mistake]:
    mistakes: list[Mistake] = []
    if n_objectives > 1:
        mistakes.append(
            Mistake("name", "CmaEsSampler", "one that takes several objectives, as TPESampler or NSGAIISampler")
        )
    numeric = [p.name for p in single_ranges(space) if _is_numeric(p)]
    if args.get("use_separable_cma") and len(numeric) < 2:
        mistakes.append(Mistake("use_separable_cma", True, "false, as fewer than two parameters are ranges of numbers"))
    x0 = args.get("x0")
    if x0 is not None and any(
        _is_numeric(r) for p in parameter_sets(space) for chosen in p.sets for r in chosen.ranges
    ):
        # Trials that all took one set have its ranges in common, and Optuna would look for them in x0.
        mistakes.append(Mistake("x0", x0, "none: a ParameterSet holds ranges of numbers, which x0 cannot name"))
    elif x0 is not None:
        mistakes += _values(("x0",), x0, space)
        given = _by_full_name(x0)
        mistakes += [
            Mistake(path("x0", name), MISSING, "a value: x0 names every parameter that is a range of numbers")
            for name in numeric
            if name not in given
        ]
    return mistakes


def _is_numeric(p: Range) -> bool:
    return not isinstance(p, DiscreteParameterRange) and length(p) != 1


def _reference_points(points: list[list[float]] | None, n_objectives: int) -> list[Mistake]:
    return [
        Mistake(path("reference_points", k), point, f"as many numbers as there are objectives, {n_objectives}")
        for k, point in enumerate(points or [])
        if len(point) != n_objectives
    ]
