"""Locks on GPUs: a device serves one search of this machine at a time.

Each device has a file in a folder that all users of the machine share. Who uses the device
holds a shared flock on it: the controller, and the runners and jobs that inherit the
descriptor, so the jobs of a killed controller keep their device. The file names the search.
Only who gets the flock exclusively, and so finds nobody there, may write another name; who
finds the own search's name joins in. Nothing rests on a process id, and the kernel frees a
lock with its last holder.

The folder may be written by everybody, so nothing in it is trusted: no link is followed, and
what a file says is only shown.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shlex
import stat
import time
from pathlib import Path

import msgspec

from eventhpo.core.search.gpus import Gpus, devices_of
from eventhpo.errors import DeviceTaken, StorageFailed
from eventhpo.jobs.local.folder import Identity, above_the_streams

FOLDER = "EVENTHPO_GPU_LOCKS"  # names another folder than the machine's
PATIENCE = 2.0  # seconds for others to write a name or to look: both take microseconds
STEP = 0.005  # seconds between two tries
_SIZE = 4096  # bytes of a file, always: one write replaces all of it


class DeviceHolder(msgspec.Struct, frozen=True, kw_only=True):
    """Who uses a device: a search, told from its copies by device and inode of its jobs' folder."""

    search: str
    search_id: str
    log: str
    jobs: Identity
    pid: int  # of its newest controller, for people
    user: str

    @property
    def identity(self) -> tuple[str, Identity]:
        """What tells this search from all others, and from copies of itself."""
        return self.search_id, self.jobs


def holder(search: str, search_id: str, log: Path, jobs: Path | None) -> DeviceHolder:
    """Return this process as the controller of a search whose jobs have their folders in *jobs*; None: not yet."""
    status = None if jobs is None else jobs.stat()
    return DeviceHolder(
        search=search,
        search_id=search_id,
        log=os.fsencode(log.absolute()).decode("utf-8", "backslashreplace"),
        jobs=(0, 0) if status is None else (status.st_dev, status.st_ino),
        pid=os.getpid(),
        user=_user(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        return str(os.getuid())


class DeviceLocks:
    """The locks on the devices of *gpus*, taken for *holder* at the first use; a heir of a descriptor holds it on."""

    def __init__(self, gpus: Gpus, holder: DeviceHolder) -> None:
        self._gpus = gpus
        self._holder = holder
        self._folder: int | None = None
        self._locks: dict[int, int] = {}

    def take(self) -> None:
        """Hold the lock of each device, or none.

        Raises:
            DeviceTaken: another search uses one. StorageFailed: the locks cannot be used.
        """
        if self._locks:
            return
        place = lock_folder()
        try:
            self._folder = _open_folder(place)
            for device in devices_of(self._gpus):
                self._locks[device] = _take(self._folder, place, device, self._holder)
        except OSError as error:
            self.close()
            raise StorageFailed(
                f"the locks of GPUs in {place} cannot be used: {error.strerror or error}; "
                "it must be a folder in which all users of this machine may write (mode 1777), or let "
                f"{FOLDER} name another one"
            ) from error
        except BaseException:
            self.close()
            raise

    def has(self, slot: int) -> bool:
        """Whether there are devices for *slot*."""
        return slot < len(self._gpus)

    def of(self, slot: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the devices of *slot*, and the descriptors that its runner inherits.

        Raises:
            DeviceTaken, StorageFailed: as `take`.
        """
        self.take()
        assert self._folder is not None
        return self._gpus[slot], (self._folder, *(self._locks[device] for device in self._gpus[slot]))

    def close(self) -> None:
        """Let go of the devices; those of jobs that go on stay held by them."""
        for descriptor in (*self._locks.values(), *(() if self._folder is None else (self._folder,))):
            os.close(descriptor)  # never LOCK_UN: it would end the lock of the heirs too
        self._locks, self._folder = {}, None

    def __del__(self) -> None:
        self.close()


def lock_folder() -> Path:
    """Return the folder of the locks: the one that `EVENTHPO_GPU_LOCKS` names, else the machine's."""
    named = os.environ.get(FOLDER)
    if named:
        return Path(named).absolute()
    home = next((path for path in (Path("/run/lock"), Path("/tmp")) if _is_shared(path)), Path("/tmp"))  # noqa: S108
    return home / "eventhpo-gpu"


def _is_shared(folder: Path) -> bool:
    """Whether everybody may write in *folder* and nobody may delete what belongs to others."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and mode & 0o1777 == 0o1777


def _open_folder(path: Path) -> int:
    """Return a descriptor of the folder, which is made if it is missing.

    It holds a shared lock: systemd-tmpfiles, which deletes old files in /tmp, leaves such a folder alone.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o1777)  # mkdir's own mode is cut by the umask
    descriptor = above_the_streams(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
    _flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _take(folder: int, place: Path, device: int, holder: DeviceHolder) -> int:
    """Return a descriptor that holds the lock of *device*.

    Raises:
        DeviceTaken: another search uses it.
    """
    deadline = time.monotonic() + PATIENCE
    name = f"{device}.lock"
    while True:
        descriptor = _open_lock(folder, name, deadline)
        taken, other = False, None
        try:
            if _flock(descriptor, fcntl.LOCK_EX):
                if _is_named(folder, name, descriptor):
                    _write(descriptor, holder)
                    taken = _flock(descriptor, fcntl.LOCK_SH)  # not atomic: somebody may come between
            elif _flock(descriptor, fcntl.LOCK_SH):
                other = _read(descriptor)
                taken = other is not None and other.identity == holder.identity
                if taken:
                    _write(descriptor, holder)
            if taken:
                return descriptor
        finally:
            if not taken:
                os.close(descriptor)
        if other is not None or time.monotonic() >= deadline:
            raise DeviceTaken(_refusal(device, other, place / name))
        time.sleep(STEP)


def _open_lock(folder: int, name: str, deadline: float) -> int:
    """Return a descriptor of the lock file, which is made if it is missing and may be written by everybody.

    It is opened without O_CREAT first: Linux forbids that for files of others in such a folder
    (fs.protected_regular).
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        try:
            descriptor = above_the_streams(os.open(name, flags, dir_fd=folder))
            break
        except FileNotFoundError:
            _make_lock(folder, name)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(STEP)  # it is being made: its mode is set next
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(0, f"{name} is no plain file")
    return descriptor


def _make_lock(folder: int, name: str) -> None:
    with contextlib.suppress(FileExistsError):
        made = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
        try:
            os.fchmod(made, 0o666)
        finally:
            os.close(made)


def _is_named(folder: int, name: str, descriptor: int) -> bool:
    """Whether *name* still means the opened file: somebody may have deleted it."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor))


def _write(descriptor: int, holder: DeviceHolder) -> None:
    text = msgspec.json.encode(holder)
    if len(text) > _SIZE:  # a name is only shown
        cut = msgspec.structs.replace(holder, search=holder.search[:100], log=holder.log[-300:])
        text = msgspec.json.encode(cut)
    os.pwrite(descriptor, text.ljust(_SIZE), 0)
    os.ftruncate(descriptor, _SIZE)


def _read(descriptor: int) -> DeviceHolder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, _SIZE, 0), type=DeviceHolder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # just being written, or by somebody else than eventhpo


def _refusal(device: int, other: DeviceHolder | None, path: Path) -> str:
    if other is None:
        return (
            f"GPU {device} is taken: another process holds {path}, which does not say for which search; "
            f"`fuser {path}` shows the process; or name other devices in gpus"
        )
    whose = f" of {other.user}" if other.user != _user() else ""
    if Path("/proc", str(other.pid)).exists():
        who = f"controller {other.pid}{whose}"
    else:
        who = f"its controller {other.pid}{whose} is gone, its jobs still run"
    return (
        f'GPU {device} is taken by the search "{other.search}" ({other.log}; {who}); wait until it has ended, '
        f"end it with `eventhpo stop {shlex.quote(other.log)}`, or name other devices in gpus"
    )


def _flock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
