"""One writer: who holds the log, how it is taken over, and what a zombie can still do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from log_samples import STOP, append, killed, open_at, process, resting, wait_until_stopped

from eventhpo.core.fold.events import ControllerStarted
from eventhpo.errors import Busy, Starting
from eventhpo.log import lease, paths
from eventhpo.log.lease import Holder
from eventhpo.log.reader import read
from eventhpo.log.seal import seal

HOLD = """
writer, _ = open_at(path)
append(writer, 2)
say(os.getpid())
"""


def test_a_second_controller_is_refused_and_told_who_holds_the_log(log):
    with process(HOLD + "sys.stdin.readline()", log) as child:
        pid = int(child.stdout.readline())

        with pytest.raises(Busy) as refused:
            open_at(log)
        assert str(refused.value) == (
            f"{log} is held by controller {pid} on gpu-7 (epoch 1); stop it, or read with `eventhpo status`"
        )
        assert refused.value.code == 4
        child.communicate("end\n")


def test_a_second_controller_in_one_process_is_refused_as_well(log):
    writer, _ = open_at(log)

    with pytest.raises(Busy, match=f"controller {os.getpid()} on gpu-7"):
        open_at(log)
    writer.close()


def test_a_reader_is_told_who_holds_the_log_and_is_not_in_the_way(log):
    assert lease.holder(log) is None
    writer, _ = open_at(log)

    assert lease.holder(log) == Holder("gpu-7", os.getpid(), 1)
    append(writer, 1)
    writer.close()
    assert lease.holder(log) is None
    lease.acquire(log, Holder("gpu-7", os.getpid()), patience=0).release()  # the probe let go


def test_a_holder_that_is_still_starting_is_named_without_an_epoch(log):
    held = lease.acquire(log, Holder("gpu-7", 4121))

    assert lease.holder(log) == Holder("gpu-7", 4121, None)
    with pytest.raises(Busy, match=r"controller 4121 on gpu-7 \(starting\)"):
        lease.acquire(log, Holder("gpu-8", 1), patience=0)
    held.release()


def test_whoever_comes_next_to_one_that_starts_waits_until_it_holds_the_log_or_is_gone(log):
    held = lease.acquire(log, Holder("gpu-7", 4121))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lease.acquire, log, Holder("gpu-8", 1), 0.01)
        assert not wait([first], timeout=0.2).done  # its patience is over, and it waits on
        held.announce(Holder("gpu-7", 4121, 3))
        with pytest.raises(Busy, match="epoch 3"):
            first.result()
        held.announce(Holder("gpu-7", 4121))
        second = pool.submit(lease.acquire, log, Holder("gpu-8", 1), 0.01)
        held.release()
        second.result().release()


def test_one_that_starts_without_end_is_named_with_its_process_and_not_to_be_taken_over(log, monkeypatch):
    monkeypatch.setattr(lease, "STARTING", 0.0)
    held = lease.acquire(log, Holder("gpu-7", 4121))

    with pytest.raises(Starting, match=r"is being opened by controller 4121 .* end that process \(4121\)"):
        lease.acquire(log, Holder("gpu-8", 1), 0.01)
    held.release()


def test_a_lock_file_that_cannot_be_read_names_nobody(log):
    held = lease.acquire(log, Holder("gpu-7", 4121))
    paths.lock(log).write_bytes(b"\xff{")

    assert lease.holder(log) == Holder("an unknown host", 0)
    held.release()


def test_a_killed_holder_holds_nothing(log):
    killed(HOLD, log)

    assert lease.holder(log) is None
    writer, rows = open_at(log)
    assert rows[-1].event.took_over is False
    writer.close()


def test_the_lock_is_not_inherited_by_a_program_that_is_started(log):
    writer, _ = open_at(log)
    child = [sys.executable, "-c", "import sys; sys.stdin.readline()"]
    with subprocess.Popen(child, stdin=subprocess.PIPE, close_fds=False) as job:
        writer.close()

        assert lease.holder(log) is None
        assert job.poll() is None
        job.communicate(b"end\n")


def test_the_lock_is_not_inherited_by_a_fork(log):
    held = lease.acquire(log, Holder("gpu-7", os.getpid()))
    ready, tell = os.pipe()
    wait, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(tell, b"x")
        os.close(end)
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    assert lease.holder(log) is not None  # the child's letting go did not let go for us

    held.release()
    assert lease.holder(log) is None  # and the child, still alive, holds nothing
    for fd in (end, wait, ready, tell):
        os.close(fd)
    os.waitpid(pid, 0)


# ---------------------------------------------------------------- take-over

ZOMBIE = """
from eventhpo.errors import Busy, Starting
writer, _ = open_at(path)
append(writer, 2)
writer.record(STOP, None, AT)
os.kill(os.getpid(), signal.SIGSTOP)
for attempt in (writer.check_lease, writer.commit, writer.close):
    try:
        attempt()
        say("done")
    except Exception as error:
        say(type(error).__name__ + ": " + str(error))
"""


def test_a_frozen_holder_loses_the_log_and_what_it_appends_afterwards_is_refused(log):
    with process(ZOMBIE, log) as child:
        wait_until_stopped(child.pid)
        with pytest.raises(Busy, match=f"controller {child.pid}"):
            open_at(log)

        writer, rows = open_at(log, take_over=True)
        assert isinstance(rows[-1].event, ControllerStarted)
        assert rows[-1].event.took_over
        assert writer.epoch == 2
        rows += append(writer, 3)
        os.kill(child.pid, signal.SIGCONT)
        said, _ = child.communicate()

    first, second, third, _ = said.split("\n")
    assert first == f"Busy: {log} was taken over by controller {os.getpid()} on gpu-7 (epoch 2); this controller ends"
    assert second.startswith("StorageFailed")
    assert third == "done"
    assert lease.holder(log) == Holder("gpu-7", os.getpid(), 2)
    rows += append(writer, 3)
    assert read(log, verify=True).rows == rows
    assert STOP not in [row.event for row in rows]
    assert writer.close()


def test_a_zombie_that_does_not_ask_first_is_refused_by_the_append_itself(log):
    with process(ZOMBIE.replace("writer.check_lease, ", ""), log) as child:
        wait_until_stopped(child.pid)
        writer, rows = open_at(log, take_over=True)
        os.kill(child.pid, signal.SIGCONT)
        said, _ = child.communicate()

    assert said.startswith("Busy: ")
    assert "was taken over by" in said
    assert read(log, verify=True).rows == rows
    writer.close()


def test_the_log_that_was_taken_over_is_held_by_one_again(log):
    with process(ZOMBIE, log) as child:
        wait_until_stopped(child.pid)
        writer, _ = open_at(log, take_over=True)

        with pytest.raises(Busy, match=r"\(epoch 2\)"):
            open_at(log)
        again, rows = open_at(log, take_over=True)  # whoever insists, gets it
        assert rows[-1].epoch == 3
        with pytest.raises(Busy, match=r"was taken over by .*epoch 3"):
            writer.check_lease()
        writer.close()
        again.close()
        child.kill()


def test_a_holder_frozen_inside_a_transaction_must_be_killed_first(log):
    code = """
writer, _ = open_at(path)
writer._db.execute("BEGIN IMMEDIATE")
os.kill(os.getpid(), signal.SIGSTOP)
"""
    with process(code, log) as child:
        wait_until_stopped(child.pid)

        with pytest.raises(Busy, match=rf"kill that pid \({child.pid}\)") as refused:
            open_at(log, take_over=True)
        assert refused.value.code == 4
        assert lease.holder(log) == Holder("gpu-7", child.pid, 1)  # the lock is still the frozen one's
        child.kill()
    writer, _ = open_at(log)
    assert writer.epoch == 2
    writer.close()


def test_taking_over_a_log_that_nobody_holds_is_an_ordinary_start(log):
    writer, rows = open_at(log, take_over=True)

    assert rows[-1].event.took_over is False
    writer.close()


def test_a_lock_on_a_file_that_was_replaced_is_no_lease(log):
    old = lease.acquire(log, Holder("gpu-7", 1))
    new = lease.take_over(log, Holder("gpu-8", 2))
    old.release()

    with pytest.raises(Busy, match="controller 2 on gpu-8"):
        lease.acquire(log, Holder("gpu-9", 3), patience=0)
    new.release()
    lease.acquire(log, Holder("gpu-9", 3), patience=0).release()


def test_a_fork_of_a_holder_is_no_holder_when_the_parent_is_killed(log):
    code = """
writer, _ = open_at(path)
if os.fork() == 0:
    sys.stdin.readline()
    os._exit(0)
say("forked")
os.kill(os.getpid(), signal.SIGKILL)
"""
    with process(code, log) as child:
        assert child.stdout.readline() == "forked\n"
        child.wait()
        # The fork lets go when it runs for the first time, perhaps after its parent's end.
        writer, rows = open_at(log)
        assert rows[-1].epoch == 2
        writer.close()
        child.stdin.close()


def test_a_log_is_sealed_by_whoever_finds_it_free(log):
    killed(HOLD, log)
    assert paths.wal(log).exists()

    assert seal(log) is True
    assert sorted(p.name for p in log.parent.iterdir()) == ["search.db", "search.db.head", "search.db.lock"]
    snapshot = read(log, verify=True)
    assert snapshot.outside.head == snapshot.head
    assert seal(log) is True


def test_a_log_that_is_held_is_not_sealed(log):
    writer, _ = open_at(log)

    with pytest.raises(Busy, match="is held by"):
        seal(log)
    writer.close()


def test_a_sealed_log_stays_as_it_is_when_it_is_sealed_again(path):
    resting(path)
    before = path.stat()

    assert seal(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
