"""A log that goes away under its writer: deleted, moved, replaced, or overwritten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from log_samples import AT, STOP, append, head_of, listing, open_at

from eventhpo.errors import StorageFailed
from eventhpo.log.append import Writer
from eventhpo.log.backup import backup
from eventhpo.log.reader import read


def delete(log: Path) -> None:
    log.unlink()


def move(log: Path) -> None:
    log.rename(log.with_name("moved.db"))


def move_the_folder(log: Path) -> None:
    log.parent.rename(log.parent.with_name("moved"))


def delete_the_folder(log: Path) -> None:
    shutil.rmtree(log.parent)


def replace(log: Path) -> None:
    log.with_name("backup.db").replace(log)


def overwrite(log: Path) -> None:
    shutil.copyfile(log.with_name("backup.db"), log)


WAYS = [
    pytest.param(delete, "was deleted", id="deleted"),
    pytest.param(move, "was moved to .*moved.db", id="moved"),
    pytest.param(move_the_folder, "was moved to .*moved/search.db", id="folder moved"),
    pytest.param(delete_the_folder, "was deleted", id="folder deleted"),
    pytest.param(replace, "is another file now", id="replaced"),
    pytest.param(overwrite, "was overwritten", id="overwritten"),
]


@pytest.fixture
def writer(log: Path) -> Writer:
    """A writer whose log has a backup next to it, one row older."""
    writer, _ = open_at(log)
    append(writer, 3)
    backup(log, log.with_name("backup.db"))
    append(writer, 1)
    return writer


@pytest.mark.parametrize(("way", "said"), WAYS)
def test_a_writer_whose_log_went_away_refuses_effects_commits_and_head_and_says_what_became_of_it(
    writer: Writer, log: Path, way: Callable[[Path], None], said: str
) -> None:
    writer.record(STOP, None, AT)
    way(log)
    before = listing(log) if log.parent.exists() else None

    with pytest.raises(StorageFailed, match=said) as refused:
        writer.check_lease()
    assert "can be resumed" not in str(refused.value)
    with pytest.raises(StorageFailed, match=said):
        writer.commit()
    with pytest.raises(StorageFailed, match=said):
        writer.hand_over()
    assert writer.close() is False
    if before is None:
        assert not log.parent.exists()
    else:
        assert listing(log).get("search.db.head") == before.get("search.db.head")


@pytest.mark.parametrize(("way", "said"), WAYS)
@pytest.mark.parametrize("step", ["commit", "beat", "close"])
def test_each_step_looks_by_itself(
    writer: Writer, log: Path, way: Callable[[Path], None], said: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventhpo.log.append.BEAT", 0.0)
    if step != "beat":
        writer.record(STOP, None, AT)
    way(log)

    with pytest.raises(StorageFailed, match=said) as refused:
        getattr(writer, step)()
    assert "can be resumed" not in str(refused.value)
    writer.close(clean=False)


def test_an_older_copy_of_the_file_itself_laid_over_it_is_noticed(writer: Writer, log: Path) -> None:
    writer.hand_over()
    older = log.read_bytes()
    append(writer, 200)
    writer.hand_over()
    log.write_bytes(older)

    with pytest.raises(StorageFailed, match="was overwritten"):
        writer.check_lease()
    writer.close(clean=False)


@pytest.mark.parametrize("name", ["search.db-wal", "search.db-shm"])
def test_a_writer_whose_write_ahead_log_was_deleted_ends_and_loses_nothing(
    writer: Writer, log: Path, name: str
) -> None:
    committed = writer.committed
    log.with_name(name).unlink()

    with pytest.raises(StorageFailed, match=f"{name} was deleted"):
        writer.check_lease()
    writer.close(clean=False)
    assert read(log, verify=True).head == committed
    again, _ = open_at(log)
    assert again.close()


def test_a_restored_backup_is_left_as_it_is(writer: Writer, log: Path) -> None:
    replace(log)
    restored = log.read_bytes()

    with pytest.raises(StorageFailed):
        writer.check_lease()
    writer.close(clean=False)
    assert log.read_bytes() == restored


def test_what_was_moved_with_its_write_ahead_log_is_whole(writer: Writer, log: Path) -> None:
    committed = writer.committed
    for name in ("search.db", "search.db-wal", "search.db.head"):
        log.with_name(name).rename(log.with_name(name.replace("search", "moved")))

    with pytest.raises(StorageFailed, match=r"moved\.db"):
        writer.check_lease()
    writer.close(clean=False)
    assert read(log.with_name("moved.db"), verify=True).head == committed


def test_the_same_file_touched_or_read_by_others_is_still_the_log(writer: Writer, log: Path) -> None:
    """Negative control: what another program changes of the file's times is no reason to end."""
    os.utime(log)
    writer.check_lease()
    os.link(log, log.with_name("another-name.db"))
    writer.check_lease()
    rows = append(writer, 1)
    assert writer.close()
    assert read(log, verify=True).head == head_of(rows)
