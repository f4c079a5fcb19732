"""A log folded with another pruner's verdicts: the same inputs, and what follows from them otherwise.

Points are judged in the order of the log. A trial that is pruned earlier is pruned from
there on for all that comes later. One that goes on behind the record's prune stays
running for ever, for nobody knows how it went on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from eventhpo.core.fold import budget, codec
from eventhpo.core.fold.events import (
    BudgetUpdated,
    Event,
    InheritanceClaimed,
    JobAdopted,
    JobCreated,
    JobEnded,
    JobPruned,
    JobsContinued,
    Recorded,
    SearchCreated,
    SearchEnding,
    TrialFinished,
    TrialSuggested,
    Verdict,
)
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import actions, ending, outcome
from eventhpo.core.scheduler.decide import judgeable, unfinished
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import DamagedLog
from replay.whatif.independence import Independence
from replay.whatif.rules import is_blind, looks_at_others

AttemptId = tuple[int, int]  # of a trial and one of its attempts


class PrunePoint(msgspec.Struct, frozen=True):
    """Where a trial is pruned: the attempt, the iteration of the point, and the event at which it is judged."""

    attempt: int
    iteration: int
    seq: int


class UnknownFate(msgspec.Struct, frozen=True):
    """Why what becomes of a trial is not known; `gone_on`: it goes on behind the end of its curve."""

    why: str
    gone_on: bool
    known_to: int  # the iteration to which it is known


class FirstUnmadeSuggestion(msgspec.Struct, frozen=True):
    """The first suggestion of the record that the search would not, or not for certain, have made."""

    seq: int
    trial: int
    why: str


def prunes_of(rows: Iterable[Recorded]) -> dict[AttemptId, JobPruned]:
    """Return the prunes of a record by trial and attempt."""
    events = (row.event for row in rows)
    return {(e.trial, e.attempt): e for e in events if isinstance(e, JobPruned)}


class Counterfactual:
    """The search of a log as it is under *pruner*; `unknown`, `cuts` and `parted` say where it is another.

    Raises:
        DamagedLog: there is no row, or one does not fit those before it.
    """

    def __init__(self, rows: Sequence[Recorded], pruner: ComponentConfig) -> None:
        from eventhpo.optuna_adapter.adapter import OptunaAdapter  # noqa: PLC0415  imports Optuna

        if not rows:
            raise DamagedLog("the log has no event")
        self.pruner = pruner
        self.state: State = begin(_created(rows[0], pruner))
        self.prunes: Mapping[AttemptId, JobPruned] = prunes_of(rows)
        self.cuts: dict[int, PrunePoint] = {}
        self.unknown: dict[int, UnknownFate] = {}
        self.parted: FirstUnmadeSuggestion | None = None
        self.differs: int | None = None  # seq of the first verdict that is another one
        self._asker = OptunaAdapter(self.state)
        self._most_workers = self.state.limits.num_concurrent_workers
        self._has_more = False  # jobs that the record does not have
        self._looked: dict[AttemptId, int] = {}  # points whose verdict is not folded yet
        self._independence = Independence(self.state, pruner)
        self._compares = looks_at_others(pruner)
        for row in rows[1:]:
            self._take(row)
            self._most_workers = max(self._most_workers, self.state.limits.num_concurrent_workers)

    # ------------------------------------------------------------ row by row

    def _take(self, row: Recorded) -> None:
        event = row.event
        if self._never_was(event):
            return
        match event:
            case JobsContinued() | JobPruned():
                self._judge(row)
            case TrialSuggested():
                self._compare(row, event)
                self._evolve(row, event)
            case JobCreated() | InheritanceClaimed():
                self._evolve(row, event)
                self._begins_anew(event)
                self._end_curve(event.trial, event.attempt)
            case BudgetUpdated():
                self._evolve(row, self._charged(event))
            case TrialFinished():
                self._evolve(row, self._finished(event))
            case JobAdopted(trial=trial):
                self._evolve(row, event)
                self._independence.opened()
                why = "was taken up again as the log had lost its tail, and verdicts with it"
                self.unknown[trial] = UnknownFate(why, gone_on=False, known_to=-1)
            case SearchEnding():
                self._end(row, event)
                self._evolve(row, event)
            case _:
                self._evolve(row, event)

    def _evolve(self, row: Recorded, event: Event) -> None:
        evolve(self.state, msgspec.structs.replace(row, event=event))

    def _never_was(self, event: Event) -> bool:
        """Whether *event* is about what is not here: a retry of a pruned trial, or the end of one that goes on."""
        number, attempt = getattr(event, "trial", None), getattr(event, "attempt", None)
        if number is None or isinstance(event, TrialSuggested | JobPruned):
            return False
        if number >= len(self.state.trials):
            return not isinstance(event, JobAdopted)
        trial = self.state.trials[number]
        if self._goes_on(number):
            return isinstance(event, JobEnded | BudgetUpdated | TrialFinished)
        if isinstance(event, JobCreated | JobAdopted):
            skips = isinstance(event, JobCreated) and event.attempt > len(trial.attempts)
            return skips or (trial.last is not None and trial.last.fate == "pruned")
        return attempt is not None and attempt >= len(trial.attempts)

    def _goes_on(self, trial: int) -> bool:
        found = self.unknown.get(trial)
        return found is not None and found.gone_on

    def _begins_anew(self, event: JobCreated | InheritanceClaimed) -> None:
        """Let nothing be known of a trial whose retry may never be: what its pruner wrote is gone with it."""
        found = self.unknown.get(event.trial)
        if found is not None and event.attempt:
            self.unknown[event.trial] = msgspec.structs.replace(found, known_to=-1)

    def _end_curve(self, trial: int, attempt: int) -> None:
        """Let nothing be judged behind the point at which the record ends a curve by a prune."""
        prune = self.prunes.get((trial, attempt))
        if prune is not None:
            self.state.attempt(trial, attempt).curves[0].end_at(prune.judged)

    def _charged(self, event: BudgetUpdated) -> BudgetUpdated:
        attempt = self.state.attempt(event.trial, event.attempt)
        charge, late = budget.charge(self.state, attempt), budget.late(self.state, attempt)
        return msgspec.structs.replace(event, iterations=charge, late=late)

    def _finished(self, event: TrialFinished) -> TrialFinished:
        trial: Trial = self.state.trials[event.trial]
        if trial.last is None or trial.last.ended is None:
            return event
        return outcome.finish(self.state, trial)

    def _end(self, row: Recorded, event: SearchEnding) -> None:
        """Note what the record's end does not say of this search, once it is another one."""
        if not self._is_another():
            return
        if event.reason == "compute_time_limit":
            for trial in list(unfinished(self.state)):
                self._cut_off(trial)
        elif event.reason in ("patience", "target_value", "failures") and self.parted is None:
            found = ending.search_ending(self.state)
            if found is None or found.reason != event.reason:
                why = f"the search would not have ended there ({event.reason})"
                self.parted = FirstUnmadeSuggestion(row.seq, len(self.state.trials), why)

    def _is_another(self) -> bool:
        return self.differs is not None

    def _cut_off(self, trial: Trial) -> None:
        """Let *trial* go on: with less compute time behind it, its job would not have been stopped."""
        attempt = trial.last
        if attempt is None or attempt.fate is not None or attempt.ended is not None or trial.number in self.unknown:
            return
        known_to = attempt.curves[0].iterations[attempt.judged - 1] if attempt.judged else -1
        self._independence.opened()
        why = "goes on where the record stopped it, as compute_time_limit was reached"
        self.unknown[trial.number] = UnknownFate(why, gone_on=True, known_to=known_to)

    # ------------------------------------------------------------ verdicts

    def _judge(self, row: Recorded) -> None:
        """Judge all that is due: the record's verdicts on it stand in a row, the first of them here."""
        while next(judgeable(self.state), None) is not None:
            for event in self._asker.answer(actions.Judge()):
                for verdict in event.verdicts if isinstance(event, JobsContinued) else (event,):
                    assert isinstance(verdict, Verdict | JobPruned)
                    self._verdict(row, verdict)
                self._evolve(row, event)

    def _verdict(self, row: Recorded, verdict: Verdict | JobPruned) -> None:
        """Take in the points of one verdict, not folded yet: what they rest on, and how the record has it."""
        name = (verdict.trial, verdict.attempt)
        for position in range(self._looked_at(name), verdict.judged):
            self._rests(self.state.attempt(*name), position)
        self._looked[name] = verdict.judged
        prune = self.prunes.get(name)
        if isinstance(verdict, JobPruned):
            if prune is None or verdict.judged < prune.judged:
                self._differ(row.seq)
            self.cuts[verdict.trial] = PrunePoint(verdict.attempt, verdict.iteration, row.seq)
        elif prune is not None and verdict.judged >= prune.judged:
            self._differ(row.seq)
            self._goes_on_behind(verdict.trial, verdict.iteration)

    def _looked_at(self, name: AttemptId) -> int:
        return max(self._looked.get(name, 0), self.state.attempt(*name).judged)

    def _goes_on_behind(self, trial: int, iteration: int) -> None:
        before = self.unknown.get(trial)
        known_to = iteration if before is None else before.known_to
        why = f"goes on behind iteration {iteration}, where the record pruned it"
        self._independence.opened()
        self.unknown[trial] = UnknownFate(why, gone_on=True, known_to=known_to)

    def _rests(self, attempt: Attempt, position: int) -> None:
        """Note the first verdict on a trial that could be another one, for all that is known of the others."""
        iteration = attempt.curves[0].iterations[position]
        least = self.state.search.min_iteration_per_job
        open_one = self._open()
        if open_one is None or attempt.trial in self.unknown or (least is not None and iteration < least):
            return
        if not self._compares:
            return
        if self._has_more or not self._independence.holds(attempt, position, self._known_to()):
            self._independence.opened()
            # Whether it took further rungs at this very point hangs on the verdict.
            self.unknown[attempt.trial] = UnknownFate(
                f"is compared with {open_one}", gone_on=False, known_to=iteration - 1
            )

    def _known_to(self) -> dict[int, int]:
        """Return how far each trial is known of which not all is."""
        return {number: found.known_to for number, found in self.unknown.items()}

    def _open(self) -> str | None:
        """Return what there is beside the record by now and nobody knows of, None if nothing is."""
        first = next(iter(self.unknown), None)
        return None if first is None else f"trial {first}, of which not all is known"

    def _differ(self, seq: int) -> None:
        self.differs = seq if self.differs is None else self.differs

    # ------------------------------------------------------------ suggestions

    def _compare(self, row: Recorded, event: TrialSuggested) -> None:
        """Note the first suggestion that this search would not have made, or of which nobody knows."""
        if self.differs is None or self.parted is not None or event.source == "caller":
            return
        why = self._other_end() or self._other_suggestion(event)
        if why is not None:
            self.parted = FirstUnmadeSuggestion(row.seq, event.trial, why)

    def _other_end(self) -> str | None:
        if self.state.ending is not None:
            return None
        found = ending.search_ending(self.state)
        return None if found is None else f"the search would have ended before it ({found.reason})"

    def _other_suggestion(self, event: TrialSuggested) -> str | None:
        sampler = self.state.search.sampler
        if sampler.is_foreign:
            return f"{sampler.name} is no sampler of Optuna's, and the log alone cannot ask it again"
        if not is_blind(sampler):
            open_ones = [n for n, found in self.unknown.items() if found.gone_on]
            if open_ones:
                return f"{sampler.name} would have seen what became of trial {open_ones[0]}"
            if self._most_workers > 1:
                return f"a slot would have been free earlier, and {sampler.name} would have seen less of the others"
        mine: Any = self._asker.answer(actions.Suggest())[0]
        return None if _same(mine, event) else f"{sampler.name} would have suggested another point"


def _created(row: Recorded, pruner: ComponentConfig) -> Recorded:
    event = row.event
    if not isinstance(event, SearchCreated):
        return row  # `begin` says what is wrong
    search = msgspec.structs.replace(event.search, pruner=pruner)
    return msgspec.structs.replace(row, event=msgspec.structs.replace(event, search=search))


def _same(a: Event, b: Event) -> bool:
    """Whether two suggestions are equal to the bit."""
    return codec.encode(a) == codec.encode(b)
