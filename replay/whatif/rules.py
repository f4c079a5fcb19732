"""Pruners as they are named on a command line, and what each looks at."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.catalogue import CATALOGUE, Nested
from eventhpo.optuna_adapter.component_checks import check_pruner

DEFAULT = ("MedianPruner", "SuccessiveHalvingPruner", "HyperbandPruner")

# Theirs is a function of the trial's own curve; every other pruner compares it with other trials.
ALONE = ("NopPruner", "ThresholdPruner")
# What they suggest follows from the seed and how many trials there are, not from what came of those.
_BLIND = ("RandomSampler", "GridSampler", "QMCSampler")


def pruner(text: str) -> ComponentConfig:
    """Return the pruner that *text* names: `NAME`, `NAME:key=value,...`, or a JSON object with its `name`.

    Raises:
        Usage: it names none, or an argument is wrong; the text says which and what would do.
    """
    named = _json(text) if text.lstrip().startswith("{") else _words(text)
    return checked(named, text)


def checked(named: ComponentConfig, text: str) -> ComponentConfig:
    """Return *named* if it is a pruner of the catalogue with arguments that it takes.

    Raises:
        Usage: it is not; the message begins with *text*.
    """
    found = check_pruner(named, 1)
    if found:
        raise Usage("\n".join(f"pruner {text}: {one}" for one in found))
    return named


def _json(text: str) -> ComponentConfig:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Usage(f"pruner {text}: it begins as a JSON object and is none ({error})") from error
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise Usage(
            f'pruner {text}: a JSON object needs the name, as {{"name": "MedianPruner", "n_startup_trials": 2}}'
        )
    return _named(value.pop("name"), value)


def _words(text: str) -> ComponentConfig:
    name, colon, rest = text.partition(":")
    return _named(name.strip(), _arguments(rest, text) if colon else {})


def _arguments(rest: str, text: str) -> dict[str, Any]:
    """Return `key=value,...` as TOML reads it in braces, or, a word without quotes among it, part by part."""
    if "\n" not in rest and "\r" not in rest:
        try:
            return tomllib.loads(f"x = {{{rest}}}")["x"]  # type: ignore[no-any-return]
        except (tomllib.TOMLDecodeError, RecursionError, TypeError):
            pass
    found: dict[str, Any] = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise Usage(f"pruner {text}: found {part!r}, expected key=value, several separated by commas")
        if key.strip() in found:
            raise Usage(f"pruner {text}: {key.strip()} stands there twice")
        found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _named(name: str, args: dict[str, Any]) -> ComponentConfig:
    """Return the pruner; one inside it that is named by a word alone has its defaults."""
    part = CATALOGUE["pruner"].get(name)
    inner = {key for key, kind in part.args.items() if isinstance(kind, Nested)} if part is not None else set()
    return ComponentConfig(name, {k: {"name": v} if k in inner and isinstance(v, str) else v for k, v in args.items()})


def text_of(named: ComponentConfig) -> str:
    """Return *named* as `pruner` reads it; of a class that is not Optuna's, its name."""
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
    """Whether a verdict of this pruner can depend on other trials."""
    inner = inner_of(named)
    return inner is not None and inner.name not in ALONE


def inner_of(named: ComponentConfig) -> ComponentConfig | None:
    """Return the pruner that a PatientPruner holds back, or *named* itself; None if there is none in it."""
    while named.name == "PatientPruner":
        inner = named.args.get("wrapped_pruner")
        if inner is None:
            return None
        named = ComponentConfig(inner["name"], {key: value for key, value in inner.items() if key != "name"})
    return named


def is_blind(sampler: ComponentConfig) -> bool:
    """Whether what this sampler suggests does not depend on what came of other trials."""
    if sampler.is_foreign:
        return False
    if sampler.name == "PartialFixedSampler":
        return sampler.args["base_sampler"]["name"] in _BLIND
    return sampler.name in _BLIND
