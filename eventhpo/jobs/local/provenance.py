"""What a job ran: the script and its hash, the commit around it, the machine."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from eventhpo.core.fold.event_parts import Provenance

GIT_PATIENCE = 2.0  # seconds for a status; a repository that takes longer goes without
FRESH = 5.0  # seconds that an answer of git holds: a batch of drafts asks once


class Surroundings:
    """The provenance of one search's jobs; git and the script are read again when they may have changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked = -FRESH
        self._commit: str | None = None
        self._dirty: bool | None = None
        self._diff: str | None = None
        self._hashed: tuple[Path, int, int] | None = None
        self._hash: str | None = None

    def of(self, command: Sequence[str]) -> Provenance:
        """Return the provenance of *command*; fields that cannot be determined stay empty."""
        script = self._script(command)
        self._ask_git()
        return Provenance(
            command=tuple(command),
            script=script,
            script_hash=None if script is None else self._hash_of(self._folder / script),
            commit=self._commit,
            dirty=self._dirty,
            host=socket.gethostname(),
            python=sys.version,
            diff_sha256=self._diff,
        )

    def _script(self, command: Sequence[str]) -> str | None:
        """Return the first word that names a file inside the folder."""
        root = self._folder.resolve()
        return next((word for word in command if _is_file_below(root, self._folder / word)), None)

    def _hash_of(self, script: Path) -> str | None:
        """Return the first 16 hex digits of the script's SHA-256, None if it can't be read."""
        try:
            status = script.stat()
            version = (script, status.st_mtime_ns, status.st_size)
            if version != self._hashed:
                self._hash = hashlib.sha256(script.read_bytes()).hexdigest()[:16]
                self._hashed = version
        except OSError:
            return None  # gone since we looked: the job itself will say so
        return self._hash

    def _ask_git(self) -> None:
        if time.monotonic() - self._asked < FRESH:
            return
        self._commit = _git(self._folder, "rev-parse", "HEAD")
        status = None if self._commit is None else _git(self._folder, "status", "--porcelain", "--untracked-files=no")
        self._dirty = None if status is None else status != ""
        self._diff = _digest_of_diff(self._folder) if self._dirty else None
        self._asked = time.monotonic()


def _is_file_below(root: Path, path: Path) -> bool:
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except OSError:
        return False  # as a program in one word (`python -c ...`), too long for the name of a file


def _digest_of_diff(folder: Path) -> str | None:
    """Return the SHA-256 of what the tree changes of its commit, None if git does not say it in time.

    Only the digest is kept: a diff may show what nobody wants in a log. The words of the call leave out what users
    set for themselves (colours, prefixes, programs), so equal changes have equal digests.
    """
    words = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--binary", "--unified=3")
    ends = ("--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers", "--submodule=short")
    try:
        with tempfile.TemporaryFile() as diff:  # not in memory: it may be large
            subprocess.run(
                ["git", "-C", str(folder), "diff", "HEAD", *words, *ends],
                env=_quiet(),
                stdin=subprocess.DEVNULL,
                stdout=diff,
                stderr=subprocess.DEVNULL,
                timeout=GIT_PATIENCE,
                check=True,
            )
            diff.seek(0)
            return hashlib.file_digest(diff, "sha256").hexdigest()
    except (OSError, subprocess.SubprocessError):
        return None


def _quiet() -> dict[str, str]:
    return {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # a look must not write the index


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, None if it can't: no git, no repository, no answer in time."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=_quiet(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
