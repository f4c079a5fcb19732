"""What went wrong with jobs: lost jobs, retries, jobs that a later controller took up, and failed effects."""

from __future__ import annotations

import msgspec

from eventhpo.core.fold import deadlines
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.event_parts import AttemptId, EffectName
from eventhpo.core.fold.events import EffectFailed, JobBound, JobReturned, Recorded
from eventhpo.core.fold.projection import Projection
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import outcome


class LostJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was lost; `back`: it was seen alive again later."""

    trial: int
    attempt: int
    why: str
    back: bool


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """A retry, and how the attempt before it ended: its outcome (`after`) and the reason (`why`)."""

    trial: int
    attempt: int
    after: str
    why: str


class Failures(msgspec.Struct, kw_only=True):
    """All failures of one kind of effect; `first` and `last` are wall times, in microseconds."""

    effect: EffectName
    count: int = 0
    in_doubt: int = 0  # of these, effects that may have been done
    jobs: int = 0  # how many jobs they concern; 0: the poll of all jobs
    in_a_row: int = 0  # the most failures in a row
    back_off: int = 0  # the longest wait after one, in microseconds
    lasting: int = 0  # the longest row of failures, in microseconds
    first: int = 0
    last: int = 0
    error: str = ""  # of the last failure
    going_on: bool = False  # it has not succeeded since


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """All that went wrong with jobs."""

    lost: list[LostJob]
    retried: list[Retried]
    bound_later: list[AttemptId]  # jobs announced by one controller, and made or found by a later one
    failures: list[Failures]


class Troubles(Projection):
    """Collects what went wrong with jobs, row by row."""

    def __init__(self) -> None:
        self._failures: dict[str, Failures] = {}
        self._of: dict[str, set[AttemptId]] = {}
        self._begun: dict[tuple[str, int | None, int | None], int] = {}
        self._bound_later: list[AttemptId] = []
        self._back: set[AttemptId] = set()

    def before(self, state: State, row: Recorded) -> None:
        """Note *row*; *state* is the state before it."""
        match row.event:
            case JobBound(trial=trial, attempt=number) if state.attempt(trial, number).epoch != row.epoch:
                self._bound_later.append((trial, number))
            case EffectFailed():
                self._failed(state, row.event)
            case JobReturned(trial=trial, attempt=number):
                self._back.add((trial, number))

    def _failed(self, state: State, event: EffectFailed) -> None:
        failures = self._failures.setdefault(event.effect, Failures(effect=event.effect, first=event.clock))
        subject = (event.effect, event.trial, event.attempt)
        time = state.course.time_of(ClockReading(event.clock, event.boot_clock))
        if event.count == 1:
            self._begun[subject] = time
        if event.trial is not None and event.attempt is not None:
            self._of.setdefault(event.effect, set()).add((event.trial, event.attempt))
        failures.count += 1
        failures.in_doubt += event.in_doubt
        failures.in_a_row = max(failures.in_a_row, event.count)
        failures.back_off = max(failures.back_off, deadlines.back_off(event.count))
        failures.lasting = max(failures.lasting, time - self._begun.get(subject, time))
        failures.last, failures.error = event.clock, event.error

    def close(self, state: State) -> Trouble:
        """Return all that went wrong in a log that ends in *state*."""
        going_on = {effect for t in state.active.values() for a in t.attempts for effect in a.failures}
        going_on |= {"poll"} if state.poll_failure is not None else set()
        for effect, failures in self._failures.items():
            failures.jobs = len(self._of.get(effect, ()))
            failures.going_on = effect in going_on and state.finished is None
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
    retries = []
    for trial in state.trials:
        for before, attempt in zip(trial.attempts, trial.attempts[1:], strict=False):
            end = outcome.end_of(state, before)
            retries.append(Retried(trial=trial.number, attempt=attempt.number, after=end.outcome, why=end.why))
    return retries
