"""The key of an attempt, read again from where a place keeps it: a tag, the name of a folder."""

from __future__ import annotations

import re

import msgspec

_KEY = re.compile(r"(eventhpo:[0-9a-f]{12}):(\d+)-([0-9a-f]{8}):(\d+)\.(\d+)", re.ASCII)


class AttemptKey(msgspec.Struct, frozen=True):
    """The parts of an attempt's key: its search, the last row before its intent, and which attempt it is of."""

    text: str
    search: str
    seq: int
    hash: str
    trial: int
    attempt: int


def read_key(text: str, search: str | None = None) -> AttemptKey | None:
    """Return the key that *text* is (of *search*, if one is named), None for any other text."""
    found = _KEY.fullmatch(text)
    if found is None or search not in (None, found[1]):
        return None
    return AttemptKey(text, found[1], int(found[2]), found[3], int(found[4]), int(found[5]))


def search_part(search_id: str) -> str:
    """Return what the keys of all attempts of a search begin with."""
    return f"eventhpo:{search_id[:12]}"
