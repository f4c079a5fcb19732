"""What verify finds, and what backup and salvage bring away."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
from log_samples import AT, SEARCH_ID, append, head_of, killed, listing, open_at, resting

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log import head
from eventhpo.log.backup import backup
from eventhpo.log.reader import read
from eventhpo.log.salvage import salvage
from eventhpo.log.verify import Check, examine, verify


def failing(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


def alter(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def checked(path: Path, name: str) -> Check:
    """Return the check of that name."""
    return next(check for check in verify(path) if check.name == name)


def test_a_sound_log_passes_every_check(path):
    rows = resting(path)

    assert [(check.name, check.ok) for check in verify(path)] == [
        ("file", True),
        ("chain", True),
        ("decode", True),
        ("keys", True),
        ("head", True),
        ("wal", True),
    ]
    found = examine(path)
    assert found.ok
    assert found.head == head_of(rows)
    assert found.rows == rows


def test_a_log_is_verified_while_it_is_written_and_left_as_it_is(log):
    writer, rows = open_at(log)
    rows += append(writer, 5)
    before = set(listing(log))

    assert examine(log).ok
    assert set(listing(log)) == before
    writer.close()


def test_a_missing_log_is_no_finding(path):
    with pytest.raises(Usage, match="there is no log"):
        verify(path)


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n" * 1_000])
def test_what_is_no_log_is_reported(path, content):
    path.write_bytes(content)

    found = examine(path)
    assert "file" in failing(found.checks)
    assert found.head == codec.GENESIS


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TRIGGER event_is_not_updated", "missing: event_is_not_updated"),
        ("CREATE VIEW best AS SELECT 1", "not of a log: best"),
        ("CREATE TRIGGER more AFTER INSERT ON event BEGIN SELECT 1; END", "not of a log: more"),
        ("PRAGMA application_id=1", "is no log of eventhpo"),
        ("DROP TABLE lease", "missing: lease"),
    ],
)
def test_a_schema_that_is_not_a_log_s_is_reported(path, statement, said):
    resting(path)
    alter(path, statement)

    assert said in failing(verify(path))["file"]


def test_the_first_row_that_was_changed_is_named_with_the_last_head_that_holds(path):
    rows = resting(path, 20)
    alter(
        path,
        "DROP TRIGGER event_is_not_updated",
        "UPDATE event SET body = replace(body, '0.25', '0.26') WHERE seq IN (9, 12)",
    )

    found = examine(path)
    holds = f"8:{rows[7].hash}"
    assert (
        failing(found.checks)["chain"] == f"the hash of seq 9 is not that of its row; the last verified head is {holds}"
    )
    assert found.head == Head(8, rows[7].hash)
    assert found.rows == rows[:8]


def test_a_row_that_is_missing_is_named(path):
    resting(path, 20)
    alter(path, "DROP TRIGGER event_is_not_deleted", "DELETE FROM event WHERE seq = 7")

    assert failing(verify(path))["chain"].startswith("seq 7 is missing: the row after 6 is 8")


def test_an_event_that_is_not_known_is_named_though_its_chain_holds(path):
    end = head_of(resting(path, 1))
    body = "{}"
    hashed = codec.chain(end.hash, 4, AT, 1, None, "TrialFrozen", 1, body)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO event VALUES (4, ?, 1, NULL, 'TrialFrozen', 1, ?, ?)", (AT, body, hashed))
    db.close()

    found = examine(path)
    assert list(failing(found.checks)) == ["decode"]
    assert "seq 4: event TrialFrozen v1" in failing(found.checks)["decode"]
    assert found.head.seq == 4


def test_a_tail_that_is_lost_is_told_by_the_head_file(path):
    rows = resting(path, 20)
    alter(path, "DROP TRIGGER event_is_not_deleted", "DELETE FROM event WHERE seq > 15")

    found = failing(verify(path))
    assert found["head"] == f"the log has lost its tail: head file says seq {len(rows)}, log ends at 15"
    assert "chain" not in found


def test_a_head_file_that_lags_is_sound_and_one_of_another_search_is_said(path):
    rows = resting(path, 20)
    head.write(path, SEARCH_ID, Head(15, rows[14].hash))
    assert checked(path, "head") == Check("head", True, f"the head file names seq 15, {len(rows) - 15} before the last")

    head.write(path, "other", Head(99, "0" * 32))
    check = checked(path, "head")
    assert check.ok
    assert "names another search, other" in check.detail
    Path(f"{path}.head").write_text("{")
    assert "cannot be read" in checked(path, "head").detail


def test_a_head_that_somebody_wrote_down_is_looked_for(path):
    rows = resting(path, 20)

    assert verify(path, Head(9, rows[8].hash))[-1] == Check("expected", True, f"seq 9 has hash {rows[8].hash}")
    assert failing(verify(path, Head(9, rows[9].hash))).keys() == {"expected"}
    assert "is not in the log" in failing(verify(path, Head(99, rows[8].hash)))["expected"]


def _plain(path: Path) -> list[tuple[object, ...]] | None:
    """Return the rows as any client would read them; None if it cannot."""
    db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        return db.execute("SELECT * FROM event ORDER BY seq").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    finally:
        db.close()


def _sqlite_finds(path: Path) -> bool:
    db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        return db.execute("PRAGMA integrity_check").fetchone() != ("ok",)
    except (sqlite3.Error, UnicodeDecodeError):
        return True
    finally:
        db.close()


def test_every_flipped_bit_that_changes_a_row_is_found_and_most_by_the_chain_alone(path):
    resting(path, 60)
    sound, rows = path.read_bytes(), _plain(path)
    chance = random.Random(20)
    harmful = only_chain = 0
    for _ in range(400):
        broken = bytearray(sound)
        bit = chance.randrange(len(broken) * 8)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        if _plain(path) != rows:
            harmful += 1
            found = failing(verify(path))
            assert found, f"bit {bit} changed a row unseen"
            only_chain += "chain" in found and not _sqlite_finds(path)
    assert harmful > 100
    assert only_chain > harmful // 4  # what integrity_check is not made to find


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_was_cut_off_is_reported(path, part):
    resting(path, 200)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])

    assert failing(verify(path))
    with pytest.raises(DamagedLog):
        open_at(path)


# ---------------------------------------------------------------- backup


def test_a_backup_of_a_live_log_is_whole_and_rests(log, tmp_path):
    writer, rows = open_at(log)
    rows += append(writer, 300)
    target = tmp_path / "copy.db"

    assert backup(log, target) == head_of(rows)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["copy.db", "copy.db.head"]
    assert read(target, verify=True).rows == rows
    assert examine(target).ok
    writer.close()


def test_a_backup_of_a_resting_log_leaves_it_as_it_is(path, tmp_path):
    rows = resting(path)
    before = listing(path)

    backup(path, tmp_path / "copy.db")
    assert listing(path) == before
    copy, found = open_at(tmp_path / "copy.db")
    assert found[:-1] == rows
    copy.close()


def test_a_backup_is_not_made_over_what_is_there(path, tmp_path):
    resting(path)
    target = tmp_path / "copy.db"
    target.write_text("mine")

    with pytest.raises(Usage, match="exists already"):
        backup(path, target)
    assert target.read_text() == "mine"


def test_a_backup_of_what_is_no_log_leaves_nothing(path, tmp_path):
    path.write_text("epoch,loss\n" * 1_000)
    target = tmp_path / "copy.db"

    with pytest.raises(DamagedLog):
        backup(path, target)
    assert [p.name for p in tmp_path.iterdir()] == ["search"]


# ---------------------------------------------------------------- salvage


def test_the_rows_before_the_damage_are_salvaged(path, tmp_path):
    rows = resting(path, 20)
    alter(path, "DROP TRIGGER event_is_not_updated", "UPDATE event SET body = '{}' WHERE seq = 9")
    target = tmp_path / "left.db"

    found = salvage(path, target)
    assert (found.rows, found.head) == (8, Head(8, rows[7].hash))
    assert found.why == "the hash of seq 9 is not that of its row"
    assert read(target, verify=True).rows == rows[:8]
    assert examine(target).ok
    writer, _ = open_at(target)
    assert writer.epoch == 2  # behind every epoch that the copy holds
    writer.close()


def test_a_log_whose_pages_are_gone_is_salvaged_as_far_as_it_can_be_read(path, tmp_path):
    rows = resting(path, 300)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    target = tmp_path / "left.db"

    found = salvage(path, target)
    assert 0 < found.rows < len(rows)
    assert found.why is not None
    assert read(target, verify=True).rows == rows[: found.rows]


def test_a_sound_log_is_salvaged_whole(path, tmp_path):
    rows = resting(path)

    found = salvage(path, tmp_path / "left.db")
    assert (found.rows, found.why) == (len(rows), None)


def test_a_log_with_nothing_to_salvage_leaves_nothing(path, tmp_path):
    resting(path)
    alter(path, "DROP TRIGGER event_is_not_updated", "UPDATE event SET at = 0 WHERE seq = 1")

    with pytest.raises(DamagedLog, match=r"nothing of .* can be salvaged: the hash of seq 1"):
        salvage(path, tmp_path / "left.db")
    assert [p.name for p in tmp_path.iterdir()] == ["search"]


def test_what_a_killed_writer_left_is_salvaged_with_its_write_ahead_log(log, tmp_path):
    killed("writer, _ = open_at(path)\nappend(writer, 5)", log)

    assert salvage(log, tmp_path / "left.db").rows == 7
