"""What is wrong with a sampler or a pruner, found before a search is created.

The name, the types of the arguments and their fit to the space are checked first, from
the catalogue. If all are right and there are arguments, Optuna is imported and builds it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from eventhpo.core.search.spec import ComponentConfig, Parameter
from eventhpo.core.validation.mistakes import MISSING, Mistake, path, unknown
from eventhpo.core.validation.validators import Wrong
from eventhpo.optuna_adapter.auto_resource import is_auto
from eventhpo.optuna_adapter.catalogue import CATALOGUE, EXTRAS, ComponentSpec, Nested, Role
from eventhpo.optuna_adapter.sampler_fit import fit_mistakes

_OWN = ("sampler", "pruner")  # what may be an instance of a user's own class, in a script
_NEVER_INSIDE = {
    "GridSampler": "another sampler: inside one a grid repeats points; to fix a value, give GridSampler a list of one",
    "PartialFixedSampler": "another sampler: name all that is fixed in one PartialFixedSampler around the others",
}


def check_sampler(named: ComponentConfig, space: tuple[Parameter, ...], n_objectives: int) -> list[Mistake]:
    """Return why *named* cannot sample *space*; empty if it can. Places are relative to the sampler."""
    if mistakes := _check("sampler", named.name, named.args):
        return mistakes
    mistakes = [
        mistake.within(*keys) for keys, part in _parts(named) for mistake in fit_mistakes(part, space, n_objectives)
    ]
    return mistakes or _refused_by_optuna(named, space)


def check_pruner(named: ComponentConfig, n_objectives: int) -> list[Mistake]:
    """Return why *named* cannot prune; empty if it can. Places are relative to the pruner."""
    if mistakes := _check("pruner", named.name, named.args):
        return mistakes
    if n_objectives > 1 and named.name != "NopPruner":
        return [Mistake("name", named.name, "NopPruner: with several objectives nothing is pruned")]
    mistakes = [
        _auto_in_patience(keys, part) for keys, part in _parts(named, "wrapped_pruner") if keys and is_auto(part)
    ]
    mistakes += [
        mistake.within(*keys) for keys, part in _parts(named, "wrapped_pruner") for mistake in _bound_mistakes(part)
    ]
    return mistakes or _refused_by_optuna(named, None)


def _parts(named: ComponentConfig, *nested: str) -> Iterator[tuple[tuple[str, ...], ComponentConfig]]:
    """Yield *named* and the samplers or pruners nested in it, each with the keys that lead to it."""
    yield (), named
    for key in nested or ("independent_sampler", "base_sampler"):
        if isinstance(inner := named.args.get(key), dict):
            part = ComponentConfig(inner["name"], {name: value for name, value in inner.items() if name != "name"})
            yield from (((key, *keys), component) for keys, component in _parts(part, *nested))


# ---------------------------------------------------------------- names and types


# What papers and other libraries call them.
_ALSO_CALLED = {
    "sha": "SuccessiveHalvingPruner",
    "asha": "SuccessiveHalvingPruner",
    "cmaes": "CmaEsSampler",
    "bayesian": "TPESampler",
    "bo": "TPESampler",
    "genetic": "NSGAIISampler",
    "sobol": "QMCSampler",
    "halton": "QMCSampler",
    "none": "NopPruner",
}


def _check(role: Role, name: object, args: dict[str, Any]) -> list[Mistake]:
    parts = CATALOGUE[role]
    if not isinstance(name, str):
        return [Mistake("name", name, f"the name of a {role}: {', '.join(parts)}")]
    if name not in parts:
        own = " (one of a class of your own goes through the class OptimizerOptuna)" if role in _OWN else ""
        mistake = unknown("name", name, parts, f"a {role} of Optuna's{own}")
        meant = _ALSO_CALLED.get(name.casefold().replace("-", "").replace("_", ""))
        return [mistake if mistake.nearest or meant not in parts else replace(mistake, nearest=meant)]
    part = parts[name]
    mistakes = [mistake for key, value in args.items() for mistake in _argument(part, name, key, value)]
    mistakes += [
        Mistake(key, MISSING, f"{_expected(part, key)}, as {name} needs it") for key in part.required if key not in args
    ]
    return mistakes + _absent(name, part)


def _argument(part: ComponentSpec, name: str, key: str, value: Any) -> list[Mistake]:
    place = path(key)
    if key in part.refused:
        return [Mistake(place, value, part.refused[key])]
    if key not in part.args:
        return [unknown("", key, part.args, f"an argument of {name}").within(key)]
    kind = part.args[key]
    if isinstance(kind, Nested):
        return _nested(kind.role, key, value)
    try:
        kind.read(value)
    except Wrong as wrong:
        return [Mistake(place, value, str(wrong), wrong.near)]
    return []


def _nested(role: Role, key: str, value: Any) -> list[Mistake]:
    if value is None:
        return []
    if not isinstance(value, dict) or "name" not in value:
        return [Mistake(path(key), value, f'a table with the name of a {role}, as {{ name = "..." }}')]
    if value["name"] in _NEVER_INSIDE:
        return [Mistake(path(key, "name"), value["name"], _NEVER_INSIDE[value["name"]])]
    args = {name: argument for name, argument in value.items() if name != "name"}
    return [mistake.within(key) for mistake in _check(role, value["name"], args)]


def _expected(part: ComponentSpec, key: str) -> str:
    kind = part.args[key]
    return f"a {kind.role}" if isinstance(kind, Nested) else kind.expected


def _absent(name: str, part: ComponentSpec) -> list[Mistake]:
    absent = [package for package in part.needs if importlib.util.find_spec(package) is None]
    if not absent:
        return []
    extras = ",".join(EXTRAS[package] for package in absent)
    what = f"that {' and '.join(absent)} can be imported: pip install 'eventhpo[{extras}]'"
    return [Mistake("name", name, what)]


# ---------------------------------------------------------------- what does not go together


def _auto_in_patience(keys: tuple[str, ...], part: ComponentConfig) -> Mistake:
    key = "min_resource" if part.name == "SuccessiveHalvingPruner" else "max_resource"
    value = part.args.get(key, MISSING)
    return Mistake(path(*keys, key), value, 'a number: inside PatientPruner "auto" cannot be settled')


def _bound_mistakes(part: ComponentConfig) -> list[Mistake]:
    if part.name == "ThresholdPruner" and part.args.get("lower") is None and part.args.get("upper") is None:
        return [Mistake("lower", MISSING, "a finite number, here or as upper: a threshold has at least one side")]
    least, most = part.args.get("min_resource", 1), part.args.get("max_resource", "auto")
    if part.name != "HyperbandPruner" or most == "auto" or least <= most:
        return []
    return [Mistake("min_resource", least, f"at most max_resource, which is {most}")]


def _refused_by_optuna(named: ComponentConfig, space: tuple[Parameter, ...] | None) -> list[Mistake]:
    if not named.args:
        return []
    from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler  # noqa: PLC0415  imports Optuna

    try:
        if space is None:
            build_pruner(named)
        else:
            build_sampler(named, space=space, seed=0, search_seed=0)
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        return [Mistake("", named.args, f"what {named.name} takes, which says: {text}")]
    return []
