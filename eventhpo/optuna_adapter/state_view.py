"""What Optuna sees of a search: a read-only storage over the state, with a scratch layer for one question.

A finished trial is shown as it finished, a running one up to its last verdict. What a
sampler or pruner writes while it answers goes to the scratch layer. The caller reads it
there; the next question clears it.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.changes import Changes
from eventhpo.core.fold.curve import extend_meaning
from eventhpo.core.fold.events import Event
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.optuna_adapter import cma_state
from eventhpo.optuna_adapter.distributions import distributions

STUDY = 0  # the one study's id; a trial's id is its number
ALWAYS = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)  # Optuna wants a time; no decision reads it


class ShownTrial:
    """A trial as Optuna sees it, and how much of the state's trial it shows so far."""

    def __init__(self, trial: Trial, distributions: dict[str, BaseDistribution]) -> None:
        self.attempt = -1
        self.judged = 0
        self.attrs = 0
        self.frozen = FrozenTrial(
            number=trial.number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=ALWAYS,
            datetime_complete=None,
            params={name: trial.point[name] for name in distributions},
            distributions=distributions,
            user_attrs={},
            system_attrs=restored(trial.attrs),
            intermediate_values={},
            trial_id=trial.number,
        )


class StateView(BaseStorage):
    """A `BaseStorage` over one state, kept from question to question.

    `refresh` takes in what changed since the last question; its work does not grow
    with the number of finished trials, and not with that of running ones if the view is
    told of each event.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._changes = Changes(state)
        self.distributions = distributions(state.search.space)
        self._shown: list[ShownTrial] = []
        self._trials: list[FrozenTrial] = []
        self.running: set[int] = set()  # numbers of trials that may still change
        self.completed: list[FrozenTrial] = []  # in the order in which they completed
        self.attrs_changed: list[int] = []  # a trial's number for each change of its system attributes
        self.search_spaces: dict[bool, IntersectionSearchSpace] = {}  # see `hand_on_search_space`
        self.scratch: dict[int, FrozenTrial] = {}
        self.written: list[tuple[int, str, Any]] = []  # (trial, name, value) of this question
        self.written_study: dict[str, Any] = {}

    # ------------------------------------------------------------ keeping up with the state

    def tell(self, event: Event) -> None:
        """Take in an event that was folded into the state."""
        self._changes.tell(event)

    def refresh(self) -> None:
        """Show the state as it is now, and forget the question before."""
        self.scratch, self.written, self.written_study = {}, [], {}
        changed, shown_before = self._changes.taken(), len(self._shown)
        for trial in self._state.trials[shown_before:]:
            # In the order of the space: some samplers go by it, and a log gives tables back sorted.
            shown = ShownTrial(trial, {n: d for n, d in self.distributions.items() if n in trial.point})
            self._shown.append(shown)
            self._trials.append(shown.frozen)
            self.running.add(trial.number)
            self.attrs_changed.append(trial.number)
        new = range(shown_before, len(self._shown))
        for number in sorted(self.running if changed is None else self.running.intersection((*changed, *new))):
            self._catch_up(self._state.trials[number], self._shown[number])

    def _catch_up(self, trial: Trial, shown: ShownTrial) -> None:
        attempt = trial.last
        if trial.imported is not None:
            points = zip(trial.imported.iterations, map(float, trial.imported.reported), strict=True)
            shown.frozen.intermediate_values = dict(points)
        if attempt is not None:
            self._show_attempt(trial, attempt, shown)
        if trial.finished is not None or (attempt is not None and attempt.fate == "pruned"):
            self._show_outcome(trial, shown.frozen)
            self.running.discard(trial.number)

    def _show_attempt(self, trial: Trial, attempt: Attempt, shown: ShownTrial) -> None:
        frozen = shown.frozen
        if attempt.number != shown.attempt:
            frozen.intermediate_values = {}
            frozen._system_attrs = restored(trial.attrs)
            self.attrs_changed.append(trial.number)
            shown.attempt, shown.judged, shown.attrs = attempt.number, 0, 0
        if not self._state.single:
            return
        for position in range(shown.judged, attempt.judged):
            show_point(self._state, attempt, frozen, position)
        for attr in attempt.attrs[shown.attrs :]:
            frozen._system_attrs.update(restored({attr.name: attr.value}))
            self.attrs_changed.append(trial.number)
        shown.judged, shown.attrs = attempt.judged, len(attempt.attrs)

    def _show_outcome(self, trial: Trial, frozen: FrozenTrial) -> None:
        frozen.datetime_complete = ALWAYS
        finished = trial.finished
        if finished is None or finished.state == "pruned":
            frozen.state = TrialState.PRUNED
            last = frozen.last_step
            value = None if last is None else frozen.intermediate_values[last]
            frozen._values = None if value is None or math.isnan(value) else [value]
        elif finished.state == "completed" and finished.values is not None:
            frozen.state = TrialState.COMPLETE
            frozen._values = [float(v) for v in finished.values]
            self.completed.append(frozen)
        else:
            frozen.state = TrialState.FAIL

    @property
    def maximizes(self) -> bool | None:
        """Whether the one objective is maximized; None if there are several."""
        objectives = self._state.search.objectives
        return objectives[0].maximize if len(objectives) == 1 else None

    # ------------------------------------------------------------ the scratch layer

    def open_trial(self, fixed: dict[str, Any] | None) -> int:
        """Add a new running trial to the scratch layer; return its number."""
        number = len(self._trials)
        attrs: dict[str, Any] = {} if fixed is None else {"fixed_params": fixed}
        self.scratch[number] = FrozenTrial(
            number=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=ALWAYS,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs=attrs,
            intermediate_values={},
            trial_id=number,
        )
        return number

    def open_curve(self, number: int) -> FrozenTrial:
        """Return a copy of a running trial that this question may extend."""
        frozen = copy.copy(self._trials[number])
        frozen.intermediate_values = dict(frozen.intermediate_values)
        frozen._system_attrs = dict(frozen._system_attrs)
        self.scratch[number] = frozen
        return frozen

    def show_again(self, number: int, frozen: FrozenTrial) -> FrozenTrial:
        """Show a running trial as *frozen* again, forget what was written since, and return a copy for the pruner."""
        self.written.clear()
        self.written_study.clear()
        self.scratch[number] = frozen
        shown = copy.copy(frozen)
        shown._user_attrs, shown._system_attrs = dict(frozen._user_attrs), dict(frozen._system_attrs)
        return shown

    def _rewrite(self, trial_id: int) -> FrozenTrial:
        """Replace a trial by a copy and return the copy: a list that Optuna got earlier keeps the old one.

        SuccessiveHalvingPruner relies on it: it writes a trial's rung value, and then adds
        that value to those of a list that it got before the write.
        """
        frozen = self.scratch[trial_id] = copy.copy(self._get(trial_id))
        return frozen

    def _get(self, trial_id: int) -> FrozenTrial:
        return self.scratch[trial_id] if trial_id in self.scratch else self._trials[trial_id]

    # ------------------------------------------------------------ BaseStorage, reading

    def get_study_id_from_name(self, study_name: str) -> int:
        return STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._state.search.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [
            StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in self._state.search.objectives
        ]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {**self._state.study_attrs, **self.written_study}

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=self._state.search.name,
                direction=None,
                directions=self.get_study_directions(STUDY),
                user_attrs={},
                system_attrs=self.get_study_system_attrs(STUDY),
                study_id=STUDY,
            )
        ]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return trial_number

    def get_trial_number_from_id(self, trial_id: int) -> int:
        return trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._get(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = list(self._trials)
        for number in sorted(self.scratch):
            if number < len(trials):
                trials[number] = self.scratch[number]
            else:
                trials.append(self.scratch[number])
        if states is not None:
            trials = [t for t in trials if t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    # ------------------------------------------------------------ BaseStorage, writing: to the scratch layer

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        frozen = self._rewrite(trial_id)
        frozen.params = {**frozen.params, param_name: distribution.to_external_repr(param_value_internal)}
        frozen.distributions = {**frozen.distributions, param_name: distribution}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.written.append((trial_id, key, value))
        frozen = self._rewrite(trial_id)
        frozen._system_attrs = {**frozen._system_attrs, key: value}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.written_study[key] = value

    # ------------------------------------------------------------ BaseStorage, refused

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        _refuse()

    def delete_study(self, study_id: int) -> None:
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        _refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        _refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise PermissionError("a search is changed by its events only, never through Optuna's storage")


def show_point(state: State, attempt: Attempt, frozen: FrozenTrial, position: int) -> None:
    """Add the point at *position* of the attempt's curve to *frozen*."""
    curve, shown = attempt.curves[0], frozen.intermediate_values
    before = shown[curve.iterations[position - 1]] if position else None
    shown[curve.iterations[position]] = extend_meaning(state.search.objectives[0], before, curve.values[position])


_NAMED_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def restored_value(value: Any) -> Any:
    """Return an attribute's value as Optuna wrote it: the log has names for NaN and infinities."""
    return _NAMED_NUMBERS.get(value, value) if isinstance(value, str) else value


def restored(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes as Optuna wrote them."""
    return {name: restored_value(value) for name, value in cma_state.from_data(attrs).items()}
