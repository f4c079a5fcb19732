"""The files that a search declares as its data: what they hold when a job is made."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec


class _Looked(msgspec.Struct, frozen=True):
    modified: int
    size: int
    line: str


class DataFiles:
    """Digest and size of each file; a file is read once, and again when its size or its time of change differs.

    Args:
        folder: Where relative names begin.
        names: The files.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, tuple(names)
        self._known: dict[str, _Looked] = {}

    def lines(self) -> str | None:
        """Return a line for each file, with SHA-256, bytes and name; None if none is declared.

        A file that is gone or cannot be read has the word `missing` in the place of its digest.
        """
        return "".join(f"{self._line(name)}\n" for name in self._names) or None

    def digest_of(self, name: str) -> str | None:
        """Return the SHA-256 of the file, None if it is gone or cannot be read."""
        digest = self._line(name).partition(" ")[0]
        return None if digest == "missing" else digest

    def _line(self, name: str) -> str:
        path = self._folder / name
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return f"missing 0 {name}"
            known = self._known.get(name)
            if known is None or (known.modified, known.size) != (status.st_mtime_ns, status.st_size):
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                line = f"{digest} {status.st_size} {name}"
                known = self._known[name] = _Looked(status.st_mtime_ns, status.st_size, line)
        except OSError:
            return f"missing 0 {name}"
        return known.line
