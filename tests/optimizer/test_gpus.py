"""GPUs of `LocalJobs`: the devices of each worker, and what a script that is run again may change."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from eventhpo import LocalJobs
from eventhpo.core.fold.events import GpusChanged
from eventhpo.errors import DeviceTaken, Usage
from eventhpo.jobs.local.gpu_locks import DeviceLocks, holder
from tests.optimizer.harness import Place

TRAIN = """
import os
from eventhpo import job
params = job.connect({"x": 0.0, "kind": "a"})
with open("seen", "a") as seen:
    seen.write(f"{job.slot}:{os.environ.get('CUDA_VISIBLE_DEVICES')} ")
job.report_scalar("validation", "accuracy", params["x"], 1)
"""


@pytest.fixture(autouse=True)
def locks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTHPO_GPU_LOCKS", str(place.folder / "locks"))
    place.script(TRAIN)


def jobs(place: Place, *gpus: int | list[int]) -> LocalJobs:
    return LocalJobs([sys.executable, "-S", "train.py"], place.folder, gpus=gpus)


def seen(place: Place) -> set[str]:
    return {*(place.folder / "seen").read_text().split()}


def test_each_job_sees_the_devices_of_its_slot(place: Place) -> None:
    place.optimizer(jobs=jobs(place, [0, 1], 2), num_concurrent_workers=2).start()
    assert seen(place) == {"0:0,1", "1:2"}


def test_a_script_with_another_list_goes_on_with_that(place: Place) -> None:
    place.optimizer(jobs=jobs(place, 0)).start()
    (place.folder / "seen").unlink()
    place.optimizer(jobs=jobs(place, 5, 6), num_concurrent_workers=2, total_max_jobs=8).start()
    assert seen(place) == {"0:5", "1:6"}
    assert [event.gpus for event in place.of(GpusChanged)] == [((5,), (6,))]


def test_workers_and_entries_that_differ_are_refused_with_both(place: Place) -> None:
    with pytest.raises(Usage, match="num_concurrent_workers is 1, and gpus of LocalJobs has 2 entries"):
        place.optimizer(jobs=jobs(place, 0, 1))


@pytest.mark.parametrize("wrong", [[-1], ["0"], [[]], [0.0], 3, "0,1"])
def test_a_list_of_other_things_is_refused(wrong: object) -> None:
    with pytest.raises(Usage, match="gpus is"):
        LocalJobs(["true"], gpus=wrong)  # type: ignore[arg-type]


def test_a_search_that_is_over_reads_its_results_while_another_has_its_device(place: Place, tmp_path: Path) -> None:
    place.optimizer(jobs=jobs(place, 0)).start()
    other = place.optimizer(jobs=jobs(place, 0), log=tmp_path / "other.db", total_max_jobs=2)
    again = place.optimizer(jobs=jobs(place, 0))
    with contextlib.closing(_held(place)):
        again.start()
        assert len(again.get_top_experiments(4)) == 4
        with pytest.raises(DeviceTaken, match="GPU 0"):
            other.start()


def _held(place: Place) -> DeviceLocks:
    """Hold device 0 as a third search does."""
    third = DeviceLocks(((0,),), holder("third", "3" * 32, place.folder / "third.db", place.folder))
    third.take()
    return third
