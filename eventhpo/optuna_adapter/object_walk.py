"""The one walk over an object that a user passed in, and how such an object is taken apart.

Objects are taken apart as `copy.deepcopy` does it, so a walk meets what a copy would
hold. Nothing is unpickled, and no generator is touched.
"""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from optuna.samplers._lazy_random_state import LazyRandomState

GENERATORS = (
    LazyRandomState,
    np.random.RandomState,
    np.random.Generator,
    np.random.BitGenerator,
    random.Random,
)
ATOMS = (type(None), bool, int, float, complex, str, bytes)
_NAMED = types.BuiltinFunctionType | types.ModuleType

Parts: TypeAlias = Sequence[tuple[Any, Any]]


class Undigestible(ValueError):
    """An object cannot be recognised again; the message says which, and where it is held."""


class Visit(NamedTuple):
    """One place in a graph of objects: the value there, the steps that lead to it, and what the value holds.

    `again` is true if the same object was visited before; it then has no parts.
    """

    value: Any
    path: tuple[Any, ...]
    parts: Parts
    again: bool = False


def walk(root: object, parts_of: Callable[[Any], Parts]) -> Iterator[Visit]:
    """Visit each place in the graph of *root* in a fixed order: a value, then its parts, first to last.

    *parts_of* returns the parts of a value, each with the step that leads to it. An object
    that is met a second time is visited again, without its parts. A tuple or frozenset is
    no such object, because equal ones are one object in some processes and two in others.

    Raises:
        Undigestible: *parts_of* raised it; the message says where.
    """
    visited: dict[int, object] = {}  # holds what was visited, so that no later object gets its id
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(root, ())]
    while waiting:
        value, path = waiting.pop()
        if id(value) in visited:
            yield Visit(value, path, (), again=True)
            continue
        if type(value) not in ATOMS and not isinstance(value, tuple | frozenset):
            visited[id(value)] = value
        try:
            held = parts_of(value)
        except Undigestible as error:
            raise Undigestible(f"{place(path)}: {error}" if path else str(error)) from None
        yield Visit(value, path, held)
        waiting += [(part, (*path, step)) for step, part in reversed(held)]


def place(path: Sequence[str]) -> str:
    """Return *path* as Python writes it: `table['a'][0]`, or `it` for the root."""
    return "".join(path).lstrip(".") or "it"


def generators(root: object, parts_of: Callable[[Any], Parts]) -> list[Any]:
    """Return each generator in the graph of *root* once, in the order of the walk."""
    visits = walk(root, lambda value: () if isinstance(value, GENERATORS) else parts_of(value))
    return [visit.value for visit in visits if isinstance(visit.value, GENERATORS) and not visit.again]


def name_of(named: Any) -> str:
    """Return the module and qualified name of a class or function."""
    return f"{named.__module__}.{named.__qualname__}"


def parts(value: Any) -> list[tuple[str, Any]]:
    """Return the objects that *value* holds, each with its place; empty for a number, text, class or module.

    Raises:
        Undigestible: It cannot be taken apart.
    """
    if type(value) in ATOMS or isinstance(value, type | Enum | np.generic | _NAMED):
        return []
    match value:
        case types.FunctionType():
            return _bound(value)
        case types.MethodType():
            return [("", value.__func__), (".__self__", value.__self__)]
        case np.ndarray():
            return [(f"[{k}]", item) for k, item in enumerate(value.ravel().tolist())] if value.dtype.hasobject else []
    if type(value) in (list, tuple):
        return [(f"[{k}]", item) for k, item in enumerate(value)]
    if type(value) in (set, frozenset):
        return [("{}", item) for item in value]
    if type(value) is dict:
        return [(f"[{key!r}]", part) for item in value.items() for key, part in _pair(item)]
    return _reduced(value)


def known_by_version(module: str | None) -> bool:
    """Whether a module belongs to Python, numpy or Optuna: its version stands for its source."""
    top = (module or "").partition(".")[0]
    return top in ("optuna", "numpy") or top in sys.stdlib_module_names


def _bound(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return what a function holds in addition to its source: defaults and closure variables."""
    if known_by_version(function.__module__):
        return []
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    held = [(f".{name}", cell.cell_contents) for name, cell in cells if cell != types.CellType()]
    return [*held, (".defaults", function.__defaults__), (".kwdefaults", function.__kwdefaults__)]


def _pair(item: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    where = item[0] if isinstance(item[0], str | int) else "..."
    return [(where, item[0]), (where, item[1])]


def _reduced(value: Any) -> list[tuple[str, Any]]:
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as error:  # whatever the user's own code raises
        raise Undigestible(f"it holds a {name_of(type(value))}, which cannot be taken apart") from error
    if isinstance(reduced, str):
        return [("", reduced)]
    make, args, state, items, pairs = (*reduced, None, None, None)[:5]
    held: list[tuple[str, Any]] = [("", make), *(("", arg) for arg in args)]
    for table in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if isinstance(table, dict):
            held += [(f".{key}", attribute) for key, attribute in table.items()]
        elif table is not None:
            held.append(("", table))
    held += [(f"[{k}]", item) for k, item in enumerate(items or ())]
    return held + [(f"[{key!r}]", part) for item in pairs or () for key, part in _pair(item)]
