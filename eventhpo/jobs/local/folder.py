"""The folder of an attempt: its files, its ticket and its locks.

    params.json     what the job was given, there once the draft is complete
    predecessor     job id of the attempt before this one, if there is one
    job.lock        held by the runner and the job for as long as either lives
    runner.lock     held by the runner alone
    started.json    the ticket: who started, or that nobody ever will
    stop            the runner is to stop the job: since when, and what was settled of it
    reports.jsonl   what the job reports
    output.log      what the job prints
    exit.json       how it ended

A ticket appears by `link`, which fails if there is one, so an attempt starts at
most once. The kernel frees a lock with its last holder, so a free lock says
that nobody is left; process ids only say whom to kill. Which folder this is says
the device and inode of its job.lock: they stay when it is moved, and a copy has
others, so a ticket that was copied along is told from one of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

import msgspec

from eventhpo import own_files
from eventhpo.core.fold.clocks import BootClock, ClockReading
from eventhpo.core.search.spec import Scalar

NeverStarted = Literal["cancelled", "launch_failed"]
Identity: TypeAlias = tuple[int, int]  # device and inode of a job.lock


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who started the attempt, and when; or (`never`) that it can't be started any more."""

    pid: int = 0
    runner: int = 0
    start: int = 0  # clock ticks since boot
    boot: str = ""
    ns: str = ""
    grace: float = 0.0
    lock: Identity | None = None  # of the folder that it was taken in; earlier versions took it without
    slot: int | None = None
    at: int = 0
    boot_clock: int | None = None  # of jobs, at the same moment
    never: NeverStarted | None = None
    why: str = ""

    @property
    def since_boot(self) -> BootClock | None:
        """When it started by the boot clock, None where that was not written down."""
        return _since_boot(self.boot, self.boot_clock)


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How the job ended, as its runner saw it."""

    pid: int
    code: int | None
    signal: int | None
    stopped: bool
    finished_at: int
    why: str = ""
    boot: str = ""
    boot_clock: int | None = None

    @property
    def since_boot(self) -> BootClock | None:
        """When it ended by the boot clock, None where that was not written down."""
        return _since_boot(self.boot, self.boot_clock)


class StopOrder(msgspec.Struct, frozen=True, kw_only=True):
    """When the job was first told to stop, and what was settled of it then."""

    at: int
    boot: str = ""
    boot_clock: int | None = None
    settled: str = ""

    @property
    def reading(self) -> ClockReading:
        """When, by both clocks."""
        return ClockReading(self.at, _since_boot(self.boot, self.boot_clock))


class Locks:
    """Both locks of an attempt, held until the end of the `with` block (a heir holds them on)."""

    def __init__(self, job: int, runner: int) -> None:
        self.job = job
        self.runner = runner

    def __enter__(self) -> Locks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.runner)
        os.close(self.job)


class AttemptFolder:
    """One attempt's folder, found by its job id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job_id = path.name
        self.params = path / "params.json"
        self.predecessor = path / "predecessor"
        self.job_lock = path / "job.lock"
        self.runner_lock = path / "runner.lock"
        self.ticket_file = path / "started.json"
        self.stop_file = path / "stop"
        self.reports = path / "reports.jsonl"
        self.output = path / "output.log"
        self.exit_file = path / "exit.json"

    def exists(self) -> bool:
        """Whether the folder is there; once it was bound it is never made again."""
        return self.path.is_dir()

    def create(self, params: Mapping[str, Scalar], before: str | None) -> None:
        """Make the folder complete, whatever part of it is there already."""
        self.path.mkdir(parents=True, exist_ok=True)
        if before is not None:
            self._write(self.predecessor, before.encode())
        self._write(self.params, as_json(params))

    def drafted(self) -> bytes | None:
        """Return the parameters of a complete draft, as `as_json` writes them."""
        return _read(self.params)

    def previous(self) -> str | None:
        """Return the job id of the attempt before this one."""
        content = _read(self.predecessor)
        return None if content is None else content.decode()

    def ticket(self) -> Ticket | None:
        """Return the ticket, None as long as an attempt may still start; an unreadable one names nobody."""
        content = _read(self.ticket_file)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Ticket)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Ticket()  # torn by a loss of power: nothing fsyncs it, so it is of an earlier boot

    def has_ticket(self) -> bool:
        """Whether there is a ticket."""
        return os.access(self.ticket_file, os.F_OK)

    def identity(self) -> Identity | None:
        """Return what this folder keeps when it is moved and no copy of it has, None before there is a lock."""
        try:
            lock = self.job_lock.stat()
        except FileNotFoundError:
            return None
        return lock.st_dev, lock.st_ino

    def is_copied(self, ticket: Ticket) -> bool:
        """Whether *ticket* was copied into this folder along with it, so that who it names runs in another one."""
        return ticket.lock is not None and ticket.lock != self.identity()

    def close_for_good(self, never: NeverStarted, why: str, at: int) -> bool:
        """Take the ticket so that no runner can; False if one has it already."""
        temporary = self._write(
            self.path / f"never.{secrets.token_hex(4)}.tmp",
            msgspec.json.encode(Ticket(never=never, why=why, at=at)),
        )
        try:
            self.ticket_file.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def ask_to_stop(self, now: ClockReading, settled: str = "") -> None:
        """Leave the stop file for the runner, *settled* in it; its age and words stay those of the first time."""
        if os.access(self.stop_file, os.F_OK):
            return
        stop = StopOrder(at=now.wall, settled=settled)
        if now.boot is not None:
            stop = StopOrder(at=now.wall, boot=now.boot.boot, boot_clock=now.boot.at, settled=settled)
        try:
            temporary = self._write(self.path / f"stop.{secrets.token_hex(4)}.tmp", msgspec.json.encode(stop))
        except OSError:
            self.stop_file.touch()  # a full disk has room for an empty one, and the runner needs no more
            return
        try:
            with contextlib.suppress(FileExistsError):
                self.stop_file.hardlink_to(temporary)  # whole, and once
        finally:
            temporary.unlink()

    def stop_asked(self) -> StopOrder | None:
        """Return when the job was first told to stop; an empty file, as older versions left it, has its own time."""
        content = _read(self.stop_file)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=StopOrder)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return StopOrder(at=_changed(self.stop_file))

    def exit(self) -> Exit | None:
        """Return how the job ended, None while it runs; without code and signal if the file is not a runner's."""
        if not os.access(self.exit_file, os.F_OK):  # it is asked in every poll: no exception for the usual answer
            return None
        try:
            return msgspec.json.decode(self.exit_file.read_bytes(), type=Exit)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            why = f"exit.json cannot be read: {error}"
            return Exit(pid=0, code=None, signal=None, stopped=False, finished_at=self.last_sign(), why=why)

    def printed(self) -> str | None:
        """Return where the job's output is, None if there is none."""
        return str(self.output) if self.output.is_file() else None

    def last_sign(self) -> int:
        """Return when the attempt last wrote something, in microseconds, as the wall clock had it then."""
        written = (self.ticket_file, self.reports, self.output, self.exit_file)
        return max(_changed(path) for path in written)

    def take_locks(self) -> Locks | None:
        """Take both locks without waiting, or neither."""
        job = _take(self.job_lock)
        if job is None:
            return None
        try:
            runner = _take(self.runner_lock)
        except OSError:
            os.close(job)
            raise
        if runner is None:
            os.close(job)
            return None
        return Locks(job, runner)

    def remove(self) -> None:
        """Delete the folder and all in it; it may be gone already."""
        if self.exists():
            shutil.rmtree(self.path)

    def _write(self, path: Path, content: bytes) -> Path:
        """Give *path* its whole content, or leave it as it was."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        own_files.write_new(temporary, content)
        return temporary.replace(path)


def as_json(params: Mapping[str, Scalar]) -> bytes:
    """Return *params* as one JSON object, always the same bytes for the same values."""
    return msgspec.json.encode(params, order="sorted")


def is_free(lock: Path) -> bool:
    """Return whether nobody holds *lock*; looking is shared, so two that look don't see each other."""
    try:
        descriptor = own_files.open_to_look(lock)
    except FileNotFoundError:
        return True
    except PermissionError:  # another user looks: the kernel's list says whether it is locked
        return not own_files.is_locked(lock)
    try:
        return _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def running_folders(jobs: Path) -> list[Path]:
    """Return the attempts in the folder *jobs* whose runner or job lives."""
    return [lock.parent for lock in sorted(jobs.glob("*/job.lock")) if not is_free(lock)]


def _take(lock: Path) -> int | None:
    """Return a descriptor that holds *lock*, None if somebody else does."""
    descriptor = above_the_streams(own_files.open_lock(lock, own_files.owner_of(lock.parent)))
    taken = False
    try:
        taken = _flock(descriptor, fcntl.LOCK_EX)
    finally:
        if not taken:
            os.close(descriptor)
    return descriptor if taken else None


def above_the_streams(descriptor: int) -> int:
    """Return *descriptor* under a number that no standard stream of a child has: a daemon may have closed its own."""
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        return 0


def _since_boot(boot: str, at: int | None) -> BootClock | None:
    return BootClock(boot, at) if boot and at is not None else None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
