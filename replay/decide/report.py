"""What deciding a log again came to: the report, its verdict, and the error that carries it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.events import Head
from eventhpo.errors import Failed
from replay.decide.divergence import Divergence
from replay.decide.fingerprints import Fingerprints
from replay.decide.rounding import Rounded

ReplayVerdict: TypeAlias = Literal["ok", "rounded", "diverged", "damaged"]


class Undecided(msgspec.Struct, frozen=True):
    """A decision that was not decided again, and why."""

    seq: int
    why: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding a log again came to.

    `decisions` counts what was decided again: all decisions, or those up to and with the first divergence. `undecided`
    lists those that were not. Of the ones decided again, `rounded` lists those that are equal up to rounding, because
    the log was recorded on another platform; the others are equal to the bit, or they are divergences. A divergence may
    also stand at a row that is no decision, where one is missing. In a damaged log nothing is decided: `damage` says
    what is wrong, and `fingerprint` is None. `notes` say what could not be checked.
    """

    path: str
    search_id: str | None
    name: str | None
    head: Head
    decisions: int
    undecided: tuple[Undecided, ...]
    divergences: tuple[Divergence, ...]
    fingerprint: Fingerprints | None
    damage: str | None
    notes: tuple[str, ...]
    rounded: tuple[Rounded, ...] = ()

    @property
    def verdict(self) -> ReplayVerdict:
        """The verdict in one word."""
        if self.damage is not None:
            return "damaged"
        if self.divergences:
            return "diverged"
        return "rounded" if self.rounded else "ok"


class Diverged(Failed):
    """A log was not decided again as it was recorded; `report` has both sides of each divergence."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report
