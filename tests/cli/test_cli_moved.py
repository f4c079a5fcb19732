"""A search that is moved or copied: its jobs, its script, and what people are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.core.fold.events import CommandMoved, JobEnded
from eventhpo.jobs.local.folder import AttemptFolder
from eventhpo.log import lease, paths
from tests.cli.harness import Place, ended
from tests.waiting import eventually


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """A search in a folder of its own; what was made of it is ended behind the test."""
    (tmp_path / "here").mkdir()
    places = [Place(tmp_path / "here")]
    yield places[0]
    for folder in tmp_path.iterdir():
        for path in folder.rglob("hold"):
            path.unlink()
        for log in folder.rglob("search.db"):
            eventually(lambda log=log: lease.holder(log) is None)  # type: ignore[misc]
            words = [sys.executable, "-m", "eventhpo", "stop", str(log), "--quiet"]
            assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, timeout=120).returncode == 0


def at(folder: Path) -> Place:
    """The search as it lies at *folder*, which has its files already."""
    place = Place.__new__(Place)
    place.folder, place.file, place.log, place.hold = (
        folder,
        *(folder / n for n in ("search.toml", "search.db", "hold")),
    )
    place.children = []
    return place


def copied(place: Place, name: str = "copy") -> Place:
    folder = place.folder.with_name(name)
    subprocess.run(["cp", "-a", place.folder, folder], check=True)
    return at(folder)


def moved(place: Place) -> Place:
    return at(place.folder.rename(place.folder.with_name("moved")))


def killed(place: Place) -> None:
    """Start a search with two jobs that hold, and kill its controller."""
    child = place.running()
    child.kill()
    ended(child)
    eventually(lambda: lease.holder(place.log) is None)


def alive(place: Place) -> list[int]:
    """Return the processes of jobs that run, by their tickets."""
    tickets = [AttemptFolder(path.parent).ticket() for path in paths.jobs(place.log).glob("*/started.json")]
    return [t.pid for t in tickets if t is not None and Path(f"/proc/{t.pid}/environ").exists()]


# ---------------------------------------------------------------- copied


def test_a_copy_made_while_two_jobs_run_leaves_them_alone_and_says_so(here: Place) -> None:
    child = here.running()
    pids = alive(here)
    assert len(pids) == 2
    copy = copied(here)
    copy.hold.unlink()
    done = copy.call("resume", "search.db")
    assert done.returncode == 0, done.stderr
    assert alive(here) == pids
    assert f"this is a copy: the jobs of trial 0 and trial 1 belong to the search in {here.folder}" in done.stderr
    assert "left alone" in done.stderr
    assert [event.how for event in copy.of(JobEnded)][:2] == ["lost", "lost"]
    assert len([t for t in copy.state().trials if t.finished and t.finished.state == "completed"]) == 4
    here.release()
    code, _, err = ended(child)
    assert code == 0, err
    assert {event.how for event in here.of(JobEnded)} == {"completed"}
    assert set(here.launches().values()) == {1}


def test_a_copy_that_is_stopped_stops_nothing_of_the_original(here: Place) -> None:
    child = here.running()
    pids = alive(here)
    copy = copied(here)
    assert copy.call("stop", "search.db").returncode == 0
    assert alive(here) == pids
    here.release()
    assert ended(child)[0] == 0


def test_a_copy_at_rest_is_no_copy_of_anybodys_jobs(here: Place) -> None:
    here.run()
    done = copied(here).call("resume", "search.db", "--total-max-jobs", "5")
    assert done.returncode == 0
    assert "this is a copy" not in done.stderr


@pytest.mark.parametrize("log", ["search.db", "runs/search.db"], ids=["log next to the script", "log below the script"])
def test_a_copy_runs_its_own_script(here: Place, log: str) -> None:
    (here.folder / "runs").mkdir()
    here.call("run", "search.toml", "--log", log)
    here.script("raise SystemExit('the original ran')")
    copy = copied(here)
    copy.script("from eventhpo import job\njob.report_scalar('validation', 'accuracy', 4.0, 1)\nopen('mine', 'w')")
    done = copy.call("resume", log, "--total-max-jobs", "5")
    assert done.returncode == 0, done.stderr
    assert (copy.folder / "mine").exists()
    assert not (here.folder / "mine").exists()
    assert f"its command runs in {copy.folder}" in done.stderr


def test_a_script_in_a_folder_below_the_log_goes_with_it(here: Place) -> None:
    code = here.folder / "code"
    code.mkdir()
    for name in ("search.toml", "train.py"):
        (here.folder / name).rename(code / name)
    assert here.call("run", "code/search.toml", "--log", "search.db").returncode == 0
    place = moved(here)
    assert place.call("resume", "search.db", "--total-max-jobs", "5").returncode == 0
    assert len((place.folder / "code" / "ledger").read_text().split()) == 5


# ---------------------------------------------------------------- moved


def test_a_search_at_rest_that_is_moved_goes_on_and_is_told_once_where(here: Place) -> None:
    here.run()
    old = here.folder
    place = moved(here)
    done = place.call("resume", "search.db", "--total-max-jobs", "5")
    assert done.returncode == 0, done.stderr
    assert (
        f"this log was made in {old} and lies in {place.folder} now: its command runs in {place.folder}" in done.stderr
    )
    assert [(e.folder, e.home) for e in place.of(CommandMoved)] == [(str(place.folder),) * 2]
    assert sorted(place.launches().values()) == [1] * 5
    again = place.call("resume", "search.db", "--total-max-jobs", "6")
    assert "lies in" not in again.stderr
    assert len(place.of(CommandMoved)) == 1
    assert not old.exists()


def test_a_search_that_is_moved_twice_goes_on(here: Place) -> None:
    here.run()
    place = moved(here)
    assert place.call("resume", "search.db", "--total-max-jobs", "5").returncode == 0
    place = at(place.folder.rename(place.folder.with_name("further")))
    assert place.call("resume", "search.db", "--total-max-jobs", "6").returncode == 0
    assert sorted(place.launches().values()) == [1] * 6


def test_jobs_that_run_while_their_search_is_moved_end_there_and_none_runs_twice(here: Place) -> None:
    killed(here)
    pids = alive(here)
    place = moved(here)
    child = place.start("resume", "search.db")
    eventually(lambda: lease.holder(place.log) is not None)
    assert alive(place) == pids
    place.release()
    code, _, err = ended(child)
    assert code == 0, err
    assert {event.how for event in place.of(JobEnded)} == {"completed"}
    assert sorted(place.launches().values()) == [1] * 4


def test_a_moved_search_can_be_stopped_with_its_jobs(here: Place) -> None:
    killed(here)
    place = moved(here)
    assert place.call("stop", "search.db").returncode == 0
    assert {event.how for event in place.of(JobEnded)} == {"stopped"}
    assert alive(place) == []


def test_the_output_of_a_failed_job_is_found_where_the_search_is_now(here: Place) -> None:
    here.script("print('what went wrong'); raise SystemExit(3)")
    here.describe(jobs=2, more="max_failed_trials = 1")
    assert here.run().returncode == 1
    place = moved(here)
    done = place.call("resume", "search.db")
    assert "| what went wrong" in done.stderr
    assert str(paths.jobs(place.log)) in done.stderr
    assert str(paths.jobs(place.log)) in place.call("status", "search.db").stdout


# ---------------------------------------------------------------- the script lies elsewhere


@pytest.fixture
def apart(here: Place) -> Place:
    """A finished search whose log lies away from its script."""
    (here.folder.parent / "logs").mkdir()
    here.log = here.folder.parent / "logs" / "search.db"
    assert here.call("run", "search.toml", "--log", str(here.log)).returncode == 0
    return here


def test_a_log_that_is_moved_away_from_its_script_runs_it_where_it_was(apart: Place, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "deep").mkdir()
    log = (tmp_path / "logs").rename(tmp_path / "else" / "deep" / "logs") / "search.db"
    done = apart.call("resume", str(log), "--total-max-jobs", "5")
    assert done.returncode == 0, done.stderr
    assert f"its command runs in {apart.folder}" in done.stderr
    assert sorted(apart.launches().values()) == [1] * 5


def test_a_script_that_is_moved_away_is_refused_by_name_of_the_option_and_then_found(
    apart: Place, tmp_path: Path
) -> None:
    place = at(apart.folder.rename(tmp_path / "elsewhere"))
    log = tmp_path / "logs" / "search.db"
    rows = len(at(log.parent).rows())
    done = place.call("resume", str(log), "--total-max-jobs", "5")
    assert done.returncode == 2
    assert f"the folder of the command is gone: {apart.folder}" in done.stderr
    assert f"resume {log} --folder NEW" in done.stderr
    assert len(at(log.parent).rows()) == rows
    assert place.call("resume", str(log), "--total-max-jobs", "5", "--folder", "nowhere").returncode == 2
    assert place.call("resume", str(log), "--total-max-jobs", "5", "--folder", ".").returncode == 0
    assert place.call("resume", str(log), "--total-max-jobs", "6").returncode == 0, "it is remembered"
    assert sorted(place.launches().values()) == [1] * 6


def test_a_search_whose_script_is_gone_can_still_be_stopped(apart: Place, tmp_path: Path) -> None:
    assert apart.call("resume", str(tmp_path / "logs" / "search.db"), "--total-max-jobs", "9").returncode == 0
    shutil.rmtree(apart.folder)
    done = subprocess.run(
        [sys.executable, "-m", "eventhpo", "stop", str(tmp_path / "logs" / "search.db")],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
