"""All SQL of the log, each statement named by what it asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog

APPLICATION_ID = 0x65766870  # "evhp", so that file(1) and verify can tell a log from any other database
FORMAT = 1  # user_version; a change of the tables gets the next number
LONGEST_ROW = 64 * 1024 * 1024  # bytes; an import of 100,000 trials with curves is one row of a third of that
BUSY_SECONDS = 5.0  # longer than any checkpoint seen, shorter than a person's patience

# seq, at, epoch, cause, type, v, body, hash
StoredRow: TypeAlias = tuple[int, int, int, int | None, str, int, str, str]

SCHEMA: dict[str, str] = {
    "event": """CREATE TABLE event(
  seq INTEGER PRIMARY KEY CHECK (seq >= 1),
  at INTEGER NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  cause INTEGER CHECK (cause IS NULL OR cause BETWEEN 1 AND seq - 1),
  type TEXT NOT NULL,
  v INTEGER NOT NULL CHECK (v >= 1),
  body TEXT NOT NULL,
  hash TEXT NOT NULL CHECK (length(hash) = 32)
) STRICT""",
    "lease": """CREATE TABLE lease(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  holder TEXT
) STRICT""",
    "event_is_appended": """CREATE TRIGGER event_is_appended BEFORE INSERT ON event
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM event)
BEGIN SELECT RAISE(ABORT, 'event is append-only: seq is the last one + 1'); END""",
    "event_is_not_updated": """CREATE TRIGGER event_is_not_updated BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'event is append-only: no row is changed'); END""",
    "event_is_not_deleted": """CREATE TRIGGER event_is_not_deleted BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'event is append-only: no row is deleted'); END""",
}


# ---------------------------------------------------------------- connections


def _connect(path: Path, mode: str, wait: float) -> sqlite3.Connection:
    # The owner may be set up in one thread and run in another; it is used by one at a time.
    uri = f"{path.as_uri()}?{mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=wait, check_same_thread=False)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_ROW)
    db.execute("PRAGMA trusted_schema=OFF")
    return db


def open_new(path: Path) -> sqlite3.Connection:
    """Return a connection to a new, empty database at *path*."""
    db = _connect(path, "mode=rwc", BUSY_SECONDS)
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA recursive_triggers=ON")
    return db


def open_to_write(path: Path, wait: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Return a connection that may write to the existing database at *path*."""
    db = _connect(path, "mode=rw", wait)
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA recursive_triggers=ON")
    db.execute("PRAGMA wal_autocheckpoint=100")
    return db


def open_to_read(path: Path, *, immutable: bool) -> sqlite3.Connection:
    """Return a connection that cannot write, with *immutable* one that takes no lock either."""
    db = _connect(path, "immutable=1" if immutable else "mode=ro", BUSY_SECONDS)
    db.execute("PRAGMA query_only=ON")
    return db


def open_copy(path: Path) -> sqlite3.Connection:
    """Return a connection to a private copy, which SQLite may recover as it needs."""
    return _connect(path, "mode=rw", BUSY_SECONDS)


def use_wal(db: sqlite3.Connection) -> str:
    """Ask for the write-ahead log; return the journal mode that there is then."""
    return str(db.execute("PRAGMA journal_mode=WAL").fetchone()[0])


def leave_wal(db: sqlite3.Connection) -> str:
    """Fold the write-ahead log in and leave it; return the journal mode that there is then."""
    # The reading makes a connection whose last try failed half-way see that the file is still in WAL mode:
    # without it the pragma says "delete" and changes nothing (1 of 68 ends, two readers in a loop).
    head(db)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return str(db.execute("PRAGMA journal_mode=DELETE").fetchone()[0])


def checkpoint(db: sqlite3.Connection) -> bool:
    """Fold the write-ahead log in as far as nobody has to wait for it; return whether that was all of it."""
    busy, there, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return bool(busy == 0 and there == done)


def wait_for(db: sqlite3.Connection, milliseconds: Literal[50, 5_000]) -> None:
    """Set how long *db* waits for SQLite's locks."""
    match milliseconds:
        case 50:
            db.execute("PRAGMA busy_timeout=50")
        case 5_000:
            db.execute("PRAGMA busy_timeout=5000")


# ---------------------------------------------------------------- transactions


def begin_to_write(db: sqlite3.Connection) -> None:
    """Take the write lock; a deferred BEGIN dies with SQLITE_BUSY_SNAPSHOT once the head was read."""
    db.execute("BEGIN IMMEDIATE")


def begin_to_read(db: sqlite3.Connection) -> None:
    """Let all that follows see one state of the database."""
    db.execute("BEGIN")


def commit(db: sqlite3.Connection) -> None:
    """Make the transaction durable."""
    db.execute("COMMIT")


# ---------------------------------------------------------------- schema


def create_schema(db: sqlite3.Connection) -> None:
    """Create the tables, triggers and marks of an empty log."""
    db.execute("PRAGMA application_id=0x65766870")
    db.execute("PRAGMA user_version=1")
    for statement in SCHEMA.values():
        db.execute(statement)
    db.execute("INSERT INTO lease(id, epoch, holder) VALUES (1, 0, NULL)")


def tables(db: sqlite3.Connection) -> dict[str, str]:
    """Return the SQL that made each of the two tables, by name; a view or a virtual table has another text."""
    query = """SELECT name, substr(coalesce(sql, ''), 1, 4096) FROM sqlite_schema
WHERE name IN ('event', 'lease') AND type = 'table'"""
    return dict(db.execute(query).fetchall())


def is_of_optuna(db: sqlite3.Connection) -> bool:
    """Whether a database is a storage of Optuna itself."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name IN ('studies', 'trials', 'version_info') AND type = 'table'"
    return bool(db.execute(query).fetchone()[0] == 3)


def strangers(db: sqlite3.Connection) -> list[str]:
    """Return the names of triggers and views that are not a log's own: they would act on what is appended."""
    query = "SELECT substr(name, 1, 200) FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY name LIMIT 100"
    return [str(name) for (name,) in db.execute(query) if name not in SCHEMA]


def marks(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the application id and the number of the format."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    return int(application), int(db.execute("PRAGMA user_version").fetchone()[0])


def schema(db: sqlite3.Connection) -> dict[str, str]:
    """Return what was created, by name, without SQLite's own."""
    rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
    return dict(rows.fetchall())


def integrity(db: sqlite3.Connection) -> str:
    """Return the first thing that SQLite finds wrong, or "ok"."""
    return str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])


# ---------------------------------------------------------------- events


def append(db: sqlite3.Connection, rows: Iterable[StoredRow]) -> None:
    """Insert *rows* as they are."""
    db.executemany(
        "INSERT INTO event(seq, at, epoch, cause, type, v, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
    )


def head(db: sqlite3.Connection) -> Head | None:
    """Return the last row's seq and hash."""
    row = db.execute("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else Head(*row)


def row_at(db: sqlite3.Connection, seq: int) -> StoredRow | None:
    """Return one row."""
    row: StoredRow | None = db.execute(
        "SELECT seq, at, epoch, cause, type, v, body, hash FROM event WHERE seq = ?", (seq,)
    ).fetchone()
    return row


def rows_after(db: sqlite3.Connection, seq: int) -> Iterator[StoredRow]:
    """Return the rows after *seq*, in order."""
    return db.execute("SELECT seq, at, epoch, cause, type, v, body, hash FROM event WHERE seq > ? ORDER BY seq", (seq,))


# ---------------------------------------------------------------- lease


def lease(db: sqlite3.Connection) -> tuple[int, str | None]:
    """Return the lease's epoch and holder."""
    row = db.execute("SELECT epoch, holder FROM lease WHERE id = 1").fetchone()
    if row is None:
        raise DamagedLog("the lease table of the log is empty")
    return row[0], row[1]


def set_lease(db: sqlite3.Connection, epoch: int, holder: str | None) -> None:
    """Give the lease to *holder*."""
    db.execute("UPDATE lease SET epoch = ?, holder = ? WHERE id = 1", (epoch, holder))


# ---------------------------------------------------------------- copies and errors


def vacuum_into(db: sqlite3.Connection, target: Path) -> None:
    """Copy the database into a new file."""
    # query_only forbids the target as well; what is copied is opened read-only in any case, or is a copy.
    db.execute("PRAGMA query_only=OFF")
    db.execute("VACUUM INTO ?", (str(target),))


def is_busy(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether somebody else's lock was in the way."""
    return _code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


# A message that quotes a damaged name is no UTF-8, and the Python module says only that.
TROUBLE = (sqlite3.Error, UnicodeDecodeError)


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether the file is not what a log must be."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = _code(error)
    return code in _DAMAGE or code & 0xFF in _DAMAGE_KINDS


# A copy of a damaged row breaks the constraints that the row itself does not meet any more.
_DAMAGE_KINDS = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT)
_DAMAGE = (
    0,  # of the Python module: a text that is no UTF-8
    sqlite3.SQLITE_ERROR,  # our statements are right, so a table is missing
    522,  # SQLITE_IOERR_SHORT_READ: the file ends before its last page does
)


def _code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
