"""Asks a fresh sampler or pruner of a study one question, and keeps what it writes while it answers.

A question sees one state of the study and nothing else, and its seed follows from the study's
seed, the purpose, the trial and the attempt. So the same question about the same log has the
same answer, in the process that ran the study and in one that decides the log again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.study_events import StudyParameter, WrittenAttribute
from eventhpo.core.fold.study_state import StudyState
from eventhpo.core.search.spec import Scalar, Search, to_num
from eventhpo.errors import Usage
from eventhpo.optuna_adapter import cma_state
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.optuna_adapter.sampler_internals import does_nothing_around_trials, hand_on_search_space, reseed
from eventhpo.optuna_adapter.seeds import derived_seed
from eventhpo.optuna_adapter.study_components import Component, fresh_pruner, fresh_sampler, newly_latched
from eventhpo.study.frozen_trials import FrozenTrials

STUDY = 0  # the id of the one study that a question sees


class Relative(NamedTuple):
    """What the sampler answered for a trial as a whole."""

    parameters: tuple[StudyParameter, ...]
    written: tuple[WrittenAttribute, ...]


class Independent(NamedTuple):
    """What the sampler answered for one parameter."""

    value: Any
    written: tuple[WrittenAttribute, ...]


class StudyVerdict(NamedTuple):
    """The pruner's answer to one point, and what an "auto" resource means from here on."""

    prune: bool
    written: tuple[WrittenAttribute, ...]
    latched: int | None


class AfterTrial(NamedTuple):
    """What the sampler did when a trial was told."""

    written: tuple[WrittenAttribute, ...]
    stop: bool


class StudyQuestions:
    """Asks about one study, whose state moves on between the questions.

    Args:
        search: What the log's first event says.
        state: The study's part of the state, followed as it changes.
        trials: The trials of the same state.
        sampler, pruner: What is asked.
    """

    def __init__(
        self, search: Search, state: StudyState, trials: FrozenTrials, sampler: Component, pruner: Component
    ) -> None:
        self._search, self._state, self._trials = search, state, trials
        self._sampler, self._pruner = sampler, pruner
        self._spaces: dict[bool, Any] = {}
        self._kept: RandomSampler | None = None  # has no memory but its generator
        built = self._fresh("kind", 0)
        kind = type(built)
        if isinstance(built, RandomSampler) and kind is RandomSampler:
            self._kept = built
        # The base class does nothing in either, nor does a sampler whose points do not hang on each other.
        idle = does_nothing_around_trials(built)
        self.asked_before_trials = not idle and kind.before_trial is not BaseSampler.before_trial
        self.asked_after_trials = not idle and kind.after_trial is not BaseSampler.after_trial

    @property
    def chooses_each_alone(self) -> bool:
        """Whether the sampler never chooses a trial's parameters together."""
        return self._kept is not None

    def _fresh(self, purpose: str, number: int) -> BaseSampler:
        # Without the attempt: a trial that is asked for again comes to the answer that was lost.
        seed = derived_seed(self._search.seed, purpose, number, 0)
        if self._kept is not None:
            reseed(self._kept, seed)
            return self._kept
        sampler = fresh_sampler(self._sampler, seed, self._search.seed)
        if self._sampler.own is None:
            hand_on_search_space(sampler, self._spaces)
        return sampler

    def before_trial(self, number: int) -> tuple[WrittenAttribute, ...]:
        """Let the sampler prepare the trial; most samplers write nothing."""
        if not self.asked_before_trials:
            return ()
        with quiet():
            sampler = self._fresh("before", number)
            study, trial, store = self._shown(sampler, number)
            sampler.before_trial(study, trial)
            return store.taken()

    def relative(self, number: int, pending: tuple[WrittenAttribute, ...] = ()) -> Relative:
        """Ask for all parameters that the sampler chooses together; it has written *pending* on this trial before."""
        if self.chooses_each_alone:
            return Relative((), ())
        with quiet():
            sampler = self._fresh("relative", number)
            study, trial, store = self._shown(sampler, number, pending)
            space = sampler.infer_relative_search_space(study, trial)
            values = sampler.sample_relative(study, trial, space)
            parameters = tuple(parameter(name, value, space[name]) for name, value in values.items())
            return Relative(parameters, store.taken())

    def about(self, number: int, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Return what the sampler chooses together in a *space* of the caller's; what it writes is dropped."""
        with quiet():
            sampler = self._fresh("about", number)
            study, trial, _ = self._shown(sampler, number)
            return sampler.sample_relative(study, trial, space)

    def independent(
        self, number: int, name: str, kind: BaseDistribution, pending: tuple[WrittenAttribute, ...] = ()
    ) -> Independent:
        """Ask for one parameter alone; the sampler has written *pending* on this trial before."""
        with quiet():
            sampler = self._fresh(f"independent\0{name}", number)
            study, trial, store = self._shown(sampler, number, pending)
            value = sampler.sample_independent(study, trial, name, kind)
            return Independent(value, store.taken())

    def after_trial(self, number: int, state: TrialState, values: Sequence[float] | None) -> AfterTrial:
        """Tell the sampler that a trial is over; *state* and *values* are those that it will have."""
        if not self.asked_after_trials:
            return AfterTrial((), stop=False)
        with quiet():
            sampler = self._fresh("after", number)
            study, trial, store = self._shown(sampler, number)
            sampler.after_trial(study, trial, state, values)
            return AfterTrial(store.taken(), study.stopped)

    def prune(self, trial: FrozenTrial) -> StudyVerdict:
        """Ask the pruner about the last point of *trial*, as the objective has it now."""
        step = trial.last_step
        assert step is not None
        if self._pruner.own is None and self._pruner.config.name == "NopPruner":
            return StudyVerdict(False, (), None)  # what it says of every trial
        latched = newly_latched(self._pruner, self._state.latched, self._state.longest)
        seed = derived_seed(self._search.seed, f"prune {trial.number}", max(step, 0), 0)
        with quiet():
            pruner = fresh_pruner(self._pruner, seed, self._state.latched if latched is None else latched)
            store = _QuestionStorage(self._search, self._state, self._trials.all(), trial, ())
            study = _QuestionStudy(self._search.name, store, sampler=_SAMPLER, pruner=pruner)
            return StudyVerdict(bool(pruner.prune(study, store.get_trial(trial._trial_id))), store.taken(), latched)

    def _shown(
        self, sampler: BaseSampler, number: int, pending: tuple[WrittenAttribute, ...] = ()
    ) -> tuple[_QuestionStudy, FrozenTrial, _QuestionStorage]:
        own = self._trials.get(number)
        store = _QuestionStorage(self._search, self._state, self._trials.all(), own, pending)
        study = _QuestionStudy(self._search.name, store, sampler=sampler, pruner=_NOTHING_IS_PRUNED)
        return study, store.get_trial(own._trial_id), store


_SAMPLER = RandomSampler(0)  # a Study wants one; a verdict never asks it
_NOTHING_IS_PRUNED = NopPruner()  # likewise


def parameter(name: str, value: Any, kind: BaseDistribution) -> StudyParameter:
    """Return a parameter as the log has it."""
    internal = kind.to_internal_repr(value)
    external = kind.to_external_repr(internal)
    return StudyParameter(name, _scalar(external), to_num(internal), distribution_to_json(kind))


def _scalar(value: Any) -> Scalar:
    """Return *value* as JSON has it; as text where JSON has no form for it."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


class _QuestionStudy(optuna.Study):
    """The study that a sampler sees while it answers: it can be stopped from anywhere, and only notes that."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


class _QuestionStorage(BaseStorage):
    """A storage that shows one state of a study, and keeps what is written for the row of the answer."""

    def __init__(
        self,
        search: Search,
        state: StudyState,
        trials: list[FrozenTrial],
        own: FrozenTrial,
        pending: tuple[WrittenAttribute, ...],
    ) -> None:
        self._search, self._state, self._trials, self._own = search, state, trials, own.number
        attrs = cma_state.from_data({w.name: json.loads(w.value) for w in pending if not w.on_study})
        for name, value in attrs.items():
            own = _with_attribute(own, name, value)
        self._by_id = {own.number: own}
        self._written: list[tuple[int | None, str, Any]] = []
        self._study_attrs = {w.name: json.loads(w.value) for w in pending if w.on_study}

    def taken(self) -> tuple[WrittenAttribute, ...]:
        """Return what was written, as the log has it.

        Raises:
            Usage: an attribute is on another trial than the one that was asked about.
            TypeError: an attribute is no JSON.
        """
        if others := [name for number, name, _ in self._written if number not in (None, self._own)]:
            raise Usage(f"a sampler or pruner wrote {', '.join(others)} on another trial: it may write on its own only")
        on_trial = cma_state.to_data({name: value for number, name, value in self._written if number is not None})
        on_study = {name: value for number, name, value in self._written if number is None}
        return (
            *(WrittenAttribute(name, json.dumps(value)) for name, value in on_trial.items()),
            *(WrittenAttribute(name, json.dumps(value), True) for name, value in on_study.items()),
        )

    # ------------------------------------------------------------ reading

    def get_study_id_from_name(self, study_name: str) -> int:
        return STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._search.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return directions(self._search)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {name: json.loads(value) for name, value in self._state.user_attrs.items()}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {name: json.loads(value) for name, value in self._state.system_attrs.items()} | self._study_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=self._search.name,
                direction=None,
                directions=directions(self._search),
                user_attrs=self.get_study_user_attrs(STUDY),
                system_attrs=self.get_study_system_attrs(STUDY),
                study_id=STUDY,
            )
        ]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._trials[trial_number]._trial_id

    def get_trial_number_from_id(self, trial_id: int) -> int:
        return self._state.ids[trial_id][0]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        number = self.get_trial_number_from_id(trial_id)
        return self._by_id.get(number) or self._trials[number]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = list(self._trials)
        for number, trial in self._by_id.items():
            trials[number] = trial
        return trials if states is None else [trial for trial in trials if trial.state in states]

    # ------------------------------------------------------------ writing: kept for the row of the answer

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self.get_trial(trial_id)
        self._written.append((trial.number, key, value))
        # A copy: a list that Optuna got earlier keeps the trial as it was, which SuccessiveHalvingPruner relies on.
        self._by_id[trial.number] = _with_attribute(trial, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._written.append((None, key, value))
        self._study_attrs[key] = value

    # ------------------------------------------------------------ refused

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        raise _refused()

    def delete_study(self, study_id: int) -> None:
        raise _refused()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise _refused()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        raise _refused()

    def set_trial_param(self, trial_id: int, param_name: str, param_value_internal: float, distribution: Any) -> None:
        raise _refused()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        raise _refused()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        raise _refused()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise _refused()


def _with_attribute(trial: FrozenTrial, key: str, value: Any) -> FrozenTrial:
    changed = FrozenTrial.__new__(FrozenTrial)
    changed.__dict__.update(trial.__dict__)
    changed._system_attrs = {**trial._system_attrs, key: value}
    return changed


def _refused() -> PermissionError:
    return PermissionError("a sampler or pruner may write system attributes while it answers, and nothing else")


def directions(search: Search) -> list[StudyDirection]:
    """Return the directions of a study's objectives."""
    return [StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in search.objectives]
