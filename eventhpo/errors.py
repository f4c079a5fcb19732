"""What can end a command: one base class with an exit code, one class for each reaction."""

from __future__ import annotations


class EventhpoError(Exception):
    """Say what is wrong, where, and the next step; a command ends with `code`."""

    code = 1


class Failed(EventhpoError):
    """A check failed, or the search ended by failures."""

    code = 1


class Usage(EventhpoError):
    """What was asked does not fit: a file that is missing or in the way, a wrong value."""

    code = 2


class DamagedLog(EventhpoError):
    """The file is damaged, or is no log of eventhpo."""

    code = 3


class Busy(EventhpoError):
    """Somebody else holds the log."""

    code = 4


class Starting(Busy):
    """Somebody is opening the log just now: it cannot be taken over, and will answer soon."""


class DeviceTaken(Busy):
    """Another search of this machine uses a GPU that this one names; its log is free, and nothing was begun."""


class TaskTaken(Busy):
    """The optimizer task has another controller, or is no longer in progress: this controller touches no job more."""


class Unanswered(EventhpoError):
    """The server where the jobs run does not answer; nothing was begun."""

    code = 4


class StorageFailed(EventhpoError):
    """The disk or the database refused; the search stays resumable."""

    code = 5


def not_installed(what: str, extra: str) -> Usage:
    """Return the error for *what* needs a package of *extra*, which is not there."""
    return Usage(f"{what} not installed: pip install 'eventhpo[{extra}]', in a clone pip install -e '.[{extra}]'")
