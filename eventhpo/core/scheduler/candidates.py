"""The active trials that each rule has to look at: a controller of a thousand jobs must not look at all for each step.

Nothing is decided here. A rule looks itself at each trial that it is given, and a trial
that it is not given is one that it would pass over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from eventhpo.core.fold.changes import Changes
from eventhpo.core.fold.events import Event
from eventhpo.core.fold.state import Attempt, State, Trial

CandidateKind: TypeAlias = int

# Why a rule may have to look at a trial, one bit each.
UNJUDGED: CandidateKind = 1  # it has points without a verdict
UNCHARGED: CandidateKind = 2  # an attempt has ended and was not charged
AT_A_TURN: CandidateKind = 4  # no attempt of it runs, and it has no outcome
STOPPING: CandidateKind = 8  # an attempt is to be told to stop
STARTING: CandidateKind = 16  # an attempt is to be made or started
WATCHED: CandidateKind = 32  # an attempt is to be looked at
FAILING: CandidateKind = 64  # an effect on an attempt has failed
_KINDS = (UNJUDGED, UNCHARGED, AT_A_TURN, STOPPING, STARTING, WATCHED, FAILING)


class Candidates:
    """The active trials by what may come next for them, and the slots that are taken.

    One that is kept and told of each event gives what a new one on the same state gives.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._changes = Changes(state)
        self._numbers: dict[CandidateKind, set[int]] = {kind: set() for kind in _KINDS}
        self._kinds: dict[int, int] = {}  # of each trial that was looked at, its bits
        self._slots: dict[int, tuple[int, ...]] = {}  # that its attempts hold
        self._holders: dict[int, int] = {}  # how many attempts hold a slot
        self._all_taken_below = 0  # every slot below is taken
        self.busy = 0  # attempts that hold a slot

    def tell(self, event: Event) -> None:
        """Take in an event that was folded into the state."""
        self._changes.tell(event)

    def refresh(self) -> None:
        """Look again at the trials that may have changed."""
        changed = self._changes.taken()
        for number in list({**self._kinds, **self._state.active} if changed is None else changed):
            self._look_at(number)

    def trials(self, kind: CandidateKind) -> Iterator[Trial]:
        """Yield the active trials of *kind*, by number."""
        return (self._state.trials[number] for number in sorted(self._numbers[kind]))

    def attempts(self, kind: CandidateKind) -> Iterator[Attempt]:
        """Yield all attempts of the active trials of *kind*, by trial number."""
        return (attempt for trial in self.trials(kind) for attempt in trial.attempts)

    def lowest_free_slot(self) -> int:
        """Return the lowest slot that no attempt holds."""
        while self._all_taken_below in self._holders:
            self._all_taken_below += 1
        return self._all_taken_below

    def _look_at(self, number: int) -> None:
        trial = self._state.active.get(number)
        kinds, slots = (0, ()) if trial is None else (_kinds_of(trial), _slots_of(trial))
        before = self._kinds.get(number, 0)
        if kinds != before:
            for kind, numbers in self._numbers.items():
                if kinds & kind:
                    numbers.add(number)
                elif before & kind:
                    numbers.discard(number)
        if slots != self._slots.get(number, ()):
            self._hold(number, slots)
        if trial is None:
            self._kinds.pop(number, None)
            self._slots.pop(number, None)
        else:
            self._kinds[number] = kinds

    def _hold(self, number: int, slots: tuple[int, ...]) -> None:
        before = self._slots.get(number, ())
        for slot in before:
            self._holders[slot] -= 1
            if not self._holders[slot]:
                del self._holders[slot]
                self._all_taken_below = min(self._all_taken_below, max(0, slot))
        for slot in slots:
            self._holders[slot] = self._holders.get(slot, 0) + 1
        self.busy += len(slots) - len(before)
        self._slots[number] = slots


def _slots_of(trial: Trial) -> tuple[int, ...]:
    return tuple([attempt.slot for attempt in trial.attempts if attempt.live])


def _kinds_of(trial: Trial) -> int:
    kinds = 0
    for attempt in trial.attempts:
        if attempt.ended is None:
            if attempt.stop is None and (attempt.job_id is None or not attempt.launched):
                kinds |= STARTING
        elif attempt.charge is None:
            kinds |= UNCHARGED
        if attempt.stop is not None and not attempt.stop_sent and attempt.live:
            kinds |= STOPPING
        if attempt.watched:
            kinds |= WATCHED
        if attempt.failures:
            kinds |= FAILING
    last = trial.last
    if trial.finished is None:
        if last is None or last.charge is not None:
            kinds |= AT_A_TURN
        elif not last.closed and last.judged < last.curves[0].in_time:
            kinds |= UNJUDGED
    return kinds
