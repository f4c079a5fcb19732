"""Where in a search file a mistake stands: the number and the text of its line.

tomllib says of no value where it stood. So the beginnings of the file are read: a key stands
where the first beginning ends that has it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

from eventhpo.core.search.ranges import full_name

_LONGEST = 200_000  # characters of a file that is looked through, well under a second
_SHOWN = 100  # characters of a line
_KEY = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+|\[\d+\]')
_AT = re.compile(r"\(at line (\d+), column (\d+)\)")


class FileLine(NamedTuple):
    """A line of a file; `number` counts from 1, and so does `column`, where something is wrong; 0: the whole line."""

    number: int
    text: str
    column: int = 0

    def quoted(self) -> str:
        """Return the line as a message shows it, with a mark below its column."""
        shown = self.text.replace("\t", " ").rstrip()
        cut = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
        margin = f"  line {self.number}: "
        mark = f"\n{' ' * (len(margin) + self.column - 1)}^" if 0 < self.column <= len(cut) + 1 else ""
        return f"{margin}{cut}{mark}"


def line_of_syntax(text: str, message: str) -> FileLine | None:
    """Return the line that tomllib's *message* names, the last one if that is the end; None if it names none."""
    named, lines = _AT.search(message), text.split("\n")
    if "(at end of document)" in message:
        last = max((n for n, line in enumerate(lines) if line.strip()), default=0)
        return FileLine(last + 1, lines[last], len(lines[last].rstrip()) + 1)
    if named is None or not 1 <= int(named[1]) <= len(lines):
        return None
    return FileLine(int(named[1]), lines[int(named[1]) - 1], int(named[2]))


def line_of(text: str, place: str) -> FileLine | None:
    """Return the line of *text*, a whole TOML file, at which the key *place* begins.

    Of a key that is not there it is the line of the table that should have it; None if that is the top.
    """
    if len(text) > _LONGEST:
        return None
    keys = _present(tomllib.loads(text), _keys(place))
    if not keys:
        return None
    lines = text.split("\n")
    before, first = 0, len(lines)  # the beginning of `before` lines lacks the key, that of `first` has it
    while before + 1 < first:
        middle, tables = _readable(lines, before, (before + first) // 2)
        if middle == before:  # all lines up to the middle belong to one value
            middle, tables = _next_readable(lines, (before + first) // 2 + 1, first)
            if middle == first:
                break
        if len(_present(tables, keys)) == len(keys):
            first = middle
        else:
            before = middle
    while before + 1 < first and _is_empty(lines[before]):
        before += 1
    return FileLine(before + 1, lines[before])


def _keys(place: str) -> list[str | int]:
    def key(part: str) -> str | int:
        if part.startswith("["):
            return int(part[1:-1])
        return str(json.loads(part)) if part.startswith('"') else part

    return [key(part) for part in _KEY.findall(place)]


def _present(tables: Any, keys: Sequence[str | int]) -> list[str | int]:
    """Return as many of *keys* as lead somewhere in *tables*, as the file spells them: `lr` may be `General/lr`."""
    there: list[str | int] = []
    for key in keys:
        if isinstance(tables, list) and isinstance(key, int) and key < len(tables):
            there.append(key)
            tables = tables[key]
        elif isinstance(tables, dict):
            spelt = key if key in tables else next((name for name in tables if full_name(name) == key), None)
            if spelt is None:
                break
            there.append(spelt)
            tables = tables[spelt]
        else:
            break
    return there


def _readable(lines: Sequence[str], least: int, count: int) -> tuple[int, Any]:
    """Return the longest beginning of at most *count* lines that is TOML, down to *least* lines, and its tables."""
    while count > least:
        tables = _parsed(lines, count)
        if tables is not None:
            return count, tables
        count -= 1
    return least, {}


def _next_readable(lines: Sequence[str], count: int, most: int) -> tuple[int, Any]:
    while count < most:
        tables = _parsed(lines, count)
        if tables is not None:
            return count, tables
        count += 1
    return most, {}


def _parsed(lines: Sequence[str], count: int) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines[:count]) + "\n")
    except (ValueError, RecursionError):
        return None


def _is_empty(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
