"""Searches for the tests of the rules: whole ones on simulated jobs, and ones that a test writes by hand.

Both have their log walked: no test passes on a log that would be decided otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
from optuna.trial import FrozenTrial

from eventhpo.core.fold import codec
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.deadlines import Now
from eventhpo.core.fold.events import (
    ClockTicked,
    ControllerStarted,
    EffectFailed,
    Event,
    JobBound,
    JobCreated,
    JobEnded,
    JobPruned,
    JobsContinued,
    JobStarted,
    JobStopSent,
    MetricObserved,
    Recorded,
    SearchEnding,
    SearchFinished,
    TrialFinished,
)
from eventhpo.core.fold.evolve import begin, evolve, fold
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.actions import Action, Attempts
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import MINUTE, ComponentConfig, Scalar, Search, to_num
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.optuna_adapter.state_view import STUDY, StateView
from eventhpo.testing.searches import created, simulate
from eventhpo.testing.simulated import SECOND, START, CutPoint, Deed, Ledger, Script, Scripts
from replay.decide.check_prefixes import check_prefixes

E = TypeVar("E")
Points: TypeAlias = Iterable[tuple[int, float]]

OVER_ONE = ComponentConfig("ThresholdPruner", {"upper": 1.0})  # prunes at the first point above 1
RUNGS = ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2})


class Log:
    """The rows of a search and the state that they add up to."""

    def __init__(self, rows: Sequence[Recorded]) -> None:
        self.rows = rows
        self.state = fold(rows)
        assert [c.divergence for c in check_prefixes(rows) if c.divergence] == []

    def of(self, kind: type[E], trial: int | None = None, attempt: int | None = None) -> list[E]:
        """Return the events of one kind, of one trial or attempt if asked for."""
        return [row.event for row in self.rows_of(kind, trial, attempt) if isinstance(row.event, kind)]

    def rows_of(self, kind: type[E], trial: int | None = None, attempt: int | None = None) -> list[Recorded]:
        """Return the rows of one kind, of one trial or attempt if asked for."""
        return [
            row
            for row in self.rows
            if isinstance(row.event, kind)
            and (trial is None or getattr(row.event, "trial", None) == trial)
            and (attempt is None or getattr(row.event, "attempt", None) == attempt)
        ]

    def one(self, kind: type[E], trial: int | None = None, attempt: int | None = None) -> E:
        """Return the only event of its kind."""
        (found,) = self.of(kind, trial, attempt)
        return found

    def seq(self, kind: type[E], trial: int | None = None, attempt: int | None = None) -> int:
        """Return where the only event of its kind stands."""
        (found,) = self.rows_of(kind, trial, attempt)
        return found.seq

    def before(self, seq: int) -> State:
        """Return the state before the row *seq*."""
        return fold(self.rows[: seq - 1])

    def after(self, seq: int) -> State:
        """Return the state as of the row *seq*."""
        return fold(self.rows[:seq])

    def ends(self) -> list[tuple[str, tuple[float, ...] | None]]:
        """Return each trial's state and what the sampler was told."""
        found = sorted(self.of(TrialFinished), key=lambda e: e.trial)
        return [(e.state, e.values if e.values is None else tuple(map(float, e.values))) for e in found]

    def verdicts(self, trial: int) -> list[tuple[str, int, int]]:
        """Return what was said of a trial's points: (word, how many are judged, iteration)."""
        found: list[tuple[str, int, int]] = []
        for row in self.rows:
            match row.event:
                case JobsContinued(verdicts=verdicts):
                    for v in verdicts:
                        if v.trial == trial:
                            found.append(("too late" if v.too_late else "go on", v.judged, v.iteration))
                case JobPruned(trial=number, judged=judged, iteration=iteration) if number == trial:
                    found.append(("prune", judged, iteration))
        return found


def run(
    path: Path,
    what: Search,
    scripts: Scripts,
    *,
    cut: CutPoint | int = 2,
    inputs: Sequence[Event] = (),
    asks: Sequence[tuple[int, Event]] = (),
) -> Log:
    """Return the log of a search of simulated jobs, run to its rest."""
    polls = cut if callable(cut) else lambda trial, attempt, cursor: cut
    simulate(path, what, scripts, cut=polls, inputs=inputs, asks=asks)
    return Log(read(path, verify=True).rows)


def deeds(path: Path) -> list[Deed]:
    """Return what was done to the simulated world of the log at *path*."""
    return Ledger(path.with_suffix(".ledger")).deeds()


def each(*found: Script) -> Scripts:
    """Return scripts by trial; the last is that of all further trials, and a retry does the same."""
    return lambda trial, attempt, params: found[min(trial, len(found) - 1)]


def by_attempt(*found: Script) -> Scripts:
    """Return scripts by attempt; the last is that of all further attempts."""
    return lambda trial, attempt, params: found[min(attempt, len(found) - 1)]


def line(*values: float, start: int = 1) -> tuple[tuple[int, float], ...]:
    """Return *values* as points of iterations in a row."""
    return tuple(enumerate(values, start))


def shown(state: State) -> list[FrozenTrial]:
    """Return what sampler and pruner see of *state*."""
    view = StateView(state)
    view.refresh()
    return view.get_all_trials(STUDY)


# ---------------------------------------------------------------- by hand


def observed(trial: int, attempt: int, points: Points, *, start: int = 0, objective: int = 0) -> Event:
    """Return new points of an attempt's first objective; *start* is its cursor before them."""
    pairs = list(points)
    return MetricObserved(
        trial=trial,
        attempt=attempt,
        title="validation",
        series=("loss", "accuracy")[objective],
        iterations=tuple(i for i, _ in pairs),
        values=tuple(to_num(float(v)) for _, v in pairs),
        from_=start,
        to=start + len(pairs),
    )


def ended(trial: int, attempt: int = 0, how: str = "completed", **fields: int | str | None) -> Event:
    """Return an attempt's end."""
    return JobEnded(trial=trial, attempt=attempt, how=how, **fields)  # type: ignore[arg-type]


class Hand:
    """A search whose inputs a test writes, row by row; what is decided and done between them is `said`.

    Effects work at once unless the test has put an answer for them: `answers` by
    (effect, trial, attempt).
    """

    def __init__(self, what: Search, *inputs: Event) -> None:
        self.rows: list[Recorded] = []
        self.clock, self.jobs_clock = START, 7 * 3600 * SECOND  # two clocks that have nothing to do with each other
        self.answers: dict[tuple[str, int, int], Event] = {}
        self.state = begin(self._row(created(what), None))
        self._asker = OptunaAdapter(self.state)
        for event in inputs:
            self.record(event, None)
        self.start()
        self.said = self.carry_on()

    def start(self) -> None:
        """Let another controller start."""
        epoch = (self.rows[-1].epoch if self.rows else 0) + 1
        event = ControllerStarted(host="here", pid=1, boot="boot", clock=self.clock, fingerprint=fingerprint())
        self._fold(self._row(event, None, epoch))

    def _row(self, event: Event, cause: int | None, epoch: int | None = None) -> Recorded:
        seq = len(self.rows) + 1
        before = self.rows[-1] if self.rows else None
        epoch = epoch if epoch is not None else before.epoch if before else 0
        name = type(event).__name__
        chained = codec.chain(
            before.hash if before else codec.GENESIS.hash, seq, START, epoch, cause, name, 1, codec.encode(event)
        )
        row = Recorded(seq, START, epoch, cause, event, chained)
        self.rows.append(row)
        return row

    def _fold(self, row: Recorded) -> None:
        self.state = evolve(self.state, row)

    def record(self, event: Event, cause: int | None) -> None:
        """Put one row behind the others."""
        self._fold(self._row(event, cause))

    def action(self) -> Action:
        """Return what comes next."""
        return next_action(self.state)

    def poll(self, *events: Event, then: bool = True) -> list[str]:
        """Have a poll see *events*; return what follows until the next poll or rest, in words."""
        assert isinstance(self.action(), actions.Poll | actions.Wait), self.action()
        cause = self.rows[-1].seq
        for event in events:
            self.record(event, cause)
        self.said = self.carry_on() if then else []
        return self.said

    def tick(self) -> Event:
        """Return a tick at the two clocks as they stand."""
        return ClockTicked(clock=self.clock, jobs_clock=self.jobs_clock)

    @property
    def now(self) -> Now:
        """Both clocks as they stand."""
        return Now(ClockReading(self.clock), ClockReading(self.jobs_clock))

    def later(self, *, ours: float = 0.0, jobs: float = 0.0) -> None:
        """Let each clock go on by so many minutes."""
        self.clock += round(ours * MINUTE)
        self.jobs_clock += round(jobs * MINUTE)

    def carry_on(self) -> list[str]:
        """Decide and do all until the next poll, wait or rest; return it in words."""
        said: list[str] = []
        while not isinstance(action := self.action(), actions.Poll | actions.Wait | actions.Rest):
            said += self.step(action)
        return said

    def step(self, action: Action) -> list[str]:
        """Do one action; return it in words."""
        match action:
            case actions.Decide(event=event):
                events: Sequence[Event] = (event,)
            case actions.Suggest() | actions.Judge():
                events = self._asker.answer(action)
            case actions.Draft() | actions.Launch() | actions.Stop() | actions.Cancel():
                effect = type(action).__name__
                for name in action.attempts:
                    self.record(self._receipt(effect.lower(), *name), self._intent(effect, self.state.attempt(*name)))
                return [f"{effect} {_names(action.attempts)}"]
            case _:
                raise AssertionError(f"{action} is no step")
        for event in events:
            self.record(event, self.state.last_input)
        return [words(event) for event in events]

    def _receipt(self, effect: str, trial: int, attempt: int) -> Event:
        answer = self.answers.pop((effect, trial, attempt), None)
        if answer is not None:
            return answer
        match effect:
            case "draft":
                return JobBound(trial=trial, attempt=attempt, job_id=f"job-{trial}.{attempt}")
            case "launch":
                return JobStarted(trial=trial, attempt=attempt, started_at=self.jobs_clock)
            case "stop":
                return JobStopSent(trial=trial, attempt=attempt, clock=self.clock)
        return JobEnded(trial=trial, attempt=attempt, how="cancelled")

    def _intent(self, effect: str, attempt: Attempt) -> int:
        return attempt.stop if effect in ("Stop", "Cancel") and attempt.stop is not None else attempt.seq

    def refuse(self, effect: str, trial: int, attempt: int = 0, *, count: int = 1, in_doubt: bool = False) -> None:
        """Have the next such effect fail."""
        self.answers[effect, trial, attempt] = EffectFailed(
            effect=effect,  # type: ignore[arg-type]
            count=count,
            error="it was refused",
            clock=self.clock,
            trial=trial,
            attempt=attempt,
            in_doubt=in_doubt,
        )

    def log(self) -> Log:
        """Return the log so far, walked."""
        return Log(self.rows)


def _names(attempts: Attempts) -> str:
    return " ".join(f"{trial}.{attempt}" for trial, attempt in attempts)


def words(event: Event) -> str:
    """Return a decision in a few words: its type, what it is about, how it turned out."""
    name = type(event).__name__
    match event:
        case JobsContinued(verdicts=verdicts):
            return f"{name} " + " ".join(f"{v.trial}.{v.attempt}@{v.iteration}" for v in verdicts)
        case JobPruned(trial=trial, attempt=attempt, iteration=iteration):
            return f"{name} {trial}.{attempt}@{iteration}"
        case JobCreated(trial=trial, attempt=attempt, slot=slot):
            return f"{name} {trial}.{attempt} slot {slot}"
        case TrialFinished(trial=trial, state=state):
            return f"{name} {trial} {state}"
        case SearchEnding(reason=reason) | SearchFinished(reason=reason):
            return f"{name} {reason}"
    about = (getattr(event, "trial", None), getattr(event, "attempt", None))
    return " ".join([name, ".".join(str(n) for n in about if n is not None)]).strip()


Params: TypeAlias = dict[str, Scalar]
Make: TypeAlias = Callable[[], Hand]


def replaced(script: Script, **fields: object) -> Script:
    """Return *script* with other values for some fields."""
    return msgspec.structs.replace(script, **fields)
