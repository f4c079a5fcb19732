"""One writer: an flock on a file next to the log, freed by the kernel with the process.

Never on the database itself: closing any descriptor of it would drop SQLite's own locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path

import msgspec

from eventhpo import own_files
from eventhpo.errors import Busy, Starting, StorageFailed
from eventhpo.log import paths, refusal

PATIENCE = 2.0  # seconds; longer than a reader's probe or the last steps of a writer that ends
STARTING = 30.0  # seconds; a controller that starts reads and checks the whole log first
_PAUSE = 0.02


class Holder(msgspec.Struct, frozen=True):
    """Who holds the log; the epoch is None while it is still being opened."""

    host: str
    pid: int
    epoch: int | None = None

    @property
    def starting(self) -> bool:
        """Whether it is known, and still opening the log."""
        return self.epoch is None and self.pid != 0

    def __str__(self) -> str:
        return f"controller {self.pid} on {self.host} ({'starting' if self.epoch is None else f'epoch {self.epoch}'})"


class Lease:
    """The lock of one log, held until `release` or the end of this process."""

    def __init__(self, fd: int, *, taken_over: bool = False) -> None:
        self._fd = fd
        self._held = True
        self.taken_over = taken_over
        _open.add(self)

    def announce(self, holder: Holder) -> None:
        """Write into the lock file who holds it, for those who find it locked."""
        text = msgspec.json.encode(holder) + b"\n"
        # Text first, cut afterwards: a reader takes the first line, and never finds an empty file.
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def release(self) -> None:
        """Let go of the lock; releasing it twice is no error."""
        if self._held:
            self._held = False
            os.close(self._fd)

    def lock(self) -> None:
        """Lock the file, or raise BlockingIOError at once."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def give_as(self, lock: Path) -> None:
        """Give the locked file the group of the file at *lock* and what that group may do with it."""
        with contextlib.suppress(OSError):  # not there, or of a group that this user is not in
            status = lock.stat()
            os.fchown(self._fd, -1, status.st_gid)
            os.fchmod(self._fd, 0o600 | status.st_mode & 0o060)

    def is_named(self, lock: Path) -> bool:
        """Whether *lock* names the file that is locked: a take-over puts another one there."""
        try:
            return os.path.samestat(lock.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False


# A fork shares the lock with its parent, and would keep it when the parent is gone.
_open: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget_in_child() -> None:
    for lease in list(_open):
        lease.release()


os.register_at_fork(after_in_child=_forget_in_child)


def acquire(path: Path, holder: Holder, patience: float = PATIENCE) -> Lease:
    """Return the lease of the log at *path*, or say who holds it after *patience* seconds.

    For one that is starting it waits longer, unless *patience* is 0: it soon holds the log, or is gone.

    Raises:
        Busy: somebody else holds it. Starting: somebody else is still opening it.
        StorageFailed: the lock file cannot be written.
    """
    lock = paths.lock(path)
    begun = time.monotonic()
    while (lease := _attempt(lock, own_files.owner_of(path))) is None:
        waited = time.monotonic() - begun
        if waited >= patience:
            _give_up(path, named(path), waited, patience)
        time.sleep(_PAUSE)
    try:
        lease.announce(holder)
    except OSError as error:
        lease.release()
        raise _refused(lock, error, "written") from error
    return lease


def _refused(lock: Path, error: OSError, what: str) -> StorageFailed:
    return StorageFailed(f"{lock} cannot be {what} ({refusal.why(error, lock)}), and without it nothing is written")


def _give_up(path: Path, who: Holder, waited: float, patience: float) -> None:
    """Say that *who* holds the log, unless it is worth to wait for."""
    if not (patience and who.starting):
        raise Busy(f"{path} is held by {who}; stop it, or read with `eventhpo status`")
    if waited >= patience + STARTING:
        raise Starting(
            f"{path} is being opened by {who}, for {waited:.0f} s at least; wait until `eventhpo status` shows it as "
            f"running, or end that process ({who.pid}) if it is frozen"
        )


def take_over(path: Path, holder: Holder) -> Lease:
    """Return the lease of the log at *path* under a new lock file, also while another process holds the old one.

    The caller has SQLite's write lock, so that there is one take-over at a time.

    Raises:
        Busy: somebody else took it over at the same time.
    """
    lock = paths.lock(path)
    fresh = lock.with_name(f"{lock.name}.{os.urandom(4).hex()}")
    lease = Lease(own_files.open_lock(fresh, own_files.owner_of(path)), taken_over=True)
    try:
        lease.give_as(lock)
        lease.lock()
        lease.announce(holder)
        fresh.rename(lock)
    except FileNotFoundError:  # who got the lease meanwhile has swept it
        lease.release()
        raise Busy(f"{path} was opened by {named(path)} at the same time") from None
    except BaseException:
        lease.release()
        fresh.unlink(missing_ok=True)
        raise
    if not lease.is_named(lock):
        lease.release()
        raise Busy(f"{path} was taken over by {named(path)} at the same time")
    return lease


def holder(path: Path) -> Holder | None:
    """Return who holds the log at *path* now, None if nobody does; lets go at once.

    A holder that left no readable name is `Holder("an unknown host", 0)`.
    """
    try:
        fd = own_files.open_to_look(paths.lock(path))
    except FileNotFoundError:
        return None
    except PermissionError:  # it is for its owner: the kernel's list says whether it is locked
        return _UNKNOWN if own_files.is_locked(paths.lock(path)) else None
    except OSError:  # a link or a device, which no controller makes: who reads the log says so
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    finally:
        os.close(fd)
    return None


def named(path: Path) -> Holder:
    """Return whom the lock file of the log at *path* names, whether or not it is locked."""
    try:
        fd = own_files.open_to_look(paths.lock(path))
    except OSError:
        return _UNKNOWN
    try:
        return _read(fd)
    finally:
        os.close(fd)


_UNKNOWN = Holder("an unknown host", 0)


def _read(fd: int) -> Holder:
    line = os.pread(fd, 4096, 0).partition(b"\n")[0]
    try:
        return msgspec.json.decode(line, type=Holder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNKNOWN


def _attempt(lock: Path, owner: int | None) -> Lease | None:
    try:
        lease = Lease(own_files.open_lock(lock, owner))
    except OSError as error:
        raise _refused(lock, error, "opened") from error
    try:
        lease.lock()
        if lease.is_named(lock):  # or somebody took over between our open and our lock
            return lease
    except BlockingIOError:
        pass  # held; the caller tries again or says so
    lease.release()
    return None
