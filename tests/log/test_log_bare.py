"""A log in WAL mode without its -wal: a copy that lacks rows, or a whole one that was closed in an ordinary way."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from log_samples import AT, SEARCH_ID, append, controller_started, head_of, killed, open_at, resting

from eventhpo.core.fold.events import Event, Head
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log import head, paths
from eventhpo.log.backup import backup
from eventhpo.log.reader import read
from eventhpo.log.salvage import salvage
from eventhpo.log.seal import seal
from eventhpo.log.verify import FINDINGS, examine, verify
from eventhpo.log.writer import open_writer

KILLED = "writer, _ = open_at(path)\nappend(writer, 20)\n"


def wrong(path: Path) -> dict[str, str]:
    """Return what `verify` finds."""
    return {check.name: check.detail for check in verify(path) if not check.ok}


@pytest.fixture
def copied(log: Path, tmp_path: Path) -> Path:
    """What `cp search.db elsewhere` makes of the log of a killed controller."""
    killed(KILLED, log)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    return shutil.copy(log, elsewhere / "search.db")


def test_a_copy_without_its_write_ahead_log_is_a_finding(copied: Path) -> None:
    assert wrong(copied).keys() == {"wal"}
    assert "search.db-wal" in wrong(copied)["wal"]
    assert "eventhpo backup" in wrong(copied)["wal"]
    assert {"wal"} <= FINDINGS  # exit code 1: what is there is whole
    assert [check.name for check in examine(copied).checks if check.damage] == []
    assert read(copied).unproven is not None


def test_it_is_neither_carried_on_nor_made_to_look_whole(copied: Path) -> None:
    for act in (open_at, seal, lambda path: backup(path, path.with_name("copy.db"))):
        with pytest.raises(Usage, match="may be a copy that lacks its last rows"):
            act(copied)
    assert [one.name for one in copied.parent.iterdir()] == ["search.db"]


def test_it_is_salvaged_by_who_has_nothing_else_and_that_is_said(copied: Path) -> None:
    target = copied.with_name("saved.db")
    found = salvage(copied, target)
    assert found.why is not None
    assert "lacks its last rows" in found.why
    assert wrong(target) == {}
    writer, _ = open_at(target)
    assert writer.close()


def test_with_a_head_file_of_another_search_it_is_a_finding_too(copied: Path) -> None:
    head.write(copied, "other", Head(1, "0" * 32))
    assert wrong(copied).keys() == {"wal"}


def test_with_its_head_file_alone_it_has_lost_its_tail_and_is_told_where_that_may_be(copied: Path, log: Path) -> None:
    rows = read(log).rows
    head.write(copied, SEARCH_ID, head_of(rows))
    found = wrong(copied)
    assert found.keys() == {"head"}
    for name in ("lost its tail", "search.db-wal is missing"):
        assert name in found["head"]
    for act in (open_at, seal, lambda path: backup(path, path.with_name("copy.db"))):
        with pytest.raises(DamagedLog, match=r"search\.db-wal is missing"):
            act(copied)


def test_with_its_write_ahead_log_it_is_whole(copied: Path, log: Path) -> None:
    shutil.copy(paths.wal(log), paths.wal(copied))
    assert wrong(copied) == {}
    assert read(copied).head == read(log).head


def test_an_ordinary_reader_that_closes_last_leaves_a_whole_log_that_is_carried_on(log: Path) -> None:
    killed(KILLED + "writer.hand_over()", log)
    db = sqlite3.connect(log)
    rows = db.execute("SELECT count(*) FROM event").fetchone()[0]
    db.close()
    assert not paths.wal(log).exists()
    assert paths.in_wal_mode(log)

    assert wrong(log) == {}
    assert len(read(log).rows) == rows
    writer, _ = open_at(log)
    assert writer.close()


def test_a_head_file_that_lags_says_the_same(log: Path) -> None:
    killed("writer, _ = open_at(path)\nwriter.hand_over()\nappend(writer, 20)", log)
    sqlite3.connect(log).execute("SELECT count(*) FROM event").connection.close()
    assert not paths.wal(log).exists()
    assert wrong(log) == {}
    open_at(log)[0].close()


def test_a_reader_in_the_way_of_a_clean_end_leaves_a_whole_log_that_is_carried_on(log: Path) -> None:
    writer, _ = open_at(log)
    reader = sqlite3.connect(log, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM event").fetchone()
    rows = append(writer, 5)
    assert writer.close() is False
    reader.close()
    assert not paths.wal(log).exists()
    assert paths.in_wal_mode(log)

    assert wrong(log) == {}
    assert read(log).head == head_of(rows)
    open_at(log)[0].close()


def test_a_resting_log_without_a_head_file_is_no_finding(path: Path) -> None:
    resting(path)
    paths.head(path).unlink()
    assert wrong(path) == {}
    open_at(path)[0].close()


def test_a_log_that_lost_its_tail_gets_no_new_head_by_a_backup_or_a_seal(path: Path) -> None:
    """With the old head file the loss would be forgotten."""
    rows = resting(path, 5)
    head.write(path, SEARCH_ID, Head(len(rows) + 3, "0" * 32))
    for act in (seal, lambda path: backup(path, path.with_name("copy.db"))):
        with pytest.raises(DamagedLog, match="lost its tail"):
            act(path)
    assert wrong(path).keys() == {"head"}


def test_a_start_that_is_refused_leaves_a_log_at_rest_as_it_was(path: Path) -> None:
    resting(path)
    paths.head(path).unlink()

    def refuse(rows: object) -> list[Event]:
        raise Usage("not now")

    with pytest.raises(Usage, match="not now"):
        open_writer(path, controller_started(), AT, check=refuse)
    assert not paths.in_wal_mode(path)
    assert wrong(path) == {}
    open_at(path)[0].close()
