"""What a controller may have to do next."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.event_parts import AttemptId
from eventhpo.core.fold.events import Event

Attempts: TypeAlias = tuple[AttemptId, ...]


class Decide(msgspec.Struct, frozen=True):
    """Record what the rules conclude."""

    event: Event


class Suggest(msgspec.Struct, frozen=True):
    """Ask the sampler for a trial."""


class Judge(msgspec.Struct, frozen=True):
    """Ask the pruner about the points that have no verdict."""


class Draft(msgspec.Struct, frozen=True):
    """Create the jobs of these intents."""

    attempts: Attempts


class Launch(msgspec.Struct, frozen=True):
    """Start these bound jobs."""

    attempts: Attempts


class Stop(msgspec.Struct, frozen=True):
    """Tell these bound jobs to stop."""

    attempts: Attempts


class Cancel(msgspec.Struct, frozen=True):
    """Remove what these unbound intents may have created."""

    attempts: Attempts


class Poll(msgspec.Struct, frozen=True):
    """Read what these jobs did since."""

    attempts: Attempts


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be asked of the jobs until a back-off is over, or a paused search goes on."""


class RunEndCommand(msgspec.Struct, frozen=True):
    """Run the command that a person set for the end of the search."""


class Rest(msgspec.Struct, frozen=True):
    """Nothing is left to do here: the search is over, the run is to end, or a caller must ask for more."""

    why: Literal["finished", "run stopped", "by hand"]


Effect: TypeAlias = Draft | Launch | Stop | Cancel
Action: TypeAlias = Decide | Suggest | Judge | Effect | Poll | Wait | RunEndCommand | Rest
