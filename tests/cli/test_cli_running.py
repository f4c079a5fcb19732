"""run, resume, stop and enqueue with real jobs, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.controller.requests import StopRequest
from eventhpo.controller.send_request import ask_holder
from eventhpo.core.fold.events import (
    ControllerStarted,
    JobCreated,
    JobEnded,
    JobQueued,
    JobStarted,
    LimitsChanged,
    PointEnqueued,
    SearchFinished,
    SearchReopened,
    StopAsked,
    TrialSuggested,
)
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import Starting
from eventhpo.log import lease, paths
from eventhpo.log.reader import read
from tests.cli.harness import COMMAND, SEARCH, Place, ended, frozen, invoke
from tests.waiting import eventually


def once_each(place: Place) -> None:
    """Assert that every intent that was started was started once."""
    assert set(place.launches().values()) <= {1}
    assert set(place.launches()) <= {event.key for event in place.of(JobCreated)}


# ---------------------------------------------------------------- run


def test_run_ends_with_the_best_trial_and_where_the_log_is(place):
    done = place.run()
    assert done.returncode == 0, done.stderr
    state = place.state()
    assert done.stdout.splitlines()[0] == "finished: budget"
    assert done.stdout.splitlines()[1].startswith("best: trial ")
    assert done.stdout.splitlines()[-1] == "log: search.db"
    assert state.finished is not None
    assert len(state.trials) == 4
    once_each(place)
    assert not paths.wal(place.log).exists()


def test_progress_is_a_line_for_each_decision_that_says_something_new(place):
    done = place.run()
    decided = [
        row for row in place.rows() if type(row.event).__name__ in ("JobCreated", "TrialFinished", "SearchEnding")
    ]
    assert len(done.stderr.splitlines()) == len(decided)


def test_a_terminal_gets_a_table_that_is_gone_at_the_end(place):
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "run", "search.toml", "--log", "search.db"],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    place.children.append(child)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal that nobody has open any more with EIO
        while chunk := os.read(ours, 65_536):
            shown += chunk
    os.close(ours)
    assert child.wait(60) == 0
    assert b"trial 3 completed" in shown
    assert b"\x1b[" in shown
    assert b"slot" in shown


def test_a_search_goes_on_when_nobody_reads_its_progress(place):
    """As `eventhpo run ... 2>&1 | head -1` leaves it."""
    read_end, write_end = os.pipe()
    child = place.start("run", "search.toml", "--log", "search.db", stdout=write_end, stderr=write_end)
    os.close(read_end)
    os.close(write_end)
    assert child.wait(60) == 0
    assert place.status()["state"] == "finished"


def test_quiet_says_nothing_of_progress(place):
    done = place.run("--quiet")
    assert done.returncode == 0
    assert done.stderr == ""


def test_run_refuses_a_log_that_exists_and_names_resume(place):
    place.run()
    before = place.log.read_bytes()
    done = place.run()
    assert done.returncode == 2
    assert "eventhpo resume search.db" in done.stderr
    assert place.log.read_bytes() == before


def test_run_refuses_what_is_left_of_another_search(place):
    paths.jobs(place.log).mkdir()
    done = place.run()
    assert done.returncode == 2
    assert "search.db.jobs" in done.stderr
    assert not place.log.exists()


def test_a_search_file_with_mistakes_names_them_all_and_creates_nothing(place):
    place.describe(more="patients = 3\nwall_time_limit = -1")
    done = place.run()
    assert done.returncode == 2
    assert "patients" in done.stderr
    assert "patience" in done.stderr
    assert "wall_time_limit" in done.stderr
    assert sorted(p.name for p in place.folder.iterdir()) == ["search.toml", "train.py"]


@pytest.mark.parametrize("command", ['["nowhere-to-be-found"]', '["./train.py"]'], ids=["on PATH", "in the folder"])
def test_a_program_that_cannot_be_run_is_said_before_anything_is_created(place, command):
    place.file.write_text(place.file.read_text().replace('["python", "train.py"]', command))
    for words in (("run", "search.toml", "--log", "search.db"), ("check", "search.toml")):
        done = place.call(*words)
        assert done.returncode == 2
        assert "command" in done.stderr
        assert not place.log.exists()


def test_a_log_in_a_folder_that_is_not_there_is_a_usage_error(place):
    done = place.call("run", "search.toml", "--log", "away/search.db")
    assert done.returncode == 2
    assert "away" in done.stderr


def test_points_of_the_search_file_are_in_the_log_from_its_birth_and_come_first(place):
    place.describe(behind='[[trial]]\n"General/lr" = 0.5\nkind = "b"\n')
    place.run()
    rows = place.rows()
    assert isinstance(rows[1].event, PointEnqueued)
    assert isinstance(rows[2].event, ControllerStarted)
    first = place.of(TrialSuggested)[0]
    assert (first.source, first.params) == ("user", {"General/lr": 0.5, "General/kind": "b"})


def test_a_search_whose_first_jobs_all_fail_ends_with_the_last_lines_of_the_output(place):
    place.script("for n in range(50):\n    print('line', n)\nraise SystemExit('no data set')\n")
    place.describe(jobs=9)
    done = place.run()
    assert done.returncode == 1
    assert "no data set" in done.stderr
    assert "line 49" in done.stderr
    assert "line 30" not in done.stderr
    output = place.of(JobEnded)[-1].output
    assert output in done.stderr
    assert "failures" in done.stdout
    again = place.call("resume", "search.db")
    assert again.returncode == 1
    assert "no data set" in again.stderr


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_the_run_its_jobs_go_on_and_resume_adopts_them(place, number, code):
    child = place.running()
    child.send_signal(number)
    got, out, err = ended(child)
    assert got == code
    assert out == ""
    assert "2 jobs go on" in err
    assert "eventhpo resume search.db" in err
    assert "eventhpo stop search.db" in err
    assert place.status()["state"] == "interrupted"
    assert place.status()["jobs"]["running"] == 2
    place.release()
    done = place.call("resume", "search.db")
    assert done.returncode == 0, done.stderr
    assert len(place.state().trials) == 4
    assert [event.how for event in place.of(JobEnded)] == ["completed"] * 4
    once_each(place)


def test_a_second_ctrl_c_while_it_ends_changes_nothing(place):
    child = place.running()
    for _ in range(20):
        child.send_signal(signal.SIGINT)
    code, _, err = ended(child)
    assert code == 130
    assert "Traceback" not in err
    assert invoke("verify", place.log, "--decide").exit_code == 0
    assert len([event for event in place.of(StopAsked) if event.scope == "run"]) == 1


def test_a_signal_that_was_ignored_stays_ignored(place):
    child = place.start(
        "run", "search.toml", "--log", "search.db", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    place.hold.touch()
    eventually(lambda: place.log.exists() and place.observed(), "a first point")
    child.send_signal(signal.SIGHUP)
    place.release()
    assert ended(child)[0] == 0


# ---------------------------------------------------------------- two controllers


def test_a_second_controller_exits_4_and_names_the_first(place):
    child = place.running()
    done = place.call("resume", "search.db")
    assert done.returncode == 4
    assert f"controller {child.pid} on " in done.stderr
    assert "--take-over" in done.stderr
    assert place.status()["controller"]["pid"] == child.pid
    place.release()
    assert ended(child)[0] == 0


def test_a_resume_next_to_a_controller_that_starts_does_not_advise_to_take_over(log, monkeypatch):
    monkeypatch.setattr(lease, "STARTING", 0.0)
    held = lease.acquire(log, lease.Holder("gpu-7", 4121))
    done = invoke("resume", log, "--total-max-jobs", 9)
    held.release()
    assert done.exit_code == 4
    assert "is being opened by controller 4121 on gpu-7" in done.stderr
    assert "--take-over" not in done.stderr


def test_a_request_to_a_controller_that_starts_does_not_advise_to_take_over(log):
    held = lease.acquire(log, lease.Holder("gpu-7", 4121))
    with pytest.raises(Starting, match="was not done within"):
        ask_holder(log, lambda epoch: StopRequest(epoch=epoch), patience=0.01)
    held.release()


def test_a_frozen_holder_is_taken_over_and_stops_before_it_touches_a_job(place):
    child = place.running()
    frozen(child)
    other = place.start("resume", "search.db", "--take-over")
    eventually(lambda: place.of(ControllerStarted)[-1].took_over, "the take-over")
    child.send_signal(signal.SIGCONT)
    code, _, err = ended(child)
    assert code == 4
    assert f"controller {other.pid}" in err
    place.release()
    assert ended(other)[0] == 0
    assert len(place.state().trials) == 4
    once_each(place)


def test_a_holder_that_is_frozen_does_not_answer_and_the_request_is_withdrawn(place):
    from eventhpo.controller.requests import EnqueueRequest
    from eventhpo.controller.send_request import ask
    from eventhpo.errors import Busy

    child = place.running()
    frozen(child)
    with pytest.raises(Busy, match="--take-over"):
        ask(place.log, EnqueueRequest(params={"General/lr": 0.5}), patience=0.3)
    assert list(paths.requests(place.log).iterdir()) == []
    child.send_signal(signal.SIGCONT)
    place.release()
    assert ended(child)[0] == 0
    assert place.of(PointEnqueued) == []


# ---------------------------------------------------------------- stop


def test_stop_ends_a_live_search_and_its_jobs(place):
    child = place.running()
    done = place.call("stop", "search.db")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stopped: stop\n")
    code, out, _ = ended(child)
    assert code == 0
    assert out.startswith("stopped: stop\n")
    assert place.status()["state"] == "stopped"
    assert place.status()["jobs"]["aborted"] == 2
    assert len(place.of(StopAsked)) == 1
    assert list(paths.requests(place.log).iterdir()) == []


def test_stop_without_a_controller_ends_the_jobs_itself(place):
    child = place.running()
    child.send_signal(signal.SIGINT)
    ended(child)
    done = place.call("stop", "search.db")
    assert done.returncode == 0, done.stderr
    assert place.status()["state"] == "stopped"
    assert place.status()["running"] == []
    assert {event.how for event in place.of(JobEnded)} == {"stopped"}


def test_stop_carries_on_when_the_controller_dies_while_it_stops(place):
    place.script(TRAIN_STUBBORN)
    child = place.running()
    stop = place.start("stop", "search.db")
    eventually(lambda: place.of(StopAsked), "the stop to be recorded")
    child.kill()
    assert ended(stop)[0] == 0
    assert place.status()["state"] == "stopped"


TRAIN_STUBBORN = """
import signal, threading
signal.signal(signal.SIGTERM, lambda *_: threading.Event().wait(1.0))
from eventhpo import job
job.report_scalar("validation", "accuracy", 0.5, 1)
threading.Event().wait(60)
"""


def test_stop_of_a_search_that_is_over_says_so(place):
    place.run()
    head = place.status()["head"]
    done = place.call("stop", "search.db")
    assert done.returncode == 0
    assert "finished already" in done.stderr
    assert place.status()["head"] == head


# ---------------------------------------------------------------- enqueue


def test_a_point_enqueued_on_a_live_search_is_tried_next(place):
    child = place.running()
    done = place.call("enqueue", "search.db", "lr=0.25", "General/kind=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("enqueued: General/kind=1 General/lr=0.25")
    assert done.stderr == ""
    place.release()
    assert ended(child)[0] == 0
    third = place.of(TrialSuggested)[2]
    assert (third.source, third.params) == ("user", {"General/lr": 0.25, "General/kind": "1"})


def test_a_point_enqueued_without_a_controller_is_tried_by_the_next(place):
    child = place.running()
    child.send_signal(signal.SIGTERM)
    ended(child)
    done = place.call("enqueue", "search.db", "General/lr=0.25")
    assert done.returncode == 0, done.stderr
    assert "eventhpo resume search.db" in done.stderr
    assert place.status()["waiting"] == 1
    place.release()
    assert place.call("resume", "search.db").returncode == 0
    assert place.of(TrialSuggested)[2].params["General/lr"] == 0.25
    once_each(place)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("General/lrr=0.1",), 'did you mean "General/lr"'),
        (("lr=2",), "a number from 0.001 to 1, on a log scale"),
        (("lr=nan",), "a number from 0.001 to 1, on a log scale"),
        (("lr=a lot",), "a number from 0.001 to 1, on a log scale"),
        (("kind=c",), 'one of ["a", "b", "1"]'),
        (("lr",), "expected Section/name=value"),
        (("lr=0.1", "General/lr=0.1"), "twice"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_a_point_that_does_not_fit_is_refused_and_leaves_no_trace(place, words, said):
    child = place.running()
    for _ in ("live", "without a controller"):
        head = place.status()["head"]
        done = place.call("enqueue", "search.db", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert place.status()["head"] == head
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            ended(child)


def test_a_point_is_refused_where_no_new_trial_begins_with_the_way_on(place):
    place.run()
    done = place.call("enqueue", "search.db", "lr=0.25")
    assert done.returncode == 2
    assert "--total-max-jobs" in done.stderr
    place.call("resume", "search.db", "--total-max-jobs", "5")
    assert place.status()["trials"]["completed"] == 5


def test_a_failed_point_of_a_space_that_is_used_up_is_tried_again_as_the_run_says(place):
    place.script(
        """
        import os
        from eventhpo import job
        params = job.connect({"lr": 0.0})
        assert params["lr"] != 0.5 or os.path.exists("mended")
        job.report_scalar("validation", "accuracy", params["lr"], 1)
        """
    )
    place.file.write_text(
        SEARCH.format(jobs=9, more="").partition("[space.")[0]
        + '[space."General/lr"]\ntype = "DiscreteParameterRange"\nvalues = [0.25, 0.5]\n'
    )
    done = place.run()
    assert place.status()["ending"]["reason"] == "space"
    assert "1 trial failed; to try such a point again" in done.stderr
    again = place.call("resume", "search.db")
    assert "a point of your own lets it go on: eventhpo enqueue search.db NAME=VALUE" in again.stderr
    (place.folder / "mended").touch()
    enqueue, resume = (line.split()[1:] for line in done.stderr.splitlines() if line.startswith("  eventhpo"))
    assert place.call(*enqueue).returncode == 0
    assert place.call(*resume).returncode == 0
    assert place.status()["trials"]["completed"] == 2
    assert place.state().trials[-1].params == {"General/lr": 0.5}


def test_a_point_is_refused_on_a_stopped_search_with_the_way_on(place):
    child = place.running()
    place.call("stop", "search.db")
    ended(child)
    done = place.call("enqueue", "search.db", "lr=0.25")
    assert done.returncode == 2
    assert "--reopen" in done.stderr


# ---------------------------------------------------------------- resume


def test_resume_of_a_finished_search_says_so_and_leaves_it_alone(place):
    place.run()
    head = place.status()["head"]
    done = place.call("resume", "search.db")
    assert done.returncode == 0
    assert "--total-max-jobs" in done.stderr
    assert done.stdout.startswith("finished: budget\n")
    assert place.status()["head"] == head


def test_a_finished_search_goes_on_with_new_limits(place):
    place.run()
    done = place.call("resume", "search.db", "--total-max-jobs", "6", "--num-concurrent-workers", "3")
    assert done.returncode == 0, done.stderr
    assert place.status()["trials"]["completed"] == 6
    assert place.of(LimitsChanged)[0].changes.given() == {"total_max_jobs": 6, "num_concurrent_workers": 3}
    assert len(place.of(SearchFinished)) == 2


def test_a_live_controller_is_told_of_new_limits(place):
    child = place.running()
    done = place.call("resume", "search.db", "--total-max-jobs", "5")
    assert done.returncode == 0, done.stderr
    assert f"controller {child.pid}" in done.stdout
    place.release()
    assert ended(child)[0] == 0
    assert place.status()["trials"]["completed"] == 5


def test_a_stopped_search_goes_on_when_it_is_reopened(place):
    child = place.running()
    place.call("stop", "search.db")
    ended(child)
    place.release()
    head = place.status()["head"]
    assert "--reopen" in place.call("resume", "search.db").stderr
    refused = place.call("resume", "search.db", "--total-max-jobs", "5")
    assert refused.returncode == 2
    assert "--reopen" in refused.stderr
    assert place.status()["head"] == head
    done = place.call("resume", "search.db", "--reopen", "--total-max-jobs", "6")
    assert done.returncode == 0, done.stderr
    assert len(place.of(SearchReopened)) == 1
    assert place.status()["state"] == "finished"
    assert place.status()["trials"] == {
        "running": 0,
        "completed": 4,
        "pruned": 0,
        "failed": 0,
        "aborted": 2,
        "imported": 0,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--total-max-jobs", "0"), "--total-max-jobs: found 0"),
        (("--total-max-jobs", "many"), "--total-max-jobs: found many"),
        (("--num-concurrent-workers", "none"), "--num-concurrent-workers: found none"),
        (("--compute-time-limit", "-1"), "--compute-time-limit: found -1"),
        (("--total-max-job", "3"), "--total-max-jobs"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_a_limit_that_cannot_be_is_refused_and_leaves_no_trace(place, options, said):
    place.run()
    head = place.status()["head"]
    done = place.call("resume", "search.db", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert place.status()["head"] == head


def test_a_limit_is_lifted_by_none(place):
    place.describe(more="max_failed_trials = 3")
    place.run()
    place.call("resume", "search.db", "--max-failed-trials", "none")
    assert place.state().limits.max_failed_trials is None


def test_resume_names_the_keys_of_the_search_file_that_changed_and_does_not_use_them(place):
    child = place.running()
    child.send_signal(signal.SIGINT)
    ended(child)
    place.release()
    place.describe(jobs=9, more="patience = 50")
    done = place.call("resume", "search.db")
    said = done.stderr.splitlines()[0]
    assert "search.toml" in said
    assert "total_max_jobs" in said
    assert "patience" in said
    assert "not used" in said
    assert len(place.state().trials) == 4


def test_a_search_file_that_did_not_change_is_not_mentioned(place):
    place.run()
    assert "search.toml" not in place.call("resume", "search.db").stderr


def test_another_file_with_the_same_name_in_it_is_not_blamed(place):
    place.run()
    (place.folder / "another.toml").write_text(place.file.read_text().replace("seed = 5", "seed = 6"))
    assert "toml" not in place.call("resume", "search.db").stderr
    place.file.unlink()
    assert "toml" not in place.call("resume", "search.db").stderr


def test_resume_of_a_search_on_simulated_jobs_is_refused(log):
    result = invoke("resume", log, "--total-max-jobs", "9")
    assert result.exit_code == 2
    assert "simulated" in result.stderr


# ---------------------------------------------------------------- storage


def test_a_full_disk_ends_the_run_with_5_and_the_search_can_be_resumed(place):
    """A limit on the size of files stands for the disk: the log is the first file that grows so large."""
    place.describe(jobs=40)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, resource.RLIM_INFINITY))

    child = place.start("run", "search.toml", "--log", "search.db", preexec_fn=small_files)
    code, _, err = ended(child)
    assert code == 5
    assert "eventhpo resume search.db" in err
    assert "Traceback" not in err
    assert place.status()["state"] == "interrupted"
    done = place.call("resume", "search.db")
    assert done.returncode == 0, done.stderr
    assert len(place.state().trials) == 40
    assert invoke("verify", place.log, "--decide").exit_code == 0
    once_each(place)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("nothing is read-only for this user")
        yield
    finally:
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_created(place):
    with read_only(place.folder):
        done = place.run()
        assert done.returncode == 2
        assert "cannot be written" in done.stderr


def test_a_resting_log_in_a_folder_that_cannot_be_written_is_read(place):
    place.run()
    with read_only(place.folder):
        for words in (("status",), ("top",), ("events",), ("verify",)):
            assert invoke(*words, place.log).exit_code == 0
        assert invoke("enqueue", place.log, "lr=0.1").exit_code == 2
        assert place.call("resume", "search.db", "--total-max-jobs", "9").returncode == 5


# ---------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b"#!/bin/sh\r\n", "lines that end as on Windows"),
        (b"#!/no/such/interpreter\n", "names /no/such/interpreter, and there is no such program"),
    ],
)
def test_a_script_whose_first_line_names_no_program_is_refused_with_the_reason(place, first, said):
    script = place.folder / "train.sh"
    script.write_bytes(first + b"exit 0\n")
    script.chmod(0o755)
    place.file.write_text(place.file.read_text().replace('["python", "train.py"]', '["./train.sh"]'))
    for words in (("check", place.file), ("run", place.file, "--log", place.log)):
        result = invoke(*words)
        assert result.exit_code == 2
        assert said in result.stderr
    assert not place.log.exists()


def test_check_and_run_tell_what_a_search_may_not_mean(place):
    place.describe(jobs=1, behind="[[trial]]\nlr = 0.5\n[[trial]]\nlr = 0.25\n")
    for done in (place.call("check", "search.toml"), place.run()):
        assert "note: [[trial]] is there 2 times, and there is a budget for 1: the last is never tried" in done.stderr


def test_check_says_what_would_be_done_and_creates_nothing(place):
    before = sorted(place.folder.iterdir())
    result = invoke("check", place.file)
    assert result.exit_code == 0
    assert sum(line.startswith("suggestion") for line in result.stdout.splitlines()) == 4
    assert "a number from 0.001 to 1, on a log scale" in result.stdout
    assert sorted(place.folder.iterdir()) == before


def test_the_suggestions_of_check_are_those_of_a_run_in_which_nothing_was_reported_yet(place):
    place.describe(jobs=9, behind="[[trial]]\nlr = 0.5\n")
    from tests.cli.harness import data

    found = data("check", place.file)
    place.running()
    params = [event.params for event in place.of(TrialSuggested)]
    assert found["suggestions"][: len(params)] == params
    assert len(found["suggestions"]) == 5


def test_the_same_command_is_reached_as_a_module_and_by_its_name(place):
    named = subprocess.run(["eventhpo", "--version"], capture_output=True, text=True, check=True, env=_with_ours())
    assert named.stdout == place.call("--version").stdout
    assert named.stdout.startswith("eventhpo ")


def _with_ours() -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def test_nobody_holds_the_log_after_a_command_that_only_appends(place):
    child = place.running()
    child.send_signal(signal.SIGINT)
    ended(child)
    place.call("enqueue", "search.db", "lr=0.25")
    assert lease.holder(place.log) is None


def test_a_job_that_waits_in_a_queue_goes_on_behind_ctrl_c_too(capsys: pytest.CaptureFixture[str]) -> None:
    from eventhpo.cli.run import run_search

    rows = read(Path(__file__).parents[2] / "fixtures" / "logs" / "clearml.db").rows
    queued = next(row.seq for row in rows if isinstance(row.event, JobQueued))
    assert not any(isinstance(row.event, JobStarted) for row in rows[:queued])
    assert run_search.conclude(Path("search.db"), run_search.RunOutcome(fold(rows[:queued]), 130, "SIGINT")) == 130
    assert "interrupted by SIGINT: 1 job goes on" in capsys.readouterr().err


# ---------------------------------------------------------------- an objective that nobody reports


def test_a_script_that_reports_nothing_is_told_what_to_add(place: Place) -> None:
    place.script("print('accuracy 0.9')")
    result = place.run()
    assert result.returncode == 1
    assert "no job reported anything" in result.stderr
    assert "job.report_scalar('validation', 'accuracy', value=..., iteration=...)" in result.stderr


def test_a_search_for_another_metric_than_the_jobs_report_is_told_that_its_log_keeps_it(place: Place) -> None:
    place.script("from eventhpo import job\njob.report_scalar('validation', 'acc', 0.5, 1)")
    result = place.run()
    assert result.returncode == 1
    assert "the search is for validation/accuracy, and the jobs reported validation/acc" in result.stderr
    assert "--start-over" in result.stderr


def test_a_search_that_failed_otherwise_is_told_neither(place: Place) -> None:
    """Negative control."""
    place.script("raise SystemExit(3)")
    result = place.run()
    assert result.returncode == 1
    assert "no job reported" not in result.stderr
    assert "--start-over" not in result.stderr


def test_a_script_that_is_not_there_is_told_before_the_run(place: Place) -> None:
    (place.folder / "train.py").unlink()
    assert f"train.py is not in {place.folder}" in place.call("check", "search.toml").stderr


def test_top_says_how_many_trials_it_leaves_out(place: Place) -> None:
    assert place.run().returncode == 0
    assert "2 trials more: -k 4" in place.call("top", "search.db", "-k", "2").stderr
    assert place.call("top", "search.db").stderr == ""
