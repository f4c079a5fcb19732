"""The clocks, the boot id and the pid namespace of this machine."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from eventhpo.core.fold.clocks import BootClock, ClockReading

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


def clock() -> int:
    """Return the wall clock of jobs on this machine: microseconds since 1970, as the runner reads it."""
    return time.time_ns() // 1000


def read_clocks() -> ClockReading:
    """Return both clocks of jobs on this machine, as the runner reads them.

    Their boot clock stands still while the machine is suspended, as the jobs do.
    """
    boot = boot_id()
    return ClockReading(clock(), BootClock(boot, time.monotonic_ns() // 1000) if boot else None)


@functools.cache
def boot_id() -> str:
    """Return a text that changes when the machine is restarted; empty if the system has none.

    It is compared with the boot id that the controller recorded.
    """
    return _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""


@functools.cache
def pid_namespace() -> str:
    """Return the name of the space in which our process ids count; empty where there is only one."""
    return str(_NAMESPACE.readlink()) if _NAMESPACE.is_symlink() else ""
