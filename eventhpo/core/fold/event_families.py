"""The six families of events: each event's base class says where the event comes from."""

from __future__ import annotations

import msgspec


class Input(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came from outside; nothing decides it."""


class UserInput(Input, frozen=True, kw_only=True):
    """What a person or a script asked for: a search, a controller for it, new limits, a point, a stop.

    `by` is who says so (login and host unless told otherwise), `uid` the user id that the kernel
    knows the process or the request's file by, `why` the person's reason.
    """

    by: str = ""
    why: str = ""
    uid: int | None = None


class PersonsRequest(UserInput, frozen=True, kw_only=True):
    """What a command asks of a search for a person; where no controller runs, the command records it itself."""


class RunSetting(PersonsRequest, frozen=True, kw_only=True):
    """Where and around what the search runs from now on; no decision follows from it."""


class Receipt(Input, frozen=True, kw_only=True):
    """An effect was done: a job was created, handed to a queue, started, or told to stop."""


class Observation(Input, frozen=True, kw_only=True):
    """What the controller saw of its jobs, also when an effect failed."""


class Tick(Input, frozen=True, kw_only=True):
    """A time has come: a limit, or the end of a back-off."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the scheduler, the sampler or the pruner concluded from the events before it."""


class Note(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """For people; it changes keys and nothing else."""


FAMILIES: tuple[type[msgspec.Struct], ...] = (UserInput, Receipt, Observation, Tick, Decision, Note)
