"""backup, seal and salvage: what keeps a log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eventhpo.cli import main
from eventhpo.log.reader import read
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "search.db"
    simulate(path, search(total_max_jobs=3), lambda trial, attempt, params: Script(points=((1, 0.5), (2, 0.25))))
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def test_a_backup_is_the_same_log_and_refuses_a_name_that_is_taken(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert run("backup", log, copy).exit_code == 0
    assert read(copy, verify=True).rows == read(log).rows
    assert run("verify", copy).exit_code == 0
    again = run("backup", log, copy)
    assert again.exit_code == 2
    assert "exists" in again.output


def test_salvage_saves_the_longest_proved_beginning_and_leaves_the_damaged_log_alone(log: Path, tmp_path: Path) -> None:
    damaged, saved = tmp_path / "damaged.db", tmp_path / "saved.db"
    shutil.copy(log, damaged)
    content = damaged.read_bytes()
    damaged.write_bytes(content.replace(b'"values":[0.5,0.25]', b'"values":[0.5,0.75]', 1))
    assert run("verify", damaged).exit_code == 3
    before = damaged.read_bytes()
    done = run("salvage", damaged, saved)
    assert done.exit_code == 0
    assert "lost" in done.output
    rows = read(saved, verify=True).rows
    assert rows == read(log).rows[: len(rows)]
    assert 1 < len(rows) < len(read(log).rows)
    assert damaged.read_bytes() == before


def test_seal_leaves_one_file_and_takes_what_a_kill_left_beside_it(log: Path, tmp_path: Path) -> None:
    assert run("seal", log).exit_code == 0
    assert not log.with_name("search.db-wal").exists()


@pytest.mark.parametrize("command", ["backup", "salvage"])
def test_a_missing_or_foreign_file_is_said(command: str, tmp_path: Path) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("no log at all\n" * 100)
    assert run(command, tmp_path / "nothing.db", tmp_path / "to.db").exit_code == 2
    assert run(command, foreign, tmp_path / "to.db").exit_code == 3
    assert run("seal", foreign).exit_code == 3
    assert not (tmp_path / "to.db").exists()


def test_a_lock_file_that_cannot_be_opened_is_a_matter_of_storage(log: Path) -> None:
    lock = log.with_name("search.db.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    done = run("seal", log)
    assert done.exit_code == 5
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "search.db.lock cannot be opened" in done.output
