"""Files that commands write for people, and the extra that it takes to make them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from eventhpo.errors import StorageFailed, Usage, not_installed
from eventhpo.log import paths, refusal

_NEEDED = ("altair", "vl_convert")
_MARK, _LOG = slice(68, 72), b"evhp"  # where SQLite keeps an application's mark, and that of a log


def requires_extra(command: str) -> None:
    """Return if the packages of the extra `report` are installed.

    Raises:
        Usage: one is missing; it says what to install.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise not_installed(f"`eventhpo {command}` needs {' and '.join(missing)}, which {are}", "report")


def write_new(target: Path, content: bytes, log: Path) -> None:
    """Write *content* to *target*, whole or not at all; a file that is there is replaced.

    Raises:
        Usage: *target* is a log or one of the files next to *log*, is a folder, or its folder is missing.
        StorageFailed: the disk refused.
    """
    with replacing(target, log) as new:
        new.write_bytes(content)


@contextlib.contextmanager
def replacing(target: Path, log: Path) -> Iterator[Path]:
    """Give the path of an empty file that takes the place of *target* after the block, unless the block fails.

    Raises:
        Usage: *target* is a log or one of the files next to *log*, is a folder, or its folder is missing.
        StorageFailed: the disk refused.
    """
    require_not_of_a_log(target, log)
    if not target.parent.is_dir():
        raise Usage(f"there is no folder {target.parent} for {target.name}")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:50]}.", dir=target.parent)
        os.close(handle)
        try:
            yield Path(name)
            _give_usual_mode(name)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageFailed(f"{target} cannot be written: {refusal.why(error, target)}") from error


def require_not_of_a_log(target: Path, log: Path) -> None:
    """Return if *target* may be written.

    Raises:
        Usage: it is a folder, a log, or one of the files next to *log*.
    """
    if target.is_dir():
        raise Usage(f"{target} is a folder; say the name of a file in it")
    own = (log, paths.wal(log), paths.shm(log), paths.head(log), paths.lock(log), paths.journal(log))
    if any(_same(target, other) for other in own):
        raise Usage(f"{target} belongs to the log, and is not written over; say another name with -o")
    if _is_log(target):
        raise Usage(f"{target} is itself a log, and is not written over; say another name with -o")


def _is_log(target: Path) -> bool:
    """Whether *target* is a file with the mark of a log in its head."""
    try:
        if not target.is_file():
            return False
        with target.open("rb") as file:
            return file.read(_MARK.stop)[_MARK] == _LOG
    except OSError:
        return False  # writing it says why


def _give_usual_mode(name: str) -> None:
    """Give a new file the mode that others get: `mkstemp` lets only this user read it."""
    mask = os.umask(0)
    os.umask(mask)
    Path(name).chmod(0o666 & ~mask)


def _same(target: Path, other: Path) -> bool:
    return target.resolve() == other.resolve() or (target.exists() and other.exists() and target.samefile(other))
