"""Secrets that a search could have picked up: they are in no file that it writes, and in nothing that it prints."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.controller.effects import receipt
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import EffectFailed
from eventhpo.core.fold.state import Attempt
from eventhpo.core.validation.redaction import without_passwords
from eventhpo.jobs.protocol import Refused
from tests.cli.harness import COMMAND, Place

IN_ENVIRONMENT, IN_REMOTE, IN_HOST, IN_COMMAND = (f"hunter2-{place}-Zx81" for place in ("env", "git", "host", "word"))
USERS_OWN = ("search.toml", "train.py", ".git", "output.log")  # what the user wrote, and what a job printed itself


def environment() -> dict[str, str]:
    return os.environ | {"DATABASE_PASSWORD": IN_ENVIRONMENT, "HF_TOKEN": IN_ENVIRONMENT}


def call(folder: Path, *words: str, **more: str) -> str:
    """Return all that a command prints."""
    done = subprocess.run(
        [*COMMAND, *words], cwd=folder, env=environment() | more, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file that eventhpo wrote below *folder*, and each member of an archive."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not {*path.relative_to(folder).parts} & {*USERS_OWN}:
            yield path, path.read_bytes()
            if path.suffix == ".zip":
                with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                    yield from ((path / name, archive.read(name)) for name in archive.namelist())


def holders(folder: Path, secret: str) -> set[str]:
    return {path.name for path, content in contents(folder) if secret.encode() in content}


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_no_secret_of_the_environment_or_of_git_is_written_or_printed(place: Place) -> None:
    git(place.folder, "init", "-q")
    git(place.folder, "remote", "add", "origin", f"https://me:{IN_REMOTE}@example.org/x.git")
    git(place.folder, "add", "train.py")
    git(place.folder, "commit", "-q", "-m", "first")
    place.script((place.folder / "train.py").read_text() + "# changed\n")
    (place.folder / "train.csv").write_text("1\n")
    place.describe(more='data = ["train.csv"]\nrecord_diff = true')
    printed = call(place.folder, "run", "search.toml", "--log", "search.db")
    for words in (
        ("status",),
        ("explain", "1"),
        ("postmortem", "--json"),
        ("events", "--json"),
        ("tables", "-o", "t.db"),
        ("report", "-o", "r.html"),
        ("evidence", "-o", "e.zip"),
        ("backup", "copy.db"),
    ):
        printed += call(place.folder, words[0], "search.db", *words[1:])
    written = {path.name for path, _ in contents(place.folder)}
    assert {"search.db", "t.db", "r.html", "e.zip", "copy.db", "postmortem.txt", "search.db.head"} <= written
    for secret in (IN_ENVIRONMENT, IN_REMOTE):
        assert secret not in printed
        assert holders(place.folder, secret) == set()


def test_a_word_of_the_command_stays_as_it_was_written_and_is_warned_of(place: Place) -> None:
    """Negative control: what is written is found."""
    text = place.file.read_text().replace('"train.py"]', f'"train.py", "--api-key={IN_COMMAND}"]')
    place.file.write_text(text)
    assert "looks like a secret" in call(place.folder, "check", "search.toml")
    call(place.folder, "run", "search.toml", "--log", "search.db")
    call(place.folder, "evidence", "search.db", "-o", "e.zip")
    assert {"search.db", "provenance.json"} <= holders(place.folder, IN_COMMAND)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_password_in_the_address_of_a_clearml_server_is_not_told(command: str, place: Place) -> None:
    jobs = '[clearml]\nbase_task_id = "0123456789abcdef0123456789abcdef"\nexecution_queue = "default"\n'
    text = place.file.read_text().replace('command = ["python", "train.py"]\n', "")
    place.file.write_text(text + jobs)
    keys = {"CLEARML_API_ACCESS_KEY": f"access-{IN_HOST}", "CLEARML_API_SECRET_KEY": f"secret-{IN_HOST}"}
    server = f"http://me:{IN_HOST}@127.0.0.1:9"  # nobody listens there
    printed = call(place.folder, command, "search.toml", CLEARML_API_HOST=server, **keys)
    assert "the ClearML server does not answer" in printed
    assert "http://***@127.0.0.1:9" in printed
    assert IN_HOST not in printed
    assert holders(place.folder, IN_HOST) == set()


def test_an_error_is_recorded_without_a_password_in_an_address() -> None:
    attempt = Attempt(trial=0, number=0, key="k", seq=1, slot=0, epoch=1, curves=[])
    event = receipt(attempt, "launch", Refused(error=f"http://me:{IN_HOST}@host/x: refused"), ClockReading(0))
    assert isinstance(event, EffectFailed)
    assert event.error == "http://***@host/x: refused"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mysql://u:p@host/db and postgresql+x://u@h/d", "mysql://***@host/db and postgresql+x://***@h/d"),
        ("https://host/a@b", "https://host/a@b"),
        ("mail me@example.org", "mail me@example.org"),
        ("file:///home/a@b", "file:///home/a@b"),
    ],
)
def test_only_users_of_addresses_are_left_out(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
