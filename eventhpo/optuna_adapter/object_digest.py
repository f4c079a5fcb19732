"""A digest of any graph of Python objects: equal in every process, generators left out.

It covers what a copy of the object would hold (`object_walk`). No address, no id and no
`repr` of an object goes into it.
"""

from __future__ import annotations

import inspect
import types
from enum import Enum
from hashlib import blake2b
from typing import Any

import numpy as np

from eventhpo.optuna_adapter.object_walk import (
    ATOMS,
    GENERATORS,
    Parts,
    Undigestible,
    known_by_version,
    name_of,
    parts,
    place,
    walk,
)

_DEPTH = 200  # levels of a graph that is still walked: deeper than what a person writes, and it ends


def digest(root: object) -> str:
    """Return a hash of all that *root* holds, down to numbers and text; equal graphs have equal hashes.

    Raises:
        Undigestible: It holds an open file, a lock, a function without a source or the like.
    """
    hash_ = blake2b(digest_size=16)

    def put(text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        hash_.update(len(raw).to_bytes(8, "big") + raw)

    numbers: dict[int, int] = {}
    for value, path, held, again in walk(root, _parts):
        if len(path) > _DEPTH:
            raise Undigestible(f"{place(path[:3])} goes deeper than {_DEPTH} levels")
        if path:
            put(path[-1])
        if (leaf := _leaf(value)) is not None:
            put(leaf)
        elif again:
            put(f"again {numbers[id(value)]}")
        else:
            if not isinstance(value, tuple | frozenset):
                numbers[id(value)] = len(numbers)
            put(f"{name_of(type(value))} {len(held)} {_own(value, path)}")
    return hash_.hexdigest()


def _parts(value: Any) -> Parts:
    if isinstance(value, GENERATORS):
        return ()
    held = parts(value)
    return sorted(held, key=lambda pair: digest(pair[1])) if isinstance(value, set | frozenset) else held


def _leaf(value: Any) -> str | None:
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
        case _ if type(value) in ATOMS:
            return f"{kind} {value!r}"
        case type() | types.BuiltinFunctionType():
            return f"named {getattr(value, '__module__', None)}.{value.__qualname__}"
        case types.ModuleType():
            return f"module {value.__name__}"
    return None


def _own(value: Any, path: tuple[str, ...]) -> str:
    """Return what identifies *value* in addition to its parts: a function's name and source, an array's shape."""
    if isinstance(value, np.ndarray):
        return str(value.shape)
    if not isinstance(value, types.FunctionType):
        return ""
    if known_by_version(value.__module__):
        return name_of(value)
    try:
        return f"{name_of(value)} {_column(value)} {inspect.getsource(value)}"
    except (OSError, TypeError):
        raise Undigestible(f"{place(path)} is the function {value.__qualname__}, whose source is gone") from None


def _column(function: types.FunctionType) -> int:
    """Return the column where a lambda ends: several lambdas in one line have the same source, that line."""
    positions = function.__code__.co_positions()
    return 0 if function.__name__ != "<lambda>" else max(end_column or 0 for _, _, _, end_column in positions)
