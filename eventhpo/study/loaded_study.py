"""A log as a read-only Optuna study: for `optuna.visualization`, `optuna.importance` and the dashboard."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NoReturn

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.search.spec import Search
from eventhpo.errors import DamagedLog
from eventhpo.log import reader
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.study.frozen_trials import FrozenTrials, local_time
from eventhpo.study.questions import directions

STUDY = 0


def load_study(log: str | Path) -> optuna.Study:
    """Return a read-only `optuna.Study` of any log: a study's, or a search's with jobs, local or on ClearML.

    It shows the log as it is now. Trials of a search have the values that the sampler knows, and curves as reported.
    Writing to it raises `PermissionError`.

    Raises:
        Usage: there is no such file.
        DamagedLog: it is no log, is damaged, or lost its tail.
    """
    storage = LogStorage(Path(log))
    return optuna.Study(storage.name, storage)


class LogStorage(BaseStorage):
    """A read-only storage of one log. With *follow* it takes in new events whenever it is asked.

    Raises:
        Usage: there is no such file.
        DamagedLog: it is no log, is damaged, or lost its tail.
    """

    def __init__(self, path: Path, *, follow: bool = False) -> None:
        reader.require_file(path)
        self._path, self._follow, self._lock = path, follow, threading.RLock()
        snapshot = reader.read(path)
        if snapshot.contradiction is not None:
            raise DamagedLog(f"{path}: {snapshot.contradiction}; see `eventhpo verify {path}`")
        self._state: State = fold(snapshot.rows)
        self._view = None if self._state.study is not None else StateView(self._state)
        self._trials = None if self._state.study is None else FrozenTrials(self._state.study)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._state.search.name

    @property
    def _search(self) -> Search:
        return self._state.search

    def _current(self) -> list[FrozenTrial]:
        with self._lock:
            if self._follow:
                snapshot = reader.read(self._path, after=self._state.head.seq)
                if snapshot.rows:
                    self._state = fold(snapshot.rows, self._state)
            if self._trials is not None:
                return list(self._trials.all())
            assert self._view is not None
            self._view.refresh()
            shown = self._view.get_all_trials(STUDY, deepcopy=False)
            return [_of_job(self._state, trial, shown[trial.number]) for trial in self._state.trials]

    # ------------------------------------------------------------ reading

    def get_study_id_from_name(self, study_name: str) -> int:
        if study_name != self.name:
            raise KeyError(f"No such study {study_name}.")
        return STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return directions(self._search)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        study = self._state.study
        return {} if study is None else {name: json.loads(value) for name, value in study.user_attrs.items()}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        study = self._state.study
        if study is not None:
            return {name: json.loads(value) for name, value in study.system_attrs.items()}
        return {"study:metric_names": [f"{o.title}/{o.series}" for o in self._search.objectives]}

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=self.name,
                direction=None,
                directions=directions(self._search),
                user_attrs=self.get_study_user_attrs(STUDY),
                system_attrs=self.get_study_system_attrs(STUDY),
                study_id=STUDY,
            )
        ]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._current()[trial_number]._trial_id

    def get_trial_number_from_id(self, trial_id: int) -> int:
        return self.get_trial(trial_id).number

    def get_trial(self, trial_id: int) -> FrozenTrial:
        for trial in self._current():
            if trial._trial_id == trial_id:
                return trial
        raise KeyError(f"No trial with trial_id {trial_id} exists.")

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._current()
        chosen = trials if states is None else [trial for trial in trials if trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    # ------------------------------------------------------------ refused

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._refuse()

    def delete_study(self, study_id: int) -> None:
        self._refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._refuse()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        self._refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PermissionError(
            f"load_study opens {self._path} for reading only; eventhpo.create_study opens a study to go on"
        )


def _of_job(state: State, trial: Trial, shown: FrozenTrial) -> FrozenTrial:
    """Return a trial of a search with jobs: its curve as reported, and when its jobs ran."""
    frozen = copy.copy(shown)
    attempt = trial.last
    if attempt is not None:
        curve = attempt.curves[0]
        if state.single:
            frozen.intermediate_values = dict(zip(curve.iterations, curve.values, strict=True))
        started = trial.attempts[0].started_at
        frozen.datetime_start = None if started is None else local_time(started)
        ended = attempt.finished
        frozen.datetime_complete = None
        if trial.finished is not None and ended is not None:
            frozen.datetime_complete = local_time(ended.wall)
        frozen._user_attrs = {"attempts": len(trial.attempts), **({"job": attempt.job_id} if attempt.job_id else {})}
    if trial.finished is not None and trial.finished.state in ("failed", "aborted"):
        frozen._user_attrs = {**frozen._user_attrs, "why": trial.finished.why}
    return frozen
