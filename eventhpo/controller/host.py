"""Where a controller runs, as the log says it."""

from __future__ import annotations

import os
import socket

import msgspec

from eventhpo.jobs.local.host import boot_id


class Machine(msgspec.Struct, frozen=True):
    """A process on a host; `boot` changes with each boot of the host (empty where it cannot be told)."""

    host: str
    pid: int
    boot: str


def this_machine() -> Machine:
    """Return this process and its host."""
    return Machine(socket.gethostname(), os.getpid(), boot_id())
