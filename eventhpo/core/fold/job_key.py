"""The key of an intent: it names the search, the last row before the intent, and the attempt."""

from __future__ import annotations

import re

import msgspec

from eventhpo.core.fold.events import Head

_KEY = re.compile(r"(eventhpo:[0-9a-f]{12}):(\d+)-([0-9a-f]{8}):(\d+)\.(\d+)", re.ASCII)


class AttemptKey(msgspec.Struct, frozen=True):
    """The parts of a key: its search, seq and hash of the last row before the intent, and the attempt."""

    text: str
    search: str
    seq: int
    hash: str
    trial: int
    attempt: int


def job_key(search_id: str, before: Head, trial: int, attempt: int) -> str:
    """Return the key of the intent that follows the row *before*: it follows from the log alone."""
    return f"{search_part(search_id)}:{before.seq}-{before.hash[:8]}:{trial}.{attempt}"


def read_key(text: str, search: str | None = None) -> AttemptKey | None:
    """Read a key from where a backend keeps it: a tag, or the name of a folder.

    Returns None if *text* is no key, or is one of another search than *search*, which is a `search_part`.
    """
    match = _KEY.fullmatch(text)
    if match is None or search not in (None, match[1]):
        return None
    return AttemptKey(text, match[1], int(match[2]), match[3], int(match[4]), int(match[5]))


def search_part(search_id: str) -> str:
    """Return the part that the keys of all attempts of a search begin with."""
    return f"eventhpo:{search_id[:12]}"
