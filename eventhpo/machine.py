"""Where a controller runs, as the log says it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Machine(msgspec.Struct, frozen=True):
    """A process on a host; `boot` changes with each boot of the host (empty where it cannot be told)."""

    host: str
    pid: int
    boot: str


def this_machine() -> Machine:
    """Return this process and its host."""
    return Machine(socket.gethostname(), os.getpid(), boot_id())


def boot_id() -> str:
    """Return what changes with each boot of this machine, empty where the system does not say."""
    return _BOOT.read_text().strip() if _BOOT.exists() else ""
