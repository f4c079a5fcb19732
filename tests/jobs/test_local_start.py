"""A job starts at most once, whoever asks and whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventhpo.jobs.local import launch
from eventhpo.jobs.local.folder import is_free
from eventhpo.jobs.local.local_jobs import LocalBackend
from eventhpo.jobs.protocol import Bound, BoundJob, Ended, Refused, Started
from tests.jobs.harness import (
    FOREVER,
    LEDGER,
    Place,
    a_job,
    changed,
    check_ledger,
    controller,
    kill,
    look,
    started_by,
)
from tests.waiting import eventually


def test_a_draft_starts_nothing_and_can_be_made_again(place: Place) -> None:
    place.script(LEDGER)
    first, second = place.backend().draft([place.draft()]), place.backend().draft([place.draft()])
    assert first == second
    assert json.loads((place.jobs_folder / a_job(place.draft()).job_id / "params.json").read_text()) == {
        "General/lr": 0.5
    }
    assert not place.ledger()


def test_a_draft_that_is_found_is_adopted_only_with_the_parameters_of_the_intent(place: Place) -> None:
    place.bound()
    [same] = place.backend().draft([changed(place.draft(), look=True)])
    [other] = place.backend().draft([changed(place.draft(), look=True, params={"General/lr": 0.25})])
    [absent] = place.backend().draft([changed(place.draft(trial=1), look=True)])
    assert isinstance(same, Bound)
    assert same.adopted
    assert isinstance(other, Refused)
    assert isinstance(absent, Bound)
    assert not absent.adopted


def test_a_launch_answers_with_the_time_of_the_ticket(place: Place) -> None:
    place.script(FOREVER)
    job = place.bound()
    [started] = place.backend().launch([job])
    assert started == started_by(place.ticket(job))


def test_a_launch_asked_again_answers_alike_and_starts_nothing(place: Place) -> None:
    place.script(LEDGER + FOREVER)
    job = place.bound()
    answers = [place.backend().launch([job]) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    place.says("ledger")
    place.ended(place.stop(changed(job, started=True)))
    assert place.ledger() == {job.key: 1}


def test_twenty_launches_at_once_from_two_processes_start_one_job(place: Place) -> None:
    place.script(LEDGER)
    job = place.bound()
    other = subprocess.Popen(controller(place) + ["0"] * 10, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with other, ThreadPoolExecutor(10) as pool:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        other.stdin.flush()
        ours = list(pool.map(lambda _: place.backend().launch([job])[0], range(10)))
        theirs = other.stdout.read()
    expected = started_by(place.ticket(job))
    assert set(ours) == {expected}
    assert theirs.count(repr(expected)) == 10
    place.ended(job)
    check_ledger(place.ledger())
    assert place.ledger() == {job.key: 1}


def test_two_runners_without_locks_still_start_one_job(place: Place, tmp_path: Path) -> None:
    """The ticket alone is enough: locks only spare the second runner."""
    place.script(LEDGER)
    job = place.bound()
    for _ in range(5):
        _run_without_locks(place, job)
    assert place.ledger() == {job.key: 1}


def test_the_ledger_finds_a_job_that_ran_twice(place: Place) -> None:
    """Negative control: with its ticket taken away between two runners, a job does run twice."""
    place.script(LEDGER)
    job = place.bound()
    _run_without_locks(place, job)
    place.attempt(job).ticket_file.unlink()
    _run_without_locks(place, job)
    with pytest.raises(AssertionError, match="more than once"):
        check_ledger(place.ledger())


@pytest.mark.parametrize("prefix", ["CLEARML", "TRAINS"])
@pytest.mark.parametrize("name", ["TASK_ID", "PROC_MASTER_ID", "LOG_TASK_TO_BACKEND", "SIMULATE_REMOTE_TASK"])
def test_a_job_does_not_inherit_what_would_make_it_join_the_task_of_its_controller(
    place: Place, monkeypatch: pytest.MonkeyPatch, prefix: str, name: str
) -> None:
    monkeypatch.setenv(f"{prefix}_{name}", "of-the-controller")
    monkeypatch.setenv("CLEARML_API_HOST", "http://server")  # how the server is reached stays
    place.script(
        "import os, pathlib\n"
        f"pathlib.Path('seen').write_text(str('{prefix}_{name}' in os.environ) + os.environ['CLEARML_API_HOST'])\n"
    )
    _run_without_locks(place, place.bound())
    assert (place.folder / "seen").read_text() == "Falsehttp://server"


def _run_without_locks(place: Place, job: BoundJob) -> None:
    """Run a runner to its end, on descriptors that lock nothing."""
    folder = place.attempt(job)
    spare = [os.open(os.devnull, os.O_RDWR) for _ in range(2)]
    runner = [sys.executable, "-I", "-S", str(launch.RUNNER), str(folder.path), str(place.folder)]
    facts = [str(spare[0]), str(spare[1]), "10.0", job.boot, ""]
    subprocess.run(
        [*runner, *facts, *place.command],
        env=launch.environment(job, folder, os.environ),
        pass_fds=spare,
        check=False,
    )
    for descriptor in spare:
        os.close(descriptor)


def test_a_controller_killed_between_the_spawn_and_the_ticket_leaves_a_job_that_starts_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner is held up by an interpreter that waits for the file `go`."""
    place.script(LEDGER)
    job = place.bound()
    slow = _slow_interpreter(place)
    code = controller(place)
    code[2] = code[2].replace("import sys\n", f"import sys\nsys.executable = {str(slow)!r}\n", 1)
    dying = subprocess.Popen([*code, "0"], stdin=subprocess.PIPE, text=True)
    with dying:
        assert dying.stdin is not None
        dying.stdin.write("\n")
        dying.stdin.flush()
        place.says("waiting")
        dying.kill()
    folder = place.attempt(job)
    assert not is_free(folder.job_lock)
    assert not is_free(folder.runner_lock)
    place.start = 0.01
    [early] = place.backend().launch([job])
    assert isinstance(early, Refused)
    (place.folder / "go").touch()
    place.start = 20.0
    [late] = place.backend().launch([job])
    assert late == started_by(place.ticket(job))
    place.ended(job)
    assert place.ledger() == {job.key: 1}


def _slow_interpreter(place: Place) -> Path:
    path = place.folder / "slow-python"
    path.write_text(
        f'#!/bin/sh\necho yes > "{place.folder}/waiting"\n'
        f'while [ ! -e "{place.folder}/go" ]; do sleep 0.01; done\nexec "{sys.executable}" "$@"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("seed", range(8))
def test_controllers_killed_at_random_start_each_job_once(place: Place, seed: int) -> None:
    place.script(LEDGER)
    jobs = [place.bound(trial) for trial in range(4)]
    trials = [str(job.trial) for job in jobs]
    pause = threading.Event()
    moment = random.Random(seed)
    for _ in range(3):
        with subprocess.Popen([*controller(place), *trials], stdin=subprocess.PIPE, text=True) as dying:
            assert dying.stdin is not None
            dying.stdin.write("\n")
            dying.stdin.flush()
            pause.wait(moment.uniform(0.1, 0.3))
            dying.kill()
    answers = place.backend().launch(jobs)
    assert all(isinstance(answer, Started) for answer in answers), answers
    for job in jobs:
        assert place.ended(job).how == "completed"
    assert place.ledger() == Counter(job.key for job in jobs)


def test_a_start_that_no_controller_saw_is_told_by_the_next_poll(place: Place) -> None:
    place.script(FOREVER)
    job = changed(place.started(), started=False)
    assert look(place.backend(), job).started == started_by(place.ticket(job))


def test_a_job_that_was_never_launched_shows_nothing(place: Place) -> None:
    job = place.bound()
    seen = look(place.backend(), job)
    assert (seen.started, seen.ended, seen.to, seen.alive) == (None, None, 0, False)


# ---------------------------------------------------------------- launches that fail


def test_a_runner_that_cannot_start_the_job_fails_for_good_at_the_third_time(place: Place) -> None:
    job, backend = _spoiled(place)
    answers = [backend.launch([changed(job, failures=failures)])[0] for failures in range(3)]
    assert [type(answer) for answer in answers] == [Refused, Refused, Ended]
    assert isinstance(answers[2], Ended)
    assert answers[2].how == "launch_failed"
    assert answers[2].output is None


def test_after_a_launch_that_failed_for_good_no_runner_can_start_the_job(place: Place) -> None:
    job, backend = _spoiled(place)
    [failed] = backend.launch([changed(job, failures=2)])
    place.attempt(job).output.rmdir()
    assert backend.launch([job]) == [failed]
    _run_without_locks(place, job)
    assert not place.ledger()
    seen = look(place.backend(), job)
    assert seen.ended is not None
    assert seen.ended.how == "launch_failed"


def _spoiled(place: Place) -> tuple[BoundJob, LocalBackend]:
    """A job whose runner ends at once: a folder stands where its output should go."""
    place.script(LEDGER)
    job = place.bound()
    place.attempt(job).output.mkdir()
    return job, place.backend()


def test_a_command_that_no_process_can_have_fails_for_good_at_the_third_time(place: Place) -> None:
    place.command = ("python", "train.py", "{General/name}")
    job = place.bound(params={"General/name": "nul\0"})
    answers = [place.backend().launch([changed(job, failures=failures)])[0] for failures in range(3)]
    assert [type(answer) for answer in answers] == [Refused, Refused, Ended]
    assert "null byte" in str(answers[2])


def test_a_folder_that_is_gone_is_never_made_again(place: Place) -> None:
    job = place.bound()
    shutil.rmtree(place.attempt(job).path)
    answers = [place.backend().launch([changed(job, failures=failures)])[0] for failures in range(3)]
    assert [type(answer) for answer in answers] == [Refused, Refused, Ended]
    assert not place.attempt(job).exists()


def test_one_draft_that_cannot_be_written_does_not_hold_up_the_others(place: Place) -> None:
    bad = changed(place.draft(0), params={"General/lr": "\udcff"})  # no UTF-8, so no JSON either
    refused, bound = place.backend().draft([bad, place.draft(1)])
    assert isinstance(refused, Refused)
    assert "surrogates not allowed" in refused.error
    assert isinstance(bound, Bound)


def test_one_launch_that_is_refused_does_not_hold_up_the_others(place: Place) -> None:
    place.script(FOREVER)
    first, second = place.bound(0), place.bound(1)
    shutil.rmtree(place.attempt(first).path)
    refused, started = place.backend().launch([first, second])
    assert isinstance(refused, Refused)
    assert isinstance(started, Started)


def test_a_job_bound_before_a_restart_of_the_machine_is_lost_and_not_started(place: Place) -> None:
    place.script(LEDGER)
    job = changed(place.bound(), boot="another boot")
    [ended] = place.backend().launch([job])
    assert isinstance(ended, Ended)
    assert ended.how == "lost"
    assert not place.attempt(job).has_ticket()
    assert not place.ledger()


def test_a_job_that_is_stopped_after_a_restart_of_the_machine_is_lost_and_not_cancelled(place: Place) -> None:
    """What the disk does not show it may have lost: nobody knows whether the job ran."""
    job = changed(place.bound(), boot="another boot")
    [ended] = place.backend().stop([job])
    assert isinstance(ended, Ended)
    assert (ended.how, ended.why) == ("lost", "the machine was restarted before its start was in the log")
    assert not place.attempt(job).has_ticket()


def test_a_ticket_torn_by_a_loss_of_power_is_a_lost_attempt(place: Place) -> None:
    job = changed(place.bound(), boot="another boot")
    place.attempt(job).ticket_file.write_bytes(b"\0" * 40)
    [ended] = place.backend().launch([job])
    assert isinstance(ended, Ended)
    assert ended.how == "lost"
    seen = look(place.backend(), changed(job, started=True))
    assert seen.ended is not None
    assert (seen.ended.how, seen.ended.why) == ("lost", "the machine was restarted")


# ---------------------------------------------------------------- before the start


def test_a_job_stopped_before_its_start_is_cancelled_and_never_starts(place: Place) -> None:
    place.script(LEDGER)
    job = place.bound()
    [ended] = place.backend().stop([job])
    assert isinstance(ended, Ended)
    assert ended.how == "cancelled"
    assert place.backend().launch([job]) == [ended]
    _run_without_locks(place, job)
    assert not place.ledger()
    assert place.backend().stop([job]) == [ended]
    assert look(place.backend(), job).ended == ended


def test_an_unbound_intent_is_cancelled_with_its_folder(place: Place) -> None:
    draft = place.draft()
    place.backend().draft([draft])
    [first] = place.backend().cancel([draft])
    [again] = place.backend().cancel([draft])
    assert isinstance(first, Ended)
    assert (first.how, again) == ("cancelled", first)
    assert not place.attempt(a_job(draft)).exists()


def test_a_cancel_refuses_to_remove_a_job_that_runs(place: Place) -> None:
    place.script(FOREVER)
    job = place.started()
    [refused] = place.backend().cancel([place.draft()])
    assert isinstance(refused, Refused)
    assert place.attempt(job).exists()


def test_a_frozen_runner_cannot_start_a_job_that_was_stopped_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.script(LEDGER)
    job = place.bound()
    monkeypatch.setattr(sys, "executable", str(_slow_interpreter(place)))
    place.start = 0.01
    assert isinstance(place.backend().launch([job])[0], Refused)
    place.says("waiting")
    [ended] = place.backend().stop([job])
    assert isinstance(ended, Ended)
    (place.folder / "go").touch()
    folder = place.attempt(job)
    eventually(lambda: is_free(folder.runner_lock) and is_free(folder.job_lock))
    assert not place.ledger()
    assert sorted(path.name for path in folder.path.glob("*.tmp")) == []


def test_a_killed_runner_without_a_ticket_is_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.script(LEDGER)
    job = place.bound()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(_slow_interpreter(place)))
        place.start = 0.01
        place.backend().launch([job])
        place.says("waiting")
    kill(_runner_of(place), signal.SIGKILL)
    place.start = 20.0
    assert isinstance(place.backend().launch([job])[0], Started)
    assert place.ended(job).how == "completed"
    assert place.ledger() == {job.key: 1}


def _runner_of(place: Place) -> int:
    return next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(place.folder / "slow-python").encode() in path.read_bytes()
    )


def test_a_process_without_standard_streams_starts_jobs_that_hold_their_lock(place: Place) -> None:
    """As a daemon that uses the class: the next file that it opens would be descriptor 0."""
    place.script(LEDGER + FOREVER)
    job = place.bound()
    code = """
    import os, sys
    from pathlib import Path
    from tests.jobs.harness import Place, a_job
    place = Place(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
    for number in range(3):
        os.close(number)
    place.backend().launch([a_job(place.draft(0))])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(place.folder), place.search_id, str(place.start)]
    subprocess.run(command, check=False)
    assert place.ticket(job).pid
    assert not is_free(place.attempt(job).runner_lock)
    assert look(place.backend(), job).ended is None
