"""The head outside the log: what a chain cannot see is that its tail was cut off.

The file may be older than the log, and is never newer. A reader reads it before the log.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from eventhpo import own_files
from eventhpo.core.fold.events import Head
from eventhpo.errors import StorageFailed
from eventhpo.log import filesystem, paths, refusal

_LONGEST = 4096  # bytes of a head file: it has one line of less than 200


class HeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the head file holds, as JSON."""

    search: str
    seq: Annotated[int, msgspec.Meta(ge=1)]
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Outside(msgspec.Struct, frozen=True):
    """The head outside the log, or why there is none that counts."""

    head: Head | None
    why: str = ""


def write(path: Path, search: str, head: Head) -> None:
    """Let the head file of the log at *path* name *head*, or leave it as it is.

    The content is on the disk before the name: after a loss of power there is this head or the one before, never an
    empty file, without which a log in WAL mode whose `-wal` is gone would look like a bare copy. The name is not: it
    may lag.

    Raises:
        StorageFailed: the file system refused.
    """
    target = paths.head(path)
    fresh = target.with_name(f"{target.name}.{os.urandom(4).hex()}")
    try:
        try:
            own_files.write_new(fresh, msgspec.json.encode(HeadFile(search, head.seq, head.hash)) + b"\n")
            filesystem.sync_file(fresh)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        why = refusal.why(error, target)
        raise StorageFailed(
            f"{target} cannot be written ({why}); the search can be resumed: eventhpo resume {path}"
        ) from error


def write_durable(path: Path, search: str, head: Head) -> None:
    """Let the head file of the log at *path* name *head*, also after a loss of power.

    Raises:
        StorageFailed: the file system refused.
    """
    write(path, search, head)
    try:
        filesystem.sync_folder(path.resolve().parent)
    except OSError as error:
        raise StorageFailed(
            f"{paths.head(path)} cannot be made durable ({refusal.why(error, path)}); the search can be resumed: "
            f"eventhpo resume {path}"
        ) from error


def read(path: Path) -> HeadFile | str:
    """Return what the head file of the log at *path* says, or why it counts as absent."""
    target = paths.head(path)
    try:
        with os.fdopen(os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return "the head file is no file"
            return msgspec.json.decode(file.read(_LONGEST), type=HeadFile)
    except FileNotFoundError:
        return "there is no head file"
    except OSError as error:
        return f"the head file cannot be read: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"the head file cannot be read: {error}"


def of_search(found: HeadFile | str, search: str) -> Outside:
    """Return the head that *found* names if it is one of *search*."""
    if isinstance(found, str):
        return Outside(None, found)
    if found.search != search:
        return Outside(None, f"the head file names another search, {found.search}")
    return Outside(Head(found.seq, found.hash))


def contradiction(outside: Head, end: Head, there: str | None) -> str | None:
    """Return in words how a log that ends at *end* contradicts *outside*; None if it does not.

    *there* is the hash of the log's row at `outside.seq`.
    """
    if outside.seq > end.seq:
        return f"the log has lost its tail: head file says seq {outside.seq}, log ends at {end.seq}"
    if outside.hash != there:
        return f"the head file has another hash at seq {outside.seq} than the log: the log was rewritten"
    return None
