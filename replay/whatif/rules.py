"""Pruners as a command line names them, and which of them compare trials with each other."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.catalogue import CATALOGUE, Nested
from eventhpo.optuna_adapter.component_checks import check_pruner

DEFAULT = ("MedianPruner", "SuccessiveHalvingPruner", "HyperbandPruner")

# These look at the trial's own curve only; every other pruner compares it with other trials.
ALONE = ("NopPruner", "ThresholdPruner")
# Their suggestions follow from the seed and the number of trials, not from the results of trials.
_BLIND = ("RandomSampler", "GridSampler", "QMCSampler")


def pruner(text: str) -> ComponentConfig:
    """Return the pruner that *text* names: `NAME`, `NAME:key=value,...`, or a JSON object with its `name`.

    Raises:
        Usage: it names no pruner, or an argument is wrong; the message says which, and what is expected.
    """
    named = _json(text) if text.lstrip().startswith("{") else _words(text)
    return checked(named, text)


def checked(named: ComponentConfig, text: str) -> ComponentConfig:
    """Return *named* if it is one of Optuna's pruners with arguments that it takes.

    Raises:
        Usage: it is not; the message begins with *text*.
    """
    faults = check_pruner(named, 1)
    if faults:
        raise Usage("\n".join(f"pruner {text}: {fault}" for fault in faults))
    return named


def _json(text: str) -> ComponentConfig:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Usage(f"pruner {text}: it begins like a JSON object, but is not valid JSON ({error})") from error
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise Usage(
            f'pruner {text}: a JSON object needs the name, as {{"name": "MedianPruner", "n_startup_trials": 2}}'
        )
    return _named(value.pop("name"), value)


def _words(text: str) -> ComponentConfig:
    name, colon, rest = text.partition(":")
    return _named(name.strip(), _arguments(rest, text) if colon else {})


def _arguments(rest: str, text: str) -> dict[str, Any]:
    """Return the arguments in `key=value,...`.

    They are read as a TOML inline table; if that fails, as with a word without quotes, they are read part by part.
    """
    if "\n" not in rest and "\r" not in rest:
        try:
            return tomllib.loads(f"x = {{{rest}}}")["x"]  # type: ignore[no-any-return]
        except (tomllib.TOMLDecodeError, RecursionError, TypeError):
            pass
    arguments: dict[str, Any] = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise Usage(f"pruner {text}: found {part!r}, expected key=value, several separated by commas")
        if key.strip() in arguments:
            raise Usage(f"pruner {text}: {key.strip()} is given twice")
        arguments[key.strip()] = _value(value.strip())
    return arguments


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _named(name: str, args: dict[str, Any]) -> ComponentConfig:
    """Return the pruner *name*; a pruner inside it may be given by its name alone, and then has its defaults."""
    known = CATALOGUE["pruner"].get(name)
    inner = set() if known is None else {key for key, kind in known.args.items() if isinstance(kind, Nested)}
    return ComponentConfig(name, {k: {"name": v} if k in inner and isinstance(v, str) else v for k, v in args.items()})


def text_of(named: ComponentConfig) -> str:
    """Return *named* as a text that `pruner` reads; for a class that is not Optuna's, its name."""
    if not named.args:
        return named.name
    if any(isinstance(value, dict) for value in named.args.values()):
        inner = {key: value for key, value in named.args.items() if isinstance(value, dict)}
        if any(len(value) > 1 for value in inner.values()):
            return json.dumps({"name": named.name} | named.args)
    words = (f"{key}={_word(value)}" for key, value in named.args.items())
    return f"{named.name}:{','.join(words)}"


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return str(value["name"])
    return value if isinstance(value, str) else json.dumps(value)


def looks_at_others(named: ComponentConfig) -> bool:
    """Whether a verdict of the pruner *named* can depend on other trials."""
    inner = inner_of(named)
    return inner is not None and inner.name not in ALONE


def inner_of(named: ComponentConfig) -> ComponentConfig | None:
    """Return the pruner inside a PatientPruner, None if it wraps none; any other pruner is returned as it is."""
    while named.name == "PatientPruner":
        inner = named.args.get("wrapped_pruner")
        if inner is None:
            return None
        named = ComponentConfig(inner["name"], {key: value for key, value in inner.items() if key != "name"})
    return named


def is_blind(sampler: ComponentConfig) -> bool:
    """Whether the suggestions of *sampler* do not depend on the results of other trials."""
    if sampler.is_foreign:
        return False
    if sampler.name == "PartialFixedSampler":
        return sampler.args["base_sampler"]["name"] in _BLIND
    return sampler.name in _BLIND
