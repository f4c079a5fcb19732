"""A log is born whole, or not at all."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec
import pytest
from log_samples import AT, SEARCH_ID, controller_started, killed_after, process, search_created

from eventhpo.core.fold.events import Head
from eventhpo.core.search.spec import DiscreteParameterRange
from eventhpo.errors import StorageFailed, Usage
from eventhpo.log import filesystem, head
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.log.verify import examine
from eventhpo.log.writer import open_writer


def test_a_new_log_holds_its_first_event_and_nothing_is_left_of_making_it(path):
    create(path, search_created(), AT)

    assert sorted(p.name for p in path.parent.iterdir()) == ["search.db", "search.db.head"]
    (row,) = read(path, verify=True).rows
    assert (row.seq, row.at, row.epoch, row.cause, row.event) == (1, AT, 0, None, search_created())
    assert examine(path).ok


def test_the_head_file_names_the_first_row(path):
    create(path, search_created(), AT)

    found = head.of_search(head.read(path), SEARCH_ID)
    assert found.head == Head(1, read(path).rows[0].hash)


@pytest.mark.parametrize("left", ["", "-wal", "-journal", ".head", ".jobs", ".requests/a.json"])
def test_a_log_is_not_made_over_what_is_left_of_another_search(path, left):
    there = Path(f"{path}{left}")
    if left == ".jobs":
        there.mkdir()
    else:
        there.parent.mkdir(exist_ok=True)
        there.write_text("left")

    with pytest.raises(Usage, match=r"eventhpo resume .*search\.db"):
        create(path, search_created(), AT)
    assert [one for one in path.parent.rglob("*") if one.is_file() or left == ".jobs"] == [there]


def test_a_link_names_where_the_log_and_all_that_lies_beside_it_are(path):
    path.symlink_to(path.parent / "elsewhere.db")

    create(path, search_created(), AT)
    assert sorted(p.name for p in path.parent.iterdir()) == ["elsewhere.db", "elsewhere.db.head", "search.db"]
    with pytest.raises(Usage, match="resume"):
        create(path, search_created(), AT)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(Usage, match=r"there is no folder .*nowhere"):
        create(tmp_path / "nowhere" / "search.db", search_created(), AT)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 240, "its name has 240 bytes, at most 234 fit"),
        ("x" * 500, "its name has 500 bytes, at most 234 fit"),
        ("ü" * 120, "its name has 240 bytes, at most 234 fit"),
        (os.fsdecode(b"\xff.db"), "its name is no UTF-8"),
        ("/".join(["f" * 100] * 5), "its path has"),
    ],
)
def test_a_name_that_a_log_cannot_have_is_refused_and_nothing_is_made(tmp_path, name, said):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(Usage, match=said):
        create(path, search_created(), AT)
    assert list(path.parent.iterdir()) == []


def test_the_longest_name_leaves_room_for_all_that_lies_next_to_a_log(path):
    longest = path.with_name("x" * 234)
    create(longest, search_created(), AT)
    assert examine(longest).ok


def test_a_log_in_a_folder_that_is_no_utf8_is_not_carried_on_there(path):
    create(path, search_created(), AT)
    folder = path.parent / os.fsdecode(b"\xff")
    folder.mkdir()
    moved = path.rename(folder / path.name)
    before = sorted(folder.iterdir())
    with pytest.raises(Usage, match=r"the folder .* is no UTF-8"):
        open_writer(moved, controller_started(), AT)
    assert sorted(folder.iterdir()) == before


def test_a_search_that_json_cannot_carry_is_refused_and_nothing_is_made(path):
    space = (DiscreteParameterRange(name="General/x", values=("\udcff",)),)
    search = msgspec.structs.replace(search_created().search, space=space)
    with pytest.raises(Usage, match="cannot be written as JSON"):
        create(path, msgspec.structs.replace(search_created(), search=search), AT)
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_leaves_nothing(path, monkeypatch):
    os.mkfifo(path.parent / "fifo")  # the folder is not empty, and stays as it is
    limit = 4096
    monkeypatch.setattr("eventhpo.log.sql.open_new", lambda fresh: _small(fresh, limit))

    with pytest.raises(StorageFailed, match="disk is full"):
        create(path, search_created(), AT)
    assert [p.name for p in path.parent.iterdir()] == ["fifo"]


def _small(fresh: Path, page: int) -> sqlite3.Connection:
    db = sqlite3.connect(fresh, isolation_level=None)
    db.execute(f"PRAGMA page_size={page}")
    db.execute("PRAGMA max_page_count=2")
    return db


def test_of_two_that_create_one_log_one_wins(path):
    code = """
from eventhpo.errors import Usage
say("ready")
sys.stdin.readline()
try:
    create(path, search_created(sys.stdin.readline().strip()), AT)
    say("made")
except Usage as error:
    say("refused")
"""
    for round_ in range(5):
        place = path.with_name(f"{round_}.db")
        with process(code, place) as one, process(code, place) as two:
            for child in (one, two):
                assert child.stdout.readline() == "ready\n"
            for child, name in ((one, "one"), (two, "two")):
                child.stdin.write(f"go\n{name}\n")
                child.stdin.flush()
            said = {"one": one.stdout.readline(), "two": two.stdout.readline()}
        assert sorted(said.values()) == ["made\n", "refused\n"]
        winner = next(name for name, text in said.items() if text == "made\n")
        snapshot = read(place, verify=True)
        assert snapshot.search_id == winner
        assert snapshot.contradiction is None


def test_a_kill_before_or_after_any_effect_leaves_a_whole_log_or_none(path):
    create(path.with_name("first.db"), search_created(), AT)  # what it imports is loaded, and no effect of the next one
    outcomes = []
    for calls in range(1, 500):
        place = path.with_name(f"{calls}.db")
        if not killed_after(calls, lambda place=place: create(place, search_created(), AT)):
            break
        outcomes.append(place.exists())
        if place.exists():
            assert examine(place).ok
        else:
            create(place, search_created(), AT)  # what a killed one left is in nobody's way
    else:
        pytest.fail("the creation never ended")
    assert outcomes == sorted(outcomes)  # first never, then always
    assert True in outcomes
    assert False in outcomes


MOUNTS = r"""21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:40 / /home rw - nfs4 server:/home rw
31 30 0:41 / /home/me/local\040disk rw - xfs /dev/vdb rw
32 21 0:42 / /host rw - virtiofs share rw
33 21 0:43 / /mnt/ssh rw - fuse.sshfs host: rw
34 21 0:44 / /covered rw - 9p share rw
35 21 0:45 / /covered rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data", "ext4"),
        ("/homely", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/local disk/runs", "xfs"),
        ("/host/runs", "virtiofs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/covered/runs", "tmpfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_innermost_latest_mount(folder, kind):
    assert filesystem.kind_of(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuseblk"])
def test_a_log_is_not_written_on_a_shared_file_system(path, tmp_path, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"21 1 254:0 / / rw - {kind} somewhere rw\n")

    with pytest.raises(Usage, match=kind):
        filesystem.refuse_shared(path, mounts)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"])
def test_a_log_is_written_on_a_local_file_system(path, tmp_path, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"21 1 254:0 / / rw - {kind} somewhere rw\n")

    filesystem.refuse_shared(path, mounts)
