"""Logs from strangers: each command that reads one ends, in one line, whatever the file is or lies next to it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.codec import GENESIS, chain
from eventhpo.log.sql import SCHEMA

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs" / "rungs.db"
COMMANDS = [
    ("status",),
    ("top",),
    ("events",),
    ("verify",),
    ("postmortem",),
    ("explain", "1"),
    ("replay",),
    ("prunes",),
    ("sql", "select * from leaderboard"),
]
commands = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return Path(shutil.copy(GOLDEN, tmp_path / "s.db"))


def run(log: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on *log*; it has a minute of processor time and 4 GB, which none of them comes near."""
    limits = "import resource as r; r.setrlimit(r.RLIMIT_CPU, (60, 60)); r.setrlimit(r.RLIMIT_AS, (4 << 30, 4 << 30))"
    code = f"{limits}; import sys; sys.argv[0] = 'eventhpo'; from eventhpo.cli import main; main()"
    command = [sys.executable, "-c", code, words[0], str(log), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def assert_is_told(done: subprocess.CompletedProcess[str], codes: tuple[int, ...] = (3,)) -> None:
    assert done.returncode in codes, done.stderr or done.stdout
    assert "Traceback" not in done.stderr


def remake(log: Path, statements: list[str]) -> None:
    """Put another table in the place of `event`."""
    db = sqlite3.connect(log)
    db.execute("PRAGMA writable_schema=ON")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def rewrite(log: Path, change: Callable[[str, dict[str, Any]], Any], **columns: int) -> None:
    """Rewrite bodies, or a column of the second row, and all hashes after it."""
    db = sqlite3.connect(log)
    db.execute("DROP TRIGGER event_is_not_updated")
    before = GENESIS.hash
    query = "SELECT seq, at, epoch, cause, type, v, body FROM event ORDER BY seq"
    for seq, at, epoch, cause, name, version, body in db.execute(query).fetchall():
        data = json.loads(body)
        change(name, data)
        body = json.dumps(data, separators=(",", ":"))  # noqa: PLW2901
        at, version = (columns.get("at", at), columns.get("v", version)) if seq == 2 else (at, version)  # noqa: PLW2901
        before = chain(before, seq, at, epoch, cause, name, version, body)
        db.execute("UPDATE event SET body = ?, hash = ?, at = ?, v = ? WHERE seq = ?", (body, before, at, version, seq))
    db.execute(SCHEMA["event_is_not_updated"])
    db.commit()
    db.close()


# ---------------------------------------------------------------- the schema

RENAMED = "ALTER TABLE event RENAME TO rows_of_it"
ENDLESS = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n, 0, 0, NULL, 'x', 1, '{}', 'h' FROM c"
)
TABLES = {
    "a view": [RENAMED, "CREATE VIEW event AS SELECT * FROM rows_of_it"],
    "an endless view": [RENAMED, f"CREATE VIEW event(seq, at, epoch, cause, type, v, body, hash) AS {ENDLESS}"],
    "a virtual table": [RENAMED, "CREATE VIRTUAL TABLE event USING fts5(seq, at, epoch, cause, type, v, body, hash)"],
    "generated columns": [
        RENAMED,
        "CREATE TABLE event(seq INTEGER PRIMARY KEY, at, epoch, cause, type, v, body AS (hex(zeroblob(100000))), hash)",
    ],
    "other columns": [RENAMED, "CREATE TABLE event(seq, at)"],
    "no table": [RENAMED],
}


@commands
@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_eventhpo_does_not_make_is_refused_before_a_row_is_read(
    name: str, words: tuple[str, ...], log: Path
) -> None:
    remake(log, TABLES[name])
    assert_is_told(run(log, *words), (1, 3))


def test_a_log_with_a_trigger_of_somebody_else_is_not_written(log: Path) -> None:
    trigger = "CREATE TRIGGER theirs AFTER INSERT ON event BEGIN SELECT 1; END"
    remake(log, [trigger])
    done = run(log, "note", "1", "hello")
    assert_is_told(done)
    assert "theirs" in done.stderr


# ---------------------------------------------------------------- what lies next to it

KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@commands
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".head", ".lock", "-wal", "-shm", "-journal"])
def test_what_is_next_to_the_log_and_no_file_is_not_opened(
    suffix: str, kind: str, words: tuple[str, ...], log: Path
) -> None:
    KINDS[kind](log.with_name(f"s.db{suffix}"))
    # A reader needs no lock file, and a writer says what it cannot open.
    assert_is_told(run(log, *words), (0, 1, 3) if suffix == ".lock" else (1, 3))


def test_a_sparse_write_ahead_log_of_20_gb_is_not_copied(log: Path) -> None:
    with log.with_name("s.db-wal").open("wb") as file:
        file.truncate(20 * 1024**3)
    assert_is_told(run(log, "status"))


@commands
def test_the_write_ahead_log_of_a_log_that_was_cut_to_a_byte_stays(words: tuple[str, ...], log: Path) -> None:
    content = log.read_bytes()
    log.write_bytes(content[:1])
    for suffix in ("-wal", "-shm"):
        log.with_name(f"s.db{suffix}").write_bytes(content[:4128])
    assert_is_told(run(log, *words))
    assert log.with_name("s.db-wal").read_bytes() == content[:4128]


@commands
def test_a_journal_next_to_a_write_ahead_log_is_read_from_a_copy(words: tuple[str, ...], log: Path) -> None:
    content = log.read_bytes()
    for suffix in ("-wal", "-shm", "-journal"):
        log.with_name(f"s.db{suffix}").write_bytes(content[:4128])
    assert_is_told(run(log, *words), (0, 1, 3))


def test_a_lock_file_that_is_a_link_does_not_overwrite_what_it_leads_to(log: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    log.with_name("s.db.lock").symlink_to(victim)
    assert run(log, "note", "1", "hello").returncode == 5
    assert victim.read_text() == "precious"


# ---------------------------------------------------------------- absurd values

ABSURD: dict[str, tuple[Callable[[str, dict[str, Any]], Any], dict[str, int]]] = {
    "version 0": (lambda name, data: None, {"v": 1}),
    "a time after the last year": (lambda name, data: None, {"at": 2**63 - 1}),
    "values longer than iterations": (
        lambda name, data: data["values"].append(1.0) if name == "MetricObserved" else None,
        {},
    ),
    "a time limit of 1e300": (
        lambda name, data: (
            data["search"]["limits"].update(time_limit_per_job=1e300) if name == "SearchCreated" else None
        ),
        {},
    ),
    "sampler arguments of 10**9": (
        lambda name, data: (
            data["search"]["sampler"].update(args={"n_startup_trials": 10**9}) if name == "SearchCreated" else None
        ),
        {},
    ),
    "an integer range of 10**300": (
        lambda name, data: (
            data["search"].update(
                space=[
                    {"type": "UniformIntegerParameterRange", "name": "General/x", "min_value": 0, "max_value": 10**300}
                ]
            )
            if name == "SearchCreated"
            else None
        ),
        {},
    ),
    "a slot of 10**18": (lambda name, data: data.update(slot=10**18) if name == "JobCreated" else None, {}),
    "a clock of 10**30": (lambda name, data: data.update(clock=10**30) if name == "ControllerStarted" else None, {}),
    "a started_at before all time": (
        lambda name, data: data.update(started_at=-(10**30)) if name == "JobStarted" else None,
        {},
    ),
}


@commands
@pytest.mark.parametrize("name", ABSURD)
def test_a_value_that_fits_its_type_and_is_absurd_is_told_or_shown(
    name: str, words: tuple[str, ...], log: Path
) -> None:
    change, columns = ABSURD[name]
    rewrite(log, change, **columns)
    assert_is_told(run(log, *words), (0, 1, 3))


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil<script>"


@commands
def test_no_escape_of_a_name_reaches_the_terminal(words: tuple[str, ...], log: Path) -> None:
    def change(name: str, data: dict[str, Any]) -> None:
        if name == "SearchCreated":
            data["search"]["name"] = HOSTILE
        if name == "JobEnded":
            data["why"] = HOSTILE

    rewrite(log, change)
    done = run(log, *words)
    assert_is_told(done, (0, 1, 3))
    shown = done.stdout + done.stderr
    assert not any(character in shown for character in "\x1b\x07\x9b\u202e")
