"""The controllers of a search: when each began, how it ended as far as the log shows, and the gaps between them.

A controller that ends well records its end, or leaves nothing to do. The process of a
study that ends between two trials leaves no trial running. A controller that
is killed, or loses its disk or its power, writes nothing more: its record just stops.
These three leave the same rows, so a post-mortem does not choose between them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import events
from eventhpo.core.fold.clocks import ClockReading, elapsed, one_boot
from eventhpo.core.fold.event_families import PersonsRequest
from eventhpo.core.fold.event_parts import AttemptId
from eventhpo.core.fold.events import ControllerStarted, Recorded
from eventhpo.core.fold.projection import Projection
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.views import event_lines, formatting
from replay.next_step import describe_action, of_attempt

ControllerEnd: TypeAlias = Literal[
    "finished",
    "stopped",
    "interrupted",
    "by hand",
    "request",
    "lease lost",
    "holds the log",
    "goes on",
    "at rest",
    "record stops",
    "cut off",
]

# what commands write for a person; one that finds no controller writes it in an epoch of its own
_REQUESTS = (PersonsRequest, events.TrialNoted, events.RequestRefused)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The time from the last row of a controller to the start of the next one, and what happened in it.

    `microseconds` is read from the boot clock if both ran in one boot. Else it is read
    from the wall clocks of their hosts, and is negative if the later host's clock is slow.
    `rebooted` is None if the next controller ran on another host. `prunes_lost` counts
    the jobs that ended in the gap and whose prune was decided only after their end.
    """

    microseconds: int
    unwatched: int  # jobs that held a slot during the gap
    rebooted: bool | None
    host: str
    prunes_lost: int = 0


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One controller: its host and process, its rows, and how its part of the log ends."""

    epoch: int
    host: str
    pid: int
    first: int  # seq of its ControllerStarted
    last: int  # seq of its last row
    began: int
    ended: int  # `at` of its last row
    took_over: bool
    took_up: list[AttemptId]  # jobs of earlier epochs that were running or waited for their launch
    how: ControllerEnd
    why: str
    last_event: str
    came_next: str  # what it was about to do
    may_be_done: bool  # `came_next` is an effect that may have been done without its receipt
    gap: Gap | None


class _OpenEpoch:
    """The epoch whose rows are being read."""

    def __init__(self, row: Recorded, event: ControllerStarted, state: State) -> None:
        self.row, self.event = row, event
        live = (a for t in state.active.values() for a in t.attempts if a.live)
        self.inherited = [(a.trial, a.number) for a in live]
        self.last = row
        self.requests_only = True
        self.stopped_by = ""
        self.poll: int | None = None  # cause of its first poll
        self.ended: set[AttemptId] = set()  # inherited jobs that had ended by that poll
        self.prunes_lost: set[AttemptId] = set()

    def look(self, state: State, row: Recorded) -> None:
        """Note the jobs that had ended by its first poll, and those of their prunes that came too late."""
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


class Controllers(Projection):
    """Collects the epochs of a log, row by row."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self._open: _OpenEpoch | None = None

    def before(self, state: State, row: Recorded) -> None:
        """Note *row*; *state* is the state before it."""
        if isinstance(row.event, ControllerStarted):
            if self._open is not None:
                self._end(state, row)
            self._open = _OpenEpoch(row, row.event, state)
        elif self._open is not None:
            self._open.last = row
            self._open.look(state, row)
            self._open.requests_only &= isinstance(row.event, _REQUESTS)
            if isinstance(row.event, events.StopAsked):
                self._open.stopped_by = row.event.why

    def copy(self) -> Controllers:
        """Return a copy that can be closed while this one goes on."""
        controllers = Controllers()
        controllers.epochs, controllers._open = list(self.epochs), self._open
        return controllers

    def close(self, state: State, *, held: bool, cut: bool, goes_on: bool = False) -> list[Epoch]:
        """Return the epochs up to *state*.

        *held*: a controller holds the log. *cut*: the end of the log is missing.
        *goes_on*: the log has later rows, which are left out here.
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
        epoch = self._open
        assert epoch is not None
        how, why = _end_of(state, epoch, following, held=held, cut=cut)
        if goes_on and how in ("record stops", "at rest"):
            how = "goes on"
        action = actions.Rest(why="by hand") if state.study is not None else next_action(state)
        if epoch.prunes_lost and self.epochs and self.epochs[-1].gap is not None:
            gap = msgspec.structs.replace(self.epochs[-1].gap, prunes_lost=len(epoch.prunes_lost))
            self.epochs[-1] = msgspec.structs.replace(self.epochs[-1], gap=gap)
        self.epochs.append(
            Epoch(
                epoch=epoch.row.epoch,
                host=epoch.event.host,
                pid=epoch.event.pid,
                first=epoch.row.seq,
                last=epoch.last.seq,
                began=epoch.row.at,
                ended=epoch.last.at,
                took_over=epoch.event.took_over,
                took_up=[] if how == "request" else epoch.inherited,
                how=how,
                why=why,
                last_event=describe_row(epoch.last),
                came_next="" if isinstance(action, actions.Rest) else describe_action(state, action),
                may_be_done=isinstance(action, actions.Draft | actions.Launch | actions.Stop | actions.Cancel),
                gap=None if following is None else _gap(state, epoch, following),
            )
        )


def _end_of(
    state: State, epoch: _OpenEpoch, following: Recorded | None, *, held: bool, cut: bool
) -> tuple[ControllerEnd, str]:
    """Return how *epoch* ended, and why; *following* is the start of the next one."""
    if cut:
        return "cut off", ""
    if held:
        return "holds the log", ""
    if following is not None and isinstance(following.event, ControllerStarted) and following.event.took_over:
        return "lease lost", f"taken over by controller {following.event.pid} on {following.event.host}"
    return _end_by_rows(state, epoch)


def _end_by_rows(state: State, epoch: _OpenEpoch) -> tuple[ControllerEnd, str]:
    """Return how an epoch ended that was not taken over: well, if it left nothing to do, or no trial of a study."""
    if state.study is not None:
        return ("record stops" if state.study.running else "at rest"), ""
    match next_action(state):
        case actions.Rest(why="finished"):
            assert state.finished is not None
            return state.finished.state, state.finished.reason
        case actions.Rest(why="run stopped"):
            return "interrupted", epoch.stopped_by
        case actions.Rest(why="by hand"):
            return "by hand", ""
    return ("request", "") if epoch.requests_only and epoch.last is not epoch.row else ("record stops", "")


def _gap(state: State, epoch: _OpenEpoch, following: Recorded) -> Gap:
    event = following.event
    assert isinstance(event, ControllerStarted)
    same = event.host == epoch.event.host
    time = following.at - epoch.last.at
    begun, newest = ClockReading(event.clock, event.boot_clock), state.course.newest
    if newest is not None and one_boot(newest, begun):  # the wall clock may have been set in the gap
        time = elapsed(newest, begun) - (epoch.last.at - newest.wall)
    return Gap(
        microseconds=time,
        unwatched=sum(a.live for t in state.active.values() for a in t.attempts),
        rebooted=event.boot != epoch.event.boot if same else None,
        host=event.host,
    )


def describe_row(row: Recorded) -> str:
    """Describe *row*: `seq 812, JobCreated of trial 31`."""
    trial, attempt = getattr(row.event, "trial", None), getattr(row.event, "attempt", None)
    return f"seq {row.seq}, {type(row.event).__name__}{of_attempt(trial, attempt)}"


def describe_row_and_content(row: Recorded) -> str:
    """Describe *row* and its content: `seq 812, JobCreated of trial 31: in slot 2`."""
    content = formatting.line(event_lines.describe_event(row.event))
    return f"{describe_row(row)}: {content}" if content else describe_row(row)
