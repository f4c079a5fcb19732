"""Kill the processes that a lost attempt left running, and no others.

A process belongs to an attempt if its environment carries the key and names this
folder, if it is in the group and session that a ticket of this folder names, or if it
holds the job's lock. A copied search has the same keys and tickets, but its jobs belong to
the original: `folder.Identity` tells the folders apart. Jobs that were started without an
identity are told by path and by who holds the lock. A process is killed through a
descriptor, so no other process is hit that has got its id since. Needs /proc; without it
no process is found.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from eventhpo.jobs.local.folder import AttemptFolder, Ticket, is_free
from eventhpo.jobs.local.host import boot_id, pid_namespace
from eventhpo.jobs.local.launch import named

PROC = Path("/proc")

_ENDED = (FileNotFoundError, ProcessLookupError)


class LostAttempt(NamedTuple):
    """An attempt whose processes are to end."""

    key: str
    folder: AttemptFolder
    ticket: Ticket | None


class Process(NamedTuple):
    """A line of /proc/<pid>/stat."""

    pid: int
    state: str
    group: int
    session: int
    start: int


Owner: TypeAlias = Callable[[Process], str | None]


def kill_leftovers(lost: Sequence[LostAttempt]) -> dict[str, tuple[int, ...]]:
    """Kill what is left of each attempt; return the killed process ids, by key.

    One pass over /proc serves all attempts. Holders of a lock are searched only if nothing
    else was killed and the lock is still held: that pass reads every descriptor.
    """
    killed = _kill_all(_by_environment_or_group(lost))
    suspects = [attempt for attempt in lost if attempt.key not in killed and not is_free(attempt.folder.job_lock)]
    return killed | _kill_all(_by_lock(suspects)) if suspects else killed


def _kill_all(owner: Owner) -> dict[str, tuple[int, ...]]:
    """Kill each process that has an owner; return their ids by owner."""
    killed: dict[str, tuple[int, ...]] = {}
    for process in _others():
        key = owner(process)
        if key is not None and _kill(process):
            killed[key] = (*killed.get(key, ()), process.pid)
    return killed


def _others() -> Iterator[Process]:
    """Yield each process that we may look at, except zombies and this process."""
    if not PROC.is_dir():
        return
    for name in filter(str.isdigit, os.listdir(PROC)):  # noqa: PTH208 - a Path for each process costs more than its stat
        process = _process(int(name))
        if process is not None and process.state not in "ZX" and process.pid != os.getpid():
            yield process


def _process(pid: int) -> Process | None:
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except _ENDED:
        return None
    return Process(pid, fields[0].decode(), int(fields[2]), int(fields[3]), int(fields[19]))


def _by_environment_or_group(lost: Sequence[LostAttempt]) -> Owner:
    keys = {attempt.key: attempt for attempt in lost}
    groups = {
        (attempt.ticket.pid, attempt.ticket.runner): attempt
        for attempt in lost
        if attempt.ticket is not None and _counts(attempt)
    }

    def owner(process: Process) -> str | None:
        attempt = groups.get((process.group, process.session))
        if attempt is not None and attempt.ticket is not None and process.start >= attempt.ticket.start:
            return attempt.key
        variables = _environment(process.pid)
        carried = keys.get(variables.get("EVENTHPO_KEY", ""))
        return carried.key if carried is not None and _names(variables, carried.folder) else None

    return owner


def _counts(attempt: LostAttempt) -> bool:
    """Whether the process ids of the ticket are still valid and belong to the job of this folder."""
    ticket = attempt.ticket
    if ticket is None or ticket.pid <= 0 or ticket.boot != boot_id() or ticket.ns != pid_namespace():
        return False
    if ticket.lock is None:
        return not is_free(attempt.folder.job_lock)
    return not attempt.folder.is_copied(ticket)


def _names(variables: Mapping[str, str], folder: AttemptFolder) -> bool:
    """Whether *variables* are the environment of a job in this *folder*, not in a copy of it."""
    lock, identity = variables.get("EVENTHPO_LOCK"), folder.identity()
    if lock is None or identity is None:
        return _is_same(Path(variables.get("EVENTHPO_PARAMS", "")), folder.params)
    return lock == named(identity)


def _environment(pid: int) -> dict[str, str]:
    """Return the `EVENTHPO_` variables of process *pid*; empty if it has none or we may not read them."""
    try:
        entries = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except (*_ENDED, PermissionError):
        return {}
    variables = (os.fsdecode(entry).partition("=") for entry in entries if entry.startswith(b"EVENTHPO_"))
    return {name: value for name, _, value in variables}


def _is_same(path: Path, other: Path) -> bool:
    """Whether both paths are equal or lead to the same file."""
    return path == other or (path.exists() and other.exists() and path.samefile(other))


def _by_lock(lost: Sequence[LostAttempt]) -> Owner:
    files = {
        (status.st_dev, status.st_ino): attempt.key for attempt in lost for status in [attempt.folder.job_lock.stat()]
    }
    return lambda process: _holder(process.pid, files)


def _holder(pid: int, files: Mapping[tuple[int, int], str]) -> str | None:
    """Return the key whose lock *pid* has open for writing: a controller that only looks opens it for reading."""
    try:
        for name in os.listdir(PROC / str(pid) / "fd"):  # noqa: PTH208 - as above
            key = _held(PROC / str(pid), name, files)
            if key is not None:
                return key
    except (*_ENDED, PermissionError):
        return None
    return None


def _held(process: Path, name: str, files: Mapping[tuple[int, int], str]) -> str | None:
    try:
        status = (process / "fd" / name).stat()
        key = files.get((status.st_dev, status.st_ino))
        return key if key is not None and _writes(process / "fdinfo" / name) else None
    except _ENDED:
        return None


def _writes(info: Path) -> bool:
    """Whether a descriptor was opened for writing (proc(5): fdinfo, flags in octal)."""
    flags = next(line.split()[1] for line in info.read_text().splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _kill(process: Process) -> bool:
    """Kill exactly *process*, never another that got its id since; return whether it was killed."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = _process(process.pid)
        if now is None or now.start != process.start:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
    return True
