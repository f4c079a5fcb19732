"""Jobs that did not go straight: lost, retried, taken up; and effects that failed."""

from __future__ import annotations

import msgspec

from eventhpo.core.fold import deadlines
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import EffectFailed, JobBound, JobReturned, Recorded
from eventhpo.core.fold.state import EffectName, State
from eventhpo.core.scheduler import outcome


class LostJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was lost; `back`: it showed itself alive afterwards."""

    trial: int
    attempt: int
    why: str
    back: bool


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt behind another one, and how that one ended."""

    trial: int
    attempt: int
    after: str
    why: str


class Failures(msgspec.Struct, kw_only=True):
    """All failures of one kind of effect; `first` and `last` are wall times, in microseconds."""

    effect: EffectName
    count: int = 0
    in_doubt: int = 0  # nobody knew whether they took place
    jobs: int = 0  # how many jobs they were about; 0: the look at all jobs
    in_a_row: int = 0  # the most
    back_off: int = 0  # the longest wait that followed
    lasting: int = 0  # the longest time from the first to the last of failures in a row
    first: int = 0
    last: int = 0
    error: str = ""  # of the last
    going_on: bool = False  # it has not worked since


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to jobs beside running."""

    lost: list[LostJob]
    retried: list[Retried]
    bound_later: list[tuple[int, int]]  # intents of a controller whose jobs a later one made or found
    failures: list[Failures]


class Troubles:
    """Follows a log row by row."""

    def __init__(self) -> None:
        self._failures: dict[str, Failures] = {}
        self._of: dict[str, set[tuple[int, int]]] = {}
        self._begun: dict[tuple[str, int | None, int | None], int] = {}
        self._bound_later: list[tuple[int, int]] = []
        self._back: set[tuple[int, int]] = set()

    def before(self, state: State, row: Recorded) -> None:
        """Take in *row*; *state* is the one before it."""
        match row.event:
            case JobBound(trial=trial, attempt=number) if state.attempt(trial, number).epoch != row.epoch:
                self._bound_later.append((trial, number))
            case EffectFailed():
                self._failed(state, row.event)
            case JobReturned(trial=trial, attempt=number):
                self._back.add((trial, number))

    def _failed(self, state: State, event: EffectFailed) -> None:
        one = self._failures.setdefault(event.effect, Failures(effect=event.effect, first=event.clock))
        whose = (event.effect, event.trial, event.attempt)
        time = state.course.time_of(ClockReading(event.clock, event.boot_clock))
        if event.count == 1:
            self._begun[whose] = time
        if event.trial is not None and event.attempt is not None:
            self._of.setdefault(event.effect, set()).add((event.trial, event.attempt))
        one.count += 1
        one.in_doubt += event.in_doubt
        one.in_a_row = max(one.in_a_row, event.count)
        one.back_off = max(one.back_off, deadlines.back_off(event.count))
        one.lasting = max(one.lasting, time - self._begun.get(whose, time))
        one.last, one.error = event.clock, event.error

    def close(self, state: State) -> Trouble:
        """Return what was found in a log that ends in *state*."""
        going_on = {effect for t in state.active.values() for a in t.attempts for effect in a.failures}
        going_on |= {"poll"} if state.poll_failure is not None else set()
        for effect, one in self._failures.items():
            one.jobs = len(self._of.get(effect, ()))
            one.going_on = effect in going_on and state.finished is None
        return Trouble(
            lost=self._lost(state),
            retried=_retried(state),
            bound_later=self._bound_later,
            failures=list(self._failures.values()),
        )

    def _lost(self, state: State) -> list[LostJob]:
        ended = (a for t in state.trials for a in t.attempts if a.ended is not None and a.ended.how == "lost")
        return [
            LostJob(
                trial=a.trial,
                attempt=a.number,
                why=a.ended.why if a.ended is not None else "",
                back=(a.trial, a.number) in self._back,
            )
            for a in ended
        ]


def _retried(state: State) -> list[Retried]:
    found = []
    for trial in state.trials:
        for before, attempt in zip(trial.attempts, trial.attempts[1:], strict=False):
            end = outcome.end_of(state, before)
            found.append(Retried(trial=trial.number, attempt=attempt.number, after=end.outcome, why=end.why))
    return found
