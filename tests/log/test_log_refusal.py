"""Why a write was refused: the limit on file sizes, a quota and a full disk are told apart, with what to do."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from log_samples import AT, search_created

from eventhpo.log import refusal
from eventhpo.log.create import create

UNCACHED = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # Python keeps what it could not write whole, and fails on it
COMMANDS = [
    ("backup", "search.db", "copy.db"),
    ("salvage", "search.db", "copy.db"),
    ("seal", "search.db"),
    ("enqueue", "search.db", "lr=0.5"),
    ("tables", "search.db", "-o", "tables.db"),
    ("tables", "search.db", "--csv", "folder"),
    ("new", "folder"),
]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EFBIG, "ulimit -f"), (errno.EDQUOT, "larger quota"), (errno.ENOSPC, "free some space")],
)
def test_each_refusal_says_what_to_do(number: int, advice: str, tmp_path: Path) -> None:
    told = refusal.why(OSError(number, os.strerror(number)), tmp_path / "search.db")
    assert os.strerror(number) in told
    assert advice in told


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EDQUOT, errno.ENOSPC])
def test_sqlites_disk_io_error_is_told_by_what_refuses_a_file_of_that_size(
    number: int, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    def refuse(*args: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert refusal.why(error, log) == "disk I/O error"
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert os.strerror(number) in refusal.why(error, log)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("most", [0, 100])
def test_a_limit_on_the_size_of_files_is_named_by_each_command_that_writes(
    most: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    create(tmp_path / "search.db", search_created(), AT)
    done = subprocess.run(
        [sys.executable, "-m", "eventhpo", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=UNCACHED,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    if done.returncode == 0:
        assert words[0] == "seal"  # a log at rest needs no byte more than its head file
        return
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert f"File too large: a file of this process may have {most} bytes" in done.stderr
    assert "ulimit -f" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.parametrize("words", COMMANDS[:4], ids=" ".join)
def test_a_full_disk_is_named_by_each_command_that_writes(words: tuple[str, ...], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this container may not mount a file system")
    try:
        create(disk / "search.db", search_created(), AT)
        with (disk / "filler").open("wb", buffering=0) as filler:
            while _fits(filler.fileno()):
                pass
        done = subprocess.run(
            [sys.executable, "-m", "eventhpo", *words],
            cwd=disk,
            capture_output=True,
            text=True,
            check=False,
            env=UNCACHED,
        )
        assert done.returncode == 5, done.stderr
        assert "Traceback" not in done.stderr
        assert "No space left on device; free some space there" in done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _fits(descriptor: int) -> bool:
    try:
        return os.write(descriptor, bytes(4096)) > 0
    except OSError:
        return False
