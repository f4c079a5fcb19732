"""Run one job and write down how it ended: a program of its own, standard library only.

    python -I -S runner.py FOLDER CWD JOB_LOCK RUNNER_LOCK GRACE BOOT NAMESPACE COMMAND...

Started by `launch.spawn` with two locked descriptors and the job's environment. The
forked child claims the attempt with a ticket (`started.json`), then becomes the
command; a child that finds the ticket taken gives up. This process stays until the job
is over, carries out a stop (the file `stop`), and leaves `exit.json`. It lives in
FOLDER and finds its files from there, so a folder that is moved takes it along.

It is read by an interpreter without site-packages, so it imports nothing of ours.
pathlib and json are left out: they take 7 and 3 ms to load, as long as the rest.
"""

# ruff: noqa: PTH104, PTH108, PTH110, PTH123, PTH208

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # typing would have to be loaded too
if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = 0.1  # seconds between two looks for the stop file: a prune verdict waits no longer than that
PATIENCE = 5.0  # seconds for killed processes to vanish; one in uninterruptible sleep may never
ROOM = 384  # bytes of exit.json, written before the job starts so that a full disk can't lose its end
REASON = 100  # bytes of an error in exit.json: the rest of it needs at most 250
NOT_STARTED = 3  # exit code of a runner, and of its child, when the job was not started by it
CANNOT_RUN = 127  # what a shell says of a command that it can't run


def main(arguments: list[str]) -> int:
    """Start COMMAND unless the attempt has a ticket; return once its end is written."""
    folder, cwd, job_lock, runner_lock, grace, boot, namespace, *command = arguments
    os.chdir(folder)
    wake = _listen()
    _print_to("output.log")
    if os.path.exists("stop"):
        return NOT_STARTED
    end = _prepare_exit()
    failure, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(int(runner_lock))
        facts = f'"boot": "{boot}", "ns": "{namespace}", "grace": {float(grace)}, {_identity(int(job_lock))}'
        _become(cwd, command, tell, facts)
    os.close(tell)
    _group(child)
    adopts = _adopt_orphans()
    status, stopped = _watch(child, float(grace), wake, adopts)
    if not _owns_ticket(child):
        os.unlink(_exit_file())
        return NOT_STARTED
    os.pwrite(end, _how_it_ended(child, status, stopped, os.read(failure, REASON), boot), 0)
    os.fsync(end)
    os.rename(_exit_file(), "exit.json")
    return 0


# ---------------------------------------------------------------- before the fork


def _listen() -> int:
    """Let signals only wake: INT and HUP are ignored, CHLD and USR1 make the returned descriptor readable."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    wake, write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for waking in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(waking, lambda *_: None)
    return wake


def _print_to(output: str) -> None:
    """Send standard output and error to the end of *output*, without a pipe that could break or fill."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _exit_file() -> str:
    return f"exit.{os.getpid()}.tmp"


def _prepare_exit() -> int:
    """Return a descriptor of a file that has its room on the disk."""
    descriptor = os.open(_exit_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    os.write(descriptor, b" " * ROOM)
    os.fsync(descriptor)
    return descriptor


# ---------------------------------------------------------------- the child


def _identity(job_lock: int) -> str:
    """Return what tells this very folder from a copy of it: a move keeps it, a copy has another."""
    status = os.fstat(job_lock)
    slot = int(os.environ.get("EVENTHPO_SLOT", "0"))
    return f'"lock": [{status.st_dev}, {status.st_ino}], "slot": {slot}'


def _become(cwd: str, command: list[str], tell: int, facts: str) -> None:
    """Take the ticket and turn into *command*; never return."""
    code, doing = NOT_STARTED, "take the ticket"
    try:
        _group(0)
        _default_signals()
        if _take_ticket(facts):
            code, doing = CANNOT_RUN, f"enter {cwd!r}"
            os.chdir(cwd)
            doing = f"run {command[0]!r}"
            os.execvp(command[0], command)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        text = f"{error.strerror}: cannot {doing}".encode(errors="backslashreplace")
        os.write(tell, text[:REASON])
        os.write(2, b"eventhpo: " + text + b"\n")
    finally:
        os._exit(code)


def _group(child: int) -> None:
    """Make *child* lead a process group; parent and child both call it, since either may come first."""
    try:
        os.setpgid(child, child)
    except PermissionError:
        return  # it has become the command already, so it has done it itself


def _default_signals() -> None:
    """Undo what this interpreter and a careless ancestor did to signals."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _ticket_head(child: int, runner: int) -> str:
    return f'{{"pid": {child}, "runner": {runner}, '


def _take_ticket(facts: str) -> bool:
    """Return whether this process is the one that may start the job: a link is exclusive and whole."""
    pid = os.getpid()
    temporary = f"started.{pid}.tmp"
    with open(temporary, "w", encoding="ascii") as ticket:
        head = _ticket_head(pid, os.getppid())
        ticket.write(head + f'"start": {_start_ticks()}, {facts}, "at": {_wall()}, "boot_clock": {_since_boot()}}}\n')
    try:
        os.link(temporary, "started.json")
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def _wall() -> int:
    return time.time_ns() // 1000


def _since_boot() -> int:
    """Return microseconds by a clock that nobody can set; it stands still while the machine is suspended."""
    return time.monotonic_ns() // 1000


def _start_ticks() -> int:
    """Return when this process began, in clock ticks since boot (proc(5): stat, field 22)."""
    try:
        with open("/proc/self/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except FileNotFoundError:
        return 0  # no /proc: the number guards a kill that is then not made


# ---------------------------------------------------------------- while the job runs


def _adopt_orphans() -> bool:
    """Become the parent of the job's orphans, so that a stop ends those in sessions of their own too.

    It is called after the fork: loading ctypes takes 2 ms, which the job need not wait for.
    """
    try:
        import ctypes  # noqa: PLC0415

        return bool(ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0)  # PR_SET_CHILD_SUBREAPER
    except (ImportError, OSError, AttributeError):
        return False  # not Linux: a stop ends the group alone


def _watch(child: int, grace: float, wake: int, adopts: bool) -> tuple[int, bool]:
    """Return the child's wait status and whether it was told to stop; nothing of its group is left."""
    kill_at: float | None = None
    while not _is_over(child):
        if kill_at is None and os.path.exists("stop"):
            kill_at = time.monotonic() + grace
            _signal_group(child, signal.SIGTERM)
        elif kill_at is not None and time.monotonic() >= kill_at:
            _signal_group(child, signal.SIGKILL)
        _wait(wake)
    if kill_at is None or not adopts:
        _signal_group(child, signal.SIGKILL)  # before the leader is reaped: until then the number is its own
    status = os.waitpid(child, 0)[1]
    if kill_at is not None and adopts:
        _until(lambda: _group_is_empty(child), kill_at, wake)
        if not _group_is_empty(child):
            _signal_group(child, signal.SIGKILL)
    _until(lambda: _group_is_empty(child), time.monotonic() + PATIENCE, wake)
    if kill_at is not None:
        _until(_end_children, time.monotonic() + PATIENCE, wake)
    return status, kill_at is not None


def _is_over(child: int) -> bool:
    """Reap adopted orphans; return whether *child* waits to be reaped."""
    while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if ended.si_pid == child:
            return True
        os.waitpid(ended.si_pid, 0)
    return False


def _group_is_empty(child: int) -> bool:
    """Reap members of the group that became ours; return whether none is left."""
    try:
        while os.waitpid(-child, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _end_children() -> bool:
    """Kill and reap what was adopted; return whether nothing is left."""
    for pid in _children():
        os.kill(pid, signal.SIGKILL)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _children() -> list[int]:
    """Return the direct children of this process."""
    me = str(os.getpid()).encode()
    children = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                if stat.read().rpartition(b")")[2].split()[1] == me:
                    children.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return children


def _signal_group(child: int, number: int) -> None:
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        return


def _wait(wake: int) -> None:
    """Sleep until a signal or the next look is due."""
    if select.select([wake], (), (), LOOK)[0]:
        os.read(wake, 4096)


def _until(condition: Callable[[], bool], deadline: float, wake: int) -> None:
    while not condition() and time.monotonic() < deadline:
        _wait(wake)


# ---------------------------------------------------------------- the end


def _owns_ticket(child: int) -> bool:
    """Return whether the ticket names our own child, so that this end is the attempt's end."""
    try:
        with open("started.json", encoding="ascii") as ticket:
            return ticket.read().startswith(_ticket_head(child, os.getpid()))
    except FileNotFoundError:
        return False


def _how_it_ended(child: int, status: int, stopped: bool, failure: bytes, boot: str) -> bytes:
    """Return what goes into the prepared file; *failure* is why the command could not be run."""
    code = os.waitstatus_to_exitcode(status)
    text = (
        f'{{"pid": {child}, "code": {code if code >= 0 else "null"}, "signal": {-code if code < 0 else "null"}, '
        f'"stopped": {"true" if stopped else "false"}, "finished_at": {_wall()}, '
        f'"boot": "{boot}", "boot_clock": {_since_boot()}'
    )
    if failure:
        text += f', "why": "{_quotable(failure)}"'
    return (text + "}").encode("ascii")


def _quotable(text: bytes) -> str:
    """Return *text* as the inside of a JSON string, as long as before."""
    plain = text.decode("ascii", "replace").replace("\ufffd", "?").replace('"', "'").replace("\\", "/")
    return "".join(letter if letter.isprintable() else "?" for letter in plain)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
