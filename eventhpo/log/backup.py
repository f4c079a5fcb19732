"""A copy of a log that is whole, also while a controller writes to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog
from eventhpo.log import chain, head, reader, sql
from eventhpo.log.create import born_whole


def backup(path: Path, target: Path) -> Head:
    """Copy the log at *path* to *target*, with a head file beside it; return the copy's head.

    Raises:
        Usage: there is no log, it may lack its last rows, *target* exists, or its file system is shared.
        DamagedLog: *path* is no log of eventhpo, has lost its tail, or SQLite cannot read it.
        StorageFailed: the disk refused.
    """
    found = head.read(path)
    with born_whole(target) as fresh:

        def ask(db: sqlite3.Connection) -> None:
            reader.require_whole(db, path, found)
            fresh.unlink(missing_ok=True)  # of a reading that was repeated
            sql.vacuum_into(db, fresh)

        reader.consult(path, ask)
        end, search_id = reader.consult(fresh, lambda db: _end(db, path))
    head.write(target, search_id, end)
    return end


def _end(db: sqlite3.Connection, path: Path) -> tuple[Head, str]:
    end = sql.head(db)
    if end is None:
        raise DamagedLog(f"{path} holds no event")
    return end, chain.search_of(db, path).search_id
