"""Read the end of a log, and follow it while it grows."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import Head, SearchFinished
from eventhpo.log import chain, reader, sql
from eventhpo.log.reader import Snapshot

_PAUSE = 0.25  # seconds between two looks: each opens the log anew, for about a millisecond


def rows_after(log: Path, after: int) -> Snapshot:
    """Return the rows after seq *after*, none if the log ends before."""
    return _cut(_end(log, after), after)


def follow(log: Path, after: int) -> Iterator[Snapshot]:
    """Yield what is new after seq *after*, looking again and again, until the search is over.

    It is over when its last event says so: one that is reopened later is followed anew.
    """
    pause = threading.Event()
    snapshot = _end(log, after)
    yield _cut(snapshot, after)
    while not isinstance(snapshot.rows[-1].event, SearchFinished):
        pause.wait(_PAUSE)
        newer = reader.read(log, snapshot.head.seq)
        if newer.rows:
            snapshot = newer
            yield _cut(snapshot, after)


def _end(log: Path, after: int) -> Snapshot:
    """Return the rows after *after*, the last one of the log in any case."""

    def ask(db: sqlite3.Connection) -> Head | None:
        chain.recognise(db, log)
        return sql.head(db)

    head = reader.consult(log, ask)
    return reader.read(log, 0 if head is None else min(after, head.seq - 1))


def _cut(snapshot: Snapshot, after: int) -> Snapshot:
    return msgspec.structs.replace(snapshot, rows=[row for row in snapshot.rows if row.seq > after])
