"""Whether a search was still improving at the end of its log: its last gain, and the gain in its last third."""

from __future__ import annotations

import msgspec

from eventhpo.core.fold.events import Recorded, TrialFinished
from eventhpo.core.fold.projection import Projection
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_events import TrialAdded, TrialTold
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import Num, to_num


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """A completed trial that was better than all before it, and how far the search had come."""

    trial: int
    value: Num
    seq: int
    completed: int  # it was the n-th trial to complete
    iterations: int  # charged by then; in a study the trials that had completed


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The gains in their order; no forecast of what further trials would bring.

    `third` is where the last third of the charged iterations begins, in a study of the completed trials; `before` is
    the best value at that point, None if no trial had completed.
    """

    completed: int
    iterations: int
    gains: list[Gain]
    since: int  # completed trials since the last gain
    third: int
    before: Num | None
    in_last_third: bool


class Gains(Projection):
    """Collects the gains of a search with one objective, row by row."""

    def __init__(self) -> None:
        self._gains: list[Gain] = []
        self._completed = 0
        self._best: float | None = None

    def after(self, state: State, row: Recorded) -> None:
        """Note *row*; *state* is the state after it."""
        event = row.event
        if not isinstance(event, TrialFinished | TrialTold | TrialAdded) or event.state != "completed":
            return
        if not state.single:
            return
        self._completed += 1
        value = rank.values(state, state.trials[event.trial])[0]
        if value is None or not (self._best is None or state.search.objectives[0].better(value, self._best)):
            return
        self._best = value
        self._gains.append(
            Gain(
                trial=event.trial,
                value=to_num(value),
                seq=row.seq,
                completed=self._completed,
                iterations=self._used(state),
            )
        )

    def _used(self, state: State) -> int:
        """Return how far the search has come: in charged iterations, a study in completed trials."""
        return self._completed if state.study is not None else state.totals.charged

    def close(self, state: State) -> Progress | None:
        """Return the progress; None with several objectives, where no single trial is the best."""
        if not state.single:
            return None
        used = self._used(state)
        third = used - used // 3
        early = [gain for gain in self._gains if gain.iterations <= third]
        return Progress(
            completed=self._completed,
            iterations=used,
            gains=self._gains,
            since=self._completed - (self._gains[-1].completed if self._gains else 0),
            third=third,
            before=early[-1].value if early else None,
            in_last_third=len(early) < len(self._gains),
        )
