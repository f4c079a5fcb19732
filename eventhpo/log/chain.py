"""Stored rows in order: read, verified, decoded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from eventhpo.core.fold.codec import VERSIONS, chain, decode, encode
from eventhpo.core.fold.collector import collector_paused
from eventhpo.core.fold.events import Event, Head, Recorded, SearchCreated
from eventhpo.core.fold.progress import listened_to, tracked
from eventhpo.errors import DamagedLog
from eventhpo.log import sql
from eventhpo.log.sql import StoredRow

LATEST = 32_503_680_000_000_000  # microseconds: the year 3000; later times cannot be shown


def stored(db: sqlite3.Connection, after: int) -> Iterator[StoredRow]:
    """Yield the rows after seq *after* as far as they can be read.

    Raises:
        DamagedLog: naming the first row that cannot be read.
    """
    require_tables(db)
    last = after
    try:
        for row in _tracked(db, after):
            yield row
            last = row[0]
    except sql.TROUBLE as error:
        if not sql.is_damage(error):
            raise
        yield from _one_by_one(db, last, error)


def _tracked(db: sqlite3.Connection, after: int) -> Iterable[StoredRow]:
    rows = sql.rows_after(db, after)
    end = sql.head(db) if listened_to() else None
    return rows if end is None else tracked(rows, "reading the log", end.seq - after)


def _one_by_one(db: sqlite3.Connection, last: int, trouble: Exception) -> Iterator[StoredRow]:
    # A scan that fails has stepped ahead of the row it hands out: ask for each row by its seq.
    while True:
        try:
            row = sql.row_at(db, last + 1)
        except sql.TROUBLE as error:
            raise DamagedLog(f"the row of seq {last + 1} cannot be read: {error}") from error
        if row is None:
            raise DamagedLog(f"nothing can be read after seq {last}: {trouble}") from trouble
        yield row
        last = row[0]


def verified(rows: Iterable[StoredRow], before: Head) -> Iterator[StoredRow]:
    """Yield *rows* as far as they are chained to *before*, without a gap.

    Raises:
        DamagedLog: naming the first seq that is not what its hash says.
    """
    last, hashed = before.seq, before.hash
    for row in rows:
        seq, at, epoch, cause, name, version, body, own = row
        if seq != last + 1:
            raise DamagedLog(f"seq {last + 1} is missing: the row after {last} is {seq}")
        if chain(hashed, seq, at, epoch, cause, name, version, body) != own:
            raise DamagedLog(f"the hash of seq {seq} is not that of its row")
        yield row
        last, hashed = seq, own


def decoded(rows: Iterable[StoredRow]) -> Iterator[Recorded]:
    """Yield *rows* with their events.

    Raises:
        DamagedLog: naming the first seq whose type or body is not known here.
    """
    for seq, at, epoch, cause, name, version, body, own in rows:
        if not (0 <= at < LATEST and version >= 1):
            raise DamagedLog(f"seq {seq}: the time {at} or the version {version} is none that eventhpo writes")
        try:
            event = decode(name, version, body)
        except DamagedLog as error:
            raise DamagedLog(f"seq {seq}: {error}") from error
        except TypeError as error:
            raise DamagedLog(f"seq {seq}: a column holds another type of value: {error}") from error
        yield Recorded(seq, at, epoch, cause, event, own)


def load(rows: Iterable[StoredRow]) -> list[Recorded]:
    """Return *rows* with their events, as a list; see `decoded`."""
    with collector_paused():
        return list(decoded(rows))


def row_of(event: Event, before: Head, at: int, epoch: int, cause: int | None) -> StoredRow:
    """Return the row that records *event* after *before*.

    Raises:
        ValueError: the event cannot be recorded, or its cause does not lie before it.
    """
    seq = before.seq + 1
    name = type(event).__name__
    if cause is not None and not 0 < cause < seq:
        raise ValueError(f"{name} at seq {seq} cannot be caused by seq {cause}")
    body, version = encode(event), VERSIONS[name]
    return seq, at, epoch, cause, name, version, body, chain(before.hash, seq, at, epoch, cause, name, version, body)


def recognise(db: sqlite3.Connection, path: Path) -> None:
    """Return if *db* is a log of a format that is known here.

    Raises:
        DamagedLog: it is something else.
    """
    application, number = sql.marks(db)
    if application != sql.APPLICATION_ID:
        if sql.is_of_optuna(db):
            raise DamagedLog(
                f"{path} is a storage of Optuna itself and no log of eventhpo: import it with "
                f"`eventhpo import sqlite:///{path} NAME -o LOG`"
            )
        raise DamagedLog(f"{path} is no log of eventhpo (application id {application:#010x})")
    if number != sql.FORMAT:
        raise DamagedLog(f"{path} has format {number}, and this eventhpo reads format {sql.FORMAT}")
    require_tables(db)


def require_tables(db: sqlite3.Connection) -> None:
    """Return if the table of events is the one that eventhpo makes: a view in its place may have no end.

    Raises:
        DamagedLog: it is missing, or is something else.
    """
    made = sql.tables(db).get("event")
    if made is None or _plain(made) != _plain(sql.SCHEMA["event"]):
        what = "has no table event" if made is None else "has another table event than eventhpo makes"
        raise DamagedLog(f"this is no log of eventhpo: it {what}")


def _plain(statement: str) -> str:
    return " ".join(statement.split())


def search_of(db: sqlite3.Connection, path: Path) -> SearchCreated:
    """Return the first event of the log.

    Raises:
        DamagedLog: it is missing, unreadable, or no `SearchCreated`.
    """
    try:
        row = sql.row_at(db, 1)
    except sql.TROUBLE as error:
        if not sql.is_damage(error):
            raise
        raise DamagedLog(f"{path}: the row of seq 1 cannot be read: {error}") from error
    if row is None:
        raise DamagedLog(f"{path} holds no event")
    return created(row)


def created(row: StoredRow) -> SearchCreated:
    """Return the event of the first row of a log.

    Raises:
        DamagedLog: it cannot be decoded, or is no `SearchCreated`.
    """
    event = next(decoded([row])).event
    if not isinstance(event, SearchCreated):
        raise DamagedLog(f"seq 1 is no SearchCreated but {type(event).__name__}")
    return event
