"""What lies next to a log, where SQLite too puts its files: next to what a link names."""

from __future__ import annotations

import os
from pathlib import Path

from eventhpo.core.validation.validators import is_utf8
from eventhpo.errors import Usage

NAME_MAX = 255  # bytes of one name, on every file system that a log may lie on
PATH_MAX = 511  # bytes of a path that SQLite opens
_MODES = 18  # offset of the two bytes of SQLite's header that name the journal mode: 1 rollback, 2 write-ahead
_ADDED = len(".12345678.new-journal")  # the longest that is ever appended to the name of a log


def refuse_name(path: Path) -> None:
    """Return if a log can have the name *path*, and all that lies next to it a name made of that.

    Raises:
        Usage: it is no UTF-8, as all text in a log is, or it is too long.
    """
    real = path.resolve()
    if not is_utf8(str(real)):
        what = f"the folder {real.parent}" if is_utf8(real.name) else "its name"
        raise Usage(f"{path} cannot be a log: {what} is no UTF-8, and a log names the files of its jobs in text")
    for found, most, what in ((os.fsencode(real.name), NAME_MAX, "name"), (os.fsencode(real), PATH_MAX, "path")):
        if len(found) + _ADDED > most:
            raise Usage(f"{_cut(path)} cannot be a log: its {what} has {len(found)} bytes, at most {most - _ADDED} fit")


def _cut(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 80 else f"{text[:40]}...{text[-20:]}"


def _beside(path: Path, suffix: str) -> Path:
    real = path.resolve()
    return real.with_name(real.name + suffix)


def wal(path: Path) -> Path:
    """Return the name of SQLite's write-ahead log."""
    return _beside(path, "-wal")


def shm(path: Path) -> Path:
    """Return the name of SQLite's index of the write-ahead log."""
    return _beside(path, "-shm")


def journal(path: Path) -> Path:
    """Return the name of SQLite's rollback journal."""
    return _beside(path, "-journal")


def lock(path: Path) -> Path:
    """Return the name of the file that the one writer has locked."""
    return _beside(path, ".lock")


def head(path: Path) -> Path:
    """Return the name of the file that says where the log ends."""
    return _beside(path, ".head")


def sig(path: Path) -> Path:
    """Return the name of the file with the signatures of its head."""
    return _beside(path, ".sig")


def jobs(path: Path) -> Path:
    """Return the name of the folder of local jobs."""
    return _beside(path, ".jobs")


def requests(path: Path) -> Path:
    """Return the name of the folder in which a live controller is asked for something."""
    return _beside(path, ".requests")


def in_wal_mode(path: Path) -> bool:
    """Whether the file at *path* says of itself that a write-ahead log belongs to it: it was not put to rest."""
    with path.open("rb") as file:
        return file.read(_MODES + 2)[_MODES:] == b"\x02\x02"
