"""Which keys of a search file changed since its search was created."""

from __future__ import annotations

from typing import Any

import msgspec

from eventhpo.core.search.space import dimensions
from eventhpo.core.search.spec import (
    ClearmlTasks,
    ComponentConfig,
    LocalCommand,
    Objective,
    Parameter,
    ParameterSet,
    Range,
    Search,
)
from eventhpo.core.validation.mistakes import path

_SAME = ("name", "max_iteration_per_job", "min_iteration_per_job", "nan_policy", "sign")


def differences(recorded: Search, now: Search, *, drawn_seed: bool = False) -> list[str]:
    """Return the keys that *recorded* and *now* differ in, as paths of the search file, in its order.

    With *drawn_seed* the file names no seed, so the seed of *now* says nothing.
    """
    old, new = flat_keys(recorded), flat_keys(now)
    if drawn_seed:
        old.pop("seed"), new.pop("seed")
    keys = [key for key in dict.fromkeys([*old, *new]) if not _equal(old.get(key, ()), new.get(key, ()))]
    names, other = [list(dimensions(search.space)) for search in (recorded, now)]
    if names != other and sorted(names) == sorted(other):
        keys.append("space (the order of its parameters)")
    return keys


def _equal(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def flat_keys(search: Search) -> dict[str, Any]:
    """Return the keys that a search file would have for *search*, defaults included."""
    flat: dict[str, Any] = {"name": search.name}
    if isinstance(search.jobs, LocalCommand):
        flat["command"] = search.jobs.command
        flat["gpus"] = search.jobs.gpus
        flat["data"] = search.jobs.data
        flat["record_diff"] = search.jobs.record_diff
    if isinstance(search.jobs, ClearmlTasks):
        names = ("clearml.base_task_id", "clearml.execution_queue", "clearml.project")
        flat |= dict(zip(names, search.jobs.asked, strict=True))
    flat["seed"] = search.seed
    flat |= {key: getattr(search, key) for key in _SAME[1:]}
    flat |= _fields(search.limits)
    for k, objective in enumerate(search.objectives):
        flat |= _objective(objective, () if len(search.objectives) == 1 else (k,))
    flat |= _named("sampler", search.sampler) | _named("pruner", search.pruner)
    for p in search.space:
        flat |= _parameter(p)
    return flat


def _objective(objective: Objective, place: tuple[int, ...]) -> dict[str, Any]:
    return {path("objective", *place, key): value for key, value in _fields(objective).items()}


def _parameter(p: Parameter) -> dict[str, Any]:
    if not isinstance(p, ParameterSet):
        return _range(("space", p.name), p)
    flat: dict[str, Any] = {path("space", p.name, "type"): "ParameterSet"}
    for k, chosen in enumerate(p.sets):
        keys = ("space", p.name, "sets", k)
        flat |= {path(*keys, name): value for name, value in chosen.values.items()}
        for parameter in chosen.ranges:
            flat |= _range((*keys, parameter.name), parameter)
    return flat


def _range(keys: tuple[str | int, ...], p: Range) -> dict[str, Any]:
    fields = {"type": type(p).__name__} | _fields(p)
    return {path(*keys, key): value for key, value in fields.items() if key != "name"}


def _named(key: str, named: ComponentConfig) -> dict[str, Any]:
    return {path(key, "name"): named.name} | _args((key,), named.args)


def _args(keys: tuple[str, ...], args: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in args.items():
        flat |= _args((*keys, key), value) if isinstance(value, dict) else {path(*keys, key): value}
    return flat


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
