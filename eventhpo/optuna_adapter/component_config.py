"""Turns the sampler and pruner that a user gives (an instance, a name or a table) into what a log records.

An instance of one of Optuna's own classes becomes its name and all its arguments
(`instance_args`), and is refused unless an instance built from their JSON form holds
the same (`instance_graph`). Its seed becomes the search's (`instance_seed`).

Values of parameters, in `x0`, `fixed_params` and `search_space`, are what the job
gets, in an instance as in a table or a search file: ClearML's own class suggests a
logarithmic range by its values too. Only where Optuna is asked do they become point
values. Names may leave out the section `General`; recorded are full names.

An instance of a user's own class is recorded by what recognises it (`user_class_record`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from eventhpo.core.search.spec import ComponentConfig, Parameter
from eventhpo.core.validation.mistakes import Mistake, path, shown
from eventhpo.errors import Usage
from eventhpo.optuna_adapter import user_classes
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.optuna_adapter.component_checks import check_pruner, check_sampler
from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler
from eventhpo.optuna_adapter.instance_args import arguments, called, is_optunas
from eventhpo.optuna_adapter.instance_graph import AttributeDifference, differences
from eventhpo.optuna_adapter.instance_seed import seed_of
from eventhpo.optuna_adapter.sampler_fit import normalised
from eventhpo.optuna_adapter.user_class_record import describe, is_foreign

__all__ = ["ComponentRefused", "Given", "is_optunas", "pruner_data", "pruner_of", "sampler_data", "sampler_of"]


@dataclass(frozen=True)
class Given:
    """A sampler as data, the seed that it brings for the search, and a warning about that seed."""

    named: ComponentConfig
    seed: int | None = None  # None: the search draws one
    warning: str | None = None


class ComponentRefused(Usage):
    """A sampler or pruner cannot be used; the message has a line for each of `mistakes`."""

    def __init__(self, what: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{what}: {mistake}" for mistake in self.mistakes))


# ---------------------------------------------------------------- as users give them


def sampler_of(given: object, space: tuple[Parameter, ...], n_objectives: int = 1) -> Given:
    """Return the sampler that a user gave: an instance, a name, a table with a `name`, or None for Optuna's default.

    Raises:
        ComponentRefused: It cannot sample *space* or be recorded; the message says why and what to write instead.
    """
    if isinstance(given, BaseSampler) and is_foreign(given):
        _refuse("sampler", user_classes.sampler_mistakes(given))
        return Given(describe(given))
    if isinstance(given, BaseSampler):
        return sampler_data(given, space, n_objectives)
    named = _named("sampler", given, "TPESampler")
    _refuse("sampler", check_sampler(named, space, n_objectives))
    return Given(normalised(named, space))


def pruner_of(given: object, n_objectives: int = 1) -> ComponentConfig:
    """Return the pruner that a user gave: an instance, a name, a table with a `name`, or None for Optuna's default.

    That is `MedianPruner`; with several objectives, where Optuna prunes nothing, it is `NopPruner`.

    Raises:
        ComponentRefused: It cannot be used, or cannot be recorded; the message says why and what to write instead.
    """
    if isinstance(given, BasePruner) and is_foreign(given):
        return describe(given)
    if isinstance(given, BasePruner):
        return pruner_data(given, n_objectives)
    named = _named("pruner", given, "MedianPruner" if n_objectives < 2 else "NopPruner")
    _refuse("pruner", check_pruner(named, n_objectives))
    return named


def sampler_data(instance: BaseSampler, space: tuple[Parameter, ...], n_objectives: int = 1) -> Given:
    """Return the data and the seed of one of Optuna's samplers; the instance is left as it is.

    What it learnt from another study is left out: a search learns from its own log.

    Raises:
        ComponentRefused: It is not of one of Optuna's own classes, holds something that is not data, or does not fit.
    """
    named = _read("sampler", instance)
    _refuse("sampler", check_sampler(named, space, n_objectives))
    named = normalised(named, space)
    built = build_sampler(_through_json(named), space=space, seed=0, search_seed=0)
    _refuse("sampler", map(_differs, differences(instance, built, space)))
    seed = seed_of(instance)
    return Given(named, seed.value, seed.warning)


def pruner_data(instance: BasePruner, n_objectives: int = 1) -> ComponentConfig:
    """Return the data of one of Optuna's pruners; the instance is left as it is.

    Raises:
        ComponentRefused: It is not Optuna's own, holds something that is not data, or has served a study.
    """
    named = _read("pruner", instance)
    _refuse("pruner", check_pruner(named, n_objectives))
    _refuse("pruner", map(_differs, differences(instance, build_pruner(_through_json(named)), ())))
    return named


# ---------------------------------------------------------------- names and tables


def _named(role: Literal["sampler", "pruner"], given: object, default: str) -> ComponentConfig:
    match given:
        case None:
            return ComponentConfig(default)
        case str():
            return ComponentConfig(given)
        case dict() if "name" in given and all(isinstance(key, str) for key in given):
            args: dict[str, Any] = {str(key): value for key, value in given.items() if key != "name"}
            _refuse(role, _seed_mistakes(args))
            return ComponentConfig(given["name"], args)
    example = f'an instance of Optuna\'s, a name as "{default}", or {{"name": "{default}", ...}} with its arguments'
    raise ComponentRefused(role, [Mistake("", given if isinstance(given, dict) else called(given), example)])


def _seed_mistakes(args: dict[str, Any]) -> list[Mistake]:
    if "seed" not in args:
        return []
    return [Mistake("seed", args["seed"], "nothing: the seed of a search is an argument of its own, seed")]


# ---------------------------------------------------------------- instances


def _read(role: Literal["sampler", "pruner"], instance: object) -> ComponentConfig:
    if not is_optunas(role, instance):
        raise ComponentRefused(
            role, [Mistake("", called(instance), f"one of Optuna's own: {', '.join(CATALOGUE[role])}")]
        )
    args, mistakes = arguments(role, instance)
    _refuse(role, mistakes)
    return ComponentConfig(type(instance).__name__, args)


def _through_json(named: ComponentConfig) -> ComponentConfig:
    args: dict[str, Any] = json.loads(json.dumps(named.args))
    return ComponentConfig(named.name, args)


def _differs(difference: AttributeDifference) -> Mistake:
    built = shown(_simple(difference.built))
    expected = f"{built}, as the constructor leaves it: make a new instance, and change nothing in it"
    return Mistake(path(*difference.keys), _simple(difference.given), expected)


def _simple(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else called(value)


def _refuse(role: str, mistakes: Iterable[Mistake]) -> None:
    if refusals := list(mistakes):
        raise ComponentRefused(role, refusals)
