"""The writer: a row is appended with all that was recorded with it, or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import msgspec
import pytest
from log_samples import (
    AT,
    SEARCH_ID,
    STOP,
    append,
    controller_started,
    head_of,
    killed,
    listing,
    open_at,
    point,
    process,
    resting,
    search_created,
)

from eventhpo.core.fold import codec
from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog, StorageFailed, Usage
from eventhpo.log import chain, head, paths, seal, sql
from eventhpo.log.reader import read
from eventhpo.log.verify import verify


def test_opening_a_log_starts_an_epoch_and_returns_every_row(log):
    writer, rows = open_at(log)
    with_first = [search_created(), controller_started()]

    assert [row.event for row in rows] == with_first
    assert [row.epoch for row in rows] == [0, 1]
    assert rows[1].cause is None
    assert writer.epoch == 1
    assert writer.head == head_of(rows)
    assert not writer.pending
    writer.close()
    again, rows = open_at(log)
    assert again.epoch == 2
    assert [row.event for row in rows] == [*with_first, controller_started()]
    again.close()


def test_what_is_recorded_has_its_seq_and_hash_before_it_is_written(log):
    writer, _ = open_at(log)
    one = writer.record(point(0), 2, AT)
    two = writer.record(point(1), 2, AT)

    assert (one.seq, two.seq) == (3, 4)
    assert writer.head == Head(4, two.hash)
    assert writer.pending
    assert read(log).head.seq == 2
    writer.commit()
    assert not writer.pending
    assert read(log, verify=True).rows[-2:] == [one, two]
    writer.close()


def test_the_hash_of_a_row_is_the_documented_one():
    row = chain.row_of(STOP, GENESIS, 1_700_000_000_000_000, 3, None)

    assert row[6] == '{"by":"","why":"enough","uid":null,"scope":"run","jobs":"abort","request":null}'
    assert row[7] == "debc81c0957851704e1491bf4bbe1421"
    caused = chain.row_of(STOP, Head(7, row[7]), 1_700_000_000_000_001, 3, 5)
    assert caused[7] == "1bdde155d11633128e133f4fb4e386ab"


@pytest.mark.parametrize("cause", [0, -1, 3, 99])
def test_a_cause_lies_before_its_row(log, cause):
    writer, _ = open_at(log)

    with pytest.raises(ValueError, match="cannot be caused by"):
        writer.record(point(0), cause, AT)
    assert not writer.pending
    writer.close()


def test_an_event_that_json_would_change_is_refused_and_the_writer_goes_on(log):
    writer, _ = open_at(log)
    wrong = msgspec.structs.replace(point(0), values=(float("nan"), 0.5))

    with pytest.raises(ValueError, match="MetricObserved cannot be recorded"):
        writer.record(wrong, None, AT)
    append(writer, 1)
    assert read(log).head.seq == 3
    writer.close()


def test_on_a_full_disk_a_transaction_leaves_nothing_and_the_search_can_be_resumed(log):
    writer, rows = open_at(log)
    rows += append(writer, 3)
    writer._db.execute("PRAGMA max_page_count=16")  # a disk that is full, the same each time
    for n in range(2_000):
        writer.record(point(n), None, AT)

    with pytest.raises(StorageFailed, match=r"disk is full.*eventhpo resume .*search\.db"):
        writer.commit()
    with pytest.raises(StorageFailed, match="any more"):
        writer.commit()
    with pytest.raises(StorageFailed, match="any more"):
        writer.record(STOP, None, AT)
    assert writer.close() is False
    assert read(log, verify=True).rows == rows
    again, _ = open_at(log)
    append(again, 3)
    assert again.close()


def test_a_writer_that_finds_another_head_than_its_own_writes_nothing(log):
    writer, rows = open_at(log)
    with sqlite3.connect(log, isolation_level=None) as other:
        foreign = chain.row_of(STOP, head_of(rows), AT, 1, None)
        other.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", foreign)
    other.close()
    writer.record(point(0), None, AT)

    with pytest.raises(StorageFailed, match="somebody else wrote"):
        writer.commit()
    writer.close()
    assert [row.event for row in read(log, verify=True).rows[2:]] == [STOP]


def test_an_interrupted_commit_leaves_the_writer_unusable(log, monkeypatch):
    writer, rows = open_at(log)
    writer.record(point(0), None, AT)

    def interrupted(db, rows):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("eventhpo.log.sql.append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.commit()
    with pytest.raises(StorageFailed, match="its last commit did not end"):
        writer.commit()
    writer.close()
    assert read(log).rows == rows


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}' WHERE seq = 2",
        "DELETE FROM event WHERE seq = 3",
        "DELETE FROM event",
        "REPLACE INTO event SELECT 2, at, epoch, cause, type, v, '{}', hash FROM event WHERE seq = 2",
        "INSERT OR REPLACE INTO event SELECT 3, at, epoch, cause, type, v, body, hash FROM event WHERE seq = 2",
        "INSERT INTO event SELECT 9, at, epoch, cause, type, v, body, hash FROM event WHERE seq = 2",
        "INSERT INTO event SELECT NULL, at, epoch, cause, type, v, body, hash FROM event WHERE seq = 2",
        "INSERT INTO event SELECT 4, at, epoch, 4, type, v, body, hash FROM event WHERE seq = 2",
        "INSERT INTO event SELECT 4, at, epoch, 0, type, v, body, hash FROM event WHERE seq = 2",
        "INSERT INTO event SELECT 4, 'now', epoch, cause, type, v, body, hash FROM event WHERE seq = 2",
        "INSERT INTO event SELECT 4, at, epoch, cause, type, v, body, 'short' FROM event WHERE seq = 2",
        "INSERT INTO lease VALUES (2, 1, NULL)",
    ],
)
def test_no_client_changes_what_is_recorded(path, statement):
    before = resting(path, 1)
    with sqlite3.connect(path, isolation_level=None) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute(statement)
    other.close()

    assert read(path, verify=True).rows == before


def test_the_log_may_not_call_functions_that_a_schema_must_not_use(log):
    writer, _ = open_at(log)

    assert writer._db.execute("PRAGMA trusted_schema").fetchone() == (0,)
    assert writer._db.execute("PRAGMA recursive_triggers").fetchone() == (1,)
    assert writer._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer._db.execute("PRAGMA wal_autocheckpoint").fetchone() == (100,)
    writer.close()


# ---------------------------------------------------------------- ends


def test_a_clean_end_leaves_one_quiet_file_and_its_head(log):
    writer, rows = open_at(log)
    rows += append(writer, 300)

    assert writer.close() is True
    assert sorted(listing(log)) == ["search.db", "search.db.head", "search.db.lock"]
    assert head.of_search(head.read(log), SEARCH_ID).head == head_of(rows)


def test_a_clean_end_commits_what_is_kept(log):
    writer, _ = open_at(log)
    last = writer.record(STOP, None, AT)

    assert writer.close()
    assert read(log).rows[-1] == last


def test_an_end_that_is_not_clean_drops_what_is_kept(log):
    writer, rows = open_at(log)
    writer.record(STOP, None, AT)

    assert writer.close(clean=False) is False
    assert read(log).rows == rows


def test_closing_twice_is_no_error(log):
    writer, _ = open_at(log)

    assert writer.close()
    assert writer.close() is False


def test_with_a_reader_in_the_way_the_log_stays_as_it_is_and_the_next_end_seals_it(log):
    writer, rows = open_at(log)
    reader = sqlite3.connect(f"file:{log}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM event").fetchone()

    assert writer.close() is False
    assert read(log, verify=True).rows == rows
    reader.close()
    again, _ = open_at(log)
    assert again.close() is True
    assert sorted(listing(log)) == ["search.db", "search.db.head", "search.db.lock"]


def test_the_head_file_lags_less_than_a_commit_and_a_beat(log, monkeypatch):
    writer, rows = open_at(log)
    opened = head_of(rows)
    now = 1_000.0
    monkeypatch.setattr("eventhpo.log.append.time.monotonic", lambda: now)
    writer.hand_over()

    rows += append(writer, 1)
    now += 0.9
    writer.beat()
    assert head.of_search(head.read(log), SEARCH_ID).head == opened
    now += 0.2
    writer.beat()
    assert head.of_search(head.read(log), SEARCH_ID).head == head_of(rows)
    before = listing(log)["search.db.head"]
    now += 5
    writer.beat()  # nothing new: nothing is written
    assert listing(log)["search.db.head"] == before
    writer.record(STOP, None, AT)
    now += 5
    writer.beat()  # kept is not committed: the head file never leads
    assert head.of_search(head.read(log), SEARCH_ID).head == head_of(rows)
    writer.close()


# ---------------------------------------------------------------- what is no log


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "other database"])
def test_what_is_no_log_is_not_opened_and_not_touched(path, kind):
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("epoch,loss\n" * 1_000)
        case "other database":
            with sqlite3.connect(path) as db:
                db.execute("CREATE TABLE event(seq INTEGER PRIMARY KEY)")
            db.close()
    before = listing(path)

    with pytest.raises(Usage if kind == "missing" else DamagedLog, match=r"search\.db"):
        open_at(path)
    assert listing(path) == before


def test_a_log_of_a_later_format_is_refused(path):
    resting(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=2")
    db.close()

    with pytest.raises(DamagedLog, match="has format 2, and this eventhpo reads format 1"):
        open_at(path)


@pytest.mark.parametrize(("name", "version"), [("TrialFrozen", 1), ("StopAsked", 2)])
def test_an_event_from_the_future_is_refused_by_its_seq(path, name, version):
    end = head_of(resting(path, 1))
    body = '{"scope":"run"}'
    hashed = codec.chain(end.hash, 4, AT, 1, None, name, version, body)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO event VALUES (4, ?, 1, NULL, ?, ?, ?, ?)", (AT, name, version, body, hashed))
    db.close()

    with pytest.raises(DamagedLog, match=f"seq 4: event {name} v{version}"):
        open_at(path)
    with pytest.raises(DamagedLog, match=f"seq 4: event {name} v{version}"):
        read(path)


def test_a_row_that_is_not_what_its_hash_says_is_named(path):
    resting(path, 20)
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_not_updated")
        db.execute("UPDATE event SET at = at + 1 WHERE seq = 9")
    db.close()

    with pytest.raises(DamagedLog, match="hash of seq 9"):
        open_at(path)
    with pytest.raises(DamagedLog, match="hash of seq 9"):
        read(path)


def test_a_log_that_lost_its_tail_is_not_written_to(path):
    rows = resting(path, 20)
    _cut_off(path, 15)

    with pytest.raises(DamagedLog, match=f"lost its tail: head file says seq {len(rows)}, log ends at 15"):
        open_at(path)


def test_a_head_file_with_another_hash_is_a_rewritten_log(path):
    rows = resting(path, 20)
    head.write(path, SEARCH_ID, Head(9, rows[9].hash))

    with pytest.raises(DamagedLog, match="another hash at seq 9"):
        open_at(path)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b'{"search":"x"}', b"\xff\xfe", b'{"search":"other","seq":99,"hash":"%s"}' % (b"0" * 32)],
)
def test_a_head_file_that_says_nothing_of_this_search_counts_as_absent(path, content):
    rows = resting(path, 3)
    name = Path(f"{path}.head")
    name.unlink() if content is None else name.write_bytes(content)

    writer, found = open_at(path)
    assert found[:-1] == rows
    assert head.of_search(head.read(path), SEARCH_ID).head == writer.head
    writer.close()


def _cut_off(path: Path, seq: int) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_not_deleted")
        db.execute("DELETE FROM event WHERE seq > ?", (seq,))
    db.close()


# ---------------------------------------------------------------- kill -9


COMMITS = """
writer, _ = open_at(path)
say(writer.head.seq)
while True:
    for n in range(3):
        writer.record(point(n), None, AT)
    writer.commit()
    writer.beat()
    say(writer.head.seq)
"""


def test_kill_9_in_a_loop_of_commits_loses_no_acknowledged_row(log):
    acknowledged = 0
    for round_ in range(12):
        with process(COMMITS, log) as child:
            for _ in range(1 + 7 * round_):
                acknowledged = int(child.stdout.readline())
            child.kill()
            rest = child.stdout.read().split("\n")
        said = [int(line) for line in rest[:-1] if line]
        acknowledged = said[-1] if said else acknowledged
        snapshot = read(log, verify=True)
        assert snapshot.head.seq >= acknowledged
        assert (snapshot.head.seq - 1 - (round_ + 1)) % 3 == 0  # behind the first and each start: three or none
        assert snapshot.contradiction is None


def test_a_killed_writer_leaves_the_lease_to_the_next(log):
    killed("writer, _ = open_at(path)\nappend(writer, 5)", log)

    writer, rows = open_at(log)
    assert writer.epoch == 2
    assert len(rows) == 8
    assert writer.close()


def test_kill_9_before_the_head_file_only_makes_it_lag(log):
    killed("writer, _ = open_at(path)\nappend(writer, 5)", log)

    snapshot = read(log)
    assert snapshot.outside.head == Head(2, snapshot.rows[1].hash)
    assert snapshot.head.seq == 7
    assert snapshot.contradiction is None


# ---------------------------------------------------------------- rules of SQLite that are easily lost


def test_a_write_ahead_log_that_was_cut_under_its_index_is_damage(log):
    """SQLite calls that an I/O error (SHORT_READ), which else is no fault of the log."""
    writer, _ = open_at(log)
    append(writer, 30)
    os.truncate(paths.wal(log), 5_000)

    with pytest.raises(DamagedLog, match="cannot be read"):
        read(log)
    checks = {check.name: check.ok for check in verify(log)}
    assert not checks["file"]
    assert not checks["chain"]
    writer.close(clean=False)


def test_a_connection_that_takes_the_log_for_resting_looks_before_it_says_so(log):
    """So one is left that tries to leave WAL mode and is stopped half-way by a reader: the header says WAL still."""
    with contextlib.closing(sql.open_to_write(log)) as db:
        sql.head(db)
        with contextlib.closing(sql.open_to_write(log)) as other:
            assert sql.use_wal(other) == "wal"
            sql.begin_to_write(other)
            sql.set_lease(other, 1, None)
            sql.commit(other)
        assert paths.in_wal_mode(log)

        assert seal.come_to_rest(db, log)
        assert not paths.in_wal_mode(log)


def test_what_a_killed_writer_left_of_a_head_file_is_removed_by_the_next(log):
    left = log.with_name("search.db.head.0123abcd")
    other = log.with_name("search.db.head.of-mine")
    for one in (left, other):
        one.write_text("{")
    writer, _ = open_at(log)
    assert not left.exists()
    assert other.exists()
    assert writer.close()
