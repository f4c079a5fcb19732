"""The names of what lies beside a log, where SQLite too puts its files: beside what a link names."""

from __future__ import annotations

from pathlib import Path


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
