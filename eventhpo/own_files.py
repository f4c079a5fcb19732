"""Files that other users of the machine can neither put in our way nor lock.

Anybody who can open a file can lock it. So a lock file is for its owner alone, or for the group that its owner gave
it to with `chmod g+rw`. A user who may not open it still sees in /proc/locks that it is locked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

LOCKS = Path("/proc/locks")
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS = 0o007


def open_lock(path: Path, owner: int | None = None) -> int:
    """Return a descriptor of the lock file at *path*, made if it is missing, that no other user can open.

    *owner* is the user whose lock file it may be next to root and this one; root makes it for that user.

    Raises:
        OSError: it is a link or no file, or of another user, or the file system refused.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o600)
    try:
        status = os.fstat(descriptor)
        _require_ours(status, path, owner)
        if status.st_uid == os.geteuid():
            if status.st_mode & _OTHERS:  # as earlier versions made it
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_OTHERS)
            if os.geteuid() == 0 and owner:
                os.fchown(descriptor, owner, -1)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_ours(status: os.stat_result, path: Path, owner: int | None) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError(errno.EINVAL, "it is no plain file of one name; move it away", str(path))
    if status.st_uid not in (os.geteuid(), 0, owner):
        raise PermissionError(errno.EPERM, f"it is of user {status.st_uid}; move it away", str(path))


def open_to_look(path: Path) -> int:
    """Return a descriptor of the file at *path* to read and to try its lock; a pipe or a link is not waited for."""
    return os.open(path, os.O_RDONLY | _SAFE)


def write_new(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write *content* into the new file *path*, never through a link or into a file that is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def owner_of(path: Path) -> int | None:
    """Return the id of the user who owns the file at *path*, None if there is none."""
    with contextlib.suppress(OSError):
        return path.stat().st_uid
    return None


def is_locked(path: Path, locks: Path = LOCKS) -> bool:
    """Return whether a process that this one may see has an `flock` on the file at *path*, by the kernel's list."""
    try:
        status = path.stat()
        lines = locks.read_text().splitlines()
    except OSError:
        return False
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return any("FLOCK" in words and place in words for words in map(str.split, lines))
