"""Kinds of values: what a key accepts, and what to say of anything else."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from eventhpo.core.validation.mistakes import nearest

T = TypeVar("T")
U = TypeVar("U")

EXACT = 2**53  # beyond it a float, and so Optuna and JSON readers, lose whole numbers


class Wrong(ValueError):
    """A value is not of its kind; the text says what was expected, `near` which value was meant, if one is near."""

    def __init__(self, expected: str, near: str | None = None) -> None:
        super().__init__(expected)
        self.near = near


@dataclass(frozen=True)
class Validator(Generic[T]):
    """What is expected, in words, and a reader that returns the value or raises `Wrong`."""

    expected: str
    read: Callable[[object], T]


def integer(least: int | None = None, most: int = EXACT) -> Validator[int]:
    """Return the kind of whole numbers from *least* to *most*; true and 1.0 are none."""
    expected = "a whole number" + _bounds(least, None, None if most == EXACT else most)

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(expected)
        if abs(value) > EXACT:
            raise Wrong(expected + " and no more than 2**53 from zero")
        if (least is not None and value < least) or value > most:
            raise Wrong(expected)
        return value

    return Validator(expected, read)


def number(least: float | None = None, above: float | None = None, most: float | None = None) -> Validator[float]:
    """Return the kind of finite numbers within the bounds, read as floats; true is none."""
    expected = "a finite number" + _bounds(least, above, most)

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(expected)
        try:
            as_float = float(value)
        except OverflowError:
            raise Wrong(expected) from None
        low = (least is None or as_float >= least) and (above is None or as_float > above)
        if not math.isfinite(as_float) or not low or (most is not None and as_float > most):
            raise Wrong(expected)
        return as_float

    return Validator(expected, read)


def _bounds(least: float | None, above: float | None, most: float | None) -> str:
    low = f" of at least {least}" if least is not None else f" above {above}" if above is not None else ""
    high = "" if most is None else f" of at most {most}" if not low else f" and at most {most}"
    return low + high


def boolean() -> Validator[bool]:
    """Return the kind of true and false; 0 and 1 are none."""
    expected = "true or false"

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise Wrong(expected)
        return value

    return Validator(expected, read)


def is_utf8(value: str) -> bool:
    """Whether *value* can be written as UTF-8: a name of a file that is none comes with surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text() -> Validator[str]:
    """Return the kind of strings that say something and can be shown in a line of text."""
    expected = "a string that is not empty"

    def read(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise Wrong(expected)
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise Wrong("a string without control characters, as NUL or the end of a line")
        if not is_utf8(value):
            raise Wrong("a string that can be written as UTF-8")
        return value

    return Validator(expected, read)


def choice(*names: str) -> Validator[str]:
    """Return the kind of one of *names*."""
    expected = "one of " + ", ".join(f'"{name}"' for name in names)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise Wrong(expected, nearest(value, names) if isinstance(value, str) else None)
        return value

    return Validator(expected, read)


def either(first: Validator[T], second: Validator[U]) -> Validator[T | U]:
    """Return the kind of what is of one kind or of the other."""
    expected = f"{first.expected} or {second.expected}"

    def read(value: object) -> T | U:
        for kind in (first, second):
            try:
                return kind.read(value)
            except Wrong:
                continue
        raise Wrong(expected)

    return Validator(expected, read)


def optional(kind: Validator[T]) -> Validator[T | None]:
    """Return the kind of what is None or of *kind*."""
    return Validator(kind.expected, lambda value: None if value is None else kind.read(value))


def array(of: Validator[T], least: int = 1) -> Validator[list[T]]:
    """Return the kind of lists of at least *least* values, each of the kind *of*."""
    expected = f"a list of {least} or more, each {of.expected}"

    def read(value: object) -> list[T]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise Wrong(expected)
        try:
            return [of.read(entry) for entry in value]
        except Wrong:
            raise Wrong(expected) from None

    return Validator(expected, read)
