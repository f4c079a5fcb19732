"""A log whose end is lost, next to folders of jobs that it no longer knows: refused, or taken up with --adopt."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from pathlib import Path

import pytest

from eventhpo.core.fold.events import JobAdopted, JobCreated, JobEnded, JobPruned, JobStarted, TrialSuggested
from eventhpo.core.fold.job_key import read_key
from eventhpo.jobs.local.folder import AttemptFolder
from eventhpo.log import lease, paths
from eventhpo.log.create import write_log
from tests.cli.harness import Place, ended, invoke
from tests.waiting import eventually

PRUNED_AT_ONCE = """
import os, threading
from eventhpo import job
with open("ledger", "a") as ledger:
    ledger.write(os.environ["EVENTHPO_KEY"] + "\\n")
job.report_scalar("validation", "accuracy", 2.0, 1)
job.report_scalar("validation", "accuracy", 0.25, 2)
threading.Event().wait()
"""


def cut(log: Path, seq: int) -> None:
    """Have *log* end behind row *seq*, as if the rest had never reached the disk; no head file knows better."""
    with contextlib.closing(sqlite3.connect(log)) as db:
        asked = "SELECT seq, at, epoch, cause, type, v, body, hash FROM event WHERE seq <= ? ORDER BY seq"
        found = db.execute(asked, [seq]).fetchall()
    for path in (log, paths.wal(log), paths.shm(log), paths.head(log)):
        path.unlink(missing_ok=True)
    write_log(log, found, found[-1][2])


def before(place: Place, kind: type, n: int = 0) -> int:
    """Return the seq of the row before the *n*-th event of a type."""
    return [row.seq for row in place.rows() if isinstance(row.event, kind)][n] - 1


def once(place: Place) -> bool:
    return set(place.launches().values()) == {1}


def killed(place: Place) -> None:
    """Start a search with two jobs that hold, and kill its controller."""
    child = place.running()
    child.kill()
    ended(child)
    eventually(lambda: lease.holder(place.log) is None)


@pytest.mark.parametrize("kind", [TrialSuggested, JobCreated, JobStarted, JobEnded])
@pytest.mark.parametrize("n", [0, 2])
def test_a_search_whose_log_lost_its_end_goes_on_with_adopt_and_runs_no_job_twice(
    place: Place, kind: type, n: int
) -> None:
    place.run()
    ran = place.launches()
    seq = before(place, kind, n)
    cut(place.log, seq)
    rows = place.rows()
    found = invoke("verify", place.log)
    lost = len(ran) - len(place.of(JobCreated))
    assert (found.exit_code == 3) == (lost > 0), found.output
    if lost:
        assert "jobs      WRONG  this log has lost its tail" in found.output
        done = place.call("resume", "search.db")
        assert done.returncode == 3
        assert f"it ends at event {seq}" in done.stderr
        assert "--adopt" in done.stderr
        assert place.rows() == rows
    assert place.call("resume", "search.db", "--adopt").returncode == 0
    assert place.launches() == ran
    assert once(place)
    assert [trial.finished.state for trial in place.state().trials if trial.finished] == ["completed"] * 4
    assert invoke("verify", place.log).exit_code == 0


def test_jobs_that_live_are_taken_up_and_not_started_again(place: Place) -> None:
    killed(place)
    slots = {event.key: event.slot for event in place.of(JobCreated)}
    cut(place.log, before(place, TrialSuggested))
    assert place.call("resume", "search.db").returncode == 3
    child = place.start("resume", "search.db", "--adopt")
    eventually(lambda: len(place.of(JobStarted)) == 2)
    assert {event.key: event.slot for event in place.of(JobAdopted)} == slots
    place.release()
    code, _, err = ended(child)
    assert code == 0, err
    assert once(place)
    assert sum(place.launches().values()) == 4


def test_what_was_settled_of_a_job_stays_settled(place: Place) -> None:
    """Its prune is in the lost rows; the file that told it to stop says so."""
    place.script(PRUNED_AT_ONCE)
    place.describe(jobs=2)
    text = place.file.read_text().replace('name = "NopPruner"', 'name = "ThresholdPruner"\nupper = 1.0')
    place.file.write_text(text)
    assert place.run().returncode == 0
    assert len(place.of(JobPruned)) == 2
    cut(place.log, before(place, JobCreated))
    assert place.call("resume", "search.db", "--adopt").returncode == 0
    assert [event.fate for event in place.of(JobAdopted)] == ["pruned", "pruned"]
    outcomes = [(t.finished and t.finished.state, t.last and t.last.judged) for t in place.state().trials]
    assert outcomes == [("pruned", 1)] * 2
    assert once(place)


def test_a_job_that_never_started_is_forgotten_and_never_starts(place: Place) -> None:
    place.run()
    key = place.of(JobCreated)[-1].key
    number = read_key(key)
    assert number is not None
    stray = AttemptFolder(paths.jobs(place.log) / key.replace(f":{number.seq}-", ":99999-").replace(":", "_"))
    stray.create({"General/lr": 0.5, "General/kind": "a"}, None)
    more = ("resume", "search.db", "--total-max-jobs", "5")
    assert place.call(*more, "--adopt").returncode == 3  # of an attempt that the log has under another key
    stray.path.rename(stray.path.with_name(stray.job_id.replace("_3.0", "_4.0")))
    assert place.call(*more).returncode == 3
    assert place.call(*more, "--adopt").returncode == 0
    assert len(place.state().trials) == 5
    assert not place.of(JobAdopted)
    assert not list(paths.jobs(place.log).glob("*_99999-*"))
    assert once(place)


def test_nothing_is_appended_to_a_log_that_lost_its_end_not_even_a_point(place: Place) -> None:
    place.run()
    cut(place.log, before(place, JobCreated, 1))
    rows = place.rows()
    asked = place.call("enqueue", "search.db", "lr=0.5")
    assert asked.returncode == 3
    assert "lost its tail" in asked.stderr
    assert place.rows() == rows
    assert place.call("stop", "search.db").returncode == 3
    assert place.call("resume", "search.db", "--adopt").returncode == 0


def test_a_fork_is_refused_and_goes_on_without_the_folders_of_the_other(place: Place) -> None:
    place.run()
    cut(place.log, before(place, JobCreated, 1))
    jobs = paths.jobs(place.log)
    away = jobs.rename(jobs.with_name("away"))
    assert place.call("resume", "search.db").returncode == 0
    for folder in away.iterdir():
        if not (jobs / folder.name).exists():
            folder.rename(jobs / folder.name)
    others = sorted(path for path in jobs.iterdir() if path.name not in known(place) and path.name != "checkpoints")
    assert len(others) == 3
    assert invoke("verify", place.log).exit_code == 3
    for words in (["--adopt"], []):
        done = place.call("resume", "search.db", "--total-max-jobs", "5", *words)
        assert done.returncode == 3
        assert "this log is a fork: job folders" in done.stderr
        assert "move these folders away" in done.stderr
    for path in others:
        path.rename(place.folder / path.name)
    assert place.call("resume", "search.db", "--total-max-jobs", "5").returncode == 0
    assert invoke("verify", place.log).exit_code == 0


def known(place: Place) -> set[str]:
    return {event.key.replace(":", "_") for event in place.of(JobCreated)}


def test_verify_of_a_search_that_runs_finds_each_folder_in_the_log(place: Place) -> None:
    child = place.running()
    assert invoke("verify", place.log).exit_code == 0
    child.send_signal(signal.SIGINT)
    ended(child)


def test_what_is_salvaged_goes_on_with_the_jobs_of_the_damaged_log(place: Place) -> None:
    place.run()
    ran = place.launches()
    seq = before(place, JobEnded, 1)
    head = paths.head(place.log).read_bytes()
    cut(place.log, seq)
    paths.head(place.log).write_bytes(head)
    done = place.call("salvage", "search.db", "saved.db")
    assert "rename search.db.jobs to saved.db.jobs" in done.stderr
    assert "resume saved.db --adopt" in done.stderr
    paths.jobs(place.log).rename(paths.jobs(place.folder / "saved.db"))
    for name in ("search.db", "search.db.head"):
        (place.folder / name).unlink()
    place.log = place.folder / "saved.db"
    assert place.call("resume", "saved.db", "--adopt").returncode == 0
    assert place.launches() == ran
