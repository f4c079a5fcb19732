"""Appending: rows are kept in memory and written all together, or not at all."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import Event, Head, Recorded
from eventhpo.errors import Busy, StorageFailed
from eventhpo.log import chain, head, refusal, seal, sql
from eventhpo.log.lease import Holder, Lease
from eventhpo.log.opened_files import OpenedFiles
from eventhpo.log.sql import StoredRow

BEAT = 1.0  # seconds between two writes of the head file: once a second costs nothing, each commit 20 % more


class Writer:
    """Appends to one log; made by `open_writer`, used by one thread at a time.

    After any failure it is unusable, and only `close` may be called.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lease: Lease, *, epoch: int, search: str, end: Head) -> None:
        self._path = path
        self._real = path.resolve()  # a later chdir moves a relative name
        self._db = db
        self._files = OpenedFiles(self._real)
        self._lease = lease
        self._search = search
        self._kept: list[StoredRow] = []
        self._committed = end
        self._outside: Head | None = None
        self._beat_at = 0.0
        self._broken: str | None = None
        self._away: str | None = None  # what became of the log, once it is not there any more
        self.go_on = f"the search can be resumed: eventhpo resume {path}"  # what is said to do after a failure
        self.epoch = epoch
        self.head = end  # of what was recorded, committed or not

    def be_of_study(self) -> None:
        """Speak of a study's script, and not of a controller with jobs, when something is wrong with the log."""
        self.go_on = "the study goes on when its script is run again"
        self._files.of_study = True

    @property
    def pending(self) -> bool:
        """Whether something is recorded and not committed."""
        return bool(self._kept)

    @property
    def committed(self) -> Head:
        """The last row that is on the disk."""
        return self._committed

    def record(self, event: Event, cause: int | None, at: int) -> Recorded:
        """Give *event* its seq and hash and keep it for the next `commit`.

        The row that comes back holds the event as it is read from a log: what is folded
        now is what is folded after a restart.

        Raises:
            ValueError: the event cannot be recorded, or its cause does not lie before it.
        """
        self._require_usable()
        row = chain.row_of(event, self.head, at, self.epoch, cause)
        self._kept.append(row)
        self.head = Head(row[0], row[7])
        return Recorded(row[0], at, self.epoch, cause, codec.decode(row[4], row[5], row[6]), row[7])

    def commit(self) -> None:
        """Append all that is kept in one transaction, or none of it.

        Raises:
            Busy: the log was taken over.
            StorageFailed: the database refused, or is not where and as this writer left it.
        """
        self._require_usable()
        if not self._kept:
            return
        # Broken until it is over: whatever interrupts a commit leaves it in doubt.
        self._broken = "its last commit did not end"
        try:
            self._append()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._broken = None
        self._committed = self.head
        self._kept.clear()

    def _append(self) -> None:
        sql.begin_to_write(self._db)
        self._require_lease()
        end = sql.head(self._db)
        if end != self._committed:
            raise StorageFailed(
                f"{self._path} ends at {_text(end)} and not at {_text(self._committed)}, where this controller "
                f"left it: somebody else wrote; {self.go_on}"
            )
        sql.append(self._db, self._kept)
        sql.commit(self._db)
        self._files.settle()  # a commit may fold the write-ahead log in

    def check_lease(self) -> None:
        """Return if the log is still ours; called before each effect.

        Raises:
            Busy: it was taken over.
            StorageFailed: the database refused, or was deleted, moved, replaced or overwritten.
        """
        self._require_usable()
        try:
            self._require_lease()
        except sqlite3.Error as error:
            self._broken = "its lease could not be read"
            raise self._failed(error) from error

    def _require_lease(self) -> None:
        self._require_place()
        epoch, holder = sql.lease(self._db)
        if epoch != self.epoch:
            self._broken = "it was taken over"
            raise Busy(f"{self._path} was taken over by {_holder(holder)}; this controller ends")

    def _require_place(self) -> None:
        self._away = self._away or self._files.trouble(self._committed)
        if self._away is not None:
            raise StorageFailed(self._away)

    def beat(self) -> None:
        """Write the head file if it lags, at most once a second; called at least once a second.

        Raises:
            StorageFailed: as `hand_over`.
        """
        if self._outside != self._committed and time.monotonic() - self._beat_at >= BEAT:
            self.hand_over()

    def hand_over(self) -> None:
        """Fold the write-ahead log into the file, as far as no reader is in the way, and write the head file.

        So damage of the write-ahead log can cost the rows of the last second only.

        Raises:
            StorageFailed: the database or the file system refused, or the log is not there any more.
        """
        self._require_place()
        try:
            if sql.checkpoint(self._db):
                self._files.in_file = self._committed
        except sqlite3.Error as error:
            self._broken = "its write-ahead log could not be folded in"
            raise self._failed(error) from error
        self._files.settle()
        head.write(self._real, self._search, self._committed)
        self._outside, self._beat_at = self._committed, time.monotonic()

    def close(self, clean: bool = True) -> bool:
        """End the writing and release the lease; return whether the log rests as one quiet file.

        A clean end commits what is kept and writes the head file first. A reader in
        the way is no error: the log then stays in WAL mode. Closing twice is none either.

        Raises:
            Busy, StorageFailed: as `commit`; the lease is released all the same.
        """
        try:
            return self._end_well() if clean and self._broken is None and self._away is None else False
        except sqlite3.Error as error:
            raise self._failed(error) from error
        finally:
            self._broken = self._broken or "it was closed"
            self._db.close()  # rolls back what is open
            self._lease.release()  # last: the next writer finds nothing under way

    def _end_well(self) -> bool:
        self.commit()
        self.check_lease()
        self.hand_over()
        return seal.come_to_rest(self._db, self._real)

    def _require_usable(self) -> None:
        if self._away is not None:
            raise StorageFailed(self._away)
        if self._broken is not None:
            raise StorageFailed(
                f"{self._path} cannot be written by this controller any more: {self._broken}; {self.go_on}"
            )

    def _failed(self, error: sqlite3.Error) -> StorageFailed:
        self._away = self._away or self._files.trouble(self._committed)
        if self._away is not None:
            return StorageFailed(self._away)
        return StorageFailed(f"{self._path} cannot be written ({refusal.why(error, self._real)}); {self.go_on}")


def _holder(text: str | None) -> str:
    try:
        return str(msgspec.json.decode(text or "", type=Holder))
    except msgspec.DecodeError:
        return "somebody else"


def _text(at: Head | None) -> str:
    return "nothing" if at is None else f"{at.seq}:{at.hash}"
