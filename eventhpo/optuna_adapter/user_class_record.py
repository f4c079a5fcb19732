"""What a log records of a sampler or pruner of a user's own class, and how such an instance decides.

A log holds data only, so it cannot hold the instance. It records what recognises the
instance when it is passed in again: the name of its class, a hash of the source and a
digest of its state. Each decision is made by a deep copy of the instance, with its
generators seeded for that decision. A class may keep randomness elsewhere, so each
decision is made twice and compared (`rederivable`).

The hash covers the source of each class along the MRO, without those of Optuna and of
Python, which are known by their versions. It does not cover functions and modules that
the class calls.
"""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
from optuna.samplers._lazy_random_state import LazyRandomState

from eventhpo.core.search.spec import ComponentConfig, UserClassConfig
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.object_digest import digest
from eventhpo.optuna_adapter.object_walk import Undigestible, generators, known_by_version, name_of, parts
from eventhpo.optuna_adapter.optuna_classes import CLASSES
from eventhpo.optuna_adapter.seeds import derived_seed

T = TypeVar("T")
R = TypeVar("R")


def why_foreign(config: ComponentConfig) -> str:
    """Return why no log can build a sampler or pruner that is recorded as foreign."""
    if config.name.startswith("optuna."):
        return f"{config.name} was given a function or another object, which a log cannot hold"
    return f"{config.name} is not Optuna's own"


def is_foreign(instance: object) -> bool:
    """Whether the class of *instance* is not Optuna's own; a subclass of one of Optuna's is foreign too."""
    return type(instance) not in {made for classes in CLASSES.values() for made in classes.values()}


def describe(instance: object) -> ComponentConfig:
    """Return what to record of *instance*: enough to recognise it, not to build it.

    Two instances that are made in the same way give the same record in every process.

    Raises:
        Usage: Its source cannot be read, or it holds something that cannot be copied or recognised.
    """
    try:
        record = UserClassConfig(_source(type(instance)), digest(instance), _attributes(instance))
        copy.deepcopy(instance)
    except Undigestible as error:
        raise Usage(f"{name_of(type(instance))} cannot be recorded: {error}") from None
    except Exception as error:  # whatever the user's own code raises
        raise Usage(f"{name_of(type(instance))} cannot be copied for each decision: {error}") from error
    return ComponentConfig(name_of(type(instance)), foreign=record)


def _attributes(instance: object) -> dict[str, str]:
    return {name: digest(value) for name, value in sorted(getattr(instance, "__dict__", {}).items())}


def same(description: ComponentConfig, instance: object) -> list[str]:
    """Return how *instance* differs from the recorded one, a line for each difference.

    Raises:
        Usage: *instance* cannot be recorded.
    """
    return apart(description, describe(instance))


def apart(recorded: ComponentConfig, now: ComponentConfig) -> list[str]:
    """Return how two records differ, a line for each difference, with both values in it."""
    old, new, name = recorded.foreign, now.foreign, now.name
    if name != recorded.name or not isinstance(old, UserClassConfig) or not isinstance(new, UserClassConfig):
        return [] if recorded == now else [f"recorded {recorded.name}, now {name}"]
    differences = []
    if old.source != new.source:
        what = f"the source of {name}, or of a class that it is derived from, is not the recorded one"
        differences.append(f"{what} (recorded {old.source[:8]}, now {new.source[:8]})")
    if old.state != new.state:
        differences.append(f"this {name} holds other values than the recorded one{_changed_attributes(old, new)}")
    return differences


def _changed_attributes(old: UserClassConfig, new: UserClassConfig) -> str:
    """Return which attributes changed, by their hashes: a value may be a secret, so no log holds it."""
    sides = [(key, old.attributes.get(key), new.attributes.get(key)) for key in {**old.attributes, **new.attributes}]
    parts = [f"{key} (recorded {_short(a)}, now {_short(b)})" for key, a, b in sides if a != b]
    return f": {', '.join(parts)}; give it the same arguments" if parts else ": give it the same arguments"


def _short(digest: str | None) -> str:
    return "nothing" if digest is None else f"hash {digest[:8]}"


def copy_for(instance: T, seed: int) -> T:
    """Return a deep copy of *instance* for one decision, each generator in it seeded; *instance* stays as it is.

    Generators are numbered in the order of the walk; the seed of number k
    follows from *seed* and k. A `LazyRandomState` that has no generator yet gets one.
    """
    memo: dict[int, Any] = {}
    # deepcopy takes what it finds in the memo for the copy, so two references to one generator stay two to one.
    for k, generator in enumerate(generators(instance, parts)):
        if id(generator) not in memo:
            _enter(memo, generator, derived_seed(seed, "generator", k, 0))
    return copy.deepcopy(instance, memo)


def rederivable(instance: T, seed: int, decide: Callable[[T], R]) -> tuple[R, bool]:
    """Return what *decide* returns for one copy of *instance*, and whether it returns the same for a second copy.

    *decide* must show both copies the same search, and forget what the first one wrote.
    """
    first = decide(copy_for(instance, seed))
    again = decide(copy_for(instance, seed))
    return first, digest(first) == digest(again)


# ---------------------------------------------------------------- generators


def _enter(memo: dict[int, Any], generator: object, seed: int) -> None:
    match generator:
        case LazyRandomState():
            made = memo[id(generator)] = LazyRandomState(seed)
            if (inner := vars(generator)["_rng"]) is not None:
                memo[id(inner)] = made.rng
        case np.random.RandomState():
            memo[id(generator)] = np.random.RandomState(_bits(generator._bit_generator, seed))
        case np.random.Generator():
            bits = memo[id(generator.bit_generator)] = _bits(generator.bit_generator, seed)
            memo[id(generator)] = np.random.Generator(bits)
        case np.random.BitGenerator():
            memo[id(generator)] = _bits(generator, seed)
        case random.Random():
            again = memo[id(generator)] = copy.deepcopy(generator)
            again.seed(seed)


def _bits(of: Any, seed: int) -> Any:
    return type(of)(seed)


# ---------------------------------------------------------------- source


def _source(kind: type) -> str:
    source_hash = blake2b(digest_size=16)
    for base in kind.__mro__:
        if not known_by_version(base.__module__):
            source_hash.update(f"{name_of(base)}\0{_text(base)}\0".encode())
    return source_hash.hexdigest()


def _text(kind: type) -> str:
    """Return the source of a class; for a class typed into a notebook, the source of its functions."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        pass
    try:
        texts = [inspect.getsource(function) for function in _functions(kind)]
    except (OSError, TypeError):
        texts = []
    if not texts:
        raise Undigestible(f"the source of {name_of(kind)} cannot be read; put the class into a file")
    return "\0".join(texts)


def _functions(kind: type) -> Iterator[Any]:
    for value in vars(kind).values():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function):
            yield function
