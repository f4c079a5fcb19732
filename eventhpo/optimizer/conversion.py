"""Turns the arguments of ClearML's and Optuna's users into data that a log records; refuses the rest by name."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from clearml.automation import parameters as clearml_parameters

from eventhpo.core.advice import advice
from eventhpo.core.search import placeholders, spec
from eventhpo.core.search.ranges import full_name
from eventhpo.core.validation.mistakes import nearest
from eventhpo.core.validation.validators import Wrong, integer
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.component_config import pruner_of, sampler_of
from eventhpo.optuna_adapter.seeds import SEEDS
from eventhpo.optuna_adapter.space_checks import name_mistakes, parameter_mistakes
from eventhpo.optuna_adapter.user_class_record import apart
from eventhpo.optuna_adapter.user_classes import UserClasses, pristine

# arguments of a study that have another home here, and where
_REFUSED = {
    "storage": "the log is the storage: give its path as log=",
    "load_if_exists": "a log that exists is carried on",
    "direction": "the objective says its direction (Objective(order=...))",
    "directions": "the objectives say their directions (order=...)",
}


class Study(msgspec.Struct, frozen=True):
    """What `optuna_kwargs` may say: the arguments of a study that are honoured."""

    sampler: object = None
    pruner: object = None
    study_name: str | None = None


def study_of(kwargs: Mapping[str, Any], known: Sequence[str]) -> Study:
    """Return what the further keyword arguments ask for.

    Raises:
        Usage: one is not known, or has another home; the text lists the known ones.
    """
    for name in kwargs:
        if name in _REFUSED:
            raise Usage(f"{name}= is not accepted: {_REFUSED[name]}")
        if name not in Study.__struct_fields__:
            names = sorted({*known, *Study.__struct_fields__})
            near = nearest(name, names)
            hint = f"; did you mean {near!r}?" if near else "."
            raise Usage(f"{name}= is no argument of OptimizerOptuna{hint} Known: {', '.join(names)}")
    return Study(**kwargs)


def objectives_of(given: Any) -> tuple[spec.Objective, ...]:
    """Return the objectives of an `Objective` or `MultiObjective` of ClearML.

    Raises:
        Usage: it is neither.
    """
    parts = getattr(given, "objectives", None) or [given]
    for part in parts:
        if not all(hasattr(part, name) for name in ("title", "series", "sign", "extremum")):
            raise Usage(
                f"objective_metric is {given!r}; expected an Objective or a MultiObjective of clearml.automation"
            )
    objectives = tuple(spec.Objective(str(p.title), str(p.series), _sign(p)) for p in parts)
    metrics = [(o.title, o.series) for o in objectives]
    for title, series in metrics:
        if metrics.count((title, series)) > 1:
            raise Usage(f"objective_metric names {title}/{series} twice; expected each metric once")
    return objectives


def _sign(part: Any) -> Any:
    return ("max" if part.sign > 0 else "min") + ("_global" if part.extremum else "")


def space_of(given: Any) -> tuple[spec.Parameter, ...]:
    """Return the space of ClearML's parameters.

    Raises:
        Usage: one is of another class, or cannot be sampled; the text names the parameter.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise Usage(f"hyper_parameters is {given!r}; expected a list of parameters of clearml.automation")
    space = tuple(_parameter(p, k) for k, p in enumerate(given))
    if not space:
        raise Usage("hyper_parameters is empty: a search needs at least one parameter")
    wrong = [f"{p.name}: {mistake}" for p in space for mistake in parameter_mistakes(p)]
    wrong += map(str, name_mistakes(space))
    if wrong:
        raise Usage("\n".join(wrong))
    return space


def _parameter(given: Any, k: int) -> spec.Parameter:
    if type(given) is clearml_parameters.ParameterSet:
        name = str(given.name or f"set{k}")  # ClearML gives it none; of the log it is a part, so it must last
        return spec.ParameterSet(name=name, sets=tuple(_set(name, n, values) for n, values in enumerate(given.values)))
    return _one_range(given)


def _set(choice: str, n: int, given: Mapping[str, Any]) -> spec.ParameterChoice:
    """Return the *n*-th set; a range in it goes by its own name and not by its key, as in ClearML's class."""
    values: dict[str, spec.Scalar] = {}
    ranges: dict[str, spec.Range] = {}
    for key, value in given.items():
        range_ = _one_range(value) if isinstance(value, clearml_parameters.Parameter) else None
        name = full_name(str(key)) if range_ is None else range_.name
        if name in values or name in ranges:
            raise Usage(f"{choice}[{n}]: {name} is there twice; expected each parameter once in a set")
        if range_ is None:
            values[name] = _scalar(name, value)
        else:
            ranges[name] = range_
    return spec.ParameterChoice(values=values, ranges=tuple(ranges.values()))


def _one_range(given: Any) -> spec.Range:
    fields = {k: _plain(v) for k, v in vars(given).items()} if hasattr(given, "__dict__") else {}
    match type(given):
        case clearml_parameters.LogUniformParameterRange:
            return spec.LogUniformParameterRange(base=float(fields["base"]), **_range(fields, float))
        case clearml_parameters.UniformParameterRange:
            return spec.UniformParameterRange(**_range(fields, float))
        case clearml_parameters.UniformIntegerParameterRange:
            return spec.UniformIntegerParameterRange(**_range(fields, int))
        case clearml_parameters.DiscreteParameterRange:
            name = _name(fields)
            return spec.DiscreteParameterRange(name=name, values=tuple(_scalar(name, v) for v in given.values))
        case clearml_parameters.ParameterSet:
            raise Usage("hyper_parameters: a ParameterSet inside a ParameterSet is not supported; write its sets out")
    own = getattr(given, "name", None)
    what = f"{own!r}, a {type(given).__name__}," if own else f"{given!r}"
    raise Usage(
        f"hyper_parameters: {what} is not supported; use UniformParameterRange, LogUniformParameterRange, "
        "UniformIntegerParameterRange, DiscreteParameterRange or ParameterSet"
    )


def _name(fields: Mapping[str, Any]) -> str:
    return full_name(str(fields["name"]))


def _range(fields: Mapping[str, Any], kind: type[int] | type[float]) -> dict[str, Any]:
    step = fields["step_size"]
    return {
        "name": _name(fields),
        "min_value": _number(fields, "min_value", kind),
        "max_value": _number(fields, "max_value", kind),
        "step_size": step if step is None else _number(fields, "step_size", kind),
        "include_max_value": bool(fields["include_max"]),
    }


def _number(fields: Mapping[str, Any], key: str, kind: type[int] | type[float]) -> int | float:
    value = fields[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and value != int(value)):
        raise Usage(f"{_name(fields)}: {key} is {value!r}, expected {'a whole number' if kind is int else 'a number'}")
    return kind(value)


def _scalar(name: str, given: Any) -> spec.Scalar:
    value = _plain(given)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise Usage(
            f"{name}: the value {value!r} is a {type(value).__name__}; expected text, numbers, true, false or None"
        )
    plain: spec.Scalar = value
    return plain


def _plain(value: Any) -> Any:
    """Return a numpy scalar as Python's, anything else as it is."""
    return (
        value.item() if hasattr(value, "item") and hasattr(value, "dtype") and not getattr(value, "ndim", 0) else value
    )


class Asked(msgspec.Struct, frozen=True):
    """The search that the arguments describe, and warnings for the user."""

    search: spec.Search
    own: UserClasses  # its sampler and pruner, if they are of a user's own class
    seed_given: bool
    warnings: tuple[str, ...] = ()


def search_of(
    *,
    name: str,
    base_task_id: str,
    parameters: Any,
    objective: Any,
    limits: spec.Limits,
    sampler: object,
    pruner: object,
    seed: int | None,
    jobs: spec.JobSpec,
    max_iteration_per_job: int | None,
    min_iteration_per_job: int | None,
    nan_policy: str,
) -> Asked:
    """Return the search that these arguments describe; a seed that nobody gave is drawn.

    Raises:
        Usage: something cannot be expressed, or is out of range.
    """
    space, objectives = space_of(parameters), objectives_of(objective)
    _require(limits, objectives, max_iteration_per_job, min_iteration_per_job, seed)
    given = sampler_of(sampler, space, len(objectives))
    warnings = [given.warning] if given.warning else []
    if limits.endless:
        warnings.append("this search has no limit: it runs until it is stopped, or its space is used up")
    if len(objectives) > 1 and pruner is not None:
        warnings.append("with several objectives nothing is pruned: the pruner is not used")
        pruner = None
    chosen = seed if seed is not None else given.seed
    search = spec.Search(
        name=name,
        objectives=objectives,
        space=space,
        limits=limits,
        sampler=given.named,
        pruner=pruner_of(pruner, len(objectives)),
        seed=chosen if chosen is not None else secrets.randbelow(SEEDS),
        jobs=jobs,
        base_task_id=base_task_id,
        max_iteration_per_job=max_iteration_per_job,
        min_iteration_per_job=min_iteration_per_job,
        nan_policy="worst" if nan_policy == "worst" else "fail",
    )
    if isinstance(jobs, spec.LocalCommand) and (wrong := list(placeholders.mistakes(jobs.command, space))):
        raise Usage("\n".join(str(mistake.within("jobs", "command")) for mistake in wrong))
    warnings += advice(search)
    own = pristine(sampler, pruner)
    return Asked(search, own, chosen is not None and not given.warning, tuple(warnings))


def _require(
    limits: spec.Limits, objectives: Sequence[spec.Objective], most: object, least: object, seed: object
) -> None:
    """Return if these fit together, as the loader of a search file has it.

    Raises:
        Usage: naming every one that does not.
    """
    kinds = {
        "max_iteration_per_job": (most, integer(least=1)),
        "min_iteration_per_job": (least, integer(least=0)),
        "seed": (seed, integer(least=0, most=SEEDS - 1)),
    }
    wrong = []
    for name, (value, kind) in kinds.items():
        try:
            if value is not None:
                kind.read(value)
        except Wrong:
            wrong.append(f"{name} is {value!r}, expected {kind.expected}, or None")
    if not wrong and isinstance(most, int) and isinstance(least, int) and least > most:
        wrong.append(f"min_iteration_per_job is {least}, expected at most max_iteration_per_job, which is {most}")
    alone = ("target_value", "patience") if len(objectives) > 1 else ()
    for name in alone:
        if getattr(limits, name) is not None:
            wrong.append(
                f"{name} is {getattr(limits, name)!r}, expected None: with several objectives no value is the best"
            )
    if wrong:
        raise Usage("\n".join(wrong))


def parted(recorded: spec.Search, now: Asked) -> list[str]:
    """Return how the arguments differ from the recorded search, a line each with both values; limits may change."""
    new = now.search
    keys = ["space", "objectives", "sampler", "pruner", "base_task_id", "max_iteration_per_job"]
    keys += ["min_iteration_per_job", "nan_policy", "jobs"] + (["seed"] if now.seed_given else [])
    lines = []
    if recorded.name != new.name and not (recorded.name == recorded.base_task_id and new.name == new.base_task_id):
        lines += _sides("study_name", recorded.name, new.name)
    for key in keys:
        old_value, new_value = _user_part(getattr(recorded, key)), _user_part(getattr(new, key))
        if isinstance(old_value, spec.ComponentConfig) and (old_value.is_foreign or new_value.is_foreign):
            lines += [f"{key}: {difference}" for difference in apart(old_value, new_value)]
            continue
        if old_value != new_value:
            lines += _sides(key, old_value, new_value)
    return lines


def _user_part(value: Any) -> Any:
    """Return the part of *value* that the user gave: the rest of ClearML's tasks comes from the server."""
    return value.asked if isinstance(value, spec.ClearmlTasks) else value


def _sides(key: str, old: object, new: object) -> list[str]:
    if key == "space" and isinstance(old, tuple) and isinstance(new, tuple):
        olds, news = ({p.name: p for p in side} for side in (old, new))
        names = [n for n in dict.fromkeys([*olds, *news]) if olds.get(n) != news.get(n)]
        if names:
            return [f"{n}: recorded {_text(olds.get(n))}, now {_text(news.get(n))}" for n in names]
        return [f"space: recorded in the order {', '.join(olds)}, now {', '.join(news)}"]
    return [f"{key}: recorded {_text(old)}, now {_text(new)}"]


def _text(value: object) -> str:
    return "nothing" if value is None else msgspec.json.encode(value).decode()


def limit_changes(recorded: spec.Limits, now: spec.Limits) -> spec.LimitChanges:
    """Return the limits that changed."""
    names = spec.Limits.__struct_fields__
    return spec.LimitChanges(**{n: getattr(now, n) for n in names if getattr(now, n) != getattr(recorded, n)})
