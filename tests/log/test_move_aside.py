"""Starting over moves all of an old search to one other name, and loses nothing wherever it is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from log_samples import AT, open_at, resting

from eventhpo.errors import Busy, StorageFailed
from eventhpo.log import paths, reader
from eventhpo.log.lease import Holder
from eventhpo.log.move_aside import MARKER, move_aside
from eventhpo.log.verify import verify

ME = Holder("here", 1)


def with_all(path: Path) -> dict[str, bytes]:
    """Make a log at rest with all that may lie next to one; return each file's content by what follows the name."""
    resting(path, 3)
    paths.jobs(path).mkdir()
    (paths.jobs(path) / "report").write_text("0.5")
    paths.requests(path).mkdir()
    (paths.requests(path) / "asked.json").write_text("{}")
    return content(path)


def content(path: Path) -> dict[str, bytes]:
    files = [path, *path.parent.glob(f"{path.name}*")]
    files += [file for folder in files if folder.is_dir() for file in folder.iterdir()]
    return {
        str(file).removeprefix(str(path)): file.read_bytes()
        for file in files
        if file.is_file() and not file.name.endswith((".lock", MARKER))
    }


def test_all_that_belongs_to_a_log_gets_the_new_name_and_is_whole_there(path: Path):
    before = with_all(path)
    moved = move_aside(path, ME)
    assert moved == path.with_name(f"{path.stem}.old-1{path.suffix}")
    assert content(moved) == before
    assert [check for check in verify(moved) if not check.ok] == []
    assert not path.exists()
    assert [p.name for p in path.parent.glob(f"{path.name}*")] == [f"{path.name}.lock"]


def test_each_time_it_finds_a_free_name(path: Path):
    for number in (1, 2, 3):
        with_all(path)
        assert move_aside(path, ME) == path.with_name(f"{path.stem}.old-{number}{path.suffix}")
    assert len(list(path.parent.glob(f"{path.stem}.old-*{path.suffix}"))) == 3


def test_where_nothing_lies_nothing_is_done(path: Path):
    assert move_aside(path, ME) is None
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("left", [paths.jobs, paths.requests])
def test_what_is_left_without_its_log_is_moved_too(path: Path, left):
    left(path).mkdir()
    moved = move_aside(path, ME)
    assert moved is not None
    assert left(moved).is_dir()
    assert not left(path).exists()


def test_a_log_that_a_controller_holds_is_left_alone(path: Path):
    before = with_all(path)
    writer, _ = open_at(path)
    with pytest.raises(Busy, match="is held by"):
        move_aside(path, ME)
    writer.close()
    assert content(path).keys() >= before.keys()
    assert AT


@pytest.mark.parametrize("step", range(6))
def test_killed_between_two_renames_it_is_completed_under_the_same_name(
    path: Path, step: int, monkeypatch: pytest.MonkeyPatch
):
    before = with_all(path)
    rename, calls = Path.rename, []

    def dies(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > step:
            raise OSError(5, "killed", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dies)
    count = 1 + len([name for name in before if name in ("", ".head")]) + 1
    if step < count:
        with pytest.raises(StorageFailed, match="killed"):
            move_aside(path, ME)
        monkeypatch.undo()
    moved = move_aside(path, ME)
    monkeypatch.undo()
    assert moved == path.with_name(f"{path.stem}.old-1{path.suffix}")
    assert content(moved) == before
    assert len(reader.read(moved, verify=True).rows) > 0
    assert list(path.parent.glob(f"*{MARKER}")) == []
    assert list(path.parent.glob("*.old-2*")) == []
