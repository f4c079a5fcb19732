"""What is left of a damaged log: its longest prefix that the chain proves, in a new file."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog
from eventhpo.log import chain, head, missing_wal, paths, reader, sql
from eventhpo.log.create import born_whole, write_log
from eventhpo.log.sql import StoredRow

_MAGIC, _SMALLEST_PAGE = b"SQLite format 3\0", 512


class Salvaged(msgspec.Struct, frozen=True):
    """Where the copy ends, and why it goes no further (None: the log's chain is whole)."""

    head: Head
    why: str | None

    @property
    def rows(self) -> int:
        """How many rows were copied."""
        return self.head.seq


def salvage(path: Path, target: Path) -> Salvaged:
    """Copy the longest verified prefix of the log at *path* to the new log *target*.

    SQLite's own `.recover` is not used: it failed on damaged files, and proves nothing.

    Raises:
        DamagedLog: not one row can be verified.
        Usage: there is no log, *target* exists, or its file system is shared.
        StorageFailed: the disk refused.
    """
    with born_whole(target) as fresh:
        outside = head.read(path)  # before the log, which only grows
        with _as_long_as_it_says(path) as (readable, cut):
            rows, why = reader.consult(readable, _prefix)
        if not rows:
            raise DamagedLog(f"nothing of {path} can be salvaged: {why}{cut}")
        why = why and why + cut
        search_id = chain.created(rows[0]).search_id
        named = head.of_search(outside, search_id)
        why = why or _missing(named.head, rows) or missing_wal.unproven(path, named)
        # No lease of a copy is held; its next epoch comes after every one that it holds.
        write_log(fresh, rows, max(row[2] for row in rows))
    end = Head(rows[-1][0], rows[-1][7])
    head.write_durable(target, search_id, end)
    return Salvaged(end, why)


@contextlib.contextmanager
def _as_long_as_it_says(path: Path) -> Iterator[tuple[Path, str]]:
    """Give a file that SQLite reads and, in words, what is missing; a log that was cut short is read from a copy.

    SQLite refuses a file with fewer pages than its header says. In the copy the header says how many there are.
    """
    reader.require_file(path)
    with path.open("rb") as file:
        header, size = file.read(100), path.stat().st_size
    page = int.from_bytes(header[16:18], "big")
    page = 65_536 if page == 1 else page
    says = int.from_bytes(header[28:32], "big")
    there = size // page if page >= _SMALLEST_PAGE else 0
    if not header.startswith(_MAGIC) or not 0 < there < says or paths.wal(path).exists():
        yield path, ""
        return
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "cut.db"
        shutil.copyfile(path, copy)
        with copy.open("r+b") as file:
            file.truncate(there * page)
            file.seek(28)
            file.write(there.to_bytes(4, "big"))
        yield copy, f"; the file was cut, it has {there} of {says} pages"


def _missing(named: Head | None, rows: list[StoredRow]) -> str | None:
    """Return how rows without a fault contradict the head file, None if they do not."""
    if named is None:
        return None
    there = rows[named.seq - 1][7] if named.seq <= len(rows) else None
    return head.contradiction(named, Head(rows[-1][0], rows[-1][7]), there)


def _prefix(db: sqlite3.Connection) -> tuple[list[StoredRow], str | None]:
    # Not recognised first: a damaged mark in the file's header is no reason to give up the rows.
    rows: list[StoredRow] = []
    try:
        for row in chain.verified(chain.stored(db, 0), GENESIS):
            rows.append(row)
    except DamagedLog as error:
        return rows, str(error)
    except sql.TROUBLE as error:
        if not sql.is_damage(error):
            raise
        return rows, str(error)
    return rows, None if rows else "it holds no event"
