"""A copy of a log that is whole, also while a controller writes to it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog, StorageFailed
from eventhpo.log import chain, head, reader, refusal, sql
from eventhpo.log.create import born_whole


def backup(path: Path, target: Path) -> Head:
    """Copy the log at *path* to *target*, with a head file next to it; return the copy's head.

    Raises:
        Usage: there is no log, it may lack its last rows, *target* exists, or its file system is shared.
        DamagedLog: *path* is no log of eventhpo, has lost its tail, or SQLite cannot read it.
        StorageFailed: the disk refused.
    """
    found = head.read(path)
    with born_whole(target) as fresh:

        def ask(db: sqlite3.Connection) -> None:
            reader.require_whole(db, path, found)
            os.truncate(fresh, 0)  # after a reading that is repeated
            try:
                sql.vacuum_into(db, fresh)
            except sqlite3.Error as error:
                if sql.is_busy(error) or sql.is_damage(error):
                    raise  # it is the log that cannot be read
                raise StorageFailed(f"{target} cannot be written ({refusal.why(error, fresh)})") from error

        reader.consult(path, ask)
        end, search_id = reader.consult(fresh, lambda db: _end(db, path))
    head.write_durable(target, search_id, end)
    return end


def _end(db: sqlite3.Connection, path: Path) -> tuple[Head, str]:
    end = sql.head(db)
    if end is None:
        raise DamagedLog(f"{path} holds no event")
    return end, chain.search_of(db, path).search_id
