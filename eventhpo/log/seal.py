"""A resting log is one quiet file: no -wal, no -shm, readable in a read-only folder."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from pathlib import Path

from eventhpo.errors import StorageFailed
from eventhpo.log import chain, filesystem, head, lease, paths, refusal, sql
from eventhpo.log.reader import consult, require_whole

PATIENCE = 1.0  # seconds; a reader that stays longer is not worth waiting for
_PAUSE = 0.01


def come_to_rest(db: sqlite3.Connection, path: Path) -> bool:
    """Fold the write-ahead log into the file and leave it; False if somebody is in the way.

    Raises:
        sqlite3.Error: anything but a lock of somebody else.
    """
    sql.wait_for(db, 50)
    end = time.monotonic() + PATIENCE
    while True:
        # SQLite asks for the exclusive lock without its busy handler: the waiting is ours.
        try:
            if sql.leave_wal(db) == "delete" and not paths.wal(path).exists():
                return True
        except sqlite3.OperationalError as error:
            if not sql.is_busy(error):
                raise
        if time.monotonic() >= end:
            return False
        time.sleep(_PAUSE)


def seal(path: Path) -> bool:
    """Bring a log that nobody holds to rest; False if a reader is in the way.

    Raises:
        Busy: a controller holds it.
        DamagedLog: it is no log of eventhpo, or has lost its tail.
        StorageFailed: the database refused.
        Usage: there is no such file, it may lack its last rows, or it lies on a shared file system.
    """
    found = head.read(path)
    consult(path, lambda db: require_whole(db, path, found))  # before a lock file is made next to something else
    filesystem.refuse_shared(path)
    held = lease.acquire(path, lease.Holder(socket.gethostname(), os.getpid()))
    try:
        with contextlib.closing(sql.open_to_write(path.resolve())) as db:
            end = sql.head(db)
            if end is not None:
                head.write(path, chain.search_of(db, path).search_id, end)
            return come_to_rest(db, path)
    except sqlite3.Error as error:
        raise StorageFailed(f"{path} cannot be sealed ({refusal.why(error, path)}); it can still be read") from error
    finally:
        held.release()
