"""A search file as TOML tables, or what keeps it from being read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eventhpo.core.mistakes import Mistake
from eventhpo.errors import Usage


class SearchFileMistaken(Usage):
    """A search file cannot be used; the message has a line for each of `mistakes`."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{path}: {one}" for one in self.mistakes))


def read_text(path: Path) -> str:
    """Return the text of the search file at *path*.

    Raises:
        SearchFileMistaken: There is no file that can be read, or it is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, "nothing", "a search file (TOML) at this path") from None
    except IsADirectoryError:
        raise _unreadable(path, "a folder", f"a search file, as {path / 'search.toml'}") from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), "a search file that can be read") from None
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")  # what editors on Windows write before a text
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{raw[error.start]:02x}"
        raise SearchFileMistaken(path, [Mistake(f"line {line}", found, "UTF-8, as TOML is")]) from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """Return the tables of *text*, which was read from *path*.

    Raises:
        SearchFileMistaken: It is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, str(error), "TOML") from None
    except RecursionError:
        raise _unreadable(path, "brackets in brackets in brackets", "TOML of a sensible depth") from None


def _unreadable(path: Path, found: str, expected: str) -> SearchFileMistaken:
    return SearchFileMistaken(path, [Mistake("", found, expected)])
