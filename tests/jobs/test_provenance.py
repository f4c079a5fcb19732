"""What an attempt's receipt says of where it came from."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eventhpo.core.fold.event_parts import Provenance
from eventhpo.jobs.local.provenance import Surroundings
from eventhpo.jobs.protocol import Bound
from tests.jobs.harness import Place

TEXT = "print('hello')\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "train.py").write_text(TEXT)
    return tmp_path


def of(folder: Path, *command: str) -> Provenance:
    return Surroundings(folder).of(command)


def test_a_receipt_names_command_script_host_and_python(place: Place) -> None:
    place.script(TEXT)
    place.command = ("python", "train.py", "--lr={General/lr}")
    [bound] = place.backend().draft([place.draft()])
    assert isinstance(bound, Bound)
    found = bound.provenance
    assert found.command == ("python", "train.py", "--lr=0.5")
    assert (found.script, found.script_hash) == ("train.py", hashlib.sha256(TEXT.encode()).hexdigest()[:16])
    assert (found.host, found.python) == (socket.gethostname(), sys.version)


@pytest.mark.parametrize(
    ("command", "script"),
    [
        (("python", "train.py"), "train.py"),
        (("python", "-u", "./train.py", "--x"), "./train.py"),
        (("./train.py",), "./train.py"),
        (("python", "-m", "train"), None),
        (("python", "../train.py"), None),
        (("sh", "/etc/passwd"), None),
        (("python", "x" * 5000, "\0"), None),
        (("python", "-c", "x" * 300, "train.py"), "train.py"),
        (("python", "y/" * 3000, "train.py"), "train.py"),
    ],
)
def test_the_script_is_the_first_word_that_names_a_file_in_the_folder(
    folder: Path, command: tuple[str, ...], script: str | None
) -> None:
    (folder.parent / "train.py").write_text(TEXT)
    assert of(folder, *command).script == script


def test_a_script_that_changed_has_another_hash(folder: Path) -> None:
    surroundings = Surroundings(folder)
    before = surroundings.of(("python", "train.py")).script_hash
    (folder / "train.py").write_text(TEXT * 2)
    assert surroundings.of(("python", "train.py")).script_hash != before


def test_without_a_repository_or_without_git_there_is_no_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (of(folder).commit, of(folder).dirty) == (None, None)
    git(folder, "init", "-q")
    assert (of(folder).commit, of(folder).dirty) == (None, None)
    monkeypatch.setenv("PATH", "/nowhere")
    assert (of(folder).commit, of(folder).dirty) == (None, None)


def test_the_commit_around_the_script_is_named_and_whether_it_was_changed(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "untracked").touch()
    clean = of(folder)
    (folder / "train.py").write_text(TEXT * 2)
    changed = of(folder)
    assert (clean.commit, clean.dirty) == (git(folder, "rev-parse", "HEAD"), False)
    assert (changed.commit, changed.dirty) == (clean.commit, True)


def test_equal_changes_of_a_commit_have_one_digest_and_others_another_and_a_clean_tree_none(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")
    clean = of(folder).diff_sha256
    (folder / "train.py").write_text(TEXT * 2)
    twice = of(folder).diff_sha256
    git(folder, "config", "diff.noprefix", "true")
    git(folder, "config", "color.diff", "always")
    assert of(folder).diff_sha256 == twice
    (folder / "train.py").write_text(TEXT * 3)
    assert clean is None
    assert twice is not None
    assert of(folder).diff_sha256 not in (None, twice)
