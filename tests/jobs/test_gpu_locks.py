"""A GPU serves one search of a machine at a time, whoever starts and whatever is killed."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from eventhpo.errors import DeviceTaken, StorageFailed
from eventhpo.jobs.local.gpu_locks import DeviceHolder, DeviceLocks, holder, lock_folder
from eventhpo.jobs.local.local_jobs import LocalBackend
from eventhpo.jobs.protocol import BoundJob, Ended, Refused, Started
from tests.jobs.harness import FOREVER, Place, changed, kill
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the locks, of this test alone."""
    path = tmp_path / "locks"
    monkeypatch.setenv("EVENTHPO_GPU_LOCKS", str(path))
    return path


def a_search(tmp_path: Path, name: str) -> DeviceHolder:
    jobs = tmp_path / f"{name}.db.jobs"
    jobs.mkdir(exist_ok=True)
    return holder(name, "5ea4c4" * 5, tmp_path / f"{name}.db", jobs)


def backend(place: Place, *gpus: tuple[int, ...]) -> LocalBackend:
    place.jobs_folder.mkdir(exist_ok=True)
    mine = holder("mine", place.search_id, place.folder / "search.db", place.jobs_folder)
    return LocalBackend(
        place.command, str(place.folder), place.jobs_folder, start=place.start, gpus=DeviceLocks(gpus, mine)
    )


def bound(place: Place, slot: int, trial: int = 0) -> BoundJob:
    return changed(place.bound(trial), slot=slot)


def launched(place: Place, gpus: LocalBackend, slot: int = 0, trial: int = 0) -> BoundJob:
    job = bound(place, slot, trial)
    [started] = gpus.launch([job])
    assert isinstance(started, Started), started
    return changed(job, started=True)


# ---------------------------------------------------------------- who gets a device


def test_a_second_search_is_refused_and_told_who_has_the_device(tmp_path: Path) -> None:
    first = DeviceLocks(((0,), (1, 2)), a_search(tmp_path, "first"))
    first.take()
    with pytest.raises(DeviceTaken) as refused:
        DeviceLocks(((3,), (2,)), a_search(tmp_path, "second")).take()
    text = str(refused.value)
    assert refused.value.code == 4
    for fact in ("GPU 2", '"first"', str(tmp_path / "first.db"), f"controller {os.getpid()}", "eventhpo stop"):
        assert fact in text
    first.close()


def test_one_that_was_refused_holds_nothing(tmp_path: Path) -> None:
    first = DeviceLocks(((2,),), a_search(tmp_path, "a"))
    second = DeviceLocks(((1,), (2,)), a_search(tmp_path, "b"))
    first.take()
    with pytest.raises(DeviceTaken):
        second.take()
    third = DeviceLocks(((1,),), a_search(tmp_path, "c"))
    third.take()
    third.close()
    first.close()
    second.take()
    second.close()


def test_other_devices_are_for_everybody(tmp_path: Path) -> None:
    locks = [DeviceLocks(((n,),), a_search(tmp_path, f"s{n}")) for n in range(4)]
    for lock in locks:
        lock.take()
    for lock in locks:
        lock.close()


def test_the_same_search_joins_its_own_jobs_and_a_copy_of_it_does_not(tmp_path: Path) -> None:
    """A search and its copy have one search id; the folders of their jobs differ."""
    first, again = (DeviceLocks(((0,),), a_search(tmp_path, "search")) for _ in range(2))
    first.take()
    again.take()
    first.close()
    with pytest.raises(DeviceTaken):
        DeviceLocks(((0,),), a_search(tmp_path, "copy")).take()  # what joined holds it on
    again.close()
    DeviceLocks(((0,),), a_search(tmp_path, "copy")).take()


def test_a_device_may_stand_in_several_slots_of_one_search(tmp_path: Path) -> None:
    locks = DeviceLocks(((0,), (0,)), a_search(tmp_path, "shared"))
    assert locks.of(0)[1] == locks.of(1)[1]
    locks.close()


# ---------------------------------------------------------------- runners and jobs


def test_a_job_sees_the_devices_of_its_slot(place: Place) -> None:
    place.script(
        """
        import os
        with open(f"seen-{os.environ['EVENTHPO_SLOT']}", "w") as file:
            file.write(os.environ["CUDA_VISIBLE_DEVICES"] + " " + os.environ["CUDA_DEVICE_ORDER"])
        """
    )
    gpus = backend(place, (0, 1), (5,))
    jobs = [launched(place, gpus, slot, slot) for slot in (0, 1)]
    assert [place.says(f"seen-{slot}") for slot in (0, 1)] == ["0,1 PCI_BUS_ID", "5 PCI_BUS_ID"]
    for job in jobs:
        place.ended(job)
    gpus.close()


def test_a_search_without_gpus_leaves_the_environment_as_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    place.script(
        """
        import os
        with open("seen", "w") as file:
            file.write(f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ.get('CUDA_DEVICE_ORDER')}")
        """
    )
    place.ended(place.started())
    assert place.says("seen") == "7 None"


def test_the_jobs_of_a_controller_that_is_gone_keep_their_devices_and_no_others(place: Place, tmp_path: Path) -> None:
    place.script(FOREVER)
    controller = backend(place, (0,), (1,))
    job = launched(place, controller, slot=1)
    controller.close()  # as the kernel does it when a controller is killed
    other = DeviceLocks(((1,),), a_search(tmp_path, "other"))
    with pytest.raises(DeviceTaken, match="GPU 1"):
        other.take()
    DeviceLocks(((0,),), a_search(tmp_path, "other")).take()
    next_controller = backend(place, (0,), (1,))
    [answer] = next_controller.launch([bound(place, 0, trial=1)])
    assert isinstance(answer, Started)  # the same search: it joins its job, and has slot 0 too
    place.ended(place.stop(job), next_controller)
    place.ended(place.stop(changed(place.bound(1), started=True)), next_controller)
    next_controller.close()
    other.take()
    other.close()


def test_a_job_whose_runner_is_killed_keeps_its_device(place: Place, tmp_path: Path) -> None:
    place.script(FOREVER)
    controller = backend(place, (0,))
    job = launched(place, controller)
    controller.close()
    ticket = place.ticket(job)
    os.kill(ticket.pid, 0)
    kill(ticket.runner)
    other = DeviceLocks(((0,),), a_search(tmp_path, "other"))
    with pytest.raises(DeviceTaken):
        other.take()
    kill(ticket.pid, signal.SIGKILL)
    eventually(lambda: _is_taken(other), "the device to be free")
    other.close()


def _is_taken(locks: DeviceLocks) -> bool:
    try:
        locks.take()
    except DeviceTaken:
        return False
    return True


def test_a_launch_waits_while_another_search_has_the_device(place: Place, tmp_path: Path) -> None:
    """As when a finished search goes on with a point while its devices are in use: nothing is lost by it."""
    other = DeviceLocks(((0,),), a_search(tmp_path, "other"))
    other.take()
    place.script("pass")
    controller, job = backend(place, (0,)), bound(place, 0)
    for failures in range(5):
        [answer] = controller.launch([changed(job, failures=failures)])
        assert isinstance(answer, Refused)
        assert '"other"' in answer.error
    other.close()
    [answer] = controller.launch([job])
    assert isinstance(answer, Started)
    place.ended(job)
    controller.close()


def test_an_intent_whose_slot_has_no_devices_any_more_never_starts(place: Place) -> None:
    place.script("open('ran', 'w')")
    controller, job = backend(place, (0,)), bound(place, 3)
    [answer] = controller.launch([job])
    assert isinstance(answer, Ended)
    assert answer.how == "launch_failed"
    assert "slot 3" in answer.why
    [again] = backend(place, (0,)).launch([job])
    assert again == answer
    controller.close()


# ---------------------------------------------------------------- a folder that everybody may write


def test_the_folder_and_its_files_are_for_all_users(tmp_path: Path, folder: Path) -> None:
    before = os.umask(0o077)
    try:
        locks = DeviceLocks(((0,),), a_search(tmp_path, "mine"))
        locks.take()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "0.lock").stat().st_mode) == 0o666
    locks.close()


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path, folder: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "0.lock").symlink_to(victim)
    with pytest.raises(StorageFailed):
        DeviceLocks(((0,),), a_search(tmp_path, "mine")).take()
    (folder / "0.lock").unlink()
    os.link(victim, folder / "0.lock")
    with pytest.raises(StorageFailed, match="plain file"):
        DeviceLocks(((0,),), a_search(tmp_path, "mine")).take()
    (folder / "0.lock").unlink()
    os.mkfifo(folder / "0.lock")
    with pytest.raises(StorageFailed):
        DeviceLocks(((0,),), a_search(tmp_path, "mine")).take()
    assert victim.read_text() == "precious"


def test_the_folder_itself_is_no_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="EVENTHPO_GPU_LOCKS"):
        DeviceLocks(((0,),), a_search(tmp_path, "mine")).take()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 10, b'{"search": 1}', b"[" * 100_000])
def test_what_a_free_file_says_does_not_matter(tmp_path: Path, folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "0.lock").write_bytes(content)
    locks = DeviceLocks(((0,),), a_search(tmp_path, "mine"))
    locks.take()
    assert (folder / "0.lock").stat().st_size == 4096
    locks.close()


def test_a_file_that_is_deleted_under_its_holder_is_made_anew_by_the_next(tmp_path: Path, folder: Path) -> None:
    first = DeviceLocks(((0,),), a_search(tmp_path, "first"))
    first.take()
    first.close()
    (folder / "0.lock").unlink()
    second = DeviceLocks(((0,),), a_search(tmp_path, "second"))
    second.take()
    with pytest.raises(DeviceTaken):
        DeviceLocks(((0,),), a_search(tmp_path, "third")).take()
    second.close()


def test_names_of_any_length_and_kind_fit(tmp_path: Path) -> None:
    named = holder("n" * 100_000, "5ea4c4" * 5, Path(os.fsdecode(b"/tmp/\xff" + b"x" * 9_000)), tmp_path)
    first = DeviceLocks(((0,),), named)
    first.take()
    with pytest.raises(DeviceTaken, match=r"n{100}"):
        DeviceLocks(((0,),), a_search(tmp_path, "second")).take()
    first.close()


def test_the_machine_has_one_folder_that_everybody_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTHPO_GPU_LOCKS")
    assert lock_folder().name == "eventhpo-gpu"
    assert lock_folder().parent.stat().st_mode & 0o1777 == 0o1777
