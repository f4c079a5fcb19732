"""A log folded with the verdicts of another pruner: the inputs stay, the decisions follow from the new verdicts.

Points are judged in the order of the log. If a trial is pruned earlier than in the record, all later verdicts see it as
pruned. If it goes on where the record pruned it, it stays running to the end, because the rest of its curve is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from eventhpo.core.fold import budget, codec
from eventhpo.core.fold.event_parts import AttemptId, Verdict
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
)
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.progress import OFTEN, tracked
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import actions, ending, outcome
from eventhpo.core.scheduler.decide import judgeable, unfinished
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import DamagedLog
from replay.whatif.cost import cost, is_study
from replay.whatif.independence import Independence
from replay.whatif.rules import is_blind, looks_at_others


class PrunePoint(msgspec.Struct, frozen=True):
    """Where a trial is pruned: the attempt, the iteration of the point, and the seq of the event that judges it."""

    attempt: int
    iteration: int
    seq: int


class UnknownFate(msgspec.Struct, frozen=True):
    """Why the end of a trial is not known."""

    why: str
    gone_on: bool  # whether the trial goes on after the end of its recorded curve
    known_to: int  # the last iteration up to which its verdicts are known, -1 if there is no such iteration


class FirstUnmadeSuggestion(msgspec.Struct, frozen=True):
    """The first suggestion of the record that the search would not have made, or not for certain."""

    seq: int
    trial: int
    why: str


def prunes_of(rows: Iterable[Recorded]) -> dict[AttemptId, JobPruned]:
    """Return the prunes of a record, by trial and attempt."""
    events = (row.event for row in rows)
    return {(e.trial, e.attempt): e for e in events if isinstance(e, JobPruned)}


class Counterfactual:
    """The search of the log *rows* as it would be under *pruner*.

    `cuts` holds where each trial is pruned, `unknown` the trials whose end is not known, `first_unmade` the first
    suggestion that would not have been made, and `differs` the seq of the first verdict that is not the record's.

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
        self.first_unmade: FirstUnmadeSuggestion | None = None
        self.differs: int | None = None
        self._asker = OptunaAdapter(self.state)
        self._most_workers = self.state.limits.num_concurrent_workers
        self._has_extra_jobs = False  # whether there are jobs that the record does not have
        self._seen: dict[AttemptId, int] = {}  # points whose verdict is not folded yet
        self._independence = Independence(self.state, pruner)
        self._compares = looks_at_others(pruner)
        for row in tracked(rows[1:], f"trying {pruner.name}", len(rows), OFTEN):
            self._take(row)
            self._most_workers = max(self._most_workers, self.state.limits.num_concurrent_workers)

    # ------------------------------------------------------------ row by row

    def _take(self, row: Recorded) -> None:
        event = row.event
        if self._is_about_nothing_here(event):
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
                self._independence.note_unknown()
                why = "was adopted after the log had lost its tail, and its verdicts were lost with the tail"
                self.unknown[trial] = UnknownFate(why, gone_on=False, known_to=-1)
            case SearchEnding():
                self._end(row, event)
                self._evolve(row, event)
            case _:
                self._evolve(row, event)

    def _evolve(self, row: Recorded, event: Event) -> None:
        evolve(self.state, msgspec.structs.replace(row, event=event))

    def _is_about_nothing_here(self, event: Event) -> bool:
        """Whether *event* is about a job or an end that this search does not have.

        That is a retry of a trial that is pruned here, or the end of a trial that goes on here.
        """
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
        unknown = self.unknown.get(trial)
        return unknown is not None and unknown.gone_on

    def _begins_anew(self, event: JobCreated | InheritanceClaimed) -> None:
        """Forget how far an unknown trial is known when it is retried: the retry starts without the rungs before it."""
        unknown = self.unknown.get(event.trial)
        if unknown is not None and event.attempt:
            self.unknown[event.trial] = msgspec.structs.replace(unknown, known_to=-1)

    def _end_curve(self, trial: int, attempt: int) -> None:
        """Cut the curve where the record pruned it: no later point is judged."""
        prune = self.prunes.get((trial, attempt))
        if prune is not None:
            self.state.attempt(trial, attempt).curves[0].end_at(prune.judged)

    def _charged(self, event: BudgetUpdated) -> BudgetUpdated:
        attempt = self.state.attempt(event.trial, event.attempt)
        late = 0 if is_study(self.state) else budget.late(self.state, attempt)
        return msgspec.structs.replace(event, iterations=cost(self.state, attempt), late=late)

    def _finished(self, event: TrialFinished) -> TrialFinished:
        trial: Trial = self.state.trials[event.trial]
        if trial.last is None or trial.last.ended is None:
            return event
        if is_study(self.state) and trial.last.fate is None:
            return event  # its objective returned the value, which need not be one that it reported
        return outcome.finish(self.state, trial)

    def _end(self, row: Recorded, event: SearchEnding) -> None:
        """Note what does not follow from the record's end, if this search has differed from the record before."""
        if not self._is_another():
            return
        if event.reason == "compute_time_limit":
            for trial in list(unfinished(self.state)):
                self._cut_off(trial)
        elif event.reason in ("patience", "target_value", "failures") and self.first_unmade is None:
            search_end = ending.search_ending(self.state)
            if search_end is None or search_end.reason != event.reason:
                why = f"the search would not have ended there ({event.reason})"
                self.first_unmade = FirstUnmadeSuggestion(row.seq, len(self.state.trials), why)

    def _is_another(self) -> bool:
        return self.differs is not None

    def _cut_off(self, trial: Trial) -> None:
        """Let *trial* go on: less compute time was used before, so its job would not have been stopped."""
        attempt = trial.last
        if attempt is None or attempt.fate is not None or attempt.ended is not None or trial.number in self.unknown:
            return
        known_to = attempt.curves[0].iterations[attempt.judged - 1] if attempt.judged else -1
        self._independence.note_unknown()
        why = "goes on where the record stopped it, as compute_time_limit was reached"
        self.unknown[trial.number] = UnknownFate(why, gone_on=True, known_to=known_to)

    # ------------------------------------------------------------ verdicts

    def _judge(self, row: Recorded) -> None:
        """Judge all points that are due. The record's verdicts on them are in consecutive rows; *row* is the first."""
        while next(judgeable(self.state), None) is not None:
            for event in self._asker.answer(actions.Judge()):
                for verdict in event.verdicts if isinstance(event, JobsContinued) else (event,):
                    assert isinstance(verdict, Verdict | JobPruned)
                    self._verdict(row, verdict)
                self._evolve(row, event)

    def _verdict(self, row: Recorded, verdict: Verdict | JobPruned) -> None:
        """Compare *verdict*, before it is folded, with the record, and note points that depend on unknown trials."""
        attempt_id = (verdict.trial, verdict.attempt)
        for position in range(self._seen_points(attempt_id), verdict.judged):
            self._check_independence(self.state.attempt(*attempt_id), position)
        self._seen[attempt_id] = verdict.judged
        prune = self.prunes.get(attempt_id)
        if isinstance(verdict, JobPruned):
            if prune is None or verdict.judged < prune.judged:
                self._differ(row.seq)
            self.cuts[verdict.trial] = PrunePoint(verdict.attempt, verdict.iteration, row.seq)
        elif prune is not None and verdict.judged >= prune.judged:
            self._differ(row.seq)
            self._note_gone_on(verdict.trial, verdict.iteration)

    def _seen_points(self, attempt_id: AttemptId) -> int:
        return max(self._seen.get(attempt_id, 0), self.state.attempt(*attempt_id).judged)

    def _note_gone_on(self, trial: int, iteration: int) -> None:
        before = self.unknown.get(trial)
        known_to = iteration if before is None else before.known_to
        why = f"goes on after iteration {iteration}, where the record pruned it"
        self._independence.note_unknown()
        self.unknown[trial] = UnknownFate(why, gone_on=True, known_to=known_to)

    def _check_independence(self, attempt: Attempt, position: int) -> None:
        """Mark the trial of *attempt* as unknown if its verdict at *position* may depend on other unknown trials."""
        iteration = attempt.curves[0].iterations[position]
        least = self.state.search.min_iteration_per_job
        reason = self._describe_unknown()
        if reason is None or attempt.trial in self.unknown or (least is not None and iteration < least):
            return
        if not self._compares:
            return
        if self._has_extra_jobs or not self._independence.holds(attempt, position, self._known_to()):
            self._independence.note_unknown()
            # The verdict decides whether it reached further rungs here, so it is known only up to before this point.
            self.unknown[attempt.trial] = UnknownFate(
                f"is compared with {reason}", gone_on=False, known_to=iteration - 1
            )

    def _known_to(self) -> dict[int, int]:
        """Return for each unknown trial the iteration up to which it is known."""
        return {number: unknown.known_to for number, unknown in self.unknown.items()}

    def _describe_unknown(self) -> str | None:
        """Return in words what is unknown so far, None if nothing is unknown."""
        first = next(iter(self.unknown), None)
        return None if first is None else f"trial {first}, of which not all is known"

    def _differ(self, seq: int) -> None:
        self.differs = seq if self.differs is None else self.differs

    # ------------------------------------------------------------ suggestions

    def _compare(self, row: Recorded, event: TrialSuggested) -> None:
        """Note the first suggestion that this search would not have made, or not for certain."""
        if self.differs is None or self.first_unmade is not None or event.source == "caller":
            return
        why = self._other_end() or self._other_suggestion(event)
        if why is not None:
            self.first_unmade = FirstUnmadeSuggestion(row.seq, event.trial, why)

    def _other_end(self) -> str | None:
        if self.state.ending is not None:
            return None
        search_end = ending.search_ending(self.state)
        return None if search_end is None else f"the search would have ended before it ({search_end.reason})"

    def _other_suggestion(self, event: TrialSuggested) -> str | None:
        sampler = self.state.search.sampler
        if sampler.is_foreign:
            return f"{sampler.name} is not one of Optuna's samplers, and it cannot be asked from the log alone"
        if not self.state.search.space:
            return "the study would have gone another way, and only its script knows the space to go on in"
        if not is_blind(sampler):
            gone_on = [n for n, unknown in self.unknown.items() if unknown.gone_on]
            if gone_on:
                return f"{sampler.name} would have seen what became of trial {gone_on[0]}"
            if self._most_workers > 1:
                return f"a slot would have been free earlier, and {sampler.name} would have seen less of the others"
        suggestion: Any = self._asker.answer(actions.Suggest())[0]
        return None if _same(suggestion, event) else f"{sampler.name} would have suggested another point"


def _created(row: Recorded, pruner: ComponentConfig) -> Recorded:
    event = row.event
    if not isinstance(event, SearchCreated):
        return row  # `begin` says what is wrong
    search = msgspec.structs.replace(event.search, pruner=pruner)
    return msgspec.structs.replace(row, event=msgspec.structs.replace(event, search=search))


def _same(a: Event, b: Event) -> bool:
    """Whether two suggestions are equal to the bit."""
    return codec.encode(a) == codec.encode(b)
