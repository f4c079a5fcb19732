"""`eventhpo evidence`: a bundle is made from a log, and checked with nothing but the bundle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eventhpo.log import paths
from replay.evidence import check as checking
from replay.evidence.questions import ANSWERED
from tests.cli.harness import COMMAND, data, invoke
from tests.log.test_signature import allow, make_key
from tests.report import logs


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed log, its allowed signers, and a bundle of it."""
    folder = tmp_path_factory.mktemp("evidence")
    log = logs.usual(folder / "search.db", trials=8)
    key = make_key(folder / "key")
    allow(folder, "alice@example.org", key)
    assert invoke("sign", log, "--key", key).exit_code == 0
    assert invoke("evidence", log, "-o", folder / "bundle.zip").exit_code == 0
    return folder


def content(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def remade(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Write a bundle with other files to *target*."""
    files = content(bundle)
    change(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target


def test_a_bundle_is_checked_with_nothing_but_itself(signed: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copy(signed / "bundle.zip", tmp_path / "b.zip"))
    result = invoke("evidence", bundle, "--check", "--signed-by", signed / "allowed", "--json")
    assert result.exit_code == 0, result.output
    checks = {check["name"]: check["ok"] for check in json.loads(result.stdout)["checks"]}
    assert {"manifest", "file", "chain", "decode", "keys", "head", "signed", "expected"} <= set(checks)
    assert all(checks.values())
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_a_bundle_has_what_the_commands_say(signed: Path) -> None:
    files = content(signed / "bundle.zip")
    log = signed / "search.db"
    assert files["postmortem.txt"].decode() == invoke("postmortem", log).stdout
    assert json.loads(files["postmortem.json"]) == data("postmortem", log)
    assert files["trials.csv"].decode() == invoke("top", log, "-k", 99, "--include-failed", "--csv").stdout
    assert "all as recorded" in files["replay.txt"].decode()
    assert files["report.html"].startswith(b"<!doctype html>") or b"<html" in files["report.html"][:200]
    assert files["search.db.sig"] == paths.sig(log).read_bytes()
    attempts = json.loads(files["provenance.json"])["attempts"]
    assert len(attempts) == sum(data("status", log)["jobs"].values())


def test_the_page_names_only_files_that_are_there(signed: Path) -> None:
    files = content(signed / "bundle.zip")
    page = files["README.md"].decode()
    for name in set(files) - {"README.md", "manifest.json"}:
        assert f"- `{name}`: " in page
    assert all(question in page for question, _ in ANSWERED)


def test_the_same_log_gives_the_same_bundle(signed: Path, tmp_path: Path) -> None:
    assert invoke("evidence", signed / "search.db", "-o", tmp_path / "again.zip").exit_code == 0
    assert (tmp_path / "again.zip").read_bytes() == (signed / "bundle.zip").read_bytes()


def test_without_a_signature_the_page_says_so(tmp_path: Path) -> None:
    log = logs.one_trial(tmp_path / "search.db")
    assert invoke("evidence", log, "-o", tmp_path / "b.zip").exit_code == 0
    files = content(tmp_path / "b.zip")
    assert "search.db.sig" not in files
    assert "`search.db.sig` is not here: the log was not signed" in files["README.md"].decode()
    assert invoke("evidence", tmp_path / "b.zip", "--check").exit_code == 0
    assert "signed: no signer was given" in invoke("evidence", tmp_path / "b.zip", "--check").stdout


def edited(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.update({name: files[name] + b"x"})


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (edited("postmortem.txt"), "postmortem.txt is not the file that is listed"),
        (edited("README.md"), "README.md is not the file that is listed"),
        (lambda files: files.pop("replay.txt"), "replay.txt is missing"),
        (lambda files: files.update({"more.txt": b""}), "more.txt is not listed"),
        (lambda files: files.pop("search.db"), "search.db is missing"),
        (lambda files: files.update({"../outside.txt": b"x"}), "../outside.txt is not listed"),
    ],
)
def test_a_file_that_is_another_fails(
    signed: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], object], part: str
) -> None:
    bundle = remade(signed / "bundle.zip", tmp_path / "b.zip", change)
    result = invoke("evidence", bundle, "--check")
    assert result.exit_code == 1, result.output
    assert part in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_a_bundle_that_was_made_anew_with_another_log_fails_by_its_signature(signed: Path, tmp_path: Path) -> None:
    other = logs.usual(tmp_path / "search.db", trials=8, points=7)
    shutil.copy(paths.sig(signed / "search.db"), paths.sig(other))
    made = invoke("evidence", other, "-o", tmp_path / "b.zip")
    assert made.exit_code == 1
    assert "verify failed" in made.stderr
    assert "signature WRONG" in invoke("evidence", tmp_path / "b.zip", "--check").stdout
    result = invoke("evidence", tmp_path / "b.zip", "--check", "--signed-by", signed / "allowed")
    assert result.exit_code == 1
    assert "signed    WRONG" in result.stdout


def resealed(files: dict[str, bytes]) -> None:
    """Have the manifest name the files as they are now."""
    manifest = json.loads(files["manifest.json"])
    for name in manifest["files"]:
        manifest["files"][name] = {"size": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}
    files["manifest.json"] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("trials.csv", b"completed", b"pruned"),
        ("postmortem.txt", b"winner", b"looser"),
        ("postmortem.json", b'"name": "', b'"name": "another '),
        ("provenance.json", b'"policy": ', b'"policy": 1'),
    ],
)
def test_a_file_that_does_not_follow_from_the_log_is_seen_although_the_manifest_names_it(
    signed: Path, tmp_path: Path, name: str, old: bytes, new: bytes
) -> None:
    def forge(files: dict[str, bytes]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)
        resealed(files)

    bundle = remade(signed / "bundle.zip", tmp_path / "b.zip", forge)
    result = invoke("evidence", bundle, "--check", "--signed-by", signed / "allowed", "--json")
    assert result.exit_code == 1, result.output
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["manifest"]["ok"]
    assert checks["signed"]["ok"]
    assert not checks["derived"]["ok"]
    assert name in checks["derived"]["detail"]


@pytest.mark.parametrize(
    "content", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100], ids=["empty", "text", "a broken archive"]
)
def test_what_is_no_bundle_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    result = invoke("evidence", tmp_path / "b.zip", "--check")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert "is no bundle of eventhpo" in result.stderr


def test_an_archive_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    for manifest in (None, b"{}", b'{"format": "x"}', b"\xff", b"[" * 100_000):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
            archive.writestr("a.txt", b"a")
            if manifest is not None:
                archive.writestr("manifest.json", manifest)
        result = invoke("evidence", tmp_path / "b.zip", "--check")
        assert result.exit_code == 3, result.output
        assert "Traceback" not in result.output


def test_a_bundle_that_would_fill_the_memory_is_not_unpacked(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "LARGEST", 100_000)
    result = invoke("evidence", signed / "bundle.zip", "--check")
    assert result.exit_code == 3
    assert "more than 100,000 bytes" in result.stderr


def test_a_damaged_log_has_no_bundle(signed: Path, tmp_path: Path) -> None:
    log = Path(shutil.copy(signed / "search.db", tmp_path / "s.db"))
    with contextlib.closing(sqlite3.connect(log)) as db:
        db.execute("drop trigger event_is_not_updated")
        db.execute("update event set at = at + 1 where seq = 9")
        db.commit()
    result = invoke("evidence", log, "-o", tmp_path / "b.zip")
    assert result.exit_code == 3
    assert not (tmp_path / "b.zip").exists()


def test_wrong_arguments_are_told(signed: Path, tmp_path: Path) -> None:
    for words in (
        (tmp_path / "none.db",),
        (tmp_path / "none.zip", "--check"),
        (signed / "search.db", "-o", signed / "search.db"),
        (signed / "search.db", "-o", tmp_path),
        (signed / "search.db", "--signed-by", signed / "allowed"),
        (signed / "bundle.zip", "--check", "--signed-by", tmp_path / "none"),
    ):
        result = invoke("evidence", *words)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output


def test_a_bundle_of_a_search_that_runs_is_made_from_what_is_there(tmp_path: Path) -> None:
    log = logs.empty(tmp_path / "search.db")
    assert invoke("evidence", log, "-o", tmp_path / "b.zip").exit_code == 0
    assert invoke("evidence", tmp_path / "b.zip", "--check").exit_code == 0


def test_a_bundle_names_no_secret_of_its_maker(signed: Path, tmp_path: Path) -> None:
    secret = "hunter2-" + os.urandom(8).hex()
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": secret, "TOKEN": secret}
    target = tmp_path / "b.zip"
    command = [*COMMAND, "evidence", str(signed / "search.db"), "-o", str(target)]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    assert all(secret.encode() not in text for text in content(target).values())
