"""How an attempt ends, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from eventhpo.jobs.local import runner, watch
from eventhpo.jobs.local.folder import is_free
from eventhpo.jobs.protocol import BoundJob, Ended, Stopping
from tests.jobs.harness import (
    FOREVER,
    LEDGER,
    Place,
    changed,
    check_ledger,
    controller,
    environment_of,
    is_running,
    kill,
    look,
    points,
    processes_with,
)
from tests.waiting import eventually

REPORTS = """
from eventhpo import job
for step in range(5):
    job.report_scalar("validation", "accuracy", step / 10, step)
"""

IGNORES_TERM = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path("ready").write_text("yes")
while True:
    signal.pause()
"""

SAVES = """
import signal, sys
from pathlib import Path
def save(*_):
    Path("saved").write_text("yes")
    sys.exit({code})
signal.signal(signal.SIGTERM, save)
Path("ready").write_text("yes")
while True:
    signal.pause()
"""

# A grandchild in a session of its own that lets go of all it inherited, as a daemon does.
DAEMON = """
import os, signal
from pathlib import Path
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        Path("daemon.tmp").write_text(str(os.getpid()))
        Path("daemon.tmp").rename("daemon")
        while True:
            signal.pause()
    os._exit(0)
os.wait()
while not Path("daemon").exists():
    pass
"""


@pytest.mark.parametrize(
    ("script", "how", "code", "number", "why"),
    [
        pytest.param("", "completed", 0, None, "", id="exit 0"),
        pytest.param("raise SystemExit(1)", "failed", 1, None, "exit 1", id="exit 1"),
        pytest.param("raise SystemExit(200)", "failed", 200, None, "exit 200", id="exit 200"),
        pytest.param("raise ValueError", "failed", 1, None, "exit 1", id="exception"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "failed", None, 9, "killed by SIGKILL", id="killed"),
        pytest.param("import os; os.abort()", "failed", None, 6, "killed by SIGABRT", id="abort"),
        pytest.param(
            "import os; os.kill(os.getpid(), 40)", "failed", None, 40, "killed by signal 40", id="signal without a name"
        ),
    ],
)
def test_a_job_ends_as_its_process_did(
    place: Place, script: str, *, how: str, code: int | None, number: int | None, why: str
) -> None:
    place.script(script)
    job = place.started()
    ended = place.ended(job)
    assert (ended.how, ended.code, ended.signal, ended.why) == (how, code, number, why)
    assert ended.started_at == place.ticket(job).at
    assert ended.finished_at is not None
    assert ended.finished_at > place.ticket(job).at


def test_what_a_job_prints_is_kept_and_named(place: Place) -> None:
    place.script("import sys; print('hello'); print('woe', file=sys.stderr)")
    ended = place.ended(place.started())
    assert ended.output is not None
    assert sorted(Path(ended.output).read_text().split()) == ["hello", "woe"]


def test_a_command_that_cannot_be_run_fails_and_says_why(place: Place) -> None:
    place.command = ("no-such-program",)
    ended = place.ended(place.started())
    assert (ended.how, ended.code) == ("failed", 127)
    assert ended.why == "No such file or directory: cannot run 'no-such-program'"
    assert ended.output is not None
    assert "No such file or directory" in Path(ended.output).read_text()


def test_a_folder_that_cannot_be_entered_fails_and_says_why(place: Place) -> None:
    job = place.bound()
    place.folder = place.folder / "absent"
    place.backend().launch([job])
    ended = place.ended(job)
    assert (ended.how, ended.code) == ("failed", 127)
    assert ended.why.startswith("No such file or directory: cannot enter '/")


def test_the_end_comes_with_every_report(place: Place) -> None:
    place.script(REPORTS)
    sight, ended = place.watched(place.started())
    assert ended.how == "completed"
    assert points(sight) == [(step, step / 10) for step in range(5)]


def test_the_end_waits_for_reports_that_do_not_fit_into_one_poll(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventhpo.jobs.local.reports.POINTS", 2)
    place.script(REPORTS)
    job = place.started()
    eventually(place.attempt(job).exit_file.exists)
    sight, _ = place.watched(job)
    assert [(len(points([seen])), seen.more, seen.ended is not None) for seen in sight] == [
        (2, True, False),
        (2, True, False),
        (1, False, True),
    ]


def test_the_same_cursor_gets_the_same_answer(place: Place) -> None:
    place.script(REPORTS)
    job = place.started()
    eventually(place.attempt(job).exit_file.exists)
    assert look(place.backend(), job) == look(place.backend(), job)


def test_a_job_that_ends_takes_its_process_group_along(place: Place) -> None:
    place.script(
        """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        open("child", "w").write(str(child.pid))
        """
    )
    job = place.started()
    assert place.ended(job).how == "completed"
    assert not is_running(int(place.says("child")))


def test_a_daemon_that_a_job_started_lives_on_behind_a_normal_end(place: Place) -> None:
    place.script(DAEMON)
    assert place.ended(place.started()).how == "completed"
    assert is_running(int(place.says("daemon")))


# ---------------------------------------------------------------- stop


def test_a_stopped_job_may_save_and_ends_as_stopped(place: Place) -> None:
    place.script(SAVES.format(code=3))
    job = place.started()
    place.says("ready")
    ended = place.ended(place.stop(job))
    assert (ended.how, ended.code) == ("stopped", 3)
    assert place.says("saved")


def test_a_stopped_job_that_ends_with_0_has_completed(place: Place) -> None:
    place.script(SAVES.format(code=0))
    job = place.started()
    place.says("ready")
    assert place.ended(place.stop(job)).how == "completed"


def test_a_job_without_a_handler_ends_by_term(place: Place) -> None:
    place.script(FOREVER)
    ended = place.ended(place.stop(place.started()))
    assert (ended.how, ended.signal, ended.why) == ("stopped", signal.SIGTERM, "killed by SIGTERM")


def test_a_job_that_ignores_term_is_killed_when_its_grace_is_over(place: Place) -> None:
    place.grace = 0.3
    place.script(IGNORES_TERM)
    job = place.started()
    place.says("ready")
    ended = place.ended(place.stop(job))
    assert (ended.how, ended.signal) == ("stopped", signal.SIGKILL)
    assert ended.finished_at is not None
    assert ended.finished_at - place.attempt(job).stop_file.stat().st_mtime_ns // 1000 >= 300_000


def test_the_rest_of_the_group_has_its_grace_when_the_leader_ends_first(place: Place) -> None:
    """A shell around the script dies at once of TERM; the script may still save."""
    place.script(SAVES.format(code=3))
    place.command = ("sh", "-c", "python train.py; true")
    job = place.started()
    place.says("ready")
    ended = place.ended(place.stop(job))
    assert ended.how == "stopped"
    assert place.says("saved")


def test_a_stop_also_ends_processes_in_sessions_of_their_own(place: Place) -> None:
    place.script(DAEMON + FOREVER)
    job = place.started()
    daemon = int(place.says("daemon"))
    assert place.ended(place.stop(job)).how == "stopped"
    assert not is_running(daemon)


def test_a_stop_asked_again_changes_nothing(place: Place) -> None:
    place.script(FOREVER)
    job = place.stop(place.started())
    asked = place.attempt(job).stop_file.stat()
    place.stop(job)
    assert place.attempt(job).stop_file.stat() == asked
    assert place.ended(job).how == "stopped"
    place.stop(job)


def test_a_stop_behind_the_end_leaves_the_end_as_it_was(place: Place) -> None:
    place.script("raise SystemExit(1)")
    job = place.started()
    first = place.ended(job)
    assert place.ended(place.stop(job)) == first


def test_a_stop_that_finds_the_job_over_says_so(place: Place) -> None:
    place.script("")
    job = place.started()
    place.ended(job)
    assert place.backend().stop([job]) == [Stopping(over=True)]
    assert not place.attempt(job).stop_file.exists()


def test_a_job_that_ended_before_its_runner_saw_the_stop_ended_by_itself(place: Place) -> None:
    """Its runner says so, who alone knows."""
    place.script("")
    job = place.started()
    eventually(place.attempt(job).exit, "the end of the job")
    place.attempt(job).stop_file.touch()
    assert place.ended(changed(job, stopping=True)).by_itself


def test_a_job_that_was_told_to_stop_did_not_end_by_itself(place: Place) -> None:
    place.script(FOREVER)
    assert not place.ended(place.stop(place.started())).by_itself


def test_a_stop_whose_file_was_removed_is_asked_for_again(place: Place) -> None:
    place.grace = 600.0
    place.script(IGNORES_TERM)
    job = place.started()
    place.says("ready")
    job = changed(place.stop(job), settled="aborted")
    assert not look(place.backend(), job).runs_on
    place.attempt(job).stop_file.unlink()
    assert look(place.backend(), job).runs_on
    assert place.backend().stop([job]) == [Stopping()]
    assert not look(place.backend(), job).runs_on


def test_a_frozen_runner_that_cannot_stop_its_job_is_lost_with_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LATE", 0.1)
    place.grace = 0.1
    place.script(FOREVER)
    job = place.started()
    ticket = place.ticket(job)
    kill(ticket.runner, signal.SIGSTOP)
    ended = place.ended(place.stop(job))
    assert (ended.how, ended.why) == ("lost", "its runner did not act on the stop")
    ends(ticket.pid)
    ends(ticket.runner)


def ends(pid: int) -> None:
    """A killed process lives on for the moment that its memory takes to be given back."""
    eventually(lambda: not is_running(pid), f"the end of {pid}")


# ---------------------------------------------------------------- lost


def test_a_job_whose_runner_was_killed_is_lost_and_swept(place: Place) -> None:
    place.script(REPORTS + IGNORES_TERM)
    job = place.started()
    place.says("ready")
    ticket = place.ticket(job)
    kill(ticket.runner)
    sight, ended = place.watched(job)
    assert (ended.how, ended.why) == ("lost", "its runner is gone")
    assert ended.started_at == ticket.at
    assert points(sight) == [(step, step / 10) for step in range(5)]
    eventually(lambda: not processes_with(job.key))
    assert is_free(place.attempt(job).job_lock)


def test_the_sweep_ends_children_in_sessions_of_their_own(place: Place) -> None:
    place.script(DAEMON + IGNORES_TERM)
    job = place.started()
    place.says("ready")
    kill(place.ticket(job).runner)
    assert place.ended(job).how == "lost"
    ends(int(place.says("daemon")))


def test_the_sweep_finds_a_child_without_environment_by_its_group(place: Place) -> None:
    place.script(
        """
        import os, subprocess, sys, signal
        code = "import os, signal; os.closerange(0, 100); signal.pause()"
        child = subprocess.Popen([sys.executable, "-c", code], env={})
        open("child", "w").write(str(child.pid))
        os._exit(0) if os.fork() else signal.pause()
        """
    )
    job = place.started()
    child = int(place.says("child"))
    eventually(lambda: b"EVENTHPO" not in environment_of(child))
    with contextlib.suppress(ProcessLookupError):
        kill(place.ticket(job).runner)
    place.ended(job)
    ends(child)


def test_the_sweep_finds_a_holder_of_the_lock_by_its_descriptor(place: Place) -> None:
    """A session of its own and no environment, but the job's descriptor is still open."""
    place.script(
        """
        import os, signal, sys
        from pathlib import Path
        if os.fork() == 0:
            os.setsid()
            code = (
                "import os, signal, pathlib; pathlib.Path('t').write_text(str(os.getpid()));"
                "pathlib.Path('t').rename('child'); signal.pause()"
            )
            os.execve(sys.executable, [sys.executable, "-c", code], {})
        signal.pause()
        """
    )
    job = place.started()
    child = int(place.says("child"))
    ticket = place.ticket(job)
    kill(ticket.runner)
    assert place.ended(job).how == "lost"
    ends(child)


def test_the_sweep_leaves_the_jobs_of_others_alone(place: Place) -> None:
    place.script(IGNORES_TERM)
    job, other = place.started(0), place.started(1)
    copied = Place(place.folder / "copy", place.search_id)
    copied.folder.mkdir()
    copied.script(IGNORES_TERM)
    same_key = copied.started(0)
    kill(place.ticket(job).runner)
    assert place.ended(job).how == "lost"
    assert is_running(place.ticket(other).pid)
    assert is_running(copied.ticket(same_key).pid)


def test_an_end_that_was_written_beats_a_runner_that_is_gone(place: Place) -> None:
    place.script("raise SystemExit(7)")
    job = place.started()
    eventually(lambda: is_free(place.attempt(job).runner_lock))
    assert place.ended(job).code == 7


def test_an_end_written_between_the_look_for_it_and_the_look_at_the_lock_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.script("from pathlib import Path\nwhile not Path('go').exists():\n    pass")
    job = place.started()

    def ends_meanwhile(lock: Path) -> bool:
        (place.folder / "go").touch()
        return eventually(lambda: is_free(lock))

    monkeypatch.setattr(watch, "is_free", ends_meanwhile)
    seen = look(place.backend(), job)
    assert seen.ended is not None
    assert seen.ended.how == "completed"


def test_an_end_that_was_written_beats_every_lock(place: Place) -> None:
    place.script(DAEMON.replace("os.closerange(0, 100)", "pass"))
    job = place.started()
    daemon = int(place.says("daemon"))
    assert place.ended(job).how == "completed"
    assert not is_free(place.attempt(job).job_lock)
    assert is_running(daemon)


def test_an_end_that_cannot_be_read_is_a_loss(place: Place) -> None:
    place.script("")
    job = place.started()
    place.ended(job)
    place.attempt(job).exit_file.write_bytes(b"\0" * 256)
    ended = place.ended(job)
    assert ended.how == "lost"
    assert ended.why.startswith("exit.json cannot be read")


def test_a_zombie_that_nobody_reaps_does_not_hold_up_the_end(place: Place) -> None:
    """As in a container without init: here orphans become children of the test, which does not reap them."""
    place.script(IGNORES_TERM)
    job = place.started()
    place.says("ready")
    ticket = place.ticket(job)
    _adopt_orphans(True)
    try:
        kill(ticket.runner)
        assert place.ended(job).how == "lost"
        assert Path(f"/proc/{ticket.pid}").exists()
    finally:
        _adopt_orphans(False)
        os.waitpid(ticket.pid, 0)


def _adopt_orphans(on: bool) -> None:
    assert ctypes.CDLL(None).prctl(36, int(on), 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER


def test_a_job_from_before_a_restart_of_the_machine_is_lost_at_its_last_sign(place: Place) -> None:
    place.script(REPORTS + FOREVER)
    job = place.started()
    text = place.attempt(job).ticket_file.read_text()
    place.attempt(job).ticket_file.write_text(text.replace(job.boot, "another boot"))
    eventually(lambda: len(points([look(place.backend(), job)])) == 5)
    kill(place.ticket(job).runner)
    kill(place.ticket(job).pid)
    ended = place.ended(job)
    assert (ended.how, ended.why) == ("lost", "the machine was restarted")
    assert ended.finished_at == place.attempt(job).last_sign()


def test_a_running_job_whose_folder_is_gone_is_lost_and_swept(place: Place) -> None:
    place.script(IGNORES_TERM)
    job = place.started()
    place.says("ready")
    ticket = place.ticket(job)
    shutil.rmtree(place.attempt(job).path)
    kill(ticket.runner)
    ended = place.ended(job)
    assert (ended.how, ended.why) == ("lost", "its folder is gone")
    ends(ticket.pid)


def test_a_job_stopped_without_its_folder_ends_as_lost(place: Place) -> None:
    place.script(IGNORES_TERM)
    job = place.started()
    ticket = place.ticket(job)
    shutil.rmtree(place.attempt(job).path)
    assert place.ended(place.stop(job)).how == "lost"
    ends(ticket.pid)
    ends(ticket.runner)


def test_what_cannot_be_ended_is_noted_behind_a_time_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held here by the test itself, which a sweep never ends."""
    monkeypatch.setattr(watch, "LEAK", 0.0)
    place.script(FOREVER)
    job = place.started()
    ticket = place.ticket(job)
    holder = os.open(place.attempt(job).job_lock, os.O_RDWR)
    kill(ticket.runner)
    kill(ticket.pid)
    eventually(lambda: is_free(place.attempt(job).job_lock))
    _hold(holder)
    ended = place.ended(job)
    os.close(holder)
    assert ended.how == "lost"
    assert ended.why.endswith("still there after 0 s of ending it: somebody who holds job.lock")


def _hold(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ---------------------------------------------------------------- lost, and watched


def _lost(job: BoundJob) -> BoundJob:
    return changed(job, lost=True, started=True)


def test_a_lost_job_that_lives_shows_itself(place: Place) -> None:
    place.script(FOREVER)
    job = place.started()
    seen = look(place.backend(), _lost(job))
    assert seen.alive
    assert seen.ended is None


def test_a_lost_job_that_came_back_ends_a_second_time(place: Place) -> None:
    place.script(FOREVER)
    job = _lost(place.started())
    assert look(place.backend(), job).alive
    assert place.ended(place.stop(job)).how == "stopped"


def test_a_lost_job_of_which_nothing_is_left_ends_a_second_time_at_once(place: Place) -> None:
    place.script(FOREVER)
    job = place.started()
    kill(place.ticket(job).runner)
    assert place.ended(job).how == "lost"
    seen = look(place.backend(), _lost(job))
    assert not seen.alive
    assert isinstance(seen.ended, Ended)
    assert seen.ended.how == "lost"


def test_an_attempt_given_up_before_it_ever_started_is_over_when_looked_at(place: Place) -> None:
    job = changed(place.bound(), boot="another boot", lost=True)
    seen = look(place.backend(), job)
    assert (seen.alive, seen.ended is not None) == (False, True)


# ---------------------------------------------------------------- who holds what


def test_neither_runner_nor_job_holds_a_descriptor_of_the_controller(place: Place) -> None:
    place.script(
        """
        import os, signal
        from pathlib import Path
        links = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
        seen = [os.readlink(link) for link in links if os.path.lexists(link)]
        Path("tmp").write_text("\\n".join(seen))
        Path("tmp").rename("descriptors")
        signal.pause()
        """
    )
    secret = os.open(place.folder / "secret", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(secret, True)
    job = place.started()
    os.close(secret)
    attempt = place.attempt(job)
    folder = str(attempt.path)
    ours = {line.replace(folder, "") for line in place.says("descriptors").splitlines() if "/proc/" not in line}
    assert ours == {"/dev/null", "/output.log", "/job.lock"}
    runner = Path(f"/proc/{place.ticket(job).runner}/fd")
    held = {str(path.readlink()).replace(folder, "") for path in runner.iterdir()}
    assert {path for path in held if not path.startswith("pipe:")} == {
        "/dev/null",
        "/output.log",
        "/job.lock",
        "/runner.lock",
        f"/exit.{place.ticket(job).runner}.tmp",
    }


def test_a_parent_that_reads_our_output_sees_its_end_although_jobs_go_on(place: Place) -> None:
    """As with `eventhpo run | tee`: the pipe must not be kept open by a job."""
    place.script(FOREVER)
    job = place.bound()
    done = subprocess.run(
        [*controller(place), "0"], input="\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    assert "Started" in done.stdout
    assert is_running(place.ticket(job).pid)


def test_a_controller_that_closes_leaves_jobs_running_and_no_zombie_behind(place: Place) -> None:
    place.script(FOREVER)
    backend = place.backend()
    job = place.bound()
    backend.launch([job])
    backend.close()
    ticket = place.ticket(job)
    assert is_running(ticket.pid)
    assert place.ended(place.stop(job), backend).how == "stopped"

    def reaped() -> bool:
        place.backend().close()
        return not Path(f"/proc/{ticket.runner}").exists()

    eventually(reaped)


def test_the_jobs_signals_are_as_new_even_if_ours_are_not(place: Place) -> None:
    place.command = ("sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status > tmp; mv tmp signals")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        place.started()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGHUP, before)
    masks = [int(line.split()[1], 16) for line in place.says("signals").splitlines()]
    assert masks == [0, 0]


def test_the_exit_file_has_its_room_before_the_job_starts(place: Place) -> None:
    place.script(FOREVER)
    job = place.started()
    [prepared] = place.attempt(job).path.glob("exit.*.tmp")
    assert prepared.read_bytes() == b" " * runner.ROOM
    ended = place.ended(place.stop(job))
    assert ended.how == "stopped"
    assert place.attempt(job).exit_file.stat().st_size == runner.ROOM


# ---------------------------------------------------------------- runners killed at any moment


@pytest.mark.parametrize("seed", range(8))
def test_a_runner_killed_at_any_moment_loses_no_point_and_leaves_no_process(place: Place, seed: int) -> None:
    place.script(
        LEDGER + "from eventhpo import job\nfor step in range(200):\n"
        "    job.report_scalar('validation', 'accuracy', step, step)"
    )
    job = place.started()
    threading.Event().wait(random.Random(seed).uniform(0, 0.08))
    with contextlib.suppress(ProcessLookupError):
        kill(place.ticket(job).runner)
    sight, ended = place.watched(job)
    assert ended.how in {"completed", "lost"}
    told = points(sight)
    assert told == [(step, float(step)) for step in range(len(told))]
    assert len(told) == 200 or ended.how == "lost"
    eventually(lambda: not processes_with(job.key))
    check_ledger(place.ledger())
