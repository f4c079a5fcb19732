"""A search that came to nothing says so: exit code, the last output, and the limit that lets it go on."""

from __future__ import annotations

import signal

import pytest

from tests.cli.harness import Place
from tests.waiting import eventually

FAILING = "print('no data set')\nraise SystemExit(3)\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_search_whose_few_trials_all_failed_is_no_success(place: Place, jobs: int) -> None:
    place.script(FAILING)
    place.describe(jobs=jobs)
    done = place.run()
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == ["finished: budget", "best: no trial has a value"]
    assert "  | no data set" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("eventhpo resume search.db --total-max-jobs N")
    again = place.call("resume", "search.db")
    assert again.returncode == 1
    assert "eventhpo resume search.db --total-max-jobs N" in again.stderr
    assert "--reopen" not in again.stderr
    place.script("")
    on = place.call("resume", "search.db", "--total-max-jobs", str(jobs + 1))
    assert len(place.state().trials) == jobs + 1
    assert on.returncode == 1  # it reported nothing


def test_an_end_by_time_without_a_value_is_no_success_and_shows_the_output_of_the_job_it_ended(place: Place) -> None:
    place.script("import signal\nprint('still loading', flush=True)\nsignal.pause()\n")
    run = place.start("run", "search.toml", "--log", "search.db")
    outputs = place.folder / "search.db.jobs"
    eventually(lambda: sum(bool(path.read_text()) for path in outputs.glob("*/output.log")) == 2, "both outputs")
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)
    done = place.call("resume", "search.db", "--wall-time-limit", "0.0001")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "finished: wall_time_limit"
    assert "trial 1 aborted" in done.stderr
    assert "  | still loading" in done.stderr
    assert "--wall-time-limit N" in done.stderr


def test_a_search_that_a_person_stopped_without_a_value_is_no_failure(place: Place) -> None:
    place.running(2)
    assert place.call("stop", "search.db").returncode == 0
    assert place.call("resume", "search.db").returncode == 0


def test_each_limit_that_holds_is_named(place: Place) -> None:
    place.script(FAILING)
    place.describe(jobs=2, more="max_failed_trials = 2")
    done = place.run()
    assert "--max-failed-trials N --total-max-jobs N" in done.stderr
