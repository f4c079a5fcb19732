"""Reads a search file as TOML tables."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eventhpo.core.validation.mistakes import Mistake
from eventhpo.errors import Usage
from eventhpo.search_file import bounds
from eventhpo.search_file.lines import FileLine, line_of, line_of_syntax

_SHOWN = 100  # mistakes of one file that are told
_LOOKED_THROUGH = 200_000  # characters of the file in all, for the lines of its mistakes: well under a second


class SearchFileMistaken(Usage):
    """A search file cannot be used; the message has a line for each of `mistakes`."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake], text: str = "") -> None:
        """Say each of *mistakes*, with its line if *text*, the file's, is given."""
        self.path = path
        self.mistakes = tuple(mistakes)
        with_line = max(1, _LOOKED_THROUGH // max(len(text), 1))
        lines = [
            _told(path, mistake, text if number < with_line else "")
            for number, mistake in enumerate(self.mistakes[:_SHOWN])
        ]
        if len(self.mistakes) > _SHOWN:
            lines.append(f"{path}: and {len(self.mistakes) - _SHOWN:,} more mistakes")
        super().__init__("\n".join(lines))


class _BeyondBounds(SearchFileMistaken):
    """A file that is not parsed: it is larger than any search needs."""

    def __init__(self, path: Path, mistake: Mistake, line: FileLine) -> None:
        super().__init__(path, [mistake])
        self.args = (f"{path}: {mistake}\n{line.quoted()}",)


def _told(path: Path, mistake: Mistake, text: str) -> str:
    if not text:
        return f"{path}: {mistake}"
    line = line_of(text, mistake.place) if mistake.place else line_of_syntax(text, str(mistake.found))
    return f"{path}: {mistake}" if line is None else f"{path}: {mistake}\n{line.quoted()}"


def read_text(path: Path) -> str:
    """Return the text of the search file at *path*.

    Raises:
        SearchFileMistaken: There is no file that can be read, or it is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(bounds.LARGEST + 1)
    except FileNotFoundError:
        raise _unreadable(path, "nothing", "a search file (TOML) at this path") from None
    except IsADirectoryError:
        raise _unreadable(path, "a folder", f"a search file, as {path / 'search.toml'}") from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), "a search file that can be read") from None
    if raw.startswith(b"SQLite format 3"):
        raise _unreadable(path, "a database", f"a search file; to carry on a log: eventhpo resume {path}")
    if len(raw) > bounds.LARGEST:
        last = raw.count(b"\n") + 1
        beyond = f"more bytes, from line {last:,} on"
        raise _unreadable(path, beyond, f"a search file of at most {bounds.LARGEST:,} bytes")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")  # what editors on Windows write before a text
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{raw[error.start]:02x}"
        raise SearchFileMistaken(path, [Mistake(f"line {line}", byte, "UTF-8, as TOML is")]) from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """Return the tables of *text*, which was read from *path*.

    Among values of parameters, `{ none = true }` is None.

    Raises:
        SearchFileMistaken: It is no TOML, or larger or deeper than any search needs.
    """
    if (place := bounds.beyond(text)) is not None:
        number, mistake = place
        raise _BeyondBounds(path, mistake, FileLine(number, text.split("\n")[number - 1]))
    try:
        tables = tomllib.loads(text)
    except ValueError as error:  # also an integer of more digits than Python reads
        raise SearchFileMistaken(path, [Mistake("", str(error), "TOML")], text) from None
    except RecursionError:
        raise _unreadable(path, "brackets in brackets in brackets", "TOML of a sensible depth") from None
    return {key: _with_none(value) if key in _WITH_NONE else value for key, value in tables.items()}


_WITH_NONE = ("space", "trial", "sampler")  # where values of parameters stand


def _with_none(value: Any) -> Any:
    """Return *value* with None in place of each `{ none = true }`: TOML has no word for it."""
    if isinstance(value, dict):
        given = {key: _with_none(item) for key, item in value.items()}
        return None if given == {"none": True} and given["none"] is True else given
    return [_with_none(item) for item in value] if isinstance(value, list) else value


def _unreadable(path: Path, problem: str, expected: str) -> SearchFileMistaken:
    return SearchFileMistaken(path, [Mistake("", problem, expected)])
