"""Where a controller runs and who started it, as the log says it."""

from __future__ import annotations

import os
import socket

import msgspec

from eventhpo.controller.author import NOBODY, Author, this_author
from eventhpo.jobs.local.host import boot_id


class Machine(msgspec.Struct, frozen=True):
    """A process on a host; `boot` changes with each boot of the host (empty where it cannot be told).

    `author` is the person for whom the process acts.
    """

    host: str
    pid: int
    boot: str
    author: Author = NOBODY


def this_machine(author: Author | None = None) -> Machine:
    """Return this process and its host; it acts for *author*, by default for the user who runs it."""
    return Machine(socket.gethostname(), os.getpid(), boot_id(), author or this_author())
