"""Decides the log of an Optuna study again: each question on the state that it saw, which its row names as cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import ControllerStarted, Event, Recorded, trial_of
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.progress import OFTEN, tracked
from eventhpo.core.fold.study_events import ParameterSuggested, PointJudged, TrialTold
from eventhpo.core.search.spec import ComponentConfig, StudyJobs
from eventhpo.errors import EventhpoError
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.optuna_adapter.study_components import Component
from eventhpo.optuna_adapter.user_class_record import why_foreign
from eventhpo.optuna_adapter.user_classes import user_classes_of
from eventhpo.study.frozen_trials import NAMES, FrozenTrials, distribution, with_point
from eventhpo.study.questions import StudyQuestions, parameter
from eventhpo.study.recorded_study import is_untouched
from replay.decide import rounding
from replay.decide.checked import Checked, WalkShare
from replay.decide.divergence import Divergence
from replay.decide.rounding import Rounded

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

UNKNOWN = "of a sampler that is not known"
_TRIAL_STATES = {name: state for state, name in NAMES.items()}


def check_study(
    rows: Sequence[Recorded],
    sampler: BaseSampler | None,
    pruner: BasePruner | None,
    share: WalkShare,
    trial: int | None = None,
) -> Iterator[Checked]:
    """Yield the checks of one *share* of a study's decisions, in the order of their rows; with *trial* only of its own.

    Raises:
        DamagedLog: a row does not fit those before it.
        Usage: *sampler* or *pruner* is not the one that the log was recorded with.
    """
    return iter(sorted(_StudyCheck(rows, sampler, pruner, share, trial).checks(), key=lambda checked: checked.seq))


class _StudyCheck:
    def __init__(
        self,
        rows: Sequence[Recorded],
        sampler: BaseSampler | None,
        pruner: BasePruner | None,
        share: WalkShare,
        trial: int | None,
    ) -> None:
        self._rows, self._share, self._trial = rows, share, trial
        self._state = begin(rows[0])
        self._search = self._state.search
        assert self._state.study is not None
        self._study = self._state.study
        own = user_classes_of(self._search, sampler, pruner)
        self._components = Component(self._search.sampler, own.sampler), Component(self._search.pruner, own.pruner)
        self._trials = FrozenTrials(self._study)
        self._questions: StudyQuestions | None = None
        if _known(self._components[0]):
            known_pruner = self._components[1] if _known(self._components[1]) else Component(_NOTHING)
            self._questions = StudyQuestions(self._search, self._study, self._trials, self._components[0], known_pruner)

    def checks(self) -> Iterator[Checked]:
        jobs = self._search.jobs
        asked = [(row, recorder) for row, recorder in self._asked() if self._is_decided(row.event)]
        held = [item for count, item in enumerate(asked, start=1) if self._share.holds(count)]
        if not isinstance(jobs, StudyJobs) or not jobs.decides:
            yield from (Checked(row.seq, True, None, UNKNOWN) for row, _ in held)
            return
        seq = 1
        by_cause = sorted(held, key=lambda item: (item[0].cause or 0, item[0].seq))
        for row, recorder in tracked(by_cause, "deciding again", len(by_cause), OFTEN):
            while seq < (row.cause or 0):
                self._state = evolve(self._state, self._rows[seq])
                seq += 1
            yield self._compare(row, recorder)

    def _asked(self) -> Iterator[tuple[Recorded, Mapping[str, str]]]:
        """Yield each row that rests on an answer, with the fingerprint of the process that got it."""
        recorder: Mapping[str, str] = self._state.fingerprint
        for row in self._rows:
            match row.event:
                case ControllerStarted(fingerprint=started):
                    recorder = started
                case ParameterSuggested(source="unknown" | "independent" | "relative") | PointJudged(prune=bool()):
                    yield row, recorder
                case ParameterSuggested(relative=tuple()) | TrialTold():
                    yield row, recorder

    def _is_decided(self, event: Event) -> bool:
        if self._trial is not None and trial_of(event) != self._trial:
            return False
        if isinstance(event, TrialTold):
            return self._questions is not None and self._questions.asked_after_trials and bool(event.trial >= 0)
        return True

    def _compare(self, row: Recorded, recorder: Mapping[str, str]) -> Checked:
        role = 1 if isinstance(row.event, PointJudged) else 0
        if self._questions is None or not _known(self._components[role]):
            return Checked(row.seq, True, None, why_foreign(self._components[role].config))
        if row.cause is None:
            return Checked(row.seq, True, None, "its row names no event that it rests on")
        decided, failed = self._decided(row.event)
        if decided is not None and codec.encode(decided) == codec.encode(row.event):
            return Checked(row.seq, True, None)
        because = rounding.because(recorder, fingerprint()) if decided is not None else ()
        apart = rounding.apart(row.event, decided, ()) if because and decided is not None else None
        if apart is not None and decided is not None:
            return Checked(row.seq, True, None, rounded=Rounded(row.seq, row.cause, row.event, decided, apart, because))
        due = {0: "the sampler's answer", 1: "the pruner's answer"}[role]
        return Checked(row.seq, True, Divergence(row.seq, row.event, row.cause, decided, row.cause, due, failed))

    def _decided(self, event: Event) -> tuple[Event | None, str | None]:
        """Return the event as it is decided now, or the error with which sampler or pruner ended."""
        try:
            match event:
                case ParameterSuggested():
                    return self._suggested(event), None
                case PointJudged():
                    return self._judged(event), None
                case TrialTold():
                    return self._told(event), None
        except EventhpoError:
            raise
        except Exception as error:  # noqa: BLE001  another Optuna may raise anything, and that is its answer
            return None, f"{type(error).__name__}: {error}"
        raise AssertionError(event)

    def _suggested(self, event: ParameterSuggested) -> ParameterSuggested:
        assert self._questions is not None
        trial = self._study.trials[event.trial]
        written = self._questions.before_trial(event.trial) if is_untouched(trial) else ()
        relative, new, named = event.relative, event.parameter, event.parameter
        if relative is not None:
            answer = self._questions.relative(event.trial, written)
            relative, written = answer.parameters, written + answer.written
        if named is None or new is None:
            return msgspec.structs.replace(event, relative=relative, written=written)
        kind = distribution(named.distribution)
        if event.source == "relative":
            chosen = trial.relative if relative is None else relative
            new = next((p for p in chosen or () if p.name == new.name), new)
        if event.source == "independent":
            alone = self._questions.independent(event.trial, new.name, kind, written)
            new, written = parameter(new.name, alone.value, kind), written + alone.written
        if event.source == "relative":  # the value is the sampler's, the distribution the objective's
            new = parameter(new.name, distribution(new.distribution).to_external_repr(float(new.internal)), kind)
        return msgspec.structs.replace(event, parameter=new, relative=relative, written=written)

    def _judged(self, event: PointJudged) -> PointJudged:
        assert self._questions is not None
        frozen = self._trials.get(event.trial)
        if event.value is not None:
            frozen = with_point(frozen, event.step, float(event.value))
        answer = self._questions.prune(frozen)
        return msgspec.structs.replace(event, prune=answer.prune, written=answer.written, latched=answer.latched)

    def _told(self, event: TrialTold) -> TrialTold:
        assert self._questions is not None
        values = None if event.values is None else [float(value) for value in event.values]
        answer = self._questions.after_trial(event.trial, _TRIAL_STATES[event.state], values)
        return msgspec.structs.replace(event, written=answer.written, stop=answer.stop)


_NOTHING = ComponentConfig("NopPruner")


def _known(component: Component) -> bool:
    """Whether this process has the sampler or pruner: Optuna's own, or passed in."""
    return component.own is not None or not (component.config.is_foreign or component.config.name == "unknown")
