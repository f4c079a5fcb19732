"""What lies beside a log and tells something that the log cannot: who holds it, whether it rests."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from eventhpo.errors import StorageFailed
from eventhpo.log import lease, paths
from eventhpo.log.lease import Holder

FULL = 1 << 20  # bytes; a controller needs more than that for its next transactions


class FilesOnDisk(msgspec.Struct, frozen=True, kw_only=True):
    """What was found beside the log."""

    holder: Holder | None
    lock_file: bool  # whether a lock file is there at all: without one nobody's holding can be seen
    wal: bool  # a write-ahead log lies beside it: its last writer did not close it
    at_rest: bool  # the file itself was closed as one quiet file
    free: int  # bytes free where it lies


UNSEEN = FilesOnDisk(
    holder=None, lock_file=True, wal=False, at_rest=True, free=FULL
)  # where nothing speaks for anything


def look(log: Path) -> FilesOnDisk:
    """Look around the log at *log* without touching anything; call it before the log is read.

    Raises:
        StorageFailed: the folder or the lock file cannot be looked at.
    """
    try:
        return FilesOnDisk(
            holder=lease.holder(log),
            lock_file=paths.lock(log).exists(),
            wal=paths.wal(log).exists(),
            at_rest=_at_rest(log),
            free=_free(log),
        )
    except FileNotFoundError:  # there is no log, which whoever reads it says best
        return FilesOnDisk(holder=None, lock_file=False, wal=False, at_rest=True, free=FULL)
    except OSError as error:
        raise StorageFailed(f"what lies beside {log} cannot be looked at: {error.strerror}") from error


def _at_rest(log: Path) -> bool:
    return not log.is_file() or not paths.in_wal_mode(log)


def _free(log: Path) -> int:
    found = os.statvfs(log.resolve().parent)
    return found.f_bavail * found.f_frsize
