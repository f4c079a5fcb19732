"""What an attempt's receipt says of where it came from."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from importlib import metadata
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
    return Surroundings(folder).of(command)[0]


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
    before = surroundings.of(("python", "train.py"))[0].script_hash
    (folder / "train.py").write_text(TEXT * 2)
    assert surroundings.of(("python", "train.py"))[0].script_hash != before


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


# ---------------------------------------------------------------- texts that are named by their digests


def texts(surroundings: Surroundings, *command: str) -> dict[str, str]:
    """Return the texts of a job by their kind; each is named by the provenance."""
    provenance, found = surroundings.of(command)
    named = {provenance.packages_sha256, provenance.data_sha256, provenance.diff_sha256}
    assert {text.sha256 for text in found} <= named
    assert all(hashlib.sha256(text.text.encode()).hexdigest() == text.sha256 for text in found)
    return {text.kind: text.text for text in found}


def test_the_packages_are_those_of_the_interpreter_that_runs_the_job(folder: Path) -> None:
    own = texts(Surroundings(folder), sys.executable, "train.py")["packages"].splitlines()
    assert f"optuna=={metadata.version('optuna')}" in own
    assert own == sorted(own, key=str.casefold)
    python = folder / "python3.11"  # another name, so it is asked, and not this process
    python.symlink_to(Path(sys.executable).resolve())
    assert Surroundings(folder).of((str(python), "train.py"))[0].python == sys.version


def test_a_package_that_comes_later_is_in_the_list(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    surroundings = Surroundings(folder)
    before = texts(surroundings, str(python)).get("packages")
    (facts,) = (folder / "env" / "lib").glob("python3*/site-packages")
    (facts / "torch-2.9.0.dist-info").mkdir()
    assert before == ""
    assert texts(surroundings, str(python))["packages"] == "torch==2.9.0\n"


def test_python_without_a_path_is_the_one_that_the_job_gets_and_not_another_on_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    monkeypatch.setenv("PATH", f"{folder / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert f"optuna=={metadata.version('optuna')}" in texts(Surroundings(folder), "python", "train.py")["packages"]


def test_a_package_of_the_system_has_its_facts_in_an_egg_info(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    (place,) = (folder / "env" / "lib").glob("python3*/site-packages")
    (place / "PyYAML-6.0.1.egg-info").touch()
    (place / "six-1.16.0-py3.11.egg-info").mkdir()
    (place / "no_version.egg-info").mkdir()
    assert texts(Surroundings(folder), str(folder / "env/bin/python"))["packages"] == "PyYAML==6.0.1\nsix==1.16.0\n"


@pytest.mark.parametrize("first", ["{python}", "/usr/bin/env python", "/usr/bin/env -S python -u"])
def test_the_packages_of_a_script_are_those_of_the_python_that_its_first_line_names(folder: Path, first: str) -> None:
    (folder / "train.py").write_text(f"#!{first.format(python=sys.executable)}\n{TEXT}")
    assert f"optuna=={metadata.version('optuna')}" in texts(Surroundings(folder), "./train.py")["packages"]


def test_a_script_of_another_program_has_none(folder: Path) -> None:
    (folder / "run").write_text("#!/bin/sh\npython train.py\n")
    os.mkfifo(folder / "pipe")
    assert texts(Surroundings(folder), "./run") == texts(Surroundings(folder), "./pipe") == {}
    assert texts(Surroundings(folder), "./gone") == texts(Surroundings(folder), ".") == {}


@pytest.mark.parametrize("command", [("sh", "run.sh"), ("no-python-here",), ()])
def test_another_program_has_no_packages_and_the_python_of_the_controller(
    command: tuple[str, ...], folder: Path
) -> None:
    provenance, found = Surroundings(folder).of(command)
    assert (provenance.packages_sha256, provenance.python, found) == (None, sys.version, ())


def test_declared_files_are_named_with_digest_and_size_and_read_again_when_they_changed(folder: Path) -> None:
    (folder / "train.csv").write_text("1,2\n")
    surroundings = Surroundings(folder, ["train.csv", "gone.csv"])
    digest = hashlib.sha256(b"1,2\n").hexdigest()
    assert texts(surroundings)["data"] == f"{digest} 4 train.csv\nmissing 0 gone.csv\n"
    (folder / "train.csv").write_text("1,2,3\n")
    assert texts(surroundings)["data"].startswith(hashlib.sha256(b"1,2,3\n").hexdigest())


def test_a_file_that_did_not_change_is_not_read_again(folder: Path) -> None:
    data = folder / "train.csv"
    data.write_text("1,2\n")
    surroundings = Surroundings(folder, ["train.csv"])
    before = texts(surroundings)
    status = data.stat()
    data.write_text("3,4\n")  # as long, and set back to the old time: only a second reading would see it
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert texts(surroundings) == before
    assert texts(Surroundings(folder, ["train.csv"])) != before


def test_the_text_of_a_diff_is_kept_on_request_alone(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "train.py").write_text(TEXT + "print('changed')\n")
    assert "diff" not in texts(Surroundings(folder))
    assert "+print('changed')" in texts(Surroundings(folder, record_diff=True))["diff"]


def test_the_devices_are_those_that_nvidia_smi_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(folder).gpus == () or shutil.which("nvidia-smi")
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'NVIDIA A100, 535.104'\necho 'NVIDIA A100, 535.104'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert of(folder).gpus == ("NVIDIA A100, 535.104",) * 2
    program.write_text("#!/bin/sh\nexit 9\n")
    assert of(folder).gpus == ()
