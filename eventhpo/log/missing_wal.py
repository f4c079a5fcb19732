"""A log without its write-ahead log, as `cp search.db elsewhere` leaves it after a kill.

SQLite reads such a copy without a word, as far as it goes. The form alone is no fault: an
ordinary SQLite program that closes the log last leaves it too, and so does a controller
that ends on an error. There the head file says that the rows are all there.
"""

from __future__ import annotations

from pathlib import Path

from eventhpo.errors import Usage
from eventhpo.log import paths
from eventhpo.log.head import Outside


def lacks_wal(path: Path) -> bool:
    """Whether the log at *path* was not put to rest, and no write-ahead log is next to it."""
    return not paths.wal(path).exists() and paths.in_wal_mode(path)


def unproven(path: Path, outside: Outside) -> str | None:
    """Return why the last rows of the log at *path* may be missing, None if nothing says so.

    *outside* is the head next to it; one that contradicts the log is another matter.
    """
    if outside.head is not None or not lacks_wal(path):
        return None
    wal, head = paths.wal(path).name, paths.head(path).name
    return (
        f"{path.name} was not put to rest, and neither {wal} nor {head} is next to it: it may be a copy that lacks "
        "its last rows"
    )


def require_proven(path: Path, outside: Outside) -> None:
    """Return unless the last rows of the log at *path* may be missing.

    Raises:
        Usage: they may, and what to do.
    """
    if (why := unproven(path, outside)) is not None:
        raise Usage(f"{why}; {way_on(path)}")


def way_on(path: Path) -> str:
    """Return what to do about a log that may lack its last rows."""
    return (
        f"copy {paths.wal(path).name} next to it from where it came, or have `eventhpo backup` make a whole copy "
        f"there; if this is all that is left: `eventhpo salvage {path} TARGET`"
    )


def hint(path: Path) -> str:
    """Return where a lost tail may be, empty if nothing says so."""
    if not lacks_wal(path):
        return ""
    return f"; {paths.wal(path).name} is missing, which may hold it: {way_on(path)}"
