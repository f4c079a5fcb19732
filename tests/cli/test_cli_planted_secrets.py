"""Secrets next to a search are in nothing that is written, also while it runs: each is planted, and looked for.

A command is kept as it was written, and a job's output is the job's own: the two controls stand there, so the search
through the files would find a secret.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.core.fold.events import JobBound
from tests.cli.harness import Place, ended
from tests.waiting import eventually

IN_COMMAND = "planted-in-the-command"
IN_OUTPUT = "planted-in-the-output"
PLANTED = {
    "variable": "planted-in-a-variable",
    "keys of ClearML": "planted-in-the-keys",
    "address in a variable": "planted-in-an-address",
    "remote of the repository": "planted-in-the-remote",
    "uncommitted change": "planted-in-the-diff",
    "file that git does not know": "planted-in-dot-env",
    "declared data": "planted-in-the-data",
    "comment of the search file": "planted-in-a-comment",
}
ENVIRONMENT = {
    "WANDB_API_KEY": PLANTED["variable"],
    "CLEARML_API_SECRET_KEY": PLANTED["keys of ClearML"],
    "CLEARML_API_ACCESS_KEY": PLANTED["keys of ClearML"],
    "DATABASE_URL": f"postgres://me:{PLANTED['address in a variable']}@db.example/x",
}
JOB = f"""
import os, threading
from eventhpo import job
params = job.connect({{"lr": 0.1, "kind": "a"}})
assert os.environ["WANDB_API_KEY"]
print("{IN_OUTPUT}", flush=True)
job.report_scalar("validation", "accuracy", params["lr"], 1)
while os.path.exists("hold"):
    threading.Event().wait(0.01)
job.report_scalar("validation", "accuracy", params["lr"], 2)
if os.environ["EVENTHPO_TRIAL"] == "1":
    raise SystemExit(3)
"""


@pytest.fixture
def planted(place: Place) -> Place:
    """A search in a repository; each secret stands where secrets stand."""
    place.script(JOB)
    place.describe(more='data = ["train.csv"]')
    text = place.file.read_text().replace('"train.py"]', f'"train.py", "--token={IN_COMMAND}"]')
    place.file.write_text(text)
    git(place.folder, "init", "-q")
    git(place.folder, "remote", "add", "origin", f"https://me:{PLANTED['remote of the repository']}@git.example/x.git")
    git(place.folder, "add", "train.py", "search.toml")
    git(place.folder, "commit", "-q", "-m", "first")
    place.script(f"{JOB}# {PLANTED['uncommitted change']}\n")
    place.file.write_text(f"{text}\n# {PLANTED['comment of the search file']}\n")
    (place.folder / ".env").write_text(PLANTED["file that git does not know"])
    (place.folder / "train.csv").write_text(PLANTED["declared data"])
    return place


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each file that eventhpo has written below *folder*, and each that is packed in one of them."""
    ours = {"search.toml", "train.py", "train.csv", ".env", ".git"}
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] in ours or not path.is_file():
            continue
        yield str(path.relative_to(folder)), path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path.name}/{name}", archive.read(name)
                    yield from _unpacked(f"{path.name}/{name}", archive.read(name))


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the data of a report, which its page has compressed."""
    if name.endswith(".html"):
        for packed in re.findall(rb"[A-Za-z0-9+/=]{1000,}", content):
            if (raw := base64.b64decode(packed)).startswith(b"\x1f\x8b"):
                yield f"{name}: data", gzip.decompress(raw)


def places(secret: str, texts: dict[str, bytes]) -> set[str]:
    """Return where *secret* stands."""
    return {name for name, content in texts.items() if secret.encode() in content}


def test_no_planted_secret_is_in_a_file_or_on_the_console(planted: Place) -> None:
    environment = {**os.environ, **ENVIRONMENT}
    planted.hold.touch()
    child = planted.start("run", "search.toml", "--log", "search.db", env=environment)
    eventually(lambda: planted.log.exists() and len(planted.observed()) >= 2, "the jobs' first points")
    texts = {f"{name} while it ran": content for name, content in written(planted.folder)}
    assert {"search.db while it ran", "search.db-wal while it ran", "search.db.head while it ran"} <= set(texts)
    planted.release()
    code, out, err = ended(child)
    assert code == 0, err
    texts |= {"run": (out + err).encode()}
    for words in (
        ("check", "search.toml"),
        ("events", "search.db", "--json"),
        ("evidence", "search.db", "-o", "bundle.zip"),
    ):
        done = planted.call(*words, env=environment)
        assert done.returncode == 0, done.stderr
        texts[words[0]] = (done.stdout + done.stderr).encode()
    texts |= dict(written(planted.folder))
    for what, secret in PLANTED.items():
        assert places(secret, texts) == set(), what

    dirty = [event.provenance.diff_sha256 for event in planted.of(JobBound)]
    assert all(dirty)  # the change was seen: its digest is there
    assert places("search_file_sha256", texts) >= {"search.db", "bundle.zip/provenance.json"}
    assert "bundle.zip/report.html: data" in places("validation", texts)
    controls = places(IN_COMMAND, texts)
    assert {"search.db", "bundle.zip/search.db", "bundle.zip/provenance.json", "events"} <= controls
    assert "looks like a secret" in texts["check"].decode()
    assert {name.rpartition("/")[2] for name in places(IN_OUTPUT, texts)} == {"output.log", "output.log while it ran"}
