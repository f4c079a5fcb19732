"""Readers: any number, at any time, never in the writer's way, never leaving a file behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from log_samples import AT, STOP, append, head_of, killed, listing, open_at, process, resting

import eventhpo
from eventhpo.core.fold.events import Head
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import Busy, DamagedLog, StorageFailed, Usage
from eventhpo.log import chain, paths, sql
from eventhpo.log.reader import consult, read, read_state

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs"


def test_a_resting_log_is_read_without_a_trace(path):
    rows = resting(path)
    before = listing(path)

    snapshot = read(path, verify=True)
    assert snapshot.rows == rows
    assert snapshot.head == snapshot.outside.head == head_of(rows)
    assert snapshot.contradiction is None
    assert listing(path) == before


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.db")), ids=lambda p: p.stem)
def test_the_state_of_a_log_is_what_its_rows_add_up_to_though_no_row_is_kept(golden, tmp_path):
    log = Path(shutil.copy(golden, tmp_path))
    state, without_rows = read_state(log)
    whole = read(log)
    assert repr(state) == repr(fold(whole.rows))
    assert without_rows == msgspec.structs.replace(whole, rows=[])


def test_a_damaged_log_has_no_state_and_one_that_lost_its_tail_says_so(tmp_path):
    for file in [*GOLDEN.glob("must_fail/cut.db*"), GOLDEN / "tpe.db"]:
        shutil.copy(file, tmp_path)
    assert "head" in str(read_state(tmp_path / "cut.db")[1].contradiction)
    with sqlite3.connect(tmp_path / "tpe.db") as db:
        db.execute("DROP TRIGGER event_is_not_updated")
        db.execute("UPDATE event SET at = at + 1 WHERE seq = 50")
    db.close()
    with pytest.raises(DamagedLog, match="the hash of seq 50"):
        read_state(tmp_path / "tpe.db")


def test_a_sealed_log_in_a_read_only_folder_is_read(path):
    rows = resting(path)
    for name in listing(path):
        (path.parent / name).chmod(0o444)
    path.parent.chmod(0o555)
    before = listing(path)

    assert read(path, verify=True).rows == rows
    assert listing(path) == before
    path.parent.chmod(0o755)


def test_a_log_is_read_while_it_is_written(log):
    writer, rows = open_at(log)
    rows += append(writer, 3)
    before = set(listing(log))

    assert read(log, verify=True).rows == rows
    writer.record(STOP, None, AT)
    assert read(log, verify=True).rows == rows  # what is not committed is not there
    writer.commit()
    assert read(log, verify=True).rows[-1].event == STOP
    assert set(listing(log)) == before
    writer.close()


def test_a_reader_in_the_middle_of_a_reading_does_not_hold_up_the_writer(log):
    writer, rows = open_at(log)
    seen = []

    def ask(db: sqlite3.Connection) -> int:
        sql.begin_to_read(db)
        seen.append(sql.head(db).seq)
        append(writer, 500)  # more than a checkpoint's worth
        seen.append(sql.head(db).seq)
        return seen[-1]

    consult(log, ask)
    assert seen == [len(rows), len(rows)]
    assert read(log).head.seq == len(rows) + 500
    writer.close()


def test_a_follower_gets_only_what_is_new(log):
    writer, rows = open_at(log)
    one = append(writer, 3)

    first = read(log, after=len(rows), verify=True)
    assert first.rows == one
    nothing = read(log, after=first.head.seq, verify=True)
    assert nothing.rows == []
    assert nothing.head == first.head == writer.head
    two = append(writer, 2)
    assert read(log, after=first.head.seq, verify=True).rows == two
    writer.close()
    assert read(log, after=first.head.seq, verify=True).rows == two


def test_a_log_that_ends_before_what_a_follower_has_seen_was_replaced(log):
    with pytest.raises(DamagedLog, match="ends before seq 9"):
        read(log, after=9)


def test_many_readers_beside_a_writer_that_comes_and_goes_see_every_state_whole(log):
    code = """
from eventhpo.log.reader import read
last = 0
say("ready")
while not path.with_name("stop").exists():
    snapshot = read(path, verify=True)
    assert snapshot.contradiction is None, snapshot.contradiction
    assert snapshot.head.seq >= last
    last = snapshot.head.seq
say("read")
"""
    with process(code, log) as one, process(code, log) as two:
        for child in (one, two):
            assert child.stdout.readline() == "ready\n"
        for _ in range(12):
            writer, _ = open_at(log)
            append(writer, 5)
            writer.close()
        log.with_name("stop").touch()
        assert [child.stdout.readline() for child in (one, two)] == ["read\n", "read\n"]
    writer, _ = open_at(log)
    assert writer.close()
    assert sorted(listing(log)) == ["search.db", "search.db.head", "search.db.lock", "stop"]


def test_what_a_killed_writer_left_is_read_and_left_as_it_is(log):
    killed("writer, _ = open_at(path)\nappend(writer, 5)", log)
    before = listing(log)

    assert read(log, verify=True).head.seq == 7
    assert listing(log).keys() == before.keys()
    assert listing(log)["search.db"] == before["search.db"]
    assert listing(log)["search.db-wal"] == before["search.db-wal"]


def test_a_write_ahead_log_without_its_index_is_read_from_a_copy(log, tmp_path):
    killed("writer, _ = open_at(path)\nappend(writer, 5)", log)
    folder = tmp_path / "copied"
    folder.mkdir()
    for name in ("search.db", "search.db-wal"):
        shutil.copy(log.with_name(name), folder / name)
    copied = folder / "search.db"
    before = listing(copied)

    snapshot = read(copied, verify=True)
    assert snapshot.head.seq == 7
    assert snapshot.outside.why == "there is no head file"
    assert listing(copied) == before


def test_a_rollback_journal_is_heeded_and_left_alone(path):
    rows = resting(path)
    code = """
import sqlite3
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA cache_size=2")
db.execute("BEGIN IMMEDIATE")
db.execute("DROP TRIGGER event_is_not_deleted")
db.execute("PRAGMA cache_spill=ON")
db.execute("DELETE FROM event")
db.execute("CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) "
           "SELECT i, hex(randomblob(50)) FROM n")
"""
    killed(code, path)
    assert paths.journal(path).exists()
    before = listing(path)

    assert read(path, verify=True).rows == rows
    assert listing(path) == before


def test_a_reading_during_which_a_writer_starts_is_made_again(path):
    rows = resting(path)
    calls = []
    writers = []

    def ask(db: sqlite3.Connection) -> list:
        calls.append(sql.head(db).seq)
        if len(calls) == 1:
            writer, _ = open_at(path)
            append(writer, 300)
            writers.append(writer)
        return list(chain.stored(db, 0))

    found = consult(path, ask)
    assert len(calls) == 2
    assert len(found) == len(rows) + 301
    writers[0].close()


def test_a_reading_during_which_a_writer_came_and_went_is_made_again(path):
    rows = resting(path)
    calls = []

    def ask(db: sqlite3.Connection) -> int:
        calls.append(sql.head(db).seq)
        if len(calls) == 1:
            writer, _ = open_at(path)
            assert writer.close()
        return sql.head(db).seq

    assert consult(path, ask) == len(rows) + 1
    assert len(calls) == 2


def test_damage_that_is_seen_while_the_file_changes_is_read_again_before_it_is_said(path):
    resting(path)
    calls = []

    def ask(db: sqlite3.Connection) -> str:
        calls.append(1)
        if len(calls) == 1:
            writer, _ = open_at(path)
            writer.close()
            raise DamagedLog("torn")
        return "whole"

    assert consult(path, ask) == "whole"


def test_a_file_that_always_changes_is_given_up(path):
    resting(path)

    def ask(db: sqlite3.Connection) -> None:
        writer, _ = open_at(path)
        writer.close()

    with pytest.raises(Busy, match="changed each of the 8 times"):
        consult(path, ask)


def test_a_reader_cannot_write(log):
    def ask(db: sqlite3.Connection) -> None:
        db.execute("UPDATE lease SET epoch = 99")

    with pytest.raises(StorageFailed, match="readonly"):
        consult(log, ask)
    writer, _ = open_at(log)
    with pytest.raises(StorageFailed, match="readonly"):
        consult(log, ask)
    writer.close()


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "other database", "fifo"])
def test_what_is_no_log_is_said_to_be_none(path, kind):
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("epoch,loss\n" * 1_000)
        case "fifo":
            os.mkfifo(path)
        case "other database":
            with sqlite3.connect(path) as db:
                db.execute("CREATE TABLE event(seq INTEGER PRIMARY KEY)")
            db.close()
    before = listing(path)

    with pytest.raises(Usage if kind == "missing" else DamagedLog, match=r"search\.db"):
        read(path)
    assert listing(path) == before


def test_a_log_without_its_tables_is_damaged(path):
    resting(path)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE event")
    db.close()

    with pytest.raises(DamagedLog, match="no table event"):
        read(path)


def test_a_path_with_marks_of_a_uri_is_a_path(tmp_path):
    path = tmp_path / "a?mode=memory&b=%41 #1 ü.db"
    rows = resting(path)

    assert read(path, verify=True).rows == rows


def test_a_tail_that_is_lost_is_told_to_whoever_reads(path):
    rows = resting(path, 20)
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_not_deleted")
        db.execute("DELETE FROM event WHERE seq > 9")
    db.close()

    snapshot = read(path)
    assert snapshot.head == Head(9, rows[8].hash)
    assert snapshot.contradiction == f"the log has lost its tail: head file says seq {len(rows)}, log ends at 9"


READER_IN_THE_WAY = """
reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
reader.execute("BEGIN")
reader.execute("SELECT count(*) FROM event").fetchone()
"""


def flip_a_bit_of_the_first_page(wal: Path) -> None:
    """SQLite drops the frame that the bit is in and all after it, without a word."""
    content = bytearray(wal.read_bytes())
    content[32 + 24 + 100] ^= 1
    wal.write_bytes(content)


def test_a_tail_that_is_lost_in_the_write_ahead_log_is_told(log):
    killed(
        f"writer, _ = open_at(path)\n{READER_IN_THE_WAY}\nappend(writer, 5)\nappend(writer, 5)\nwriter.hand_over()",
        log,
    )
    flip_a_bit_of_the_first_page(paths.wal(log))
    paths.shm(log).unlink()

    snapshot = read(log)
    assert snapshot.head.seq == 2
    assert snapshot.contradiction == "the log has lost its tail: head file says seq 12, log ends at 2"
    with pytest.raises(DamagedLog, match="lost its tail"):
        open_at(log)


def test_what_the_head_file_names_is_in_the_file_itself_if_no_reader_is_in_the_way(log):
    killed("writer, _ = open_at(path)\nappend(writer, 5)\nwriter.hand_over()\nappend(writer, 5)", log)
    flip_a_bit_of_the_first_page(paths.wal(log))
    paths.shm(log).unlink()

    snapshot = read(log)
    assert snapshot.head.seq == 7
    assert snapshot.outside.head == snapshot.head
    paths.wal(log).unlink()
    assert read(log).head == snapshot.head


def test_reading_loads_neither_optuna_nor_clearml_nor_the_command_line():
    code = (
        "import sys, eventhpo.log.reader, eventhpo.log.verify;"
        "print(sorted({'optuna', 'clearml', 'sqlite_utils', 'click', 'numpy'} & set(sys.modules)))"
    )
    root = Path(eventhpo.__file__).parent.parent
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
