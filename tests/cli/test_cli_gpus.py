"""GPUs from the command line: each slot has its devices, and two searches never share one. No GPU is needed."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from eventhpo.core.fold.events import ControllerStarted, GpusChanged, JobCreated, LimitsChanged
from tests.cli.harness import Place
from tests.waiting import eventually

TRAIN = """
import os, threading
from eventhpo import job
params = job.connect({"lr": 0.1, "kind": "a"})
with open("seen", "a") as seen:
    seen.write(f"{job.trial} {job.slot} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
job.report_scalar("validation", "accuracy", params["lr"] / 2, 1)
while os.path.exists("hold"):
    threading.Event().wait(0.01)
job.report_scalar("validation", "accuracy", params["lr"], 2)
"""


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTHPO_GPU_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def gpus(place: Place) -> Place:
    place.script(TRAIN)
    place.describe(more="gpus = [0, 3]")
    return place


@pytest.fixture
def other(tmp_path: Path):
    """A second search on the same machine, on the same device 3."""
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.script(TRAIN)
    other.describe(more="gpus = [3, 4]")
    yield other
    other.close()


def seen(place: Place) -> set[tuple[str, str]]:
    """Return slot and devices of each job that ran."""
    return {(line.split()[1], line.split()[2]) for line in (place.folder / "seen").read_text().splitlines()}


def test_each_slot_has_its_devices_to_the_end(gpus: Place) -> None:
    result = gpus.run("--quiet")
    assert result.returncode == 0, result.stderr
    assert seen(gpus) == {("0", "0"), ("1", "3")}
    assert gpus.call("verify", "search.db").returncode == 0
    assert gpus.call("replay", "search.db").returncode == 0


def test_the_slot_stands_in_the_command(place: Place) -> None:
    place.script("import sys; open('said', 'a').write(sys.argv[1] + chr(10))" + TRAIN)
    text = place.file.read_text().replace('"train.py"]', '"train.py", "--gpu={slot}"]')
    place.file.write_text(text)
    place.run("--quiet")
    assert {*(place.folder / "said").read_text().split()} == {"--gpu=0", "--gpu=1"}


def test_a_search_that_wants_a_device_of_another_one_begins_nothing(gpus: Place, other: Place) -> None:
    gpus.running()
    result = other.run()
    assert result.returncode == 4
    assert 'GPU 3 is taken by the search "small"' in result.stderr
    assert str(gpus.log) in result.stderr
    assert "--take-over" not in result.stderr
    assert not other.log.exists()
    gpus.release()


def test_jobs_of_a_killed_controller_keep_the_device_until_their_search_goes_on(gpus: Place, other: Place) -> None:
    child = gpus.running()
    child.kill()
    child.communicate()
    result = other.run()
    assert result.returncode == 4
    assert f"controller {child.pid} is gone, its jobs still run" in result.stderr
    resumed = gpus.start("resume", "search.db", "--quiet")
    eventually(lambda: len(gpus.of(ControllerStarted)) == 2, "the second controller")
    assert other.run().returncode == 4
    gpus.release()
    assert resumed.wait(60) == 0
    assert seen(gpus) == {("0", "0"), ("1", "3")}
    assert other.run("--quiet").returncode == 0
    assert seen(other) == {("0", "3"), ("1", "4")}


def test_a_resume_that_is_refused_leaves_the_log_as_it_is(gpus: Place, other: Place) -> None:
    child = gpus.running()
    child.send_signal(signal.SIGINT)
    child.communicate()
    gpus.release()  # its jobs end, and so its devices are free
    lives = lambda: gpus.status()["unattended"]["processes"]  # noqa: E731
    eventually(lambda: lives() == 0, "the jobs to end")
    other.running()
    rows = len(gpus.rows())
    result = gpus.call("resume", "search.db")
    assert result.returncode == 4
    assert 'GPU 3 is taken by the search "small"' in result.stderr
    assert len(gpus.rows()) == rows
    stopped = gpus.call("stop", "search.db")  # starts nothing, so it needs no device
    assert stopped.returncode == 0, stopped.stderr
    assert gpus.call("note", "search.db", "0", "the device is needed elsewhere").returncode == 0
    other.release()


def test_a_copy_of_a_search_is_another_search(gpus: Place, tmp_path: Path) -> None:
    child = gpus.running()
    child.kill()
    child.communicate()
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in gpus.folder.glob("*"):
        if path.name in ("search.toml", "train.py", "hold") or path.name.startswith("search.db"):
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, copied / path.name)
    copy = Place(copied)
    copy.script(TRAIN)
    assert copy.call("resume", "search.db").returncode == 4
    gpus.release()


# ---------------------------------------------------------------- other devices


def test_resume_takes_other_devices_once_no_job_runs(gpus: Place) -> None:
    child = gpus.running()
    child.kill()
    child.communicate()
    refused = gpus.call("resume", "search.db", "--gpus", "[[5, 6], [7, 8], 9]")
    assert refused.returncode == 2
    assert "while jobs of gpus = [0, 3] run (trials 0, 1)" in refused.stderr
    assert not gpus.of(GpusChanged)
    gpus.release()
    eventually(lambda: gpus.status()["unattended"]["processes"] == 0, "the jobs to end")
    result = gpus.call("resume", "search.db", "--gpus", "[[5, 6], [7, 8], 9]", "--quiet", "--why", "0 is hot")
    assert result.returncode == 0, result.stderr
    [changed] = gpus.of(GpusChanged)
    assert (changed.gpus, changed.why) == (((5, 6), (7, 8), (9,)), "0 is hot")
    assert [e.changes.num_concurrent_workers for e in gpus.of(LimitsChanged)] == [3]
    assert seen(gpus) - {("0", "0"), ("1", "3")} <= {("0", "5,6"), ("1", "7,8"), ("2", "9")}
    assert gpus.call("replay", "search.db").returncode == 0


def test_a_search_takes_and_loses_devices_by_resume(place: Place) -> None:
    place.script(TRAIN)
    place.run("--quiet")
    more = ("--total-max-jobs", "8", "--quiet")
    assert place.call("resume", "search.db", "--gpus", "4", *more).returncode == 0
    assert ("0", "4") in seen(place)
    assert place.state().limits.num_concurrent_workers == 1
    (place.folder / "seen").unlink()
    again = place.call("resume", "search.db", "--gpus", "none", "--total-max-jobs", "10", "--quiet")
    assert again.returncode == 0, again.stderr
    assert seen(place) == {("0", "None")}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--num-concurrent-workers", "3"), ["num_concurrent_workers: found 3, expected 2", "--gpus"]),
        (("--gpus", "1", "--num-concurrent-workers", "3"), ["found 3, expected 1"]),
        (("--gpus", "zero"), ["--gpus: found zero, expected a list"]),
        (("--gpus", "-1"), ["--gpus: found -1"]),
        (("--gpus", "0,0.5"), ["--gpus: found 0,0.5"]),
    ],
)
def test_workers_and_devices_that_do_not_fit_are_refused_with_both_sides(gpus: Place, options, named) -> None:
    gpus.run("--quiet")
    rows = len(gpus.rows())
    result = gpus.call("resume", "search.db", "--total-max-jobs", "9", *options)
    assert result.returncode == 2, result.stderr
    for text in named:
        assert text in result.stderr
    assert len(gpus.rows()) == rows


def test_a_controller_at_work_refuses_another_number_of_workers(gpus: Place) -> None:
    gpus.running()
    result = gpus.call("resume", "search.db", "--num-concurrent-workers", "1")
    assert result.returncode == 2
    assert "expected 2, a worker for each entry of gpus" in result.stderr
    gpus.release()


def test_a_changed_list_in_the_search_file_is_named_and_not_used(gpus: Place) -> None:
    gpus.run("--quiet")
    gpus.describe(more="gpus = [1, 2]")
    result = gpus.call("resume", "search.db", "--total-max-jobs", "6", "--quiet")
    assert "not used: gpus" in result.stderr
    assert seen(gpus) == {("0", "0"), ("1", "3")}


def test_a_job_keeps_its_slot_over_a_crash(gpus: Place) -> None:
    child = gpus.running()
    slots = {event.trial: event.slot for event in gpus.of(JobCreated)}
    child.kill()
    child.communicate()
    resumed = gpus.start("resume", "search.db", "--quiet")
    eventually(lambda: len(gpus.of(ControllerStarted)) == 2, "the second controller")
    assert {row["trial"]: row["slot"] for row in gpus.status()["running"]} == slots
    gpus.release()
    resumed.wait(60)


def test_check_shows_the_devices_of_each_slot(gpus: Place) -> None:
    assert "slot 1: CUDA_VISIBLE_DEVICES=3" in gpus.call("check", "search.toml").stdout
    assert json.loads(gpus.call("check", "search.toml", "--json").stdout)["gpus"] == [[0], [3]]
