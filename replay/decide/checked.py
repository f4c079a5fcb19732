"""One check of a row of a log, and how processes share the checks of one log."""

from __future__ import annotations

import msgspec

from replay.decide.divergence import Divergence
from replay.decide.rounding import Rounded

BLOCK = 16  # decisions in a row that one share takes: later ones cost more, so shares take turns


class WalkShare(msgspec.Struct, frozen=True):
    """Every `of`-th block of decisions, from block `number` on, with the rows that follow each decision."""

    number: int = 0
    of: int = 1

    def holds(self, decisions: int) -> bool:
        """Whether this share holds a row; *decisions* counts the decisions up to that row, itself included."""
        return max(decisions - 1, 0) // BLOCK % self.of == self.number


WHOLE = WalkShare()


class Checked(msgspec.Struct, frozen=True):
    """A row that was checked: a decision, or a row at which none may be missing.

    `skipped` says why a decision was not decided again, and `rounded` is a decision that equals the recorded one up to
    rounding. In both cases there is no divergence.
    """

    seq: int
    decision: bool
    divergence: Divergence | None
    skipped: str | None = None
    rounded: Rounded | None = None
