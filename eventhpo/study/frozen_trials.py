"""Optuna's view of a study's state: frozen trials, kept from call to call and made anew only where they changed."""

from __future__ import annotations

import copy
import datetime
import json
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.study_events import StudyTrialState
from eventhpo.core.fold.study_state import Attribute, StudyState, StudyTrial
from eventhpo.optuna_adapter import cma_state

STATES: dict[StudyTrialState, TrialState] = {
    "waiting": TrialState.WAITING,
    "running": TrialState.RUNNING,
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
NAMES: dict[TrialState, StudyTrialState] = {state: name for name, state in STATES.items()}
_EPOCH = datetime.datetime(1970, 1, 1)  # Optuna's times are naive


@lru_cache(maxsize=4096)
def distribution(text: str) -> BaseDistribution:
    """Return the distribution of Optuna's JSON *text*."""
    return json_to_distribution(text)


def local_time(microseconds: int) -> datetime.datetime:
    """Return a moment in UTC as Optuna has it: the local clock, without a zone."""
    return datetime.datetime.fromtimestamp(microseconds / 1e6)


def naive_time(microseconds: int) -> datetime.datetime:
    """Return a naive time that was recorded with `naive_microseconds`."""
    return _EPOCH + datetime.timedelta(microseconds=microseconds)


def naive_microseconds(moment: datetime.datetime | None) -> int | None:
    """Return a naive time of Optuna's as whole microseconds since 1970 of the same clock."""
    return None if moment is None else (moment.replace(tzinfo=None) - _EPOCH) // datetime.timedelta(microseconds=1)


class FrozenTrials:
    """The trials of one study as Optuna has them, each made anew when it has changed."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._trials: list[FrozenTrial] = []
        self._changes: list[int] = []
        self._unfinished: set[int] = set()

    def all(self) -> list[FrozenTrial]:
        """Return the trials by number; the list is kept, and not to be changed."""
        for trial in self._state.trials[len(self._trials) :]:
            self._trials.append(frozen(trial))
            self._changes.append(trial.changes)
            if not trial.finished:
                self._unfinished.add(trial.number)
        for number in tuple(self._unfinished):
            self._renew(number)
        return self._trials

    def unfinished(self) -> list[FrozenTrial]:
        """Return the trials that wait or run, by number, without a look at the others."""
        trials = self.all()
        return [trials[number] for number in sorted(self._unfinished)]

    def get(self, number: int) -> FrozenTrial:
        """Return one trial by its number."""
        if number >= len(self._trials):
            self.all()
        if number in self._unfinished:
            self._renew(number)
        return self._trials[number]

    def _renew(self, number: int) -> None:
        trial = self._state.trials[number]
        if trial.changes != self._changes[number]:
            self._trials[number], self._changes[number] = frozen(trial), trial.changes
            if trial.finished:
                self._unfinished.discard(number)


def frozen(trial: StudyTrial) -> FrozenTrial:
    """Return *trial* as Optuna has it."""
    distributions = {p.name: distribution(p.distribution) for p in trial.parameters.values()}
    return FrozenTrial(
        number=trial.number,
        state=STATES[trial.state],
        value=None,
        values=None if trial.values is None else list(trial.values),
        datetime_start=_time(trial, trial.started),
        datetime_complete=_time(trial, trial.completed) if trial.finished else None,
        params={p.name: _value(p.internal, distributions[p.name]) for p in trial.parameters.values()},
        distributions=distributions,
        user_attrs=_read(trial.user_attrs),
        system_attrs=cma_state.from_data(_read(trial.system_attrs)),
        intermediate_values=dict(trial.points),
        trial_id=trial.trial_id,
    )


def with_point(trial: FrozenTrial, step: int, value: float) -> FrozenTrial:
    """Return a copy of *trial* that has this report as well."""
    changed = copy.copy(trial)
    changed.intermediate_values = {**trial.intermediate_values, step: value}
    return changed


def lost(trial: StudyTrial, trial_id: int) -> FrozenTrial:
    """Return an attempt that was lost: failed, and nothing that its trial has now."""
    return FrozenTrial(
        number=trial.number,
        state=TrialState.FAIL,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def _time(trial: StudyTrial, microseconds: int | None) -> datetime.datetime | None:
    if microseconds is None:
        return None
    return naive_time(microseconds) if trial.local_times else local_time(microseconds)


def _value(internal: Any, kind: BaseDistribution) -> Any:
    return kind.to_external_repr(float(internal))


def _read(attributes: dict[str, Attribute]) -> dict[str, Any]:
    return {
        name: json.loads(attribute.value)
        for name, attribute in attributes.items()
        if not cma_state.is_state(name)  # a pickle, which only the process that wrote it may read
    }
