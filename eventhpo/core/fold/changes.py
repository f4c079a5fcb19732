"""Which trials an event changes: so a reader that keeps something of each trial need not look at all of them again."""

from __future__ import annotations

from collections.abc import Iterable

from eventhpo.core.fold.events import ControllerStarted, Event, JobsContinued, subject_of
from eventhpo.core.fold.state import State


def concerned(event: Event) -> tuple[int, ...] | None:
    """Return the numbers of the trials that *event* may change; None if it may be any, as with a tick."""
    if isinstance(event, JobsContinued):
        return tuple({verdict.trial: None for verdict in event.verdicts})
    trial, _ = subject_of(event)
    return None if trial is None else (trial,)


class Changes:
    """The trials that changed since they were asked for last, for a reader that is told of each event.

    A reader that was not told of all events since then is told that any trial may have changed.
    So a reader that is told of nothing is right as well, only slower.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._steps: int | None = None  # of the state, when it was asked last
        self._told = 0  # events since then
        self._concerned: set[int] | None = set()

    def tell(self, event: Event) -> None:
        """Take in an event that was folded into the state."""
        if isinstance(event, ControllerStarted):
            return  # it changes no trial, and is no step
        self._told += 1
        numbers = concerned(event)
        if numbers is None or self._concerned is None:
            self._concerned = None
        else:
            self._concerned.update(numbers)

    def taken(self) -> Iterable[int] | None:
        """Return the numbers of the trials that may have changed since the last call, None if it may be any."""
        whole = self._steps is not None and self._steps + self._told == self._state.steps
        numbers = self._concerned if whole else None
        self._steps, self._told, self._concerned = self._state.steps, 0, set()
        return numbers
