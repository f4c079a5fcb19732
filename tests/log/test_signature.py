"""`eventhpo sign` and `verify --signed-by`: a log that was made anew as a whole does not have its signature."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.events import Event, MetricObserved, Recorded
from eventhpo.log import paths, signature
from eventhpo.log.reader import read
from tests.cli.harness import COMMAND, Place, data, invoke
from tests.replay.forging import changed, forged
from tests.report import logs


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)], check=True)
    return path


def allow(folder: Path, name: str, key: Path, options: str = 'namespaces="eventhpo"') -> Path:
    kind, public, *_ = Path(f"{key}.pub").read_text().split()
    target = folder / "allowed"
    with target.open("a") as file:
        file.write(f"{name} {options} {kind} {public}\n".replace("  ", " "))
    return target


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return logs.usual(tmp_path / "search.db", trials=8)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key")


@pytest.fixture
def allowed(tmp_path: Path, key: Path) -> Path:
    return allow(tmp_path, "alice@example.org", key)


def check(log: Path, allowed: Path, *words: object) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code of verify, and its checks by name."""
    result = invoke("verify", log, "--signed-by", allowed, "--json", *words)
    assert result.exit_code in (0, 1, 3), result.output
    return result.exit_code, {c["name"]: c for c in json.loads(result.stdout)["checks"]}


def forge(log: Path, rows: Sequence[Recorded]) -> None:
    """Write *rows* to *log* anew, its first metric half a point better, with chain, head and keys that fit."""
    seq = next(row.seq for row in rows if isinstance(row.event, MetricObserved))

    def better(event: Event) -> Event:
        assert isinstance(event, MetricObserved)
        return changed(event, values=(float(event.values[0]) + 0.5, *event.values[1:]))

    for left in (log, paths.head(log)):
        left.unlink()
    forged(log, rows, seq, better)


def test_a_signed_log_is_verified_with_its_signer(log: Path, key: Path, allowed: Path) -> None:
    assert invoke("sign", log, "--key", key, "--by", "Alice").exit_code == 0
    code, checks = check(log, allowed)
    assert code == 0
    assert checks["signed"]["ok"]
    last = read(log).head.seq
    assert checks["signed"]["detail"].startswith(f"alice@example.org signed seq {last}, at ")


def test_openssh_alone_can_check_the_signature(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    assert invoke("sign", log, "--key", key).exit_code == 0
    line, armour = paths.sig(log).read_text().split("\n", 1)
    (tmp_path / "armour").write_text(armour)
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "alice@example.org", "-n", "eventhpo", "-s"]
    done = subprocess.run([*command, tmp_path / "armour"], input=f"{line}\n".encode(), check=False)
    assert done.returncode == 0


def test_a_log_with_a_forged_winner_fails_although_it_is_whole_in_itself(log: Path, key: Path, allowed: Path) -> None:
    assert invoke("sign", log, "--key", key).exit_code == 0

    rows = read(log).rows
    seq = next(row.seq for row in rows if isinstance(row.event, MetricObserved))
    best = float(data("top", log, "-k", 1)[0]["metrics"]["validation/accuracy"]["value"])

    def better(event: Event) -> Event:
        assert isinstance(event, MetricObserved)
        return changed(event, values=(best + 0.05, *event.values[1:]))

    for left in (log, paths.head(log)):
        left.unlink()
    forged(log, rows, seq, better)
    assert "signature WRONG" in invoke("verify", log).stdout  # seen without a key: the statement names another hash
    elsewhere = paths.sig(log).rename(log.with_name("kept.sig"))
    assert invoke("verify", log).exit_code == 0  # chain, keys and head are made anew
    elsewhere.rename(paths.sig(log))
    code, checks = check(log, allowed)
    assert code == 1
    assert "the log was made anew after it was signed" in checks["signed"]["detail"]


def test_a_log_that_has_grown_keeps_its_signature_and_says_how_many_rows_came_after(
    log: Path, key: Path, allowed: Path
) -> None:
    assert invoke("sign", log, "--key", key).exit_code == 0
    assert invoke("note", log, 0, "looks good").exit_code == 0
    code, checks = check(log, allowed)
    assert code == 0
    assert "rows came after it" in checks["signed"]["detail"]


def test_a_log_that_lost_its_tail_fails(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    before = shutil.copy(log, tmp_path / "before.db")
    assert invoke("note", log, 0, "later").exit_code == 0
    assert invoke("sign", log, "--key", key).exit_code == 0
    shutil.copy(before, log)
    paths.head(log).unlink()
    code, checks = check(log, allowed)
    assert code == 1
    assert "it has lost its tail since" in checks["signed"]["detail"]


def test_the_signature_of_another_log_fails(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(Path(__file__).parents[2] / "fixtures" / "studies" / "decided.db", tmp_path / "other.db"))
    assert invoke("sign", other, "--key", key).exit_code == 0
    code, checks = check(log, allowed, "--signature", paths.sig(other))
    assert code == 1
    assert "signed another search" in checks["signed"]["detail"]


def test_the_statement_of_an_earlier_head_does_not_cover_rows_of_a_longer_log_that_were_rewritten(
    log: Path, key: Path, allowed: Path
) -> None:
    """The log may grow after it was signed; none of the rows up to the signed one may be another one."""
    assert invoke("sign", log, "--key", key).exit_code == 0
    assert invoke("note", log, 0, "looks good").exit_code == 0
    forge(log, read(log).rows)
    assert "signature WRONG" in invoke("verify", log).stdout  # seen without a key: the statement names another hash
    code, checks = check(log, allowed)
    assert code == 1
    assert "the log was made anew after it was signed" in checks["signed"]["detail"]


def test_a_statement_that_was_moved_to_the_forged_head_does_not_count(log: Path, key: Path, allowed: Path) -> None:
    """The forger writes the hash of their own log into the statement, and leaves the signature as it is."""
    assert invoke("sign", log, "--key", key).exit_code == 0
    signed = read(log).head
    forge(log, read(log).rows)
    text = paths.sig(log).read_text()
    assert signed.hash in text
    paths.sig(log).write_text(text.replace(signed.hash, read(log).head.hash))
    code, checks = check(log, allowed)
    assert code == 1
    assert "none of its 1 signatures is of a signer in" in checks["signed"]["detail"]


def test_signatures_of_one_key_that_were_swapped_between_two_searches_fail_for_both(
    log: Path, key: Path, allowed: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copy(Path(__file__).parents[2] / "fixtures" / "studies" / "decided.db", tmp_path / "other.db"))
    for each in (log, other):
        assert invoke("sign", each, "--key", key).exit_code == 0
    first, second = paths.sig(log).read_bytes(), paths.sig(other).read_bytes()
    paths.sig(log).write_bytes(second)
    paths.sig(other).write_bytes(first)
    for each in (log, other):
        code, checks = check(each, allowed)
        assert code == 1
        assert "signed another search" in checks["signed"]["detail"]


def test_an_armour_of_another_statement_of_the_same_key_does_not_count(log: Path, key: Path, allowed: Path) -> None:
    """Two true signatures of one signer: the statement of one with the armour of the other."""
    assert invoke("sign", log, "--key", key).exit_code == 0
    line = paths.sig(log).read_text().partition("\n")[0]
    assert invoke("note", log, 0, "later").exit_code == 0
    assert invoke("sign", log, "--key", key).exit_code == 0
    armour = paths.sig(log).read_text().partition("\n")[2]
    paths.sig(log).write_text(f"{line}\n{armour}")
    code, checks = check(log, allowed)
    assert code == 1
    assert "none of its 1 signatures is of a signer in" in checks["signed"]["detail"]


def test_a_true_signature_next_to_a_false_one_does_not_cover_it(
    log: Path, key: Path, allowed: Path, tmp_path: Path
) -> None:
    """One allowed signer signed the forged log, the other the true one: it is not enough that one of them is right."""
    other = make_key(tmp_path / "other")
    assert invoke("sign", log, "--key", key).exit_code == 0
    forge(log, read(log).rows)
    assert invoke("sign", log, "--key", other).exit_code == 0
    code, checks = check(log, allow(tmp_path, "bob@example.org", other))
    assert code == 1
    assert "the log was made anew after it was signed" in checks["signed"]["detail"]


@pytest.mark.parametrize("valid", ['valid-before="20200101"', 'valid-after="29990101"'])
def test_a_key_that_is_not_valid_now_does_not_count(log: Path, key: Path, tmp_path: Path, valid: str) -> None:
    assert invoke("sign", log, "--key", key).exit_code == 0
    code, checks = check(log, allow(tmp_path, "alice@example.org", key, f'namespaces="eventhpo",{valid}'))
    assert code == 1
    assert "none of its 1 signatures is of a signer in" in checks["signed"]["detail"]
    still = tmp_path / "still"
    still.mkdir()
    assert check(log, allow(still, "alice@example.org", key, 'valid-before="29990101"'))[0] == 0


def test_a_key_that_was_replaced_under_its_owners_name_does_not_count(log: Path, key: Path, tmp_path: Path) -> None:
    """The name that a statement claims is nothing; the key that the name has in the list is what counts."""
    assert invoke("sign", log, "--key", key, "--by", "alice@example.org").exit_code == 0
    new = make_key(tmp_path / "new")
    code, checks = check(log, allow(tmp_path, "alice@example.org", new))
    assert code == 1
    assert "none of its 1 signatures is of a signer in" in checks["signed"]["detail"]


def test_a_signer_who_is_not_allowed_does_not_count(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    assert invoke("sign", log, "--key", make_key(tmp_path / "mallory")).exit_code == 0
    code, checks = check(log, allowed)
    assert code == 1
    assert "none of its 1 signatures is of a signer in" in checks["signed"]["detail"]


def test_a_signer_of_another_namespace_does_not_count(log: Path, key: Path, tmp_path: Path) -> None:
    assert invoke("sign", log, "--key", key).exit_code == 0
    only_git = allow(tmp_path, "alice@example.org", key, 'namespaces="git"')
    assert check(log, only_git)[0] == 1


def test_a_statement_that_was_changed_does_not_count(log: Path, key: Path, allowed: Path) -> None:
    assert invoke("sign", log, "--key", key, "--by", "Alice").exit_code == 0
    text = paths.sig(log).read_text()
    paths.sig(log).write_text(text.replace('"by":"Alice"', '"by":"Bob"'))
    assert check(log, allowed)[0] == 1


def test_two_signers_sign_one_log_and_one_of_them_twice(log: Path, key: Path, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other", kind="ecdsa")
    for by in (key, other, key):
        assert invoke("sign", log, "--key", by).exit_code == 0
    assert len(signature.read(log)) == 2
    allow(tmp_path, "alice@example.org", key)
    both = allow(tmp_path, "bob@example.org", other)
    code, checks = check(log, both)
    assert code == 0
    assert {"alice@example.org", "bob@example.org"} <= set(checks["signed"]["detail"].split())


def test_a_file_is_bound_to_the_log_by_its_content(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(bytes(3_000_000))
    assert invoke("sign", log, "--key", key, "--artifact", model).exit_code == 0
    code, checks = check(log, allowed, "--artifact", model)
    assert code == 0
    assert checks["files"]["detail"] == "model.pt, signed by alice@example.org"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    code, checks = check(log, allowed, "--artifact", model)
    assert code == 1
    assert not checks["files"]["ok"]
    assert checks["signed"]["ok"]


def test_the_key_may_be_in_an_agent(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    with agent(tmp_path) as environment:
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
        private = key.read_bytes()
        key.unlink()
        done = subprocess.run(
            [*COMMAND, "sign", str(log), "--key", f"{key}.pub"], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert check(log, allowed)[0] == 0
        assert private


@contextlib.contextmanager
def agent(folder: Path) -> Iterator[dict[str, str]]:
    """Run an agent; give the environment that knows it."""
    socket = folder / "agent"
    child = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()  # it names its socket once it listens
    try:
        yield {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    finally:
        child.kill()
        child.communicate()


# ---------------------------------------------------------------- refused


def test_a_log_without_a_signature_fails_if_one_is_asked_for(log: Path, allowed: Path) -> None:
    code, checks = check(log, allowed)
    assert code == 1
    assert checks["signed"]["detail"] == f"there is no signature {paths.sig(log)}"


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{}\n", b"x" * 5_000_000, b'{"format":"eventhpo-signature-9"}\n', b"\0" * 100],
    ids=["empty", "no text", "no statement", "too long", "another format", "zeros"],
)
def test_what_is_no_signature_file_fails_in_a_line(log: Path, key: Path, allowed: Path, content: bytes) -> None:
    paths.sig(log).write_bytes(content)
    code, checks = check(log, allowed)
    assert code == 1
    assert "is no signature of eventhpo" in checks["signed"]["detail"]
    result = invoke("sign", log, "--key", key)  # and is not written over
    assert result.exit_code == 1
    assert paths.sig(log).read_bytes() == content


def test_a_damaged_log_is_not_signed(log: Path, key: Path) -> None:
    with contextlib.closing(sqlite3.connect(log)) as db:
        db.execute("drop trigger event_is_not_updated")
        db.execute("update event set at = at + 1 where seq = 9")
        db.commit()
    result = invoke("sign", log, "--key", key)
    assert result.exit_code == 3
    assert not paths.sig(log).exists()


def test_a_key_or_a_file_that_is_not_there_is_told(log: Path, key: Path, allowed: Path, tmp_path: Path) -> None:
    for words in (
        ("sign", log, "--key", tmp_path / "none"),
        ("sign", log, "--key", key, "--artifact", tmp_path / "none"),
        ("sign", tmp_path / "none.db", "--key", key),
        ("verify", log, "--signed-by", tmp_path / "none"),
        ("verify", log, "--artifact", log),
    ):
        if words[0] == "verify":
            assert invoke("sign", log, "--key", key).exit_code == 0
        result = invoke(*words)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output


def test_what_is_no_key_is_refused_by_ssh_keygen_and_told_in_a_line(log: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    result = invoke("sign", log, "--key", tmp_path / "text")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "ssh-keygen refused" in result.stderr


def test_without_ssh_keygen_the_message_says_what_to_install(
    log: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("sign", log, "--key", key)
    assert result.exit_code == 2
    assert "ssh-keygen is not installed" in result.stderr


def test_a_signature_that_cannot_be_written_is_told(log: Path, key: Path, tmp_path: Path) -> None:
    paths.sig(log).mkdir()
    result = invoke("sign", log, "--key", key)
    assert result.exit_code in (1, 5)
    assert "Traceback" not in result.output


# ---------------------------------------------------------------- at the end of a search


def test_a_search_signs_its_log_whenever_it_is_put_to_rest(tmp_path: Path) -> None:
    place = Place(tmp_path)
    key = make_key(tmp_path / "key")
    place.describe(jobs=2, more='sign = "key"')
    done = place.run()
    assert done.returncode == 0, done.stderr
    allowed = allow(tmp_path, "alice@example.org", key)
    first = signature.read(place.log)[0].statement.seq
    assert first == place.rows()[-1].seq
    assert place.call("resume", "search.db", "--total-max-jobs", "3").returncode == 0
    assert check(place.log, allowed)[0] == 0
    assert signature.read(place.log)[0].statement.seq == place.rows()[-1].seq > first
    place.close()


def test_a_key_that_cannot_sign_is_told_and_ends_no_search(tmp_path: Path) -> None:
    place = Place(tmp_path)
    make_key(tmp_path / "key", passphrase="secret")  # noqa: S106  of a key of this test
    place.describe(jobs=1, more='sign = "key"')
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert "the log is not signed: ssh-keygen refused: " in done.stderr
    assert f"eventhpo sign search.db --key {tmp_path / 'key'}" in done.stderr
    assert data("status", place.log)["state"] == "finished"
    place.close()
