"""The one writer of a log is opened: lease, lock, chain verified, a new epoch."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import ControllerStarted, Event, Head, Recorded
from eventhpo.errors import Busy, DamagedLog, StorageFailed
from eventhpo.log import chain, check_keys, filesystem, head, leftovers, paths, refusal, seal, sql
from eventhpo.log import lease as leases
from eventhpo.log import missing_wal as bare
from eventhpo.log.append import Writer
from eventhpo.log.head import Outside
from eventhpo.log.lease import Holder, Lease
from eventhpo.log.reader import consult, read

__all__ = ["Writer", "open_writer"]

OPENING = 2.0  # seconds for SQLite's write lock, which nobody holds for long but a frozen controller


def open_writer(
    path: Path,
    started: ControllerStarted,
    at: int,
    *,
    take_over: bool = False,
    check: Callable[[list[Recorded]], Sequence[Event]] = lambda rows: (),
) -> tuple[Writer, list[Recorded]]:
    """Take the lease of the log at *path* and record *started* in a new epoch.

    Returns the writer and all rows, the chain verified, those of *started* (its
    `took_over` set to what happened) and of the inputs that *check* returned the last of
    them. With *take_over* a holder that is frozen loses the log. A caller that only appends a
    user's inputs opens it in the same way: each writer is an epoch. *check* sees the rows
    before anything is appended, and may raise to leave the log as it is.

    Raises:
        Busy: somebody holds the log, or is frozen inside a transaction.
        DamagedLog: the file is no log, its chain is broken, or its tail is lost.
        StorageFailed: the database refused.
        Usage: there is no such file, it may lack its last rows, it lies on a shared file system, or its name
            cannot be that of a log.
    """
    paths.refuse_name(path)
    outside = _require_log(path)  # before a lock file is made next to something else
    filesystem.refuse_shared(path)
    who = Holder(started.host, started.pid)
    with contextlib.ExitStack() as undo:
        try:
            lease = _lease(path, who, take_over)
            if lease is not None:
                undo.callback(lease.release)
                leftovers.sweep(path)
            missing_wal = bare.hint(path)  # before SQLite makes one
            rested = not paths.in_wal_mode(path)
            if rested and outside.head is None:
                _make_head(path)
            db = _open(path)
            undo.callback(db.close)
            if rested:  # who is refused leaves it so: without a head file it would look like a copy without its -wal
                undo.callback(_rest_again, db, path)
            rows = _verified(db, path, missing_wal)
            if lease is None:
                lease = leases.take_over(path, who)
                undo.callback(lease.release)
            inputs = check(rows)
            writer = _start(path, db, lease, rows, started=started, inputs=inputs, at=at)
        except sql.TROUBLE as error:
            raise _cannot_open(path, error) from error
        except OSError as error:
            raise _refused(path, error) from error
        undo.pop_all()
    return writer, rows


def _require_log(path: Path) -> Outside:
    """Return the head next to the log at *path* if it is one, and nothing says that it lacks its last rows."""
    head_file = head.read(path)

    def ask(db: sqlite3.Connection) -> Outside:
        chain.recognise(db, path)
        if others := sql.strangers(db):
            raise DamagedLog(
                f"{path} has {', '.join(others[:5])} in its database, which no log has and which would act on what is "
                f"appended; copy the events with `eventhpo salvage {path} TARGET`"
            )
        outside = head.of_search(head_file, chain.search_of(db, path).search_id)
        bare.require_proven(path, outside)
        return outside

    return consult(path, ask)


def _make_head(path: Path) -> None:
    """Give a log that rests its head file: without one it cannot be told from a bare copy once it is in WAL mode.

    SQLite makes the mode durable before the name of the `-wal`; a loss of power may fall in between.
    """
    snapshot = read(path)
    head.write_durable(path, snapshot.search_id, snapshot.head)


def _lease(path: Path, who: Holder, take_over: bool) -> Lease | None:
    if not take_over:
        return leases.acquire(path, who)
    try:
        return leases.acquire(path, who, patience=0)
    except Busy:
        return None  # its lock file is replaced once nobody else can write


def _open(path: Path) -> sqlite3.Connection:
    """Return a connection with the write lock held."""
    db = sql.open_to_write(path.resolve(), OPENING)
    try:
        chain.recognise(db, path)
        _require_wal(path, sql.use_wal(db))
        sql.begin_to_write(db)
        sql.wait_for(db, 5_000)
    except BaseException:
        db.close()
        raise
    return db


def _rest_again(db: sqlite3.Connection, path: Path) -> None:
    db.rollback()
    seal.come_to_rest(db, path.resolve())


def _require_wal(path: Path, mode: str) -> None:
    if mode != "wal":
        raise StorageFailed(f"{path} cannot be written: SQLite offers journal mode {mode} there and not wal")


def _verified(db: sqlite3.Connection, path: Path, missing_wal: str) -> list[Recorded]:
    outside = head.read(path)
    search_id = chain.search_of(db, path).search_id
    try:
        rows = chain.load(chain.verified(chain.stored(db, 0), GENESIS))
        check_keys.require(rows, GENESIS, search_id)
    except DamagedLog as error:
        raise DamagedLog(f"{path} is damaged: {error}; see `eventhpo verify {path}`") from error
    named = head.of_search(outside, search_id).head
    if named is not None:
        there = rows[named.seq - 1].hash if named.seq <= len(rows) else None
        wrong = head.contradiction(named, _end(rows), there)
        if wrong is not None:
            hint = missing_wal or f"; copy what is left with `eventhpo salvage {path} TARGET`"
            raise DamagedLog(f"{path}: {wrong}{hint}")
    return rows


def _start(
    path: Path,
    db: sqlite3.Connection,
    lease: Lease,
    rows: list[Recorded],
    *,
    started: ControllerStarted,
    inputs: Sequence[Event],
    at: int,
) -> Writer:
    """Give the lease a new epoch and append *started* and *inputs*, in the transaction that verified *rows*."""
    epoch = sql.lease(db)[0] + 1
    fresh = []
    for event in (msgspec.structs.replace(started, took_over=lease.taken_over), *inputs):
        fresh.append(chain.row_of(event, _end(rows), at, epoch, None))
        rows.append(Recorded(fresh[-1][0], at, epoch, None, event, fresh[-1][7]))
    holder = Holder(started.host, started.pid, epoch)
    sql.set_lease(db, epoch, msgspec.json.encode(holder).decode())
    sql.append(db, fresh)
    sql.commit(db)
    lease.announce(holder)
    writer = Writer(path, db, lease, epoch=epoch, search=chain.search_of(db, path).search_id, end=_end(rows))
    writer.hand_over()
    return writer


def _end(rows: list[Recorded]) -> Head:
    return Head(rows[-1].seq, rows[-1].hash)


def _cannot_open(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> Busy | DamagedLog | StorageFailed:
    if sql.is_busy(error):
        who = leases.named(path)
        return Busy(
            f"{path} is locked inside a transaction, and its lock file names {who}; if that one is frozen, "
            f"kill that pid ({who.pid}) and go on with `eventhpo resume {path}`"
        )
    if sql.is_damage(error):
        return DamagedLog(f"{path} cannot be read as a log of eventhpo: {error}; see `eventhpo verify {path}`")
    return _refused(path, error)


def _refused(path: Path, error: OSError | sqlite3.Error | UnicodeDecodeError) -> StorageFailed:
    return StorageFailed(f"{path} cannot be opened for writing ({refusal.why(error, path)}); it can still be read")
