"""What the time of the slots was used for: held by jobs, or idle, and why.

Time is read from `at`, the wall clock of the controllers' hosts, which decides nothing.
Between two rows a search is in the state after the first one. The work for a row, such
as asking a sampler, falls into the time before it.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.events import ControllerStarted, Event, JobPruned, JobsContinued, Recorded, TrialSuggested
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import ending, outcome

Use: TypeAlias = Literal["running", "starting", "back-off", "stopping", "unwatched"]
Idle: TypeAlias = Literal[
    "no controller",
    "search ending",
    "run ending",
    "paused",
    "no budget left to reserve",
    "waits for a lost job",
    "space used up",
    "by hand",
    "asking the sampler",
    "asking the pruner",
    "the controller's other steps",
]


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """Slot time in microseconds, from the first controller to the last row.

    `held` and `idle` add up to `total` plus `beyond`. `beyond` is the time of more jobs
    than slots: lost jobs came back, or the number of workers was lowered.
    """

    total: int
    held: dict[Use, int]
    idle: dict[Idle, int]
    beyond: int
    by_slot: dict[int, int]  # held time of each slot


class SlotTime:
    """Adds up slot time, row by row."""

    def __init__(self) -> None:
        self.total = 0
        self._beyond = 0
        self._held: Counter[Use] = Counter()
        self._idle: Counter[Idle] = Counter()
        self._by_slot: Counter[int] = Counter()

    def before(self, state: State, row: Recorded) -> None:
        """Add the time before *row*; *state* is the state in that time."""
        time = row.at - state.last_at
        if state.epoch == 0 or time <= 0 or state.finished is not None:
            return  # not begun, a clock that was set back, or over
        gap = isinstance(row.event, ControllerStarted)
        live = [a for t in state.active.values() for a in t.attempts if a.live]
        workers = state.limits.num_concurrent_workers
        self.total += workers * time
        self._beyond += max(0, len(live) - workers) * time
        for attempt in live:
            self._held["unwatched" if gap else use(attempt)] += time
        for slot in {a.slot for a in live}:
            self._by_slot[slot] += time
        free = workers - len(live)
        if free > 0:
            self._idle["no controller" if gap else idle_reason(state, row.event)] += free * time

    def close(self) -> Slots:
        """Return the sums, the largest first."""
        return Slots(
            total=self.total,
            held=dict(self._held.most_common()),
            idle=dict(self._idle.most_common()),
            beyond=self._beyond,
            by_slot=dict(sorted(self._by_slot.items())),
        )


def use(attempt: Attempt) -> Use:
    """Return what the slot of *attempt* is held for."""
    if attempt.stop is not None:
        return "stopping"
    if attempt.started is not None:
        return "running"
    if any(f.until is not None for effect, f in attempt.failures.items() if effect in ("draft", "launch")):
        return "back-off"
    return "starting"


def idle_reason(state: State, following: Event) -> Idle:
    """Return why a slot is free: what keeps jobs out of it, or else what the controller did in that time."""
    if state.ending is not None:
        return "search ending"
    if state.run_stop is not None:
        return "run ending"
    if state.paused is not None:
        return "paused"
    if not budget.fits(state) or not budget.trials_left(state):
        return "no budget left to reserve"
    if any(a.returned for t in state.active.values() for a in t.attempts) and _retries_wait(state):
        return "waits for a lost job"
    if not state.waiting and not ending.points_left(state):
        return "space used up"
    match following:
        case TrialSuggested():
            return "asking the sampler"
        case JobsContinued() | JobPruned():
            return "asking the pruner"
    return "by hand" if state.by_hand else "the controller's other steps"


def _retries_wait(state: State) -> bool:
    """Whether a retry waits until the lost job before it ends again, and its budget leaves none for another job."""
    waiting = [t for t in state.active.values() if any(a.returned for a in t.attempts) and outcome.retry_due(state, t)]
    return bool(waiting) and not budget.fits(state, 1 + len(waiting))
