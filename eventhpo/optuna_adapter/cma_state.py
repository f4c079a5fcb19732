"""The state of CMA-ES as numbers, so that a log can hold it without a pickle.

Optuna keeps the optimizer of `CmaEsSampler` as a pickle in a trial's attributes, and
unpickles whatever it finds there: a forged pickle runs code. So a pickle is read here
only right after a sampler of this process wrote it, and the log gets the name of its
class and its fields. When the state is needed again, this process builds an optimizer
from those numbers and pickles it itself.

Numbers are exact: floats in hexadecimal, arrays with their type and shape. Left out are
the generator, which the sampler seeds anew for each decision, and `_funhist_values`,
a buffer that begins as uninitialised memory and that no decision reads.
"""

from __future__ import annotations

import pickle
import re
from functools import cache
from typing import Any

import numpy as np

from eventhpo.errors import DamagedLog, Usage

_PIECE = re.compile(r"((?:cma|sepcma|cmawm):optimizer):(\d+)")
_WHOLE = re.compile(r"(?:cma|sepcma|cmawm):optimizer")
_LONGEST = 2045  # characters of a piece: how Optuna cuts a pickle, and how it finds it again
_UNUSED = "_funhist_values"
_DISCRETE_ONLY = {"margin", "m_z_lim_low", "m_z_lim_up", "_A"}  # what CMAwM has only with a stepped parameter
_DTYPES = ("float64", "int64", "bool")


def is_state(name: str) -> bool:
    """Whether an attribute is a piece of an optimizer's pickle."""
    return _PIECE.fullmatch(name) is not None


def to_data(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return *attrs* with each optimizer's pickle as JSON data under one name; other attributes stay as they are.

    *attrs* must be what a sampler of this process has just written: their pickles are loaded.

    Raises:
        TypeError: The optimizer is of an unknown class, or holds a value of an unknown type.
    """
    data: dict[str, Any] = {}
    pieces: dict[str, dict[int, str]] = {}
    for name, value in attrs.items():
        if (piece := _PIECE.fullmatch(name)) is None:
            data[name] = value
        else:
            pieces.setdefault(piece[1], {})[int(piece[2])] = value
    for name, parts in pieces.items():
        text = "".join(parts[k] for k in sorted(parts))
        data[name] = _exported(pickle.loads(bytes.fromhex(text)))  # noqa: S301  written by this process
    return data


def from_data(data: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that Optuna reads for what `to_data` returned; nothing is unpickled.

    Raises:
        DamagedLog: An optimizer in *data* is not of the form that `to_data` gives it.
    """
    attrs: dict[str, Any] = {}
    for name, value in data.items():
        if is_state(name):
            raise DamagedLog(f"{name} is a pickle: eventhpo never writes one, and does not read this one")
        if _WHOLE.fullmatch(name) is None:
            attrs[name] = value
            continue
        text = pickle.dumps(_imported(name, value)).hex()
        for k, start in enumerate(range(0, len(text), _LONGEST)):
            attrs[f"{name}:{k}"] = text[start : start + _LONGEST]
    return attrs


# ---------------------------------------------------------------- an optimizer to JSON


def _exported(optimizer: Any) -> dict[str, Any]:
    name = type(optimizer).__name__
    if _classes().get(name) is not type(optimizer):
        raise TypeError(f"CMA-ES kept its state in a {name}, which this version does not know how to record")
    state: dict[str, Any] = optimizer.__getstate__()
    return {"class": name, "state": {key: _value(key, value) for key, value in state.items() if key != _UNUSED}}


def _value(key: str, value: object) -> Any:
    # numpy's scalars come before Python's: float64 is a float too, and must come back as it was.
    match value:
        case None | bool():
            return value
        case np.generic() | np.ndarray():
            return _array(key, value)
        case int():
            return value
        case float():
            return value.hex()
    if type(value) is _classes()["CMA"]:
        return _exported(value)
    raise TypeError(f"CMA-ES keeps a {type(value).__name__} in {key}, which this version does not know how to record")


def _array(key: str, value: np.ndarray[Any, Any] | np.generic) -> dict[str, Any]:
    if value.dtype.name not in _DTYPES:
        raise TypeError(f"CMA-ES keeps an array of {value.dtype.name} in {key}, which cannot be recorded")
    array = np.asarray(value)
    flat = array.ravel(order="C").tolist()
    data = {
        "dtype": array.dtype.name,
        "shape": None if isinstance(value, np.generic) else list(array.shape),
        "data": [number.hex() if isinstance(number, float) else number for number in flat],
    }
    # The order in memory is part of the value: a product of matrices may round differently with it.
    return data | ({"order": "F"} if array.flags.f_contiguous and not array.flags.c_contiguous else {})


# ---------------------------------------------------------------- an optimizer from JSON


def _imported(place: str, data: Any) -> Any:
    """Return an optimizer built from the numbers in *data*."""
    match data:
        case {"class": str(name), "state": dict(state)} if name in _classes() and len(data) == 2:
            kind = _classes()[name]
        case _:
            raise DamagedLog(f"{place} is no state of CMA-ES")
    fields = {key: _back(f"{place}.{key}", value) for key, value in state.items()}
    if wrong := (fields.keys() ^ _fields(name)) - (_DISCRETE_ONLY if name == "CMAwM" else set()):
        raise DamagedLog(f"{place} has fields that {name} lacks, or lacks some of its: {', '.join(sorted(wrong))}")
    if name != "CMAwM":
        fields[_UNUSED] = np.zeros(_buffer(place, fields.get("_funhist_term")))
    optimizer: Any = object.__new__(kind)
    try:
        _set_state(optimizer, fields)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DamagedLog(f"{place} cannot be made a {name} again: {error}") from error
    return optimizer


def _buffer(place: str, term: Any) -> int:
    if isinstance(term, bool) or not isinstance(term, int) or not 0 < term < 1_000_000:
        raise DamagedLog(f"{place} has no sensible _funhist_term")
    return 2 * term


def _set_state(optimizer: Any, fields: dict[str, Any]) -> None:
    if hasattr(optimizer, "__setstate__"):
        optimizer.__setstate__(fields)
    else:
        vars(optimizer).update(fields)


@cache
def _classes() -> dict[str, type[Any]]:
    """Return the classes that Optuna keeps as a state, by name; imported once a state is seen."""
    try:
        from cmaes import CMA, CMAwM, SepCMA  # noqa: PLC0415  an extra: most searches go without it
    except ImportError:
        raise Usage("this search samples by CMA-ES, which needs: pip install 'eventhpo[cmaes]'") from None
    return {"CMA": CMA, "SepCMA": SepCMA, "CMAwM": CMAwM}


@cache
def _fields(name: str) -> frozenset[str]:
    """Return which fields an optimizer has in its state, by looking at a small one."""
    steps = {"steps": np.array([0.5, 0.0])} if name == "CMAwM" else {}
    small = _classes()[name](mean=np.full(2, 0.5), sigma=0.1, bounds=np.array([[0.0, 1.0]] * 2), **steps)
    return frozenset(small.__getstate__()) - {_UNUSED}


def _back(place: str, value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str() | float():
            return _float(place, value)
        case {"class": "CMA"} if place.endswith("._cma"):
            return _imported(place, value)
        case {"dtype": str(dtype), "shape": shape, "data": list(data)} if dtype in _DTYPES:
            return _array_back(place, dtype, shape, data, value.get("order", "C"))
    raise DamagedLog(f"{place} is neither a number nor an array")


def _float(place: str, text: Any) -> float:
    if isinstance(text, float):  # "inf" and "nan" are the same in hexadecimal, and may have been read already
        return text
    try:
        return float.fromhex(text)
    except (TypeError, ValueError, OverflowError):
        raise DamagedLog(f"{place} is no number in hexadecimal") from None


def _array_back(place: str, dtype: str, shape: Any, data: list[Any], order: Any) -> Any:
    numbers = [_float(place, number) for number in data] if dtype == "float64" else data
    if dtype != "float64" and not all(isinstance(number, int) for number in data):
        raise DamagedLog(f"{place} is an array of {dtype} with something else in it")
    try:
        array = np.array(numbers, dtype=dtype).reshape([] if shape is None else shape)
    except (TypeError, ValueError, OverflowError):
        raise DamagedLog(f"{place} is an array whose shape does not fit its {len(data)} numbers") from None
    if shape is None:
        return array[()]
    return np.asfortranarray(array) if order == "F" else array
