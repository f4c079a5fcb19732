"""A table of a search file, read key by key; what is wrong is collected, never raised."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from eventhpo.core.validation.mistakes import MISSING, Mistake, path, unknown
from eventhpo.core.validation.validators import Validator, Wrong

T = TypeVar("T")


class Table:
    """The keys of one table; `done` reports those that nobody asked for."""

    def __init__(self, values: dict[str, Any], mistakes: list[Mistake], *keys: str | int) -> None:
        self._values = values
        self._mistakes = mistakes
        self._keys = keys
        self._asked: list[str] = []

    @overload
    def take(self, key: str, kind: Validator[T]) -> T | None: ...
    @overload
    def take(self, key: str, kind: Validator[T], default: None) -> T | None: ...
    @overload
    def take(self, key: str, kind: Validator[T], default: T) -> T: ...
    def take(self, key: str, kind: Validator[T], default: object = MISSING) -> object:
        """Return the value of *key*, or *default*; without a default it must be there.

        Where it is missing or wrong, that is noted, and *default* or None returned.
        """
        self._asked.append(key)
        fallback = None if default is MISSING else default
        if key not in self._values:
            if default is MISSING:
                self.wrong(MISSING, kind.expected, key)
            return fallback
        try:
            return kind.read(self._values[key])
        except Wrong as wrong:
            self._mistakes.append(Mistake(path(*self._keys, key), self._values[key], str(wrong), wrong.near))
            return fallback

    def raw(self, key: str) -> Any:
        """Return what stands at *key* as it is, or `MISSING`."""
        self._asked.append(key)
        return self._values.get(key, MISSING)

    def table(self, key: str, expected: str) -> dict[str, Any] | None:
        """Return the table at *key*; None if there is none, which is noted if something else is there."""
        value = self.raw(key)
        if isinstance(value, dict):
            return value
        if value is not MISSING:
            self.wrong(value, expected, key)
        return None

    def wrong(self, value: object, expected: str, *keys: str | int) -> None:
        """Note a mistake below this table."""
        self._mistakes.append(Mistake(path(*self._keys, *keys), value, expected))

    def done(self, what: str) -> None:
        """Note every key that was not asked for; *what* says what the table takes."""
        for key in self._values:
            if key not in self._asked:
                self._mistakes.append(unknown(path(*self._keys, key), key, self._asked, what))
