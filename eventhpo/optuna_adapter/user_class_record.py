"""Samplers and pruners of classes that are not Optuna's: used, but not recorded whole.

A log holds data only, so of such an instance it records what tells whether the one
that is passed in again is the same: its class's name, a hash of the classes' source
and a digest of its state. Each decision is made by a deep copy of the instance as it
was passed in, with its generators seeded for that decision. Whether that decides
alike each time (a class may keep its randomness somewhere else) is found out by
deciding twice: `rederivable`.

Of the source, what counts is each class along the MRO that is neither Optuna's nor
Python's own; those two are known by their versions. Functions and modules that a
class calls do not count: a class that means to be recognised keeps what it does in
itself.
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
from eventhpo.optuna_adapter.object_digest import GENERATORS, Undigestible, digest, known_by_version, name_of, parts
from eventhpo.optuna_adapter.optuna_classes import CLASSES
from eventhpo.optuna_adapter.seeds import derived_seed

T = TypeVar("T")
R = TypeVar("R")


def is_foreign(instance: object) -> bool:
    """Whether the class of *instance* is none of those that a log can name; a subclass of one of them is foreign."""
    return type(instance) not in {made for classes in CLASSES.values() for made in classes.values()}


def describe(instance: object) -> ComponentConfig:
    """Return what to record of *instance*; equal in every process for an instance that is made alike.

    It is enough to recognise the instance, and not to build it.

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
    """Return in which ways *instance* is not the one described, a line for each; empty if it is.

    Raises:
        Usage: *instance* cannot be described.
    """
    return apart(description, describe(instance))


def apart(recorded: ComponentConfig, now: ComponentConfig) -> list[str]:
    """Return in which ways two descriptions differ, both sides of each, a line for each."""
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
    """Return which attributes are others, by their hashes: a value may be a secret, and stands in no log."""
    sides = [(key, old.attributes.get(key), new.attributes.get(key)) for key in {**old.attributes, **new.attributes}]
    parts = [f"{key} (recorded {_short(a)}, now {_short(b)})" for key, a, b in sides if a != b]
    return f": {', '.join(parts)}; give it the same arguments" if parts else ": give it the same arguments"


def _short(digest: str | None) -> str:
    return "nothing" if digest is None else f"hash {digest[:8]}"


def copy_for(instance: T, seed: int) -> T:
    """Return a deep copy of *instance* for one decision, each generator in it seeded; *instance* stays as it is.

    Generators are numbered in the order in which they are found, and number k gets
    its own seed of *seed* and k. One that was never made (a `LazyRandomState` without
    a seed) is made.
    """
    memo: dict[int, Any] = {}
    # What deepcopy finds in the memo it takes for the copy: so two names of one generator stay two names of one.
    for k, generator in enumerate(_generators(instance)):
        if id(generator) not in memo:
            _enter(memo, generator, derived_seed(seed, "generator", k, 0))
    return copy.deepcopy(instance, memo)


def rederivable(instance: T, seed: int, decide: Callable[[T], R]) -> tuple[R, bool]:
    """Return what *decide* makes of one copy of *instance*, and whether it makes the same of another.

    *decide* must show both copies the same search, and keep none of what the first one wrote.
    """
    first = decide(copy_for(instance, seed))
    again = decide(copy_for(instance, seed))
    return first, digest(first) == digest(again)


# ---------------------------------------------------------------- generators


def _generators(root: object) -> Iterator[object]:
    """Yield each generator in the graph of *root* once, in a fixed order."""
    seen: dict[int, object] = {}  # holds what was seen, so that no later object gets its id
    open_ = [root]
    while open_:
        node = open_.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if isinstance(node, GENERATORS):
            yield node
        else:
            open_ += reversed([value for _, value in parts(node)])


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
    """Return the source of a class; of a class typed into a notebook that is the source of its functions."""
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
