"""The sampler and pruner of an Optuna study: what the log records of them, and a fresh one for each question.

A study has no space in its log, so names and values in their arguments are Optuna's own.
"""

from __future__ import annotations

import copy
import json
from typing import Any, NamedTuple, cast

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.auto_resource import is_auto, latched_resource
from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler
from eventhpo.optuna_adapter.instance_args import arguments
from eventhpo.optuna_adapter.instance_seed import Seed, seed_of
from eventhpo.optuna_adapter.user_class_record import copy_for, describe, is_foreign, same


class Component(NamedTuple):
    """A sampler or pruner as the log records it; `own` is a copy of the instance where no log can build it."""

    config: ComponentConfig
    own: Any = None
    seed: Seed = Seed(None)  # of a sampler


def sampler_component(sampler: BaseSampler) -> Component:
    """Return what to record of *sampler*, which is left as it is.

    Raises:
        Usage: it is no instance of a sampler, or cannot be recorded.
    """
    _require("sampler", sampler, BaseSampler)
    named = _as_data("sampler", sampler)
    if named is None:
        return Component(describe(sampler), copy.deepcopy(sampler))
    return Component(named, None, seed_of(sampler))


def pruner_component(pruner: BasePruner) -> Component:
    """Return what to record of *pruner*, which is left as it is.

    Raises:
        Usage: it is no instance of a pruner, or cannot be recorded.
    """
    _require("pruner", pruner, BasePruner)
    named = _as_data("pruner", pruner)
    return Component(describe(pruner), copy.deepcopy(pruner)) if named is None else Component(named)


def _require(role: str, instance: object, kind: type) -> None:
    if not isinstance(instance, kind):
        raise Usage(f"{role}: expected an instance of Optuna's {kind.__name__}, not {type(instance).__name__}")


def _as_data(role: Any, instance: object) -> ComponentConfig | None:
    """Return name and arguments of one of Optuna's own; None if it holds what is no data, as a function."""
    if is_foreign(instance):
        return None
    args, mistakes = arguments(role, instance, full_names=False)
    return None if mistakes else ComponentConfig(type(instance).__name__, args)


def differences(recorded: ComponentConfig, component: Component) -> list[str]:
    """Return how *component* differs from what a log has, a line for each difference; empty if it is the same."""
    if recorded == component.config:
        return []
    if recorded.is_foreign and component.own is not None:
        return same(recorded, component.own)
    now = component.config
    if recorded.name != now.name:
        return [f"the log has {recorded.name}, this script asks for {now.name}"]
    names = [name for name in sorted({*recorded.args, *now.args}) if _argument(recorded, name) != _argument(now, name)]
    return [
        f"{now.name}: the log has {_argument(recorded, name)}, this script asks for {_argument(now, name)}"
        for name in names
    ]


def _argument(config: ComponentConfig, name: str) -> str:
    return f"{name}={json.dumps(config.args[name])}" if name in config.args else f"no {name}"


def fresh_sampler(component: Component, seed: int, search_seed: int) -> BaseSampler:
    """Return a sampler for one question, all its generators seeded."""
    if component.own is not None:
        return cast(BaseSampler, copy_for(component.own, seed))
    return build_sampler(component.config, space=None, seed=seed, search_seed=search_seed)


def fresh_pruner(component: Component, seed: int, latched: int | None) -> BasePruner:
    """Return a pruner for one question; *latched* is what an "auto" resource means."""
    if component.own is not None:
        return cast(BasePruner, copy_for(component.own, seed))
    return build_pruner(component.config, latched)


def newly_latched(component: Component, latched: int | None, longest: int | None) -> int | None:
    """Return what an "auto" resource of the pruner means from here on, None if that is settled or open still.

    *longest* is the last step of the longest completed trial.
    """
    if component.own is not None or latched is not None or longest is None or not is_auto(component.config):
        return None
    return latched_resource(component.config, longest)
