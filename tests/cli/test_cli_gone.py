"""A log that goes away under the command that runs it."""

from __future__ import annotations

from tests.cli.harness import Place, ended


def test_a_controller_whose_log_was_moved_ends_starts_nothing_more_and_says_where_it_is(place: Place) -> None:
    place.describe(jobs=8)
    child = place.running()
    moved = place.folder / "moved.db"
    head = place.folder / "search.db.head"
    head.unlink()
    place.log.rename(moved)
    launched = place.launches()
    place.release()

    code, _, err = ended(child)
    assert code == 5
    assert f"search.db was moved to {moved} while this controller wrote it" in err
    assert "Traceback" not in err
    assert "can be resumed" not in err
    assert place.launches() == launched
    assert not head.exists()
    assert not place.log.exists()

    moved.rename(place.log)  # with its write-ahead log next to it again it is whole, and carried on
    assert place.call("resume", "search.db").returncode == 0
    assert set(place.launches().values()) == {1}


def test_a_controller_whose_log_was_deleted_ends_and_starts_nothing_more(place: Place) -> None:
    place.describe(jobs=8)
    child = place.running()
    for name in ("search.db", "search.db-wal", "search.db-shm", "search.db.head"):
        (place.folder / name).unlink()
    launched = place.launches()
    place.release()

    code, _, err = ended(child)
    assert code == 5
    assert "search.db was deleted while this controller wrote it" in err
    assert place.launches() == launched
    assert sorted(one.name for one in place.folder.glob("search.db*")) == ["search.db.jobs", "search.db.lock"]
