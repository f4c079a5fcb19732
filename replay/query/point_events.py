"""Which event each point of a curve, and each end of a trial, came with: the fold does not keep that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventhpo.core.fold.event_parts import AttemptId
from eventhpo.core.fold.events import Recorded, TrialsImported, trial_of
from eventhpo.core.fold.projection import Projection, project
from eventhpo.core.fold.state import State, Trial


class PointEvents(Projection):
    """The events of points, by attempt and objective, and of the ends of trials, by number."""

    def __init__(self) -> None:
        self.finished: dict[int, int] = {}
        self._seqs: dict[tuple[int, int, int], list[int]] = {}  # by trial, attempt and objective

    def seqs(self, attempt: AttemptId, objective: int) -> Sequence[int]:
        """Return the event of each point of a curve, in the order of the points."""
        return self._seqs.get((*attempt, objective), ())

    def after(self, state: State, row: Recorded) -> None:
        """Note what *row* brought; *state* is the one after it."""
        number = trial_of(row.event)
        if number is not None and number < len(state.trials):
            self._look(state.trials[number], row.seq)
        elif isinstance(row.event, TrialsImported):
            self.finished |= {trial.number: row.seq for trial in state.trials[-len(row.event.trials) :]}

    def _look(self, trial: Trial, seq: int) -> None:
        if trial.finished is not None:
            self.finished.setdefault(trial.number, seq)
        for attempt in trial.attempts[-2:]:  # an attempt that was lost may come back, and only once
            for objective, curve in enumerate(attempt.curves):
                known = self._seqs.setdefault((attempt.trial, attempt.number, objective), [])
                known += [seq] * (len(curve.iterations) - len(known))


def folded(rows: Iterable[Recorded]) -> tuple[State, PointEvents]:
    """Return the state after *rows*, and the events of its points.

    Raises:
        DamagedLog: there is no row, or one does not fit those before it.
    """
    points = PointEvents()
    return project(rows, points), points
