"""What door and job say to each other through a server that knows nothing of it: tags, and a title of our own."""

from __future__ import annotations

import re

import msgspec

OWN = "eventhpo"  # the title under which a job tells the door what ClearML cannot carry
RESUME = "resume_from"

_KEY = re.compile(r"(eventhpo:[0-9a-f]{12}):(\d+)-([0-9a-f]{8}):(\d+)\.(\d+)")


class Key(msgspec.Struct, frozen=True):
    """The parts of an attempt's key: its search, the last row before its intent, and which attempt it is of."""

    text: str
    search: str
    seq: int
    hash: str
    trial: int
    attempt: int


def read_key(tag: str, search: str | None = None) -> Key | None:
    """Return the key that *tag* is (of *search*, if one is named), None for any other tag."""
    found = _KEY.fullmatch(tag)
    if found is None or search not in (None, found[1]):
        return None
    return Key(tag, found[1], int(found[2]), found[3], int(found[4]), int(found[5]))


def tag_of_search(key: str) -> str:
    """Return the tag that all tasks of a search carry: the key up to its search's id."""
    return ":".join(key.split(":")[:2])
