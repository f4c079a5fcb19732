"""What a controller, a user and the end of a search do to the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventhpo.core.fold.apply.jobs import settle
from eventhpo.core.fold.apply.study import cancel_in_study
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import (
    ControllerStarted,
    EndCommandRan,
    EndCommandSet,
    Event,
    LimitsChanged,
    PointEnqueued,
    Recorded,
    RequestRefused,
    SearchEnding,
    SearchFinished,
    SearchPaused,
    SearchReopened,
    SearchUnpaused,
    StopAsked,
    TextStored,
    TrialCancelled,
    TrialNoted,
)
from eventhpo.core.fold.state import EnqueuedPoint, RunStop, State

MOST_KEPT = 8_000_000  # characters of lists in the state: 200 lists of 1,000 packages


def _controller(state: State, row: Recorded, event: ControllerStarted) -> None:
    if state.epoch and state.finished is None:
        state.unattended += max(0, row.at - state.last_at)
    state.epoch = row.epoch
    state.host, state.pid = event.host, event.pid
    state.boots[row.epoch] = event.boot
    state.course = state.course.after(ClockReading(event.clock, event.boot_clock))
    if state.first_clock is None:
        state.first_clock = state.course.time
    if state.run_stop is not None and state.run_stop.epoch < row.epoch:
        state.run_stop = None


def _limits(state: State, row: Recorded, event: LimitsChanged) -> None:
    state.limits = event.changes.on(state.limits)
    state.reached = None  # looked at again when the next trial finishes
    if state.ending is not None and state.ending.reason != "stop":
        state.ending = state.finished = None


def _reopened(state: State, row: Recorded, event: SearchReopened) -> None:
    state.ending = state.finished = state.reached = state.stop_asked = None


def _stop_asked(state: State, row: Recorded, event: StopAsked) -> None:
    if event.scope == "search":
        state.stop_asked = state.stop_asked or row.seq
        return
    state.run_stop = RunStop(row.seq, row.epoch, event.jobs == "leave")
    if event.jobs == "abort":
        _abort_all(state, row.seq)


def _cancelled(state: State, row: Recorded, event: TrialCancelled) -> None:
    trial = state.trials[event.trial]
    if trial.finished is not None:
        return
    trial.cancelled = row.seq
    trial.cancel_why = "".join(("cancelled", f" by {event.by}" * bool(event.by), f": {event.why}" * bool(event.why)))
    if state.study is not None:
        cancel_in_study(state, row, trial)
        return
    for attempt in trial.attempts:
        if attempt.ended is None:
            settle(attempt, "aborted", row.seq, trial.cancel_why)


def _paused(state: State, row: Recorded, event: SearchPaused) -> None:
    if state.paused is None:
        state.paused, state.pause = row.seq, event


def _unpaused(state: State, row: Recorded, event: SearchUnpaused) -> None:
    state.paused = state.pause = None


def _end_command_set(state: State, row: Recorded, event: EndCommandSet) -> None:
    state.end_command = None if event.command is None else event
    state.end_command_ran = False


def _end_command_ran(state: State, row: Recorded, event: EndCommandRan) -> None:
    state.end_command_ran = True


def _noted(state: State, row: Recorded, event: TrialNoted) -> None:
    if event.request is not None:
        state.requests.add(event.request)


def _text_stored(state: State, row: Recorded, event: TextStored) -> None:
    fits = event.kind != "diff" and state.kept_characters + len(event.text) <= MOST_KEPT
    state.stored_texts[event.sha256] = event.text if fits else ""
    state.kept_characters += len(event.text) * fits


def _enqueued(state: State, row: Recorded, event: PointEnqueued) -> None:
    state.waiting.append(EnqueuedPoint(row.seq, event.params))


def _refused(state: State, row: Recorded, event: RequestRefused) -> None:
    state.requests.add(event.request)


def _ending(state: State, row: Recorded, event: SearchEnding) -> None:
    state.ending = event
    if event.at_once:
        _abort_all(state, row.seq)


def _finished(state: State, row: Recorded, event: SearchFinished) -> None:
    state.finished = event
    state.end_command_ran = False
    state.active.clear()


def _abort_all(state: State, seq: int) -> None:
    for trial in state.active.values():
        for attempt in trial.attempts:
            if attempt.ended is None:
                settle(attempt, "aborted", seq)


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    ControllerStarted: _controller,
    LimitsChanged: _limits,
    SearchReopened: _reopened,
    StopAsked: _stop_asked,
    TrialCancelled: _cancelled,
    SearchPaused: _paused,
    SearchUnpaused: _unpaused,
    TrialNoted: _noted,
    TextStored: _text_stored,
    EndCommandSet: _end_command_set,
    EndCommandRan: _end_command_ran,
    PointEnqueued: _enqueued,
    RequestRefused: _refused,
    SearchEnding: _ending,
    SearchFinished: _finished,
}
