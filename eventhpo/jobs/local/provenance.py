"""What a job ran: script, commit, interpreter and packages, data, machine."""

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

from eventhpo.core.fold.event_parts import Provenance, StoredTextKind
from eventhpo.jobs.local.data_files import DataFiles
from eventhpo.jobs.local.interpreter import Interpreter, gpus
from eventhpo.jobs.protocol import ProvenanceText

GIT_PATIENCE = 2.0  # seconds for a status; a repository that takes longer goes without
LARGEST_DIFF = 1_000_000  # bytes of a diff whose text the log keeps
FRESH = 5.0  # seconds that an answer of git holds: a batch of drafts asks once


class Surroundings:
    """The provenance of one search's jobs; git and the script are read again when they may have changed."""

    def __init__(
        self, folder: Path, data: Sequence[str] = (), *, record_diff: bool = False, search_file: str = ""
    ) -> None:
        self._folder = folder
        self._record_diff = record_diff
        self._interpreter = Interpreter()
        self._data = DataFiles(folder, data)
        self._search_file = search_file
        self._gpus: tuple[str, ...] | None = None
        self._asked = -FRESH
        self._commit: str | None = None
        self._dirty: bool | None = None
        self._diff: str | None = None
        self._diff_text: str | None = None
        self._hashed: tuple[Path, int, int] | None = None
        self._hash: str | None = None

    def of(self, command: Sequence[str]) -> tuple[Provenance, tuple[ProvenanceText, ...]]:
        """Return the provenance of *command* and the texts that it names; what cannot be determined stays empty."""
        script = self._script(command)
        self._ask_git()
        if self._gpus is None:
            self._gpus = gpus()
        packages = _text("packages", self._interpreter.packages_of(command, self._folder))
        data = _text("data", self._data.lines())
        provenance = Provenance(
            command=tuple(command),
            script=script,
            script_hash=None if script is None else self._hash_of(self._folder / script),
            commit=self._commit,
            dirty=self._dirty,
            host=socket.gethostname(),
            python=self._interpreter.version_of(command, self._folder) or sys.version,
            diff_sha256=self._diff,
            packages_sha256=None if packages is None else packages.sha256,
            data_sha256=None if data is None else data.sha256,
            gpus=self._gpus,
            search_file_sha256=self._data.digest_of(self._search_file) if self._search_file else None,
        )
        texts = [text for text in (packages, data) if text is not None]
        if self._diff is not None and self._diff_text is not None:
            texts.append(ProvenanceText("diff", self._diff, self._diff_text))
        return provenance, tuple(texts)

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
        self._diff, self._diff_text = _diff_of(self._folder, keep=self._record_diff) if self._dirty else (None, None)
        self._asked = time.monotonic()


def _is_file_below(root: Path, path: Path) -> bool:
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except OSError:
        return False  # as a program in one word (`python -c ...`), too long for the name of a file


def _text(kind: StoredTextKind, text: str | None) -> ProvenanceText | None:
    return None if text is None else ProvenanceText(kind, hashlib.sha256(text.encode()).hexdigest(), text)


def _diff_of(folder: Path, *, keep: bool) -> tuple[str | None, str | None]:
    """Return SHA-256 and, to *keep*, text of what the tree changes of its commit; None for what git does not say.

    A diff may show what nobody wants in a log, so its text is kept on request alone, and only if it is UTF-8 and of at
    most `LARGEST_DIFF` bytes. The words of the call leave out what users set for themselves (colours, prefixes,
    programs), so equal changes have equal digests.
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
            digest = hashlib.file_digest(diff, "sha256").hexdigest()
            if not keep or diff.tell() > LARGEST_DIFF:
                return digest, None
            diff.seek(0)
            return digest, _decoded(diff.read())
    except (OSError, subprocess.SubprocessError):
        return None, None


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
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
