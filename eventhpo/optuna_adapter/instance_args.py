"""The arguments of one of Optuna's instances, read from where its constructor put them.

Optuna keeps most arguments under their own names, with or without an underscore;
`_PLACES` has the others. Arguments that are not data (functions, trials) are refused.
No generator is touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import optuna
from optuna.samplers._tpe.sampler import default_gamma, default_gamma_multiobjective

from eventhpo.core.search.ranges import full_name
from eventhpo.core.validation.mistakes import MISSING, Mistake
from eventhpo.optuna_adapter.catalogue import CATALOGUE, Nested, Role
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.optuna_adapter.optuna_classes import CLASSES

_Places: TypeAlias = dict[str, tuple[str, ...]]
_CHILDREN: _Places = {
    key: ("_child_generation_strategy", f"_{key}")
    for key in ("mutation", "mutation_prob", "crossover", "crossover_prob", "swapping_prob")
}
_POINTS: _Places = {
    key: ("_elite_population_selection_strategy", f"_{key}") for key in ("reference_points", "dividing_parameter")
}
_PARZEN: _Places = {
    key: ("_parzen_estimator_parameters", key)
    for key in ("prior_weight", "consider_magic_clip", "consider_endpoints", "weights")
}
_PLACES: dict[str, _Places] = {
    "TPESampler": _PARZEN,
    "GPSampler": {"deterministic_objective": ("_deterministic",)},
    "NSGAIISampler": _CHILDREN,
    "NSGAIIISampler": _CHILDREN | _POINTS,
}
# What no instance keeps: the seed goes into generators, the others have no effect or only write a line of log.
_NOT_KEPT = {"seed", "consider_prior", "restart_strategy", "inc_popsize", "warn_asynchronous_seeding"}
_STRATEGIES = ("elite_population_selection_strategy", "child_generation_strategy", "after_trial_strategy")
# Without a gamma, TPESampler keeps the default that it needed first: after use it still has no gamma of the user.
_OWN_GAMMAS = (default_gamma, default_gamma_multiobjective)
_TABLES = ("x0", "fixed_params", "search_space")
_ENQUEUE = "nothing: trials of another study are no argument; enqueue their points with enqueue_trial"


def is_optunas(role: Role, instance: object) -> bool:
    """Whether *instance* is exactly of one of Optuna's classes of *role*; one of a subclass is not."""
    return CLASSES[role].get(type(instance).__name__) is type(instance)


def arguments(role: Role, instance: object, *, full_names: bool = True) -> tuple[dict[str, Any], list[Mistake]]:
    """Return all arguments of one of Optuna's own instances as data, and a mistake for each that is not data.

    Values of parameters stay as the user wrote them, under full names unless *full_names* is false (in a study,
    whose names have no section); numpy's numbers become Python's.
    """
    name = type(instance).__name__
    if mistakes := _refused(role, name, instance):
        return {}, mistakes
    args: dict[str, Any] = {}
    for key, kind in CATALOGUE[role][name].args.items():
        try:
            value = at(instance, key)
        except AttributeError:
            mistakes.append(Mistake(key, MISSING, f"an argument of {name} that Optuna {optuna.__version__} keeps"))
            continue
        if isinstance(kind, Nested):
            args[key], wrong = _nested(kind.role, value, full_names)
            mistakes += [mistake.within(key) for mistake in wrong]
        else:
            args[key] = _data(name, key, value, full_names)
    return args, mistakes


def at(instance: object, key: str) -> Any:
    """Return the value of the argument *key* that *instance* keeps.

    Raises:
        AttributeError: It keeps none.
    """
    if (keys := _PLACES.get(type(instance).__name__, {}).get(key)) is None:
        return getattr(instance, f"_{key}") if hasattr(instance, f"_{key}") else getattr(instance, key)
    value: Any = instance
    for attribute in keys:
        value = getattr(value, attribute)
    return value


def argument_at(name: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the argument of class *name* that is kept at *keys*, or *keys* without underscores."""
    bare = _bare(keys)
    for key, place in _PLACES.get(name, {}).items():
        if bare[: len(place)] == _bare(place):
            return (key, *bare[len(place) :])
    return bare


def _bare(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key.lstrip("_") for key in keys)


def plain(value: Any) -> Any:
    """Return a number or text of numpy's as Python's, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def called(value: object) -> str:
    """Return the name of *value* for a message: of the function or class, otherwise of its class."""
    named = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', '')}".lstrip(".")


# ---------------------------------------------------------------- what is no data


def _refused(role: Role, name: str, instance: object) -> list[Mistake]:
    mistakes = []
    for key, advice in CATALOGUE[role][name].refused.items():
        if key not in _NOT_KEPT and not _is_default(name, key, value := _kept(instance, key)):
            mistakes.append(Mistake(key, called(value), _ENQUEUE if key == "source_trials" else advice))
    return mistakes


def _is_default(name: str, key: str, value: object) -> bool:
    if key == "gamma" and value in _OWN_GAMMAS:
        return True
    default = _kept(_default(name), key)
    return type(value) is type(default) if key in _STRATEGIES else value is default


def _kept(instance: object, key: str) -> object:
    try:
        return at(instance, key)
    except AttributeError:
        return None


@cache
def _default(name: str) -> object:
    """Return an instance without arguments: it holds the functions that Optuna uses by default."""
    with quiet():
        made: object = CLASSES["sampler"][name]()
        return made


# ---------------------------------------------------------------- values


def _nested(role: Role, value: object, full_names: bool) -> tuple[dict[str, Any] | None, list[Mistake]]:
    if value is None:
        return None, []
    if not is_optunas(role, value):
        return None, [Mistake("", called(value), f"a {role} of Optuna's own: {', '.join(CATALOGUE[role])}")]
    args, mistakes = arguments(role, value, full_names=full_names)
    return {"name": type(value).__name__} | args, mistakes


def _data(name: str, key: str, value: Any, full_names: bool) -> Any:
    value = plain(value)
    if name == "ThresholdPruner" and key in ("lower", "upper"):
        return None if isinstance(value, float) and math.isinf(value) else value
    if name == "SuccessiveHalvingPruner" and key == "min_resource":
        return "auto" if value is None else value
    if key in _TABLES:
        return _table(value, full_names)
    return _points(value) if key == "reference_points" else value


def _table(value: Any, full_names: bool) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return value
    full = {full_name(plain(key)) if full_names else plain(key): _listed(entry) for key, entry in value.items()}
    return full if len(full) == len(value) else dict(value)  # one parameter twice: the check says so


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = list(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else plain(value)


def _points(value: Any) -> Any:
    try:
        return None if value is None else np.asarray(value, dtype=float).tolist()
    except (TypeError, ValueError):  # no numbers, or rows of different lengths: the check says so
        return value
