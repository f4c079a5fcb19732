"""What a killed process had not given its name yet: the next start removes what is of this user and held by nobody.

A log that is being born and a copy that is being read are held by an `flock`, which the kernel frees with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from eventhpo.log import paths

_HEX_8 = "[0-9a-f]" * 8
_COPIES = "eventhpo-copy-"  # the folders in which logs are copied to be read
BORN = ".new"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Make the new, empty file *path*, and hold it until the end of the block so that nobody sweeps it.

    Raises:
        FileExistsError: something is there. OSError: the file system refused.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_for_copy() -> Iterator[Path]:
    """Give a new folder of this user for a copy that is read, after those of killed readers are removed."""
    import tempfile  # noqa: PLC0415  few logs are read from a copy

    _sweep_copies(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_COPIES))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        yield folder
    finally:
        empty(folder)
        os.close(descriptor)


def empty(folder: Path) -> None:
    """Remove the folder of a copy and the files in it; what SQLite has open it can still read."""
    with contextlib.suppress(FileNotFoundError):
        for file in list(folder.iterdir()):
            file.unlink(missing_ok=True)
        folder.rmdir()


def sweep(path: Path) -> None:
    """Remove what killed processes left of logs, head files and lock files that were to be named as those of *path*.

    The caller holds the lease: nobody else writes a head file.
    """
    sweep_births(path)
    for fresh in _matching(paths.head(path)):
        fresh.unlink(missing_ok=True)
    for fresh in _matching(paths.lock(path)):
        if _is_free(fresh):
            fresh.unlink(missing_ok=True)


def sweep_births(path: Path) -> None:
    """Remove what killed processes left of logs that were to be born at *path*; at any time."""
    real = path.resolve()
    for born in (*_matching(real, BORN), *_matching(real, f"{BORN}-journal")):
        name = born.with_name(born.name.removesuffix("-journal"))
        if not name.exists() or _is_other_name(name, real) or _is_free(name):
            born.unlink(missing_ok=True)


def _sweep_copies(temporary: Path) -> None:
    for folder in temporary.glob(f"{_COPIES}*"):
        if _is_ours(folder, stat.S_ISDIR) and _is_free(folder):
            with contextlib.suppress(OSError):  # another reader sweeps too
                empty(folder)


def _matching(path: Path, suffix: str = "") -> list[Path]:
    """Return the files of this user next to *path* that have its name, eight digits and *suffix*."""
    with contextlib.suppress(OSError):  # a folder that cannot be listed has nothing that could be removed
        names = path.parent.glob(f"{glob.escape(path.name)}.{_HEX_8}{suffix}")
        return [name for name in names if _is_ours(name, stat.S_ISREG)]
    return []


def _is_ours(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and is_kind(status.st_mode)


def _is_other_name(born: Path, real: Path) -> bool:
    """Whether *born* is the log at *real* itself, whose birth was killed after the link."""
    # It is not opened: to close it would drop SQLite's own locks on the log.
    try:
        return born.samefile(real)
    except OSError:
        return False


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        _lock(descriptor)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
