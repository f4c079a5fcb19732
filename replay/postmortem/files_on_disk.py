"""The files next to a log, which show what the log cannot: who holds it, and whether it was closed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from eventhpo.errors import StorageFailed
from eventhpo.log import lease, paths
from eventhpo.log.lease import Holder

FULL = 1 << 20  # bytes; a controller needs more than that for its next transactions


class FilesOnDisk(msgspec.Struct, frozen=True, kw_only=True):
    """What the files next to a log, and the disk, show."""

    holder: Holder | None
    lock_file: bool  # without a lock file, no holder can be seen
    wal: bool  # a write-ahead log lies next to it: its last writer did not close it
    at_rest: bool  # the log was closed as one file
    free: int  # free bytes on its disk
    signature: bool = False  # a file of signatures lies next to it


# no evidence of anything: for a state of the past
UNSEEN = FilesOnDisk(holder=None, lock_file=True, wal=False, at_rest=True, free=FULL)


def look(log: Path) -> FilesOnDisk:
    """Look at the files next to *log* and change nothing; call it before reading the log.

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
            signature=paths.sig(log).is_file(),
        )
    except FileNotFoundError:  # no log; the reader has the better message
        return FilesOnDisk(holder=None, lock_file=False, wal=False, at_rest=True, free=FULL)
    except OSError as error:
        raise StorageFailed(f"the files next to {log} cannot be looked at: {error.strerror}") from error


def _at_rest(log: Path) -> bool:
    return not log.is_file() or not paths.in_wal_mode(log)


def _free(log: Path) -> int:
    disk = os.statvfs(log.resolve().parent)
    return disk.f_bavail * disk.f_frsize
