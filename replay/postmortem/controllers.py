"""Each controller's life, how it ended as far as the log knows, and the gaps between them.

A controller that ends well says so in the log, or leaves nothing to do. One that is
killed, loses its disk or its power writes nothing any more: its record just stops.
The three look alike in the log, so none of them is claimed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import events
from eventhpo.core.fold.clocks import ClockReading, elapsed, one_boot
from eventhpo.core.fold.events import ControllerStarted, Recorded
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.views import event_lines, formatting
from replay import next_step as upcoming

ControllerEnd: TypeAlias = Literal[
    "finished",
    "stopped",
    "interrupted",
    "by hand",
    "request",
    "lease lost",
    "holds the log",
    "goes on",
    "record stops",
    "cut off",
]

# what somebody asks of a search; a command that finds no controller writes it in an epoch of its own
_ASKS = (
    events.PointEnqueued,
    events.LimitsChanged,
    events.SearchReopened,
    events.StopAsked,
    events.RequestRefused,
    events.CommandMoved,
    events.OptimizerTaskSet,
    events.TrialsImported,
)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The time from the last row of a controller to the start of the next, and what went on in it.

    `microseconds` is by the boot's clock if both are of one boot, else by their hosts' wall clocks,
    and then negative where the later one is behind.
    `rebooted` is None where the next one ran on another host. `prunes_lost` are jobs that
    ended in it and would have been pruned: their verdict came when they were over.
    """

    microseconds: int
    unwatched: int  # jobs that held a slot meanwhile
    rebooted: bool | None
    host: str
    prunes_lost: int = 0


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One controller: who it was, its rows, and how its part of the log ends."""

    epoch: int
    host: str
    pid: int
    first: int  # seq of its ControllerStarted
    last: int  # seq of its last row
    began: int
    ended: int  # `at` of its last row
    took_over: bool
    took_up: list[tuple[int, int]]  # jobs of earlier epochs that it found running or to be launched
    how: ControllerEnd
    why: str
    last_event: str
    came_next: str  # what it was about to do
    may_be_done: bool  # it was an effect, whose receipt alone may be missing
    gap: Gap | None


class _Open:
    """An epoch that is being read."""

    def __init__(self, row: Recorded, event: ControllerStarted, state: State) -> None:
        self.row, self.event = row, event
        live = (a for t in state.active.values() for a in t.attempts if a.live)
        self.inherited = [(a.trial, a.number) for a in live]
        self.last = row
        self.asks_only = True
        self.stopped_by = ""
        self.poll: int | None = None  # cause of its first poll
        self.ended: set[tuple[int, int]] = set()  # jobs that were live at its start, and over at that poll
        self.prunes_lost: set[tuple[int, int]] = set()

    def look(self, state: State, row: Recorded) -> None:
        """Take in what its first poll found over, and the prunes that came too late for that."""
        match row.event:
            case events.MetricObserved() | events.ReportsRead() | events.JobEnded() if row.cause == row.seq - 1:
                self.poll = row.cause if self.poll is None else self.poll
        match row.event:
            case events.JobEnded(trial=trial, attempt=attempt) if row.cause == self.poll:
                self.ended |= {(trial, attempt)} & {*self.inherited}
            case events.JobsContinued(verdicts=verdicts):
                late = [v for v in verdicts if v.too_late and not _at_limit(state, v.iteration)]
                self.prunes_lost |= {(v.trial, v.attempt) for v in late} & self.ended


def _at_limit(state: State, iteration: int) -> bool:
    most = state.search.max_iteration_per_job
    return most is not None and iteration >= most


class Controllers:
    """Follows a log row by row; `close` gives the epochs."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self._open: _Open | None = None

    def before(self, state: State, row: Recorded) -> None:
        """Take in *row*; *state* is the one before it."""
        if isinstance(row.event, ControllerStarted):
            if self._open is not None:
                self._end(state, row)
            self._open = _Open(row, row.event, state)
        elif self._open is not None:
            self._open.last = row
            self._open.look(state, row)
            self._open.asks_only &= isinstance(row.event, _ASKS)
            if isinstance(row.event, events.StopAsked):
                self._open.stopped_by = row.event.why

    def close(self, state: State, *, held: bool, cut: bool, goes_on: bool = False) -> list[Epoch]:
        """Return the epochs up to *state*; *held*: somebody holds the log, *cut*: its end is missing.

        *goes_on*: it has rows behind these, which are not looked at.
        """
        if self._open is not None:
            self._end(state, None, held=held, cut=cut, goes_on=goes_on)
        return self.epochs

    def _end(
        self,
        state: State,
        following: Recorded | None,
        *,
        held: bool = False,
        cut: bool = False,
        goes_on: bool = False,
    ) -> None:
        one = self._open
        assert one is not None
        how, why = _how(state, one, following, held=held, cut=cut)
        if goes_on and how == "record stops":
            how = "goes on"
        action = next_action(state)
        if one.prunes_lost and self.epochs and self.epochs[-1].gap is not None:
            gap = msgspec.structs.replace(self.epochs[-1].gap, prunes_lost=len(one.prunes_lost))
            self.epochs[-1] = msgspec.structs.replace(self.epochs[-1], gap=gap)
        self.epochs.append(
            Epoch(
                epoch=one.row.epoch,
                host=one.event.host,
                pid=one.event.pid,
                first=one.row.seq,
                last=one.last.seq,
                began=one.row.at,
                ended=one.last.at,
                took_over=one.event.took_over,
                took_up=[] if how == "request" else one.inherited,
                how=how,
                why=why,
                last_event=in_words(one.last),
                came_next="" if isinstance(action, actions.Rest) else upcoming.told(state, action),
                may_be_done=isinstance(action, actions.Draft | actions.Launch | actions.Stop | actions.Cancel),
                gap=None if following is None else _gap(state, one, following),
            )
        )


def _how(state: State, one: _Open, following: Recorded | None, *, held: bool, cut: bool) -> tuple[ControllerEnd, str]:
    if cut:
        return "cut off", ""
    if held:
        return "holds the log", ""
    if following is not None and isinstance(following.event, ControllerStarted) and following.event.took_over:
        return "lease lost", f"taken over by controller {following.event.pid} on {following.event.host}"
    return _by_its_rows(state, one)


def _by_its_rows(state: State, one: _Open) -> tuple[ControllerEnd, str]:
    """Return how an epoch ended that nobody took the log from: well, if it left nothing to do."""
    match next_action(state):
        case actions.Rest(why="finished"):
            assert state.finished is not None
            return state.finished.state, state.finished.reason
        case actions.Rest(why="run stopped"):
            return "interrupted", one.stopped_by
        case actions.Rest(why="by hand"):
            return "by hand", ""
    return ("request", "") if one.asks_only and one.last is not one.row else ("record stops", "")


def _gap(state: State, one: _Open, following: Recorded) -> Gap:
    event = following.event
    assert isinstance(event, ControllerStarted)
    same = event.host == one.event.host
    time = following.at - one.last.at
    begun, newest = ClockReading(event.clock, event.boot_clock), state.course.newest
    if newest is not None and one_boot(newest, begun):  # the wall clock may have been set in the gap
        time = elapsed(newest, begun) - (one.last.at - newest.wall)
    return Gap(
        microseconds=time,
        unwatched=sum(a.live for t in state.active.values() for a in t.attempts),
        rebooted=event.boot != one.event.boot if same else None,
        host=event.host,
    )


def in_words(row: Recorded) -> str:
    """Return *row* as `seq 812, JobCreated of trial 31`."""
    trial, attempt = getattr(row.event, "trial", None), getattr(row.event, "attempt", None)
    return f"seq {row.seq}, {type(row.event).__name__}{upcoming.of(trial, attempt)}"


def says(row: Recorded) -> str:
    """Return `in_words` and what the event says."""
    text = formatting.line(event_lines.told(row.event))
    return f"{in_words(row)}: {text}" if text else in_words(row)
