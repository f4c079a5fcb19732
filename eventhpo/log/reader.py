"""Readers: any number, at any time, never in the writer's way, and no file is left of them."""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import Head, Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.validation.closest import closest
from eventhpo.errors import Busy, DamagedLog, StorageFailed, Usage
from eventhpo.log import chain, check_keys, head, missing_wal, sql
from eventhpo.log import paths as beside
from eventhpo.log.head import HeadFile, Outside
from eventhpo.log.sql import StoredRow

T = TypeVar("T")

LARGEST_COMPANION = 512 * 1024**2  # bytes; a write-ahead log is folded in every second and stays below a few MB
_MOST_NAMES = 1_000  # of a folder, among which a mistyped one is looked for
ROUNDS = 8  # a writer starts or ends in between once; who meets that eight times reads something else


class Snapshot(msgspec.Struct, frozen=True):
    """What one reading found: the rows after `after`, and where the log ends.

    `outside` is the head file as it was before the reading; `contradiction` says in
    words what is wrong if the log does not agree with it, such as a tail that is lost,
    and `unproven` why rows may be missing at the end although nothing contradicts that.
    """

    rows: list[Recorded]
    head: Head
    search_id: str
    outside: Outside
    contradiction: str | None = None
    unproven: str | None = None


def read(path: Path, after: int = 0, *, verify: bool = True) -> Snapshot:
    """Return the rows of the log at *path* after seq *after*, their chain and their keys checked.

    Only a caller who has just had the whole log proven may read it without *verify*.
    A reader that follows a log calls it again with the last seq that it has.

    Raises:
        Usage: there is no such file.
        DamagedLog: it is no log of eventhpo, or a row is damaged, or it ends before *after*.
        Busy: the file changed each time that it was read.
        StorageFailed: the file cannot be read.
    """
    found = head.read(path)  # before the log: it may lag, and would seem to lead if it were read afterwards

    def ask(db: sqlite3.Connection) -> Snapshot:
        return _snapshot(db, path, found, after, verify)

    return consult(path, ask)


def read_state(path: Path) -> tuple[State, Snapshot]:
    """Return what the log at *path* adds up to, and a snapshot without rows; its chain and its keys are checked.

    No row is kept once it is folded: the rows of a long log take more memory than its state.

    Raises:
        DamagedLog: also if a row does not fit those before it; for the rest see `read`.
    """
    head_file = head.read(path)

    def ask(db: sqlite3.Connection) -> tuple[State, Snapshot]:
        chain.recognise(db, path)
        sql.begin_to_read(db)
        search_id = chain.search_of(db, path).search_id
        try:
            rows = chain.decoded(chain.verified(chain.stored(db, 0), GENESIS))
            state = fold(check_keys.checked(rows, GENESIS, search_id))
        except DamagedLog as error:
            raise _damaged(path, error) from error
        return state, _ended(db, path, head_file, [], state.head, search_id)

    return consult(path, ask)


def _damaged(path: Path, error: DamagedLog) -> DamagedLog:
    return DamagedLog(f"{path} is damaged: {error}; see `eventhpo verify {path}`")


def _ended(
    db: sqlite3.Connection, path: Path, head_file: HeadFile | str, rows: list[Recorded], end: Head, search_id: str
) -> Snapshot:
    outside = head.of_search(head_file, search_id)
    return Snapshot(rows, end, search_id, outside, contradiction(db, outside, end), missing_wal.unproven(path, outside))


def _snapshot(db: sqlite3.Connection, path: Path, head_file: HeadFile | str, after: int, verify: bool) -> Snapshot:
    chain.recognise(db, path)
    sql.begin_to_read(db)
    search_id = chain.search_of(db, path).search_id
    start = _start(db, path, after)
    try:
        stored: Iterable[StoredRow] = chain.stored(db, after)
        rows = chain.load(chain.verified(stored, start) if verify else stored)
        if verify:
            check_keys.require(rows, start, search_id)
    except DamagedLog as error:
        raise _damaged(path, error) from error
    return _ended(db, path, head_file, rows, Head(rows[-1].seq, rows[-1].hash) if rows else start, search_id)


def _start(db: sqlite3.Connection, path: Path, after: int) -> Head:
    if after == 0:
        return GENESIS
    row = sql.row_at(db, after)
    if row is None:
        raise DamagedLog(f"{path} ends before seq {after}, which was read from it before: it was replaced or cut off")
    return Head(row[0], row[7])


def contradiction(db: sqlite3.Connection, outside: Outside, end: Head) -> str | None:
    """Return in words how the log in *db* contradicts *outside*; None if it does not."""
    if outside.head is None:
        return None
    row = sql.row_at(db, outside.head.seq)
    return head.contradiction(outside.head, end, None if row is None else row[7])


def require_whole(db: sqlite3.Connection, path: Path, found: HeadFile | str) -> None:
    """Return if nothing says that the log in *db* lacks its last rows; *found* is its head file, read before it.

    Whatever gives a log a new head file asks first: a lost tail would be forgotten with the old one.

    Raises:
        DamagedLog: it is no log of eventhpo, or has lost its tail.
        Usage: it may be a copy that lacks its last rows.
    """
    chain.recognise(db, path)
    outside = head.of_search(found, chain.search_of(db, path).search_id)
    missing_wal.require_proven(path, outside)
    end = sql.head(db)
    wrong = None if end is None else contradiction(db, outside, end)
    if wrong is not None:
        hint = missing_wal.hint(path) or f"; copy what is left with `eventhpo salvage {path} TARGET`"
        raise DamagedLog(f"{path}: {wrong}{hint}")


# ---------------------------------------------------------------- how the file is opened


def require_file(path: Path) -> None:
    """Return if *path* is a file that may be a log.

    Raises:
        Usage: there is no such file.
        DamagedLog: it is no regular file, or empty.
        StorageFailed: this user may not read it.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Usage(f"there is no log {path}{_near(path)}") from error
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DamagedLog(f"{path} is no log of eventhpo: it is no file")
    if not os.access(path, os.R_OK):
        raise StorageFailed(f"{path} cannot be read: its mode keeps this user out; its owner can let you read it")
    if found.st_size <= 1:  # SQLite takes one byte for an empty file too, and deletes the write-ahead log next to it
        raise DamagedLog(f"{path} is no log of eventhpo: it is empty")
    _require_plain_companions(path)


def _near(path: Path) -> str:
    """Return the file in the same folder that was probably meant, as the end of a sentence."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
    except OSError:
        return f": there is no folder {path.parent}" if not path.parent.exists() else ""
    name = closest(path.name, (name for name in names if name.endswith(".db")))
    made = "; `eventhpo run` or eventhpo.create_study makes one"
    return made if name is None else f"; did you mean {path.with_name(name)}?"


def _require_plain_companions(path: Path) -> None:
    """Return if what lies next to the log is of the kind that eventhpo and SQLite make: a reader never waits on a pipe.

    Raises:
        DamagedLog: something is a pipe, a device, a link or a folder; or a write-ahead log is too large to be one.
    """
    real = path.resolve()
    for companion in (beside.wal(real), beside.shm(real), beside.journal(real), beside.head(path)):
        try:
            status = companion.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise DamagedLog(f"{companion} is next to the log and is no file: eventhpo does not open it; move it away")
        if status.st_size > LARGEST_COMPANION:
            raise DamagedLog(
                f"{companion} has {status.st_size:,} bytes, more than the {LARGEST_COMPANION:,} that are read from a "
                "stranger; move it away, or let the search that writes it end"
            )


def consult(path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    """Return what *ask* finds in the log at *path*; *ask* may be called more than once.

    Raises:
        Usage: there is no such file.
        DamagedLog: *ask* says so, or the file is no database.
        Busy: the file changed each time that it was read.
        StorageFailed: the file cannot be read.
    """
    for _ in range(ROUNDS):
        require_file(path)
        before = _look(path)
        try:
            with _opened(path, before.way) as db:
                answer = ask(db)
        except (*sql.TROUBLE, DamagedLog, FileNotFoundError) as error:
            # What was torn by a writer that came or went in between is no damage.
            if _look(path).is_as(before):
                raise _said(path, error) from error
            continue
        # SQLite's own locks hold a live state still; without them the file itself must have stood still.
        if before.way is _Way.LIVE or _look(path).is_as(before):
            return answer
    raise Busy(f"{path} changed each of the {ROUNDS} times that it was read; read it again")


class _Way(enum.Enum):
    LIVE = "with SQLite's locks, next to a writer or what a killed one left"
    COPY = "from a private copy, which SQLite may recover"
    QUIET = "as a file that does not change"


class _FileStat(msgspec.Struct, frozen=True):
    """What lies there: size, mtime in ns and inode of the log and of its -wal or -journal."""

    way: _Way
    log: tuple[int, int, int] | None
    beside: tuple[int, int, int] | None

    def is_as(self, before: _FileStat) -> bool:
        """Whether nothing changed that a reading *before* depended on."""
        if before.way is _Way.LIVE:
            return self.way is _Way.LIVE  # it grows all the time
        return self == before


def _look(path: Path) -> _FileStat:
    wal, journal = _mark(beside.wal(path)), _mark(beside.journal(path))
    # A rollback journal next to a write-ahead log is no writer's: it would have to be played back.
    if wal is not None and journal is None and _mark(beside.shm(path)) is not None:
        return _FileStat(_Way.LIVE, _mark(path), wal)
    if wal is not None or journal is not None:
        return _FileStat(_Way.COPY, _mark(path), wal or journal)
    return _FileStat(_Way.QUIET, _mark(path), None)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


@contextlib.contextmanager
def _opened(path: Path, way: _Way) -> Iterator[sqlite3.Connection]:
    real = path.resolve()
    with contextlib.ExitStack() as stack:
        match way:
            case _Way.LIVE:
                db = sql.open_to_read(real, immutable=False)
            case _Way.QUIET:
                db = sql.open_to_read(real, immutable=True)
            case _Way.COPY:
                from eventhpo.log import leftovers  # noqa: PLC0415  few logs are read from a copy

                folder = stack.enter_context(leftovers.folder_for_copy())
                db = sql.open_copy(_copied(real, folder))
                stack.callback(db.close)
                sql.marks(db)  # SQLite opens all files of the copy, and recovers it
                leftovers.empty(folder)  # so a reader that is killed leaves nothing
        yield stack.enter_context(contextlib.closing(db))


def _copied(real: Path, folder: Path) -> Path:
    import shutil  # noqa: PLC0415  few logs are read from a copy

    copy = folder / real.name
    shutil.copyfile(real, copy)
    for source, target in (
        (beside.wal(real), beside.wal(copy)),
        (beside.journal(real), beside.journal(copy)),
    ):
        if source.exists():
            shutil.copyfile(source, target)
    return copy


def _said(path: Path, error: Exception) -> Exception:
    match error:
        case DamagedLog():
            return error
        case sqlite3.Error() if sql.is_busy(error):
            return Busy(f"{path} is locked by somebody ({error}); read it again")
        case sqlite3.Error() | UnicodeDecodeError() if sql.is_damage(error):
            if _is_journal(path):
                return DamagedLog(
                    f"{path} is a journal of Optuna and no log of eventhpo: import it with "
                    f"`eventhpo import {path} -o LOG`"
                )
            return DamagedLog(f"{path} cannot be read as a log of eventhpo: {error}")
        case _:
            return StorageFailed(f"{path} cannot be read: {error}")


def _is_journal(path: Path) -> bool:
    """Whether the file begins as a journal of Optuna's does."""
    try:
        with path.open("rb") as file:
            return file.read(64).startswith(b'{"op_code":')
    except OSError:
        return False
