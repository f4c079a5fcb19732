"""How much each parameter mattered, as Optuna works it out from the trials of a log."""

from __future__ import annotations

import math

import optuna
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.state import State
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.optuna_adapter.state_view import STUDY, StateView
from eventhpo.study.frozen_trials import FrozenTrials
from replay.report.data import ImportanceRows
from replay.report.parameters import label

FEWEST = 4  # completed trials with a value: with fewer any answer is chance
SEED = 0  # of the forests: one log has one report


def importance(state: State) -> ImportanceRows:
    """Return the importance of each parameter in the completed trials of *state*, or why it is not known.

    By fANOVA, with a fixed seed; by PED-ANOVA where scikit-learn is not installed.
    """
    rows = ImportanceRows()
    trials = [t for t in optuna_trials(state) if t.state is TrialState.COMPLETE]
    if len(trials) < FEWEST:
        rows.why_not = f"it takes {FEWEST} completed trials, and there {_are(len(trials))}"
        return rows
    with quiet():
        study = _study(state, trials)
        evaluator, rows.method = _evaluator()
    for objective in range(len(state.search.objectives)):
        try:
            by_name = _importances(study, evaluator, objective)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            rows.why_not = f"Optuna cannot say: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}"
            continue
        for name, value in by_name.items():
            if not math.isnan(value):
                rows.objective.append(objective)
                rows.parameter.append(label(name))
                rows.importance.append(float(value))
    if not rows.parameter and not rows.why_not:
        rows.why_not = "no parameter has more than one value in the trials that completed"
    return rows


def _study(state: State, trials: list[FrozenTrial]) -> optuna.Study:
    """Return a study of its own with *trials*."""
    directions = [StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in state.search.objectives]
    study = optuna.create_study(directions=directions)
    study.add_trials(trials)
    return study


def _are(count: int) -> str:
    return "is one" if count == 1 else f"are {count}" if count else "is none"


def optuna_trials(state: State) -> list[FrozenTrial]:
    """Return the trials of *state* as Optuna knows them, by number."""
    if state.study is not None:
        return FrozenTrials(state.study).all()
    view = StateView(state)
    view.refresh()
    return view.get_all_trials(STUDY)


def _evaluator() -> tuple[BaseImportanceEvaluator, str]:
    try:
        return FanovaImportanceEvaluator(seed=SEED), "fANOVA"
    except ImportError:
        return PedAnovaImportanceEvaluator(), "PED-ANOVA"


def _importances(study: optuna.Study, evaluator: BaseImportanceEvaluator, objective: int) -> dict[str, float]:
    with quiet():
        return optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: trial.values[objective]
        )
