"""An `optuna.Study` whose sampler and pruner decide so that the log can be decided again.

Sampler and pruner are fresh for each question and seeded for it (`questions`). What they answered
is recorded in the row that rests on it, whose cause is the last event that they saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from eventhpo.core.fold.study_events import (
    ParameterSuggested,
    PointJudged,
    StudyParameter,
    TrialTold,
    WrittenAttribute,
)
from eventhpo.core.fold.study_state import StudyTrial
from eventhpo.core.search.spec import to_num
from eventhpo.optuna_adapter.study_components import Component
from eventhpo.study.frozen_trials import NAMES, distribution
from eventhpo.study.open_study import OpenStudy
from eventhpo.study.questions import AfterTrial, Relative, StudyQuestions, parameter
from eventhpo.study.resumable_study import ResumableStudy
from eventhpo.study.storage import EventStorage

_TRIAL_STATES = {name: state for state, name in NAMES.items()}


class _Unrecorded(msgspec.Struct):
    """What the sampler answered for a trial and no row has yet."""

    cause: int
    written: tuple[WrittenAttribute, ...] = ()
    relative: Relative | None = None
    independent: str | None = None  # the parameter that was asked for alone


class _After(NamedTuple):
    cause: int
    answer: AfterTrial


def is_untouched(trial: StudyTrial) -> bool:
    """Whether the sampler was asked nothing for *trial* yet."""
    return not trial.parameters and trial.relative is None


class RecordedDecisions:
    """Asks for each decision of an open study, and puts the answers into the rows that rest on them."""

    def __init__(self, opened: OpenStudy, sampler: Component, pruner: Component) -> None:
        self.opened = opened
        self.questions = StudyQuestions(opened.state.search, opened.study, opened.trials, sampler, pruner)
        self._unrecorded: dict[int, _Unrecorded] = {}  # by trial id
        self._after: dict[int, _After] = {}
        self.deciding: set[int] = set()  # ids of trials whose sampler is the study's
        self.why: dict[int, str] = {}  # by trial id: what the objective raised
        opened.decider = self

    # ---------------------------------------------------------------- questions

    def current(self, trial_id: int) -> StudyTrial:
        """Return the trial of *trial_id*.

        Raises:
            UpdateFinishedTrialError: this attempt of it was lost.
        """
        trial = self.opened.study.current(trial_id)
        if trial is None:
            self.opened.late(trial_id, "suggest")
            number = self.opened.study.ids[trial_id][0]
            raise UpdateFinishedTrialError(f"Trial#{number} was given to another process.")
        return trial

    def relative(self, trial_id: int) -> tuple[StudyParameter, ...]:
        """Return what the sampler chose for the trial as a whole; it is asked once for each trial."""
        with self.opened.lock:
            trial = self.current(trial_id)
            if trial.relative is not None:
                return trial.relative
            unrecorded = self._asked(trial)
            if unrecorded.relative is None:
                unrecorded.relative = self.questions.relative(trial.number, unrecorded.written)
                unrecorded.written += unrecorded.relative.written
            return unrecorded.relative.parameters

    def recorded_relative(self, trial_id: int) -> tuple[StudyParameter, ...]:
        """Return what `relative` does, and record it in a row of its own: for another process."""
        with self.opened.lock:
            chosen = self.relative(trial_id)
            trial = self.current(trial_id)
            if trial.relative is None and not self.questions.chooses_each_alone:
                unrecorded = self._unrecorded.pop(trial_id)
                event = ParameterSuggested(
                    trial=trial.number,
                    attempt=trial.attempt,
                    parameter=None,
                    source="relative",
                    relative=chosen,
                    written=unrecorded.written,
                )
                self.opened.record(event, unrecorded.cause)
            return chosen

    def recorded_independent(self, trial_id: int, name: str, kind: BaseDistribution) -> Any:
        """Return what `independent` does, and record the parameter: for another process."""
        with self.opened.lock:
            trial = self.current(trial_id)
            if name in trial.parameters:
                return kind.to_external_repr(float(trial.parameters[name].internal))
            value = self.independent(trial_id, name, kind)
            self.opened.record(*self.parameter_event(trial, name, kind.to_internal_repr(value), kind))
            return value

    def independent(self, trial_id: int, name: str, kind: BaseDistribution) -> Any:
        """Return what the sampler chose for one parameter alone."""
        with self.opened.lock:
            trial = self.current(trial_id)
            unrecorded = self._asked(trial)
            answer = self.questions.independent(trial.number, name, kind, unrecorded.written)
            unrecorded.written += answer.written
            unrecorded.independent = name
            return answer.value

    def about(self, trial_id: int, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Return what a fresh sampler chooses in *space*; nothing is recorded."""
        with self.opened.lock:
            self.opened.record_held()
            return self.questions.about(self.current(trial_id).number, space)

    def after(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        """Tell the sampler that a trial is over; return whether it ends the study."""
        with self.opened.lock:
            trial = self.current(trial_id)
            self.opened.record_held()
            answer = self.questions.after_trial(trial.number, state, values)
            self._after[trial_id] = _After(self.opened.head, answer)
            return answer.stop

    def prune(self, frozen: FrozenTrial) -> bool:
        """Return the pruner's answer to the last point of a trial; it is asked once for each step."""
        step = frozen.last_step
        if step is None:
            return False
        with self.opened.lock:
            trial = self.current(frozen._trial_id)
            if step in trial.verdicts:
                return trial.verdicts[step]
            held = self.opened.take_held(trial.number)
            if held is not None and held.step != step:
                point = PointJudged(trial=trial.number, attempt=held.attempt, step=held.step, value=to_num(held.value))
                self.opened.record(point)
                held = None
            cause, answer = self.opened.head, self.questions.prune(frozen)
            event = PointJudged(
                trial=trial.number,
                attempt=trial.attempt,
                step=step,
                value=None if held is None else to_num(held.value),
                prune=answer.prune,
                written=answer.written,
                latched=answer.latched,
            )
            self.opened.record(event, cause, durable=answer.prune)
            return answer.prune

    def _decides_for(self, trial: StudyTrial) -> bool:
        """Whether the trial's sampler is the study's: it was asked for here, or by a worker through our own call."""
        return trial.trial_id in self.deciding or bool(trial.worker)

    def _asked(self, trial: StudyTrial) -> _Unrecorded:
        """Return what the sampler answered for the parameter that is asked for now, all of it on one state.

        The sampler prepares a trial at its first parameter, and not when it is asked for: so
        that is in the row of the parameter, too.
        """
        self.opened.record_held()
        unrecorded = self._unrecorded.get(trial.trial_id)
        if unrecorded is None or unrecorded.cause != self.opened.head:
            unrecorded = self._unrecorded[trial.trial_id] = _Unrecorded(self.opened.head)
            if is_untouched(trial):
                unrecorded.written = self.questions.before_trial(trial.number)
        return unrecorded

    # ---------------------------------------------------------------- what rows have of them

    def parameter_event(
        self, trial: StudyTrial, name: str, internal: float, kind: BaseDistribution
    ) -> tuple[ParameterSuggested, int | None]:
        """Return the event of a parameter that the trial has now, with all that was asked for it."""
        if self._decides_for(trial):
            self._asked(trial)
        unrecorded = self._unrecorded.pop(trial.trial_id, _Unrecorded(self.opened.head))
        new = parameter(name, kind.to_external_repr(internal), kind)
        fresh = unrecorded.relative
        relative = trial.relative if fresh is None else fresh.parameters
        event = ParameterSuggested(
            trial=trial.number,
            attempt=trial.attempt,
            parameter=new,
            source=self._source(unrecorded, relative, trial, new, kind),  # type: ignore[arg-type]
            relative=None if fresh is None else fresh.parameters,
            written=unrecorded.written,
        )
        return event, unrecorded.cause

    def _source(
        self,
        unrecorded: _Unrecorded,
        relative: tuple[StudyParameter, ...] | None,
        trial: StudyTrial,
        new: StudyParameter,
        kind: BaseDistribution,
    ) -> str:
        if unrecorded.independent == new.name:
            return "independent"
        if "fixed_params" in trial.system_attrs and new.name in self.opened.trials.get(trial.number).system_attrs.get(
            "fixed_params", {}
        ):
            return "fixed"
        if kind.single():
            return "single"
        return "relative" if any(p.name == new.name for p in relative or ()) else "unknown"

    def told_event(self, trial: StudyTrial, event: TrialTold) -> tuple[TrialTold, int | None]:
        """Return *event* with what the sampler did when the trial was told, and why the trial failed."""
        self._unrecorded.pop(trial.trial_id, None)
        if self._decides_for(trial) and trial.trial_id not in self._after:
            values = None if event.values is None else [float(value) for value in event.values]
            self.after(trial.trial_id, _TRIAL_STATES[event.state], values)
        self.deciding.discard(trial.trial_id)
        after, why = self._after.pop(trial.trial_id, None), self.why.pop(trial.trial_id, "")
        if event.state == "failed" and why:
            event = msgspec.structs.replace(event, why=why)
        if after is None:
            return event, None
        return msgspec.structs.replace(event, written=after.answer.written, stop=after.answer.stop), after.cause


# ---------------------------------------------------------------- what Optuna calls


class RecordedSampler(BaseSampler):
    """Answers for the study's sampler: each question goes to a fresh one, once."""

    def __init__(self, decisions: RecordedDecisions) -> None:
        self._decisions = decisions

    def __str__(self) -> str:
        return self._decisions.opened.state.search.sampler.name

    def reseed_rng(self) -> None:
        """Do nothing: each question has its own seed."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Do nothing: a fresh sampler prepares the trial at its first parameter."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of what the sampler chose for the trial as a whole."""
        return {p.name: distribution(p.distribution) for p in self._decisions.relative(trial._trial_id)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the sampler chose for the trial as a whole.

        Asked about another space than the one that it chose, as no study does, a fresh sampler answers, and
        nothing is recorded.
        """
        chosen = self._decisions.relative(trial._trial_id)
        if search_space != {p.name: distribution(p.distribution) for p in chosen}:
            return self._decisions.about(trial._trial_id, search_space)
        return {p.name: distribution(p.distribution).to_external_repr(float(p.internal)) for p in chosen}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return what a fresh sampler chooses for one parameter."""
        return self._decisions.independent(trial._trial_id, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Tell a fresh sampler that the trial is over; stop the study if the sampler has nothing left."""
        if self._decisions.after(trial._trial_id, state, values):
            study.stop()


class RecordedPruner(BasePruner):
    """Answers for the study's pruner: a fresh one is asked once for each trial and step."""

    def __init__(self, decisions: RecordedDecisions) -> None:
        self._decisions = decisions

    def __str__(self) -> str:
        return self._decisions.opened.state.search.pruner.name

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to be pruned at its last step."""
        return self._decisions.prune(trial)


class RecordedTrial(Trial):
    """A trial whose suggestions are one step each: no other thread's row comes between question and row."""

    study: RecordedStudy

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        opened = self.study.decisions.opened
        with opened.lock:
            value = super()._suggest(name, distribution)
            if len(opened.state.active) > 1:  # after a kill another trial's point could rest on this one
                opened.commit()
        return value


class RecordedStudy(ResumableStudy):
    """An `optuna.Study` on one event log; made by `eventhpo.create_study`."""

    def __init__(self, storage: EventStorage, decisions: RecordedDecisions) -> None:
        self.decisions = decisions
        super().__init__(
            study_name=decisions.opened.state.search.name,
            storage=storage,
            sampler=RecordedSampler(decisions),
            pruner=RecordedPruner(decisions),
        )

    @property
    def log(self) -> str:
        """The path of the log."""
        return str(self.decisions.opened.path)

    @property
    def finished_trials(self) -> int:
        """How many trials are over: completed, pruned or failed."""
        return sum(self.decisions.opened.state.totals.trials.values())

    @property
    def is_used_up(self) -> bool:
        """Whether the sampler has nothing left to suggest."""
        return self.decisions.opened.study.stopped

    def note_error(self, trial_id: int, error: str) -> None:
        """Keep what the objective raised for the row that says that the trial failed."""
        self.decisions.why[trial_id] = error

    def give_back(self, why: str) -> None:
        """Have the trials that this process asked for in `optimize` and did not finish asked for again."""
        self.decisions.opened.give_back(why)

    def close(self) -> None:
        """Commit all, and let the log rest for other processes."""
        self.decisions.opened.close()

    def ask(self, fixed_distributions: dict[str, BaseDistribution] | None = None) -> Trial:
        """Return the next trial, as `optuna.Study.ask`: one that waits, if there is one, otherwise a new one."""
        self._thread_local.cached_all_trials = None
        with self.decisions.opened.lock:
            trial_id = self._pop_waiting_trial_id()
            if trial_id is None:
                trial_id = self._storage.create_new_trial(self._study_id)
            self.decisions.deciding.add(trial_id)
            trial = RecordedTrial(self, trial_id)
            for name, kind in (fixed_distributions or {}).items():
                trial._suggest(name, kind)
        return trial
