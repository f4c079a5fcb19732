"""A folder that is copied or moved while its jobs run: a copy leaves them alone, a move takes them along."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from eventhpo.jobs.local import launch
from eventhpo.jobs.local.folder import AttemptFolder
from eventhpo.jobs.protocol import BoundJob
from tests.jobs.harness import (
    FOREVER,
    LEDGER,
    Place,
    changed,
    check_ledger,
    content,
    environment_of,
    is_running,
    kill,
    look,
)
from tests.waiting import eventually

WAITS = (
    LEDGER
    + """
from eventhpo import job
from pathlib import Path
job.report_scalar("validation", "accuracy", 0.5, 1)
Path("ready").touch()
while not Path("go").exists():
    pass
job.report_scalar("validation", "accuracy", 0.75, 2)
"""
)

# The job's own process dies with its runner; what is left has the environment, and neither group nor lock.
LEAVES_ONE = """
import os, subprocess, sys, signal
from pathlib import Path
code = (
    "import os, signal; os.setsid(); open('t', 'w').write(str(os.getpid())); os.rename('t', 'child'); signal.pause()"
)
subprocess.Popen([sys.executable, "-c", code])
signal.pause()
"""


@pytest.fixture
def here(place: Place) -> Place:
    """A place that can be copied and moved as a whole."""
    place.folder = place.folder / "here"
    place.folder.mkdir()
    place.jobs_folder = place.folder / "search.db.jobs"
    return place


def at(place: Place, folder: Path) -> Place:
    return Place(folder, place.search_id)


def copied(place: Place) -> Place:
    folder = place.folder.with_name("copy")
    subprocess.run(["cp", "-a", place.folder, folder], check=True)
    return at(place, folder)


def moved(place: Place) -> Place:
    return at(place, place.folder.rename(place.folder.with_name("moved")))


def forget_the_folder(place: Place, job: BoundJob) -> None:
    """Leave the ticket as a version before took it."""
    file = place.attempt(job).ticket_file
    text = re.sub(r', "lock": \[\d+, \d+\], "slot": \d+', "", file.read_text())
    assert '"lock"' not in text
    file.write_text(text)


def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give jobs the environment that a version before gave."""
    whole = launch.environment

    def without(
        job: BoundJob, folder: AttemptFolder, ours: Mapping[str, str], devices: Sequence[int]
    ) -> dict[str, str]:
        theirs = whole(job, folder, ours, devices)
        theirs.pop("EVENTHPO_LOCK", None)
        return theirs

    monkeypatch.setattr("eventhpo.jobs.local.local_jobs.environment", without)


@pytest.mark.parametrize("old", [False, True], ids=["a ticket of today", "a ticket of before"])
def test_a_copy_takes_its_attempt_for_lost_and_leaves_the_job_alone(
    here: Place, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    if old:
        as_before(monkeypatch)
    here.script(FOREVER)
    job = here.started()
    if old:
        forget_the_folder(here, job)
    ended = copied(here).ended(job)
    assert ended.how == "lost"
    assert old or "copy" in ended.why
    assert is_running(here.ticket(job).pid)
    assert look(here.backend(), job).ended is None


def test_a_stop_in_a_copy_stops_nothing_of_the_original(here: Place) -> None:
    here.script(FOREVER)
    job = here.started()
    copy = copied(here)
    assert copy.ended(copy.stop(job)).how == "lost"
    assert not here.attempt(job).stop_file.exists()
    assert is_running(here.ticket(job).pid)


def test_a_copy_of_a_job_that_is_over_has_its_end_and_its_reports(here: Place) -> None:
    here.script(WAITS)
    (here.folder / "go").touch()
    job = here.started()
    end = here.ended(job)
    assert copied(here).ended(job).code == end.code == 0


def test_what_a_lost_attempt_of_the_original_left_is_ended_and_nothing_of_its_copy(here: Place) -> None:
    here.script(FOREVER)
    job = here.started(0)
    other = copied(here)
    mine = other.started(1)
    kill(here.ticket(job).runner)
    assert here.ended(job).how == "lost"
    assert not is_running(here.ticket(job).pid)
    assert is_running(other.ticket(mine).pid)


@pytest.mark.parametrize("old", [False, True], ids=["a ticket of today", "a ticket of before"])
def test_the_group_of_a_lost_attempt_is_ended_where_it_was_started(
    here: Place, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    if old:
        as_before(monkeypatch)
    here.script(FOREVER)
    job = here.started()
    if old:
        forget_the_folder(here, job)
    kill(here.ticket(job).runner)
    assert here.ended(job).how == "lost"
    assert not is_running(here.ticket(job).pid)


def test_a_job_goes_on_in_a_folder_that_is_moved_and_its_end_is_found_there(here: Place) -> None:
    here.script(WAITS)
    job = here.started()
    eventually((here.folder / "ready").exists)
    place = moved(here)
    assert look(place.backend(), job).ended is None
    (place.folder / "go").touch()
    sight, ended = place.watched(job)
    assert ended.how == "completed"
    assert [p for seen in sight for c in seen.curves for p in c.iterations] == [1, 2]
    check_ledger(place.ledger())
    assert not here.folder.exists()


def test_a_moved_job_obeys_a_stop(here: Place) -> None:
    here.script(WAITS)
    job = here.started()
    eventually((here.folder / "ready").exists)  # before, its script may be moved away unread
    place = moved(here)
    assert place.ended(place.stop(job)).how == "stopped"


def test_a_moved_attempt_whose_runner_is_gone_is_swept(here: Place) -> None:
    here.script(LEAVES_ONE)
    job = here.started()
    child = int(here.says("child"))
    eventually(lambda: b"EVENTHPO_LOCK" in environment_of(child))
    place = moved(here)
    kill(place.ticket(job).pid)
    kill(place.ticket(job).runner)
    assert place.ended(job).how == "lost"
    eventually(lambda: not is_running(child))


def test_what_carries_key_and_path_of_another_folder_is_left_alone(here: Place) -> None:
    """The folder is moved and a copy of it put in its place: the path alone would name the wrong one."""
    here.script(LEAVES_ONE)
    job = here.started()
    child = int(here.says("child"))
    eventually(lambda: b"EVENTHPO_LOCK" in environment_of(child))
    place = moved(here)
    subprocess.run(["cp", "-a", place.folder, here.folder], check=True)
    assert here.ended(changed(job, started=True)).how == "lost"
    assert is_running(child)
    assert content(place.folder / "child") == str(child)
    kill(child)
