"""Equal up to rounding: the same decision made on another platform, its floats a little apart.

What decides is the decision: which trial, which choice, which integer, which verdict. A
float that a sampler computed may come out a few last bits off where another processor,
libc or numeric library adds up in another order. Where none of these differs from the
recording, a bit that differs is a divergence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import Event
from eventhpo.core.search.ranges import bounds
from eventhpo.core.search.space import Space, dimensions
from eventhpo.core.search.spec import LogUniformParameterRange, Range, UniformParameterRange
from replay.decide.fingerprints import FingerprintDifference, differences

# What a float's last bits hang on. Other rules, another Optuna or another Python alone excuse nothing.
ROUNDS = ("machine", "libc", "simd", "blas", "numpy", "scipy", "cmaes", "torch")
# How far apart two floats may be, as a part of the largest number that stands next to them (docs/determinism.md has
# what was measured: roundings below 1e-13, another choice above 1e-6).
WITHIN = 1e-10

_PIECE = re.compile(r"(tpe:relative_params):(\d+)")  # Optuna cuts this text wherever it gets too long for a database
_HEX = re.compile(r"-?0x[01]\.[0-9a-f]+p[+-]\d+")  # how a log keeps the floats of CMA-ES


class Apart(msgspec.Struct, frozen=True):
    """How far two floats are apart at most, as a part of the largest number next to them, and in which field."""

    distance: float
    path: str


class Rounded(msgspec.Struct, frozen=True):
    """A decision that is equal up to rounding: both sides, where they are furthest apart, and what rounds otherwise."""

    seq: int
    cause: int | None
    recorded: Event
    decided: Event
    apart: Apart
    because: tuple[FingerprintDifference, ...]


def because(recorded: Mapping[str, str], here: Mapping[str, str]) -> tuple[FingerprintDifference, ...]:
    """Return what rounds otherwise *here* than where a log was recorded; nothing, where nobody knows that it does.

    A package that is missing on one side has computed nothing there, and a fingerprint that
    lacks an entry says nothing of it.
    """
    return tuple(
        difference
        for difference in differences(recorded, here)
        if difference.name in ROUNDS and difference.recorded is not None and difference.here is not None
    )


def apart(recorded: Event, decided: Event, space: Space) -> Apart | None:
    """Return how far two events are apart if they are the same decision but for rounding, else None."""
    if type(recorded) is not type(decided):
        return None
    comparison = _RoundingComparison(_reaches(space))
    try:
        comparison.compare(json.loads(codec.encode(recorded)), json.loads(codec.encode(decided)), "", None)
    except _Another:
        return None
    return Apart(*comparison.worst)


def _reaches(space: Space) -> dict[str, float]:
    """Return the parameters whose floats may round, by each of their names, with the largest value of a linear one."""
    reaches: dict[str, float] = {}
    for name, parameter in dimensions(space).items():
        if (reach := _reach(parameter)) is not None:
            for known in (name, parameter.name):
                reaches[known] = max(reach, reaches.get(known, 0.0))
    return reaches


def _reach(parameter: Range) -> float | None:
    # A logarithmic value is computed as a power, on a step too; a linear step and a listed value are choices.
    if isinstance(parameter, LogUniformParameterRange):
        return 0.0
    if isinstance(parameter, UniformParameterRange) and parameter.step_size is None:
        return max(map(abs, bounds(parameter)))
    return None


class _Another(Exception):
    """The two are not the same decision."""


class _RoundingComparison:
    def __init__(self, reaches: Mapping[str, float]) -> None:
        self._reaches = reaches
        self.worst: tuple[float, str] = (0.0, "")

    def compare(self, a: Any, b: Any, path: str, beside: float | None) -> None:
        """Compare two values of JSON; floats may be apart where *beside* says next to which number."""
        match a, b:
            case dict(), dict():
                self._tables(_joined(a), _joined(b), path, beside)
            case list(), list():
                self._lists(a, b, path, beside)
            case float(), float():
                self._floats(a, b, path, beside)
            case str(), str() if a != b and beside is not None:
                self._texts(a, b, path, beside)
            case _ if type(a) is not type(b) or a != b:
                raise _Another

    def _tables(self, a: dict[str, Any], b: dict[str, Any], path: str, beside: float | None) -> None:
        if a.keys() != b.keys():
            raise _Another
        for name, value in a.items():
            place = f"{path}.{name}" if path else name
            self.compare(value, b[name], place, self._beside(name, path, beside))

    def _beside(self, name: str, path: str, beside: float | None) -> float | None:
        """Return next to which number a float of field *name* is measured, None if it must be equal to the bit."""
        if path in ("params", "point") or path.endswith("relative_params"):
            return self._reaches.get(name)
        if name in ("attrs", "study_attrs"):
            return 0.0
        return beside

    def _lists(self, a: list[Any], b: list[Any], path: str, beside: float | None) -> None:
        if len(a) != len(b):
            raise _Another
        if beside is not None:  # numbers of one array are sums of one another
            beside = max([beside, *(abs(number) for left in (*a, *b) if (number := _number(left)) is not None)])
        for n, (left, right) in enumerate(zip(a, b, strict=True)):
            self.compare(left, right, f"{path}[{n}]", beside)

    def _texts(self, a: str, b: str, path: str, beside: float) -> None:
        if path.endswith("relative_params"):
            self.compare(json.loads(a), json.loads(b), path, beside)
        elif (left := _number(a)) is not None and (right := _number(b)) is not None:
            self._floats(left, right, path, beside)
        else:
            raise _Another

    def _floats(self, a: float, b: float, path: str, beside: float | None) -> None:
        if a.hex() == b.hex():
            return
        if beside is None:
            raise _Another
        distance = abs(a - b) / max(abs(a), abs(b), beside) if a != b else 0.0
        if not distance <= WITHIN:
            raise _Another
        if distance >= self.worst[0]:
            self.worst = (distance, path)


def _joined(table: dict[str, Any]) -> dict[str, Any]:
    """Return *table* with the pieces of a text that was cut as one text."""
    joined: dict[str, Any] = {}
    pieces: dict[str, dict[int, str]] = {}
    for name, value in table.items():
        if (piece := _PIECE.fullmatch(name)) is not None and isinstance(value, str):
            pieces.setdefault(piece[1], {})[int(piece[2])] = value
        else:
            joined[name] = value
    return joined | {name: "".join(parts[n] for n in sorted(parts)) for name, parts in pieces.items()}


def _number(value: Any) -> float | None:
    if isinstance(value, float):
        return value
    return float.fromhex(value) if isinstance(value, str) and _HEX.fullmatch(value) else None
