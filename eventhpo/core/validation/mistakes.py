"""A mistake in what somebody asked for: its place, what was found, what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

SHOWN = 80  # characters of a found value: a mistake is one line of a terminal, not a dump
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class _Missing:
    """What stands in `Mistake.found` where nothing was found."""


MISSING = _Missing()


@dataclass(frozen=True)
class Mistake:
    """One thing to correct; `place` is a path of TOML keys, relative to what was checked."""

    place: str
    found: object
    expected: str
    nearest: str | None = None

    def within(self, *keys: str | int) -> Mistake:
        """Return this mistake with its place below *keys*."""
        above = path(*keys)
        return replace(self, place=above + _joint(self.place) if above else self.place)

    def __str__(self) -> str:
        found = "missing" if self.found is MISSING else f"found {shown(self.found)}"
        hint = "" if self.nearest is None else f"; did you mean {shown(self.nearest)}?"
        return f"{self.place}: {found}, expected {self.expected}{hint}".removeprefix(": ")


def unknown(place: str, name: str, known: Iterable[str], what: str) -> Mistake:
    """Return the mistake of a name that is none of *known*, with the nearest of them."""
    names = list(dict.fromkeys(known))
    return Mistake(place, name, f"{what}: {', '.join(names)}", nearest(name, names))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name among *known* that *name* was most likely meant to be, or None."""
    import difflib  # noqa: PLC0415  only a mistake needs it, and each command would wait for it

    names = list(known)
    folded = {original.casefold(): original for original in reversed(names)}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    starts = [original for fold, original in folded.items() if _begins(name.casefold(), fold)]
    if close:
        return folded[close[0]]
    return starts[0] if len(starts) == 1 else None


def _begins(first: str, second: str) -> bool:
    return bool(first and second) and (first.startswith(second) or second.startswith(first))


def path(*keys: str | int) -> str:
    """Return *keys* as a dotted path of TOML; a number is a place in an array, counted from 0."""
    text = ""
    for key in keys:
        part = f"[{key}]" if isinstance(key, int) else key if _BARE.fullmatch(key) else json.dumps(key)
        text += _joint(part) if text else part
    return text


def _joint(place: str) -> str:
    return place if not place or place.startswith("[") else f".{place}"


def shown(value: object) -> str:
    """Return *value* as a search file would write it, cut to `SHOWN` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that are no strings, circles: it is only shown
        text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
