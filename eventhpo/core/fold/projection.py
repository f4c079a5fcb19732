"""What is made of a log on the way of its fold: each row is shown with the state before it and the state after it."""

from __future__ import annotations

from collections.abc import Iterable, Sized

from eventhpo.core.fold.collector import collector_paused
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.progress import tracked
from eventhpo.core.fold.state import State
from eventhpo.errors import DamagedLog


class Projection:
    """Something that follows a log row by row; a subclass has one of these methods, or both.

    The state is one object that changes: what is needed of it later is to be copied.
    """

    def before(self, state: State, row: Recorded) -> None:
        """Take in *row*, which is not the first; *state* is the state before it."""

    def after(self, state: State, row: Recorded) -> None:
        """Take in *row*; *state* is the state after it."""


class FollowedRows:
    """The fold of a log that is read row by row, with the projections that follow it.

    Args:
        first: The log's first row.
        projections: What is shown each row, in this order.

    Raises:
        DamagedLog: the row is not the first of a log.
    """

    def __init__(self, first: Recorded, *projections: Projection) -> None:
        self.state = begin(first)
        self._projections = projections
        for projection in projections:
            projection.after(self.state, first)

    def add(self, row: Recorded) -> None:
        """Take in *row*, the one after the last.

        Raises:
            DamagedLog: it does not fit the rows before it.
        """
        for projection in self._projections:
            projection.before(self.state, row)
        self.state = evolve(self.state, row)
        for projection in self._projections:
            projection.after(self.state, row)


def project(rows: Iterable[Recorded], *projections: Projection) -> State:
    """Fold *rows*, show each to *projections*, and return the state after them.

    Raises:
        DamagedLog: there is no row, or one does not fit those before it.
    """
    if isinstance(rows, Sized):
        rows = tracked(rows, "following the search", len(rows))
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        raise DamagedLog("the log has no event")
    with collector_paused():
        followed = FollowedRows(first, *projections)
        for row in remaining:
            followed.add(row)
    return followed.state
