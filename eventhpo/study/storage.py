"""Optuna's storage on event logs: a file is one study, a folder holds several, a file each."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sqlite3
import sys
import uuid
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
)
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.events import SearchCreated
from eventhpo.core.fold.study_events import (
    AttributeSet,
    ParameterSuggested,
    PointJudged,
    TrialAdded,
    TrialAsked,
    TrialTold,
)
from eventhpo.core.fold.study_state import StudyTrial
from eventhpo.core.search.spec import POLICY, ComponentConfig, Limits, Objective, Search, StudyJobs, to_num
from eventhpo.errors import Usage
from eventhpo.log import sql
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.study.frozen_trials import NAMES, distribution, lost, naive_microseconds, with_point
from eventhpo.study.open_study import OpenStudy, open_study
from eventhpo.study.questions import directions, parameter

SPAN = 10**9  # trial ids of one study: those of study n begin at n * SPAN
_FILE = re.compile(r"(\d+)(?:-[\w.-]*)?\.(db|deleted)")
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
UNKNOWN = ComponentConfig("unknown")  # the sampler and pruner of a caller who uses the storage alone


class EventStorage(BaseStorage):
    """A storage for `optuna.create_study(storage=...)` whose truth is an event log.

    What another process or a finished call rests on is on the disk before the call returns; reports
    and attributes of a trial that runs in this process wait at most a tenth of a second. Threads
    may share it. A second process is refused: `eventhpo serve` is for that.

    Args:
        path: A log of one study (made when it is first needed), or a folder, or a path without a suffix, which
            becomes a folder: it holds several studies, a file each.

    Raises:
        Busy: another process has the log.
        Usage: the file is no log of a study.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._folder = self._path.is_dir() or (not self._path.suffix and not self._path.exists())
        self._cwd_path = self._path.resolve()
        self._open: dict[int, OpenStudy] = {}  # of the studies that were asked for: most calls are about one of them
        if self._folder:
            self._path.mkdir(parents=True, exist_ok=True)
        elif self._path.exists():
            _refuse_other_databases(self._path)
            open_study(self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        return EventStorage, (str(self._cwd_path),)

    def close(self) -> None:
        """Commit all, and let the logs rest for other processes."""
        for study in self._studies().values():
            study.close()

    # ---------------------------------------------------------------- which study

    def _files(self) -> dict[int, Path]:
        """Return the file of each study by the study's id."""
        if not self._folder:
            return {0: self._path} if self._path.exists() else {}
        named = ((_FILE.fullmatch(file.name), file) for file in sorted(self._cwd_path.iterdir()))
        return {int(match[1]): file for match, file in named if match is not None and match[2] == "db"}

    def _studies(self) -> dict[int, OpenStudy]:
        return {number: open_study(file) for number, file in self._files().items()}

    def _study(self, study_id: int) -> OpenStudy:
        opened = self._open.get(study_id)
        if opened is None or not opened.usable:
            file = self._files().get(study_id)
            if file is None:
                raise KeyError(f"No study with study_id {study_id} exists.")
            opened = self._open[study_id] = open_study(file)
        return opened

    def opened(self, study_id: int) -> OpenStudy:
        """Return the open log of a study."""
        return self._study(study_id)

    def studies(self) -> list[OpenStudy]:
        """Return the open logs of all studies."""
        return list(self._studies().values())

    def study_of(self, trial_id: int) -> OpenStudy:
        """Return the open log of the study that has a trial.

        Raises:
            KeyError: there is no such trial.
        """
        return self._of_trial(trial_id)

    def _of_trial(self, trial_id: int) -> OpenStudy:
        missing = KeyError(f"No trial with trial_id {trial_id} exists.")
        try:
            study = self._study(trial_id // SPAN)
        except KeyError:
            raise missing from None
        if trial_id not in study.study.ids:
            raise missing
        return study

    def _updatable(self, study: OpenStudy, trial_id: int, call: str) -> StudyTrial:
        """Return the trial of *trial_id* if it may change.

        Raises:
            UpdateFinishedTrialError: it is over, or this attempt of it was lost.
        """
        trial = study.study.current(trial_id)
        if trial is None:
            study.late(trial_id, call)
            raise UpdateFinishedTrialError(
                f"Trial#{study.study.ids[trial_id][0]} was given to another process: this attempt counts as lost."
            )
        self.check_trial_is_updatable(trial_id, study.trials.get(trial.number).state)
        return trial

    # ---------------------------------------------------------------- studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        search = Search(
            name=f"no-name-{uuid.uuid4()}" if study_name is None else study_name,
            objectives=objectives(directions),
            space=(),
            limits=Limits(),
            sampler=UNKNOWN,
            pruner=UNKNOWN,
            seed=0,
            jobs=StudyJobs(),
        )
        return self.create_recorded_study(search)

    def create_recorded_study(self, search: Search) -> int:
        """Create the log of a study, whose sampler and pruner *search* names; return the study's id.

        Raises:
            DuplicatedStudyError: there is a study of that name.
            Usage: the log is of another study, and a file holds one.
        """
        for study in self._studies().values():
            if study.state.search.name == search.name:
                raise DuplicatedStudyError(
                    f"Another study with name '{search.name}' already exists. Please specify a different name, or "
                    "reuse the existing one by setting `load_if_exists` (for Python API) or `--skip-if-exists` flag "
                    "(for CLI)."
                )
        number = 0
        if self._folder:
            matches = (_FILE.fullmatch(file.name) for file in self._cwd_path.iterdir())
            number = 1 + max((int(match[1]) for match in matches if match is not None), default=-1)
        elif self._path.exists():
            [study] = self._studies().values()
            raise Usage(
                f"{self._path} holds the study {study.state.search.name!r}, and one file is one study: take another "
                f"file for {search.name!r}, or a folder for several"
            )
        open_study(self._file(number, search.name), lambda: created(search))
        return number

    def _file(self, number: int, name: str) -> Path:
        if not self._folder:
            return self._path
        slug = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60]
        return self._cwd_path / f"{number:04d}-{slug}.db"

    def delete_study(self, study_id: int) -> None:
        study = self._study(study_id)
        if not self._folder:
            raise Usage(f"eventhpo deletes no log: to delete the study, delete the file {self._path}")
        study.close()
        (self._cwd_path / f"{study_id:04d}.deleted").touch()  # its number is never used again
        for file in self._cwd_path.glob(f"{study.path.name}*"):
            file.unlink()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._study(study_id).record(AttributeSet(name=key, value=as_json(value)), durable=True)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._study(study_id).record(AttributeSet(system=True, name=key, value=as_json(value)), durable=True)

    def get_study_id_from_name(self, study_name: str) -> int:
        for number, study in self._studies().items():
            if study.state.search.name == study_name:
                return number
        raise KeyError(f"No such study {study_name}.")

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).state.search.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return directions(self._study(study_id).state.search)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        study = self._study(study_id)
        with study.lock:
            return {name: json.loads(value) for name, value in study.study.user_attrs.items()}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        study = self._study(study_id)
        with study.lock:
            return {name: json.loads(value) for name, value in study.study.system_attrs.items()}

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=study.state.search.name,
                direction=None,
                directions=directions(study.state.search),
                user_attrs=self.get_study_user_attrs(number),
                system_attrs=self.get_study_system_attrs(number),
                study_id=number,
            )
            for number, study in self._studies().items()
        ]

    # ---------------------------------------------------------------- trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        study = self._study(study_id)
        with study.lock:
            trial_id = max(study.study.next_id, study_id * SPAN)
            number = len(study.study.trials)
            if template_trial is not None:
                study.record(added(template_trial, number, trial_id), durable=True)
            else:
                asked = TrialAsked(trial=number, attempt=0, trial_id=trial_id, loop=_in_optimize())
                study.record(asked, durable=True)
            return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        study = self._of_trial(trial_id)
        with study.lock:
            trial = self._updatable(study, trial_id, "set_trial_param")
            require_compatible(study, param_name, distribution)
            there = trial.parameters.get(param_name)
            if there is not None and float(there.internal) == param_value_internal:
                return  # said again, by a client whose first answer was lost
            if study.decider is not None:
                study.record(*study.decider.parameter_event(trial, param_name, param_value_internal, distribution))
                return
            value = distribution.to_external_repr(param_value_internal)
            event = ParameterSuggested(
                trial=trial.number,
                attempt=trial.attempt,
                parameter=parameter(param_name, value, distribution),
                source="unknown",
            )
            study.record(event)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        study = self._study(study_id)
        if not 0 <= trial_number < len(study.study.trials):
            raise KeyError(f"No trial with trial number {trial_number} exists in study with study_id {study_id}.")
        return study.study.trials[trial_number].trial_id

    def get_trial_number_from_id(self, trial_id: int) -> int:
        return self._of_trial(trial_id).study.ids[trial_id][0]

    def get_trial_param(self, trial_id: int, param_name: str) -> float:
        study = self._of_trial(trial_id)
        with study.lock:
            trial = study.study.current(trial_id)
            if trial is None or param_name not in trial.parameters:
                raise KeyError(param_name)
            return float(trial.parameters[param_name].internal)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        study = self._of_trial(trial_id)
        with study.lock:
            if study.study.current(trial_id) is None and state.is_finished():
                told = "" if values is None else f" with {list(values)}"
                study.late(trial_id, "set_trial_state_values", f"told {state.name}{told}")
                return False
            trial = self._updatable(study, trial_id, "set_trial_state_values")
            if state == TrialState.RUNNING:
                return self._take(study, trial)
            if not state.is_finished():
                raise Usage(f"trial {trial.number} cannot be set to {state.name}: it waits only until it is asked for")
            self._tell(study, trial, state, values)
            return True

    @staticmethod
    def _take(study: OpenStudy, trial: StudyTrial) -> bool:
        if trial.state != "waiting":
            return False
        asked = TrialAsked(trial=trial.number, attempt=trial.attempt + 1, trial_id=trial.trial_id, loop=_in_optimize())
        study.record(asked, durable=True)
        return True

    def _tell(self, study: OpenStudy, trial: StudyTrial, state: TrialState, values: Sequence[float] | None) -> None:
        event = TrialTold(
            trial=trial.number,
            attempt=trial.attempt,
            state=NAMES[state],  # type: ignore[arg-type]
            values=None if values is None else tuple(to_num(float(value)) for value in values),
        )
        told, cause = (event, None) if study.decider is None else study.decider.told_event(trial, event)
        study.record(told, cause, durable=True)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        study = self._of_trial(trial_id)
        with study.lock:
            trial = self._updatable(study, trial_id, "set_trial_intermediate_value")
            there = trial.points.get(step)
            if there is not None and to_num(there) == to_num(float(intermediate_value)):
                return  # likewise
            if study.decider is not None and trial.state == "running":
                study.hold(trial, step, float(intermediate_value))
                return
            value = to_num(float(intermediate_value))
            study.record(PointJudged(trial=trial.number, attempt=trial.attempt, step=step, value=value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_trial_attr(trial_id, key, value, system=False)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_trial_attr(trial_id, key, value, system=True)

    def _set_trial_attr(self, trial_id: int, key: str, value: Any, *, system: bool) -> None:
        study = self._of_trial(trial_id)
        with study.lock:
            trial = self._updatable(study, trial_id, "set_trial_system_attr" if system else "set_trial_user_attr")
            event = AttributeSet(
                trial=trial.number, attempt=trial.attempt, system=system, name=key, value=as_json(value)
            )
            study.record(event)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        study = self._of_trial(trial_id)
        with study.lock:
            trial = study.study.current(trial_id)
            if trial is None:
                return lost(study.study.trials[study.study.ids[trial_id][0]], trial_id)
            held = study.held(trial.number)
            frozen = study.trials.get(trial.number)
            return frozen if held is None else with_point(frozen, held.step, held.value)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        study = self._study(study_id)
        with study.lock:
            study.record_held()
            only_unfinished = states is not None and not any(state in states for state in _FINISHED)
            trials = study.trials.unfinished() if only_unfinished else study.trials.all()
            chosen = list(trials) if states is None else [trial for trial in trials if trial.state in states]
        return [_copied(trial) for trial in chosen] if deepcopy else chosen

    def remove_session(self) -> None:
        for study in self._studies().values():
            study.commit()


# ---------------------------------------------------------------- parts


def require_compatible(study: OpenStudy, name: str, kind: BaseDistribution) -> None:
    """Return if a parameter may have this distribution after those that it had in earlier trials.

    Raises:
        ValueError: Optuna does not allow it.
    """
    for trial in reversed(study.study.trials):
        if name in trial.parameters:
            check_distribution_compatibility(distribution(trial.parameters[name].distribution), kind)
            return


def created(search: Search) -> SearchCreated:
    """Return the first event of a study's log."""
    return SearchCreated(search_id=secrets.token_hex(16), search=search, policy=POLICY, fingerprint=fingerprint())


def objectives(given: Sequence[StudyDirection]) -> tuple[Objective, ...]:
    """Return the objectives of a study, which have no names of their own."""
    signs: list[Any] = ["max" if direction == StudyDirection.MAXIMIZE else "min" for direction in given]
    return tuple(Objective("value", str(number), sign) for number, sign in enumerate(signs))


def added(template: FrozenTrial, number: int, trial_id: int, *, imported: bool = False) -> TrialAdded:
    """Return the event that adds *template* as a trial."""
    return TrialAdded(
        trial=number,
        trial_id=trial_id,
        state=NAMES[template.state],
        parameters=tuple(
            parameter(name, value, template.distributions[name]) for name, value in template.params.items()
        ),
        values=None if template.values is None else tuple(to_num(float(value)) for value in template.values),
        points=tuple((step, to_num(float(value))) for step, value in template.intermediate_values.items()),
        user_attrs=tuple((name, as_json(value)) for name, value in template.user_attrs.items()),
        system_attrs=tuple((name, as_json(value)) for name, value in template.system_attrs.items()),
        started=naive_microseconds(template.datetime_start),
        completed=naive_microseconds(template.datetime_complete),
        imported=imported,
    )


def as_json(value: Any) -> str:
    """Return an attribute's value as JSON text.

    Raises:
        TypeError: JSON has no form for it.
    """
    return json.dumps(value)


def _copied(trial: FrozenTrial) -> FrozenTrial:
    import copy  # noqa: PLC0415

    return copy.deepcopy(trial)


def _in_optimize() -> bool:
    """Whether the caller asks within `Study.optimize`, which nobody tells a storage."""
    frame = sys._getframe(2)
    for _ in range(12):  # from `ask` in `_run_trial` it is three frames, with a caller's own wrappers a few more
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "optuna.study._optimize":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _refuse_other_databases(path: Path) -> None:
    """Raise if *path* is a database or a journal of Optuna's own."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"SQLite format 3"):
        own, source = False, f"sqlite:///{path}"
        with (
            contextlib.suppress(sqlite3.Error),  # what opens it as a log says how it is damaged
            contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db,
        ):
            own = sql.is_of_optuna(db)
    else:
        own, source = b'"op_code"' in start.partition(b"\n")[0], str(path)
    if own:
        raise Usage(f"{path} is a storage of Optuna itself: import it with `eventhpo import {source} NAME -o LOG`")
