"""A log prefix by prefix: at which rows something was due, and what today's code says to each.

A decision must be what `next_action` comes to on the state before it. At the first
row of a poll, and at the first receipt of a stage of effects, nothing may be left to
decide. Other inputs and notes may stand anywhere and discharge nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from eventhpo.asking.asker import Asker
from eventhpo.asking.own import absent, not_again, own_of
from eventhpo.core import actions, codec
from eventhpo.core.decide import next_action
from eventhpo.core.events import (
    AbortRequested,
    ClockTicked,
    ControllerStarted,
    Decision,
    DrivenByHand,
    EffectFailed,
    Event,
    Input,
    JobAdopted,
    JobRequested,
    LaunchRequested,
    LimitsChanged,
    Note,
    OptimizerTaskSet,
    PointEnqueued,
    Recorded,
    SearchReopened,
    StopAsked,
    TrialsImported,
)
from eventhpo.core.evolve import begin, evolve
from eventhpo.core.state import State
from eventhpo.errors import DamagedLog

_ANYWHERE = (
    AbortRequested,
    ControllerStarted,
    DrivenByHand,
    JobAdopted,
    JobRequested,
    LaunchRequested,
    LimitsChanged,
    Note,
    OptimizerTaskSet,
    PointEnqueued,
    SearchReopened,
    StopAsked,
    TrialsImported,
)


class Divergence(msgspec.Struct, frozen=True):
    """Where the log and today's code part: at row `seq`, what stands there and what should."""

    seq: int
    recorded: Event
    recorded_cause: int | None
    decided: Event | None
    decided_cause: int | None
    due: str  # the action that was due, in words


class Checked(msgspec.Struct, frozen=True):
    """A row that was checked: a decision, or a row at which none may be missing."""

    seq: int
    decision: bool
    divergence: Divergence | None
    skipped: str | None = None  # why the decision was not decided again, if it was not


def walk(
    rows: Iterable[Recorded], sampler: BaseSampler | None = None, pruner: BasePruner | None = None
) -> Iterator[Checked]:
    """Yield every check of a log in its order; after a divergence the record is taken as the truth.

    Where the search was made with a *sampler* or *pruner* of a class that is not
    Optuna's own, its decisions are decided again if it is given, else skipped.

    Raises:
        DamagedLog: there is no row, or one does not fit those before it.
        Usage: *sampler* or *pruner* is not the one that was recorded.
    """
    return _Walk(iter(rows), sampler, pruner).checks()


class _Walk:
    def __init__(self, rows: Iterator[Recorded], sampler: BaseSampler | None, pruner: BasePruner | None) -> None:
        first = next(rows, None)
        if first is None:
            raise DamagedLog("the log has no event")
        self._rows = rows
        self._state: State = begin(first)
        self._own = own_of(self._state.search, sampler, pruner)
        self._asker = Asker(self._state, self._own)
        self._poll: int | None = None  # cause of the poll under way
        self._stage: list[tuple[int, int]] = []  # whose receipts of a stage are still to come

    def checks(self) -> Iterator[Checked]:
        for row in self._rows:
            checked = self._check(row)
            if checked is not None:
                yield checked
            self._state = evolve(self._state, row)

    def _check(self, row: Recorded) -> Checked | None:
        if isinstance(row.event, _ANYWHERE) or self._inside(row):
            return None
        self._poll, self._stage = None, []
        action = next_action(self._state)
        if isinstance(row.event, Decision):
            why = not_again(self._state, self._own, action, row.event)
            skip = why is not None and row.cause == self._state.last_input
            return Checked(row.seq, True, None, why) if skip else self._compare(row, action)
        return self._nothing_missing(row, action)

    def _inside(self, row: Recorded) -> bool:
        """Whether *row* belongs to the poll or stage whose first row was checked."""
        if isinstance(row.event, Decision):
            return False
        if self._poll is not None and row.cause == self._poll:
            return True
        if self._stage and _names(row.event) == self._stage[0]:
            self._stage.pop(0)
            return True
        return False

    def _decided(self, action: actions.Action) -> Event | None:
        match action:
            case actions.Decide(event=event):
                return event
            case actions.Suggest() | actions.Judge():
                return self._asker.answer(action)[0]
        return None

    def _mine(self, action: actions.Action) -> Event | None:
        """Return the decision that is missing, if there is anybody to ask for it."""
        return None if absent(self._state, self._own, action) else self._decided(action)

    def _compare(self, row: Recorded, action: actions.Action) -> Checked:
        mine = self._mine(action)
        if mine is not None and _same(mine, row.event) and row.cause == self._state.last_input:
            return Checked(row.seq, True, None)
        if getattr(mine, "not_again", None):
            return Checked(row.seq, True, None, "asked twice now, it gave two answers")
        return Checked(row.seq, True, self._parted(row, mine, action))

    def _nothing_missing(self, row: Recorded, action: actions.Action) -> Checked:
        """Check that the effect or poll that *row* comes from was due, and begin to expect its other rows."""
        of_poll = isinstance(row.event, ClockTicked) or row.cause == row.seq - 1
        match action:
            case actions.Poll() | actions.Wait() if of_poll:
                self._poll = row.cause
                return Checked(row.seq, False, None)
            case actions.Draft(attempts=names) | actions.Launch(attempts=names):
                fits = _names(row.event) == names[0]
            case actions.Stop(attempts=names) | actions.Cancel(attempts=names):
                fits = _names(row.event) == names[0]
            case _:
                return Checked(row.seq, False, self._parted(row, self._mine(action), action))
        if fits:
            self._stage = list(names[1:])
            return Checked(row.seq, False, None)
        return Checked(row.seq, False, self._parted(row, None, action))

    def _parted(self, row: Recorded, mine: Event | None, action: actions.Action) -> Divergence:
        cause = None if mine is None else self._state.last_input
        return Divergence(row.seq, row.event, row.cause, mine, cause, type(action).__name__)


def _same(a: Event, b: Event) -> bool:
    """Whether two events are equal to the bit: 1 is not 1.0, and 0.0 not -0.0."""
    return type(a) is type(b) and codec.encode(a) == codec.encode(b)


def _names(event: Event) -> tuple[int, int] | None:
    if isinstance(event, EffectFailed) and event.effect == "poll":
        return None  # it stands in a poll, and in no stage
    trial, attempt = getattr(event, "trial", None), getattr(event, "attempt", None)
    return None if trial is None or attempt is None or not isinstance(event, Input) else (trial, attempt)
