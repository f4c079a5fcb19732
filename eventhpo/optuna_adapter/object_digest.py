"""A digest of any graph of Python objects: equal in every process, generators left out.

Objects are taken apart as `copy.deepcopy` does it, so the digest covers what a copy
would hold. Nothing is unpickled. No address, no id and no `repr` of an object goes into
the digest.
"""

from __future__ import annotations

import inspect
import random
import sys
import types
from enum import Enum
from hashlib import blake2b
from typing import Any

import numpy as np
from optuna.samplers._lazy_random_state import LazyRandomState

GENERATORS = (
    LazyRandomState,
    np.random.RandomState,
    np.random.Generator,
    np.random.BitGenerator,
    random.Random,
)
_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_NAMED = types.BuiltinFunctionType | types.ModuleType
_DEPTH = 200  # levels of a graph that is still walked; Python itself ends at 1,000 frames


class Undigestible(ValueError):
    """An object cannot be recognised again; the message says which, and where it is held."""


def digest(root: object) -> str:
    """Return a hash of all that *root* holds, down to numbers and text; equal graphs have equal hashes.

    Raises:
        Undigestible: It holds an open file, a lock, a function without a source or the like.
    """
    walk = _DigestWalk()
    walk.add(root, ())
    return walk.hash.hexdigest()


def name_of(named: Any) -> str:
    """Return the module and qualified name of a class or function."""
    return f"{named.__module__}.{named.__qualname__}"


def parts(value: Any) -> list[tuple[str, Any]]:
    """Return the objects that *value* holds, each with its place; empty for a number, text, class or module.

    Raises:
        Undigestible: It cannot be taken apart.
    """
    if type(value) in _ATOMS or isinstance(value, type | Enum | np.generic | _NAMED):
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
    """Return what a function holds besides its source: defaults and closure variables."""
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


class _DigestWalk:
    def __init__(self) -> None:
        self.hash = blake2b(digest_size=16)
        self._seen: dict[int, tuple[int, object]] = {}  # holds what was seen, so that no later object gets its id

    def add(self, value: Any, path: tuple[str, ...]) -> None:
        if len(path) > _DEPTH:
            raise Undigestible(f"{_where(path[:3])} goes deeper than {_DEPTH} levels")
        if (text := _leaf(value, path)) is not None:
            self._put(text)
            return
        if id(value) in self._seen:
            self._put(f"again {self._seen[id(value)][0]}")
            return
        if not isinstance(value, tuple | frozenset):  # equal ones may be one object, and need not be in each process
            self._seen[id(value)] = (len(self._seen), value)
        try:
            held = parts(value)
        except Undigestible as error:
            raise Undigestible(f"{_where(path)}: {error}" if path else str(error)) from None
        self._put(f"{name_of(type(value))} {len(held)} {_own(value, path)}")
        if isinstance(value, set | frozenset):
            held = sorted(held, key=lambda pair: digest(pair[1]))
        for key, part in held:
            self._put(key)
            self.add(part, (*path, key))

    def _put(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        self.hash.update(len(raw).to_bytes(8, "big") + raw)


def _leaf(value: Any, path: tuple[str, ...]) -> str | None:
    """Return a text for an object without parts; None for an object with parts."""
    kind = name_of(type(value))
    match value:
        case _ if isinstance(value, GENERATORS):
            return f"generator {kind}"
        case Enum():
            return f"{kind} {value.name}"
        case np.generic():
            return f"{kind} {value.dtype.str} {value.tobytes().hex()}"
        case np.ndarray() if not value.dtype.hasobject:
            return f"{kind} {value.dtype.str} {value.shape} {value.tobytes().hex()}"
        case float() if type(value) is float:
            return f"{kind} {value.hex()}"
        case _ if type(value) in _ATOMS:
            return f"{kind} {value!r}"
        case type() | types.BuiltinFunctionType():
            return f"named {getattr(value, '__module__', None)}.{value.__qualname__}"
        case types.ModuleType():
            return f"module {value.__name__}"
    return None


def _own(value: Any, path: tuple[str, ...]) -> str:
    """Return what identifies *value* besides its parts: a function's name and source, an array's shape."""
    if isinstance(value, np.ndarray):
        return str(value.shape)
    if not isinstance(value, types.FunctionType):
        return ""
    if known_by_version(value.__module__):
        return name_of(value)
    try:
        return f"{name_of(value)} {_column(value)} {inspect.getsource(value)}"
    except (OSError, TypeError):
        raise Undigestible(f"{_where(path)} is the function {value.__qualname__}, whose source is gone") from None


def _column(function: types.FunctionType) -> int:
    """Return the column where a lambda ends: several lambdas in one line have the same source, that line."""
    positions = function.__code__.co_positions()
    return 0 if function.__name__ != "<lambda>" else max(end_column or 0 for _, _, _, end_column in positions)


def _where(path: tuple[str, ...]) -> str:
    return "".join(path).lstrip(".") or "it"
