"""Whether the names of a log still mean the files that its writer has open.

A log that is deleted, moved, replaced or overwritten under its writer does not fail:
SQLite goes on with the files that it has open, and what it commits is found by nobody.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog
from eventhpo.log import chain, paths, sql

_DESCRIPTORS = Path("/proc/self/fd")


class OpenedFiles:
    """The database, write-ahead log and index of one writer, as they were when it opened them.

    `in_file` is the last row that is known to be in the database file itself and not
    only in the write-ahead log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inodes = {name: _inode(name) for name in (path, paths.wal(path), paths.shm(path))}
        self._mark = _mark(path)
        self.in_file = GENESIS
        self.of_study = False  # whether the writer is a study's script, which has no jobs

    @property
    def _ends(self) -> str:
        return "this process records nothing more of the study" if self.of_study else _GO_ON

    def settle(self) -> None:
        """Take the database file's size and time as they are now: the writer itself has just changed them."""
        self._mark = _mark(self._path)

    def trouble(self, committed: Head) -> str | None:
        """Return what became of the log, and what to do; None if the writer still writes what readers read.

        *committed* is the last row that the writer has committed.
        """
        gone = [name for name, inode in self._inodes.items() if _inode(name) != inode]
        if self._path in gone:
            return self._away(committed)
        if gone:
            return (
                f"{gone[0].name} was deleted or replaced while this controller wrote {self._path}; {self._ends}; it "
                f"folded what it had committed into the log: check it with `eventhpo verify {self._path}`, then resume"
            )
        if _mark(self._path) != self._mark:
            if (why := self._overwritten()) is not None:
                return (
                    f"{self._path} was overwritten while this controller wrote it ({why}); {self._ends}; what lies "
                    f"there now is a mixture: see `eventhpo verify {self._path}`, and restore a copy only while nobody "
                    "writes"
                )
            self.settle()
        return None

    def _away(self, committed: Head) -> str:
        now = _where(self._inodes[self._path])
        left = [name.name for name in (paths.wal(self._path), paths.head(self._path)) if name.exists()]
        rows = f"its rows up to seq {committed.seq}"
        if self._path.exists():
            what = f"is another file now, replaced while this controller wrote the one before ({rows})"
            with_it = f"it is now {now}" if now else "it was deleted"
            care = f"; {' and '.join(left)} there still belong to the one before" if left else ""
            return f"{self._path} {what}; {with_it}; {self._ends}, and the file there may not know of them{care}"
        if now is None:
            return f"{self._path} was deleted while this controller wrote it, and {rows} with it; {self._ends}"
        move = f"move {' and '.join(left)} there too, then " if left else ""
        return (
            f"{self._path} was moved to {now} while this controller wrote it, with {rows}; {self._ends}; "
            f"{move}go on with {f'the study there, {now}' if self.of_study else f'`eventhpo resume {now}`'}"
        )

    def _overwritten(self) -> str | None:
        """Return what the database file, changed by somebody else, lacks of what was in it; None if nothing.

        Another program may fold the write-ahead log in, or set the file's time.
        """
        if not paths.in_wal_mode(self._path):
            return "it is a copy that was made at rest"
        try:
            with contextlib.closing(sql.open_to_read(self._path, immutable=True)) as db:
                chain.recognise(db, self._path)
                if (found := sql.integrity(db)) != "ok":
                    return found
                for _ in chain.verified(chain.stored(db, 0), GENESIS):
                    pass
                row = sql.row_at(db, self.in_file.seq)
        except (*sql.TROUBLE, DamagedLog) as error:
            return str(error)
        if self.in_file != GENESIS and (row is None or row[7] != self.in_file.hash):
            return f"it does not hold seq {self.in_file.seq} any more as it did"
        return None


_GO_ON = "this controller ends, and the jobs that it started go on"


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns


def _where(inode: tuple[int, int] | None) -> Path | None:
    """Return the name that the kernel knows now for an open file of ours; None if it has none any more."""
    if not _DESCRIPTORS.is_dir():
        return None  # no Linux
    for descriptor in _DESCRIPTORS.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this very listing
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == inode:
                now = Path(descriptor.readlink())
                return now if _inode(now) == inode else None
    return None
