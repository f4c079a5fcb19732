"""A killed command leaves nothing that hinders the next one, and the next one removes what it left."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from log_samples import AT, append, killed, killed_after, open_at, search_created

from eventhpo.errors import Busy
from eventhpo.log import lease, leftovers, paths, reader
from eventhpo.log.backup import backup
from eventhpo.log.create import create
from eventhpo.log.move_aside import move_aside
from eventhpo.log.salvage import salvage
from eventhpo.log.seal import seal
from eventhpo.log.verify import examine

ME = lease.Holder("here", 1)
TEMPORARY = "0123abcd"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def crashed(path: Path, rows: int = 3) -> Path:
    """Make a log as a killed controller leaves it: rows in its -wal, without -shm."""
    create(path, search_created(), AT)
    killed(f"writer, _ = open_at(path)\nappend(writer, {rows})\nwriter.commit()", path)
    paths.shm(path).unlink()
    return path


# ---------------------------------------------------------------- kills

COMMANDS: dict[str, Callable[[Path], object]] = {
    "seal": seal,
    "backup": lambda log: backup(log, log.with_name("copy.db")),
    "salvage": lambda log: salvage(log, log.with_name("copy.db")),
    "start over": lambda log: move_aside(log, ME),
    "status": reader.read,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_after_a_kill_at_any_moment_the_command_is_given_again_and_the_search_goes_on(
    name: str, tmp_path: Path, temporary: Path
) -> None:
    (tmp_path / "original").mkdir()
    original = crashed(tmp_path / "original" / "search.db")
    work, kills = COMMANDS[name], 0
    while True:
        folder = tmp_path / str(kills)
        shutil.copytree(original.parent, folder)
        log = folder / "search.db"
        if not killed_after(kills + 1, lambda log=log: work(log)):  # type: ignore[misc]
            break
        kills += 1
        copy = folder / "copy.db"
        if copy.exists():
            writer, rows = open_at(copy)
            assert len(rows) == 6
            assert writer.close()
        else:
            work(log)  # what was killed is in nobody's way
        assert not copy.exists() or examine(copy).ok
        live = folder / "search.old-1.db" if name == "start over" else log
        assert len(reader.read(live).rows) == 5
        writer, rows = open_at(live)
        assert len(rows) == 6
        assert writer.close()
        assert examine(live).ok
        left = {file.name for file in folder.iterdir()} - {live.name, f"{live.name}.head", "copy.db", "copy.db.head"}
        assert left <= {"search.db.lock", "search.old-1.db.lock", "copy.db.lock"}
        reader.read(original)  # the next that reads from a copy removes those of killed readers
        assert list(temporary.iterdir()) == []
    assert kills > 5


# ---------------------------------------------------------------- what the next start removes, and what it leaves


@pytest.mark.parametrize("suffix", [".new", ".new-journal"])
def test_a_log_whose_birth_was_killed_is_removed_by_the_next_birth_and_by_the_next_writer(
    suffix: str, path: Path
) -> None:
    left = path.with_name(f"search.db.{TEMPORARY}{suffix}")
    left.write_text("half")
    create(path, search_created(), AT)
    assert not left.exists()
    left.write_text("half")
    open_at(path)[0].close()
    assert not left.exists()


def test_the_second_name_of_a_log_whose_birth_was_killed_after_the_link_is_removed(log: Path) -> None:
    born = log.with_name(f"search.db.{TEMPORARY}.new")
    os.link(log, born)
    writer, _ = open_at(log)
    assert not born.exists()
    append(writer, 1)
    assert writer.close()


def test_what_a_killed_take_over_left_of_a_lock_file_is_removed(log: Path) -> None:
    left = log.with_name(f"search.db.lock.{TEMPORARY}")
    left.touch()
    open_at(log)[0].close()
    assert not left.exists()


def test_what_somebody_holds_is_left_alone(log: Path) -> None:
    born = log.with_name(f"search.db.{TEMPORARY}.new")
    with leftovers.held(born):
        open_at(log)[0].close()
        assert born.exists()
    open_at(log)[0].close()
    assert not born.exists()


def test_a_take_over_whose_lock_file_was_swept_is_told_who_was_first(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce = lease.Lease.announce

    def swept(self: lease.Lease, holder: lease.Holder) -> None:
        announce(self, holder)
        for fresh in log.parent.glob("search.db.lock.*"):
            fresh.unlink()

    monkeypatch.setattr(lease.Lease, "announce", swept)
    with pytest.raises(Busy, match="at the same time"):
        lease.take_over(log, ME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", [".new", ".new-journal"])
def test_what_is_of_another_user_is_left_alone(name: str, log: Path) -> None:
    theirs = log.with_name(f"search.db.{TEMPORARY}{name}")
    theirs.touch()
    os.chown(theirs, 65534, 65534)
    open_at(log)[0].close()
    assert theirs.exists()


@pytest.mark.parametrize("name", [".of-mine", ".0123abcd.old", ".0123ABCD.new"])
def test_what_is_named_otherwise_is_left_alone(name: str, log: Path) -> None:
    log.with_name(f"search.db{name}").touch()
    open_at(log)[0].close()
    assert log.with_name(f"search.db{name}").exists()


# ---------------------------------------------------------------- copies


def test_while_a_copy_is_read_it_has_no_name_any_more(tmp_path: Path, temporary: Path) -> None:
    log = crashed(tmp_path / "search.db")
    seen = []

    def ask(db: sqlite3.Connection) -> int:
        seen.append(list(temporary.iterdir()))
        return int(db.execute("SELECT count(*) FROM event").fetchone()[0])

    assert reader.consult(log, ask) == 5
    assert seen == [[]]


def test_the_copy_of_a_reader_that_was_killed_is_removed_by_the_next(tmp_path: Path, temporary: Path) -> None:
    log = crashed(tmp_path / "search.db")
    left = temporary / "eventhpo-copy-left"
    left.mkdir()
    (left / "search.db-wal").write_bytes(bytes(1_000_000))
    other = temporary / "of-another-program"
    other.mkdir()
    with leftovers.folder_for_copy() as read_now:
        reader.read(log)
        assert read_now.exists()
    assert list(temporary.iterdir()) == [other]


def test_a_journal_of_a_killed_birth_is_not_played_into_a_new_log(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN")
    db.execute("CREATE TABLE theirs(content BLOB)")
    db.execute("INSERT INTO theirs VALUES (zeroblob(100000))")
    hot = paths.journal(path).read_bytes()
    db.close()
    path.unlink(missing_ok=True)
    assert hot
    path.with_name(f"search.db.{TEMPORARY}.new-journal").write_bytes(hot)
    create(path, search_created(), AT)
    assert examine(path).ok
    assert {file.name for file in path.parent.iterdir()} == {"search.db", "search.db.head"}
