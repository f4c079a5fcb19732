"""What lies next to a log, where SQLite too puts its files: next to what a link names."""

from __future__ import annotations

from pathlib import Path

_MODES = 18  # offset of the two bytes of SQLite's header that name the journal mode: 1 rollback, 2 write-ahead


def _beside(path: Path, suffix: str) -> Path:
    real = path.resolve()
    return real.with_name(real.name + suffix)


def wal(path: Path) -> Path:
    """Return the name of SQLite's write-ahead log."""
    return _beside(path, "-wal")


def shm(path: Path) -> Path:
    """Return the name of SQLite's index of the write-ahead log."""
    return _beside(path, "-shm")


def journal(path: Path) -> Path:
    """Return the name of SQLite's rollback journal."""
    return _beside(path, "-journal")


def lock(path: Path) -> Path:
    """Return the name of the file that the one writer has locked."""
    return _beside(path, ".lock")


def head(path: Path) -> Path:
    """Return the name of the file that says where the log ends."""
    return _beside(path, ".head")


def jobs(path: Path) -> Path:
    """Return the name of the folder of local jobs."""
    return _beside(path, ".jobs")


def requests(path: Path) -> Path:
    """Return the name of the folder in which a live controller is asked for something."""
    return _beside(path, ".requests")


def in_wal_mode(path: Path) -> bool:
    """Whether the file at *path* says of itself that a write-ahead log belongs to it: it was not put to rest."""
    with path.open("rb") as file:
        return file.read(_MODES + 2)[_MODES:] == b"\x02\x02"
