"""Why the system refused to write: SQLite says "disk I/O error" for a quota and a broken disk alike."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from pathlib import Path

_PROBE = 65_536  # bytes; more than any step of SQLite writes at once


def why(error: OSError | sqlite3.Error | UnicodeDecodeError, path: Path) -> str:
    """Return what *error* says, met in writing a file as large as the one at *path*, and what to do about it."""
    if isinstance(error, OSError):
        return _named(error)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
        cause = _probed(path)
        if cause is not None:
            return f"{error}: {_named(cause)}"
    return str(error)


def _named(error: OSError) -> str:
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EFBIG:
            most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            limit = "" if most == resource.RLIM_INFINITY else f": a file of this process may have {most:,} bytes"
            return f"{reason}{limit}; raise the limit on the size of files (`ulimit -f`)"
        case errno.EDQUOT:
            return f"{reason}; delete files of this user there, or ask for a larger quota"
        case errno.ENOSPC:
            return f"{reason}; free some space there"
    return reason


def _probed(path: Path) -> OSError | None:
    """Return what refuses a few bytes at the end of a file as large as those at *path*, None if nothing does.

    SQLite keeps the number of the error to itself.
    """
    import tempfile  # noqa: PLC0415  only after a failure

    real = path.resolve()
    sizes = [_size(real.with_name(real.name + suffix)) for suffix in ("", "-wal", "-journal")]
    try:
        with tempfile.TemporaryFile(dir=real.parent) as file:
            for place in (0, max(sizes)):
                file.seek(place)
                file.write(bytes(_PROBE))
                file.flush()  # goes on after a write that was cut short, until the error comes
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
