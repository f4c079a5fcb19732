"""What the time of the slots was used for: held by jobs, or idle, and why.

Time is read from `at`, the wall clock of the controllers' hosts, which decides nothing.
Between two rows a search is in the state after the first one. The work for a row, such
as asking a sampler, falls into the time before it.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.events import (
    ControllerStarted,
    Event,
    JobPruned,
    JobsContinued,
    Recorded,
    TrialSuggested,
    trial_of,
)
from eventhpo.core.fold.projection import Projection
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


class SlotHolder(NamedTuple):
    """A job that holds a slot."""

    use: Use
    slot: int
    returned: bool  # lost, then seen alive


class SlotTime(Projection):
    """Adds up slot time, row by row; a row costs the same however many jobs run."""

    def __init__(self) -> None:
        self.total = 0
        self._beyond = 0
        self._held: Counter[Use] = Counter()
        self._idle: Counter[Idle] = Counter()
        self._by_slot: Counter[int] = Counter()
        self._counted = 0  # time that was added up
        self._live: dict[int, tuple[SlotHolder, ...]] = {}  # jobs that hold a slot now, by trial
        self._uses: Counter[Use] = Counter()  # of these jobs
        self._slots: Counter[int] = Counter()  # of these jobs
        self._since: dict[int, int] = {}  # `_counted` when the slot was taken, by slot
        self._returned = 0  # trials with a job that was lost and came back

    def before(self, state: State, row: Recorded) -> None:
        """Add the time before *row*; *state* is the state in that time."""
        time = row.at - state.last_at
        if state.epoch == 0 or time <= 0 or state.finished is not None:
            return  # not begun, a clock that was set back, or over
        gap = isinstance(row.event, ControllerStarted)
        live = self._uses.total()
        workers = state.limits.num_concurrent_workers
        self.total += workers * time
        self._counted += time
        self._beyond += max(0, live - workers) * time
        for what_for, jobs in self._uses.items():
            if jobs:
                self._held["unwatched" if gap else what_for] += jobs * time
        free = workers - live
        if free > 0:
            reason = "no controller" if gap else idle_reason(state, row.event, returned=self._returned > 0)
            self._idle[reason] += free * time

    def after(self, state: State, row: Recorded) -> None:
        """Look again at the jobs that *row* may have changed; *state* is the state after it."""
        if isinstance(row.event, JobsContinued):
            return  # a job that goes on holds its slot as before
        trial = trial_of(row.event)
        for number in (trial,) if trial is not None else {*self._live, *state.active}:
            self._look(state, number)

    def _look(self, state: State, number: int) -> None:
        trial = state.active.get(number)
        now = () if trial is None else tuple(SlotHolder(use(a), a.slot, a.returned) for a in trial.attempts if a.live)
        earlier = self._live.pop(number, ())
        if now:
            self._live[number] = now
        if now == earlier:
            return
        self._uses.update(job.use for job in now)
        self._uses.subtract(job.use for job in earlier)
        self._returned += any(job.returned for job in now) - any(job.returned for job in earlier)
        for job in now:
            self._slots[job.slot] += 1
            self._since.setdefault(job.slot, self._counted)
        for job in earlier:
            self._slots[job.slot] -= 1
            if not self._slots[job.slot]:
                self._by_slot[job.slot] += self._counted - self._since.pop(job.slot)

    def close(self) -> Slots:
        """Return the sums, the largest first."""
        by_slot = self._by_slot + Counter({slot: self._counted - since for slot, since in self._since.items()})
        return Slots(
            total=self.total,
            held=dict(self._held.most_common()),
            idle=dict(self._idle.most_common()),
            beyond=self._beyond,
            by_slot=dict(sorted(by_slot.items())),
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


def idle_reason(state: State, following: Event, *, returned: bool) -> Idle:
    """Return why a slot is free: what keeps jobs out of it, or else what the controller did in that time.

    *returned*: a lost job came back, and is not over again.
    """
    if state.ending is not None:
        return "search ending"
    if state.run_stop is not None:
        return "run ending"
    if state.paused is not None:
        return "paused"
    if not budget.fits(state) or not budget.trials_left(state):
        return "no budget left to reserve"
    if returned and _retries_wait(state):
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
