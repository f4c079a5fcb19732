"""What a pruner's rule finds at a point of an Optuna study, from the state before the row that judges it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_events import PointJudged, StudyTrialState
from eventhpo.core.fold.study_state import StudyTrial
from eventhpo.core.search.spec import StudyJobs
from eventhpo.optuna_adapter.auto_resource import latched_args
from replay.explain import pruner_rules
from replay.explain.pruner_rules.findings import AnyFinding
from replay.explain.pruner_rules.pruner_view import PrunerView, TrialCurve, VisibleState
from replay.explain.verdict_history import RUNG

_STATES: dict[StudyTrialState, VisibleState] = {
    "waiting": "running",
    "running": "running",
    "completed": "completed",
    "pruned": "pruned",
    "failed": "failed",
}


def study_finding(state: State, event: PointJudged) -> AnyFinding | None:
    """Return what the rule of the study's pruner finds at the point of *event*; *state* is the one before it.

    None if the study does not decide: its pruner belongs to the caller then, and its rule is not known.
    """
    study, jobs = state.study, state.search.jobs
    if study is None or not isinstance(jobs, StudyJobs) or not jobs.decides:
        return None
    own = study.trials[event.trial]
    points = dict(own.points) | ({} if event.value is None else {event.step: float(event.value)})
    if event.step not in points:
        return None
    curve = TrialCurve(
        trial=own.number,
        state="running",
        points={step: value for step, value in points.items() if step <= event.step},
        rungs=_rungs(own),
    )
    others = [_curve(trial) for trial in study.trials if trial.number != own.number]
    view = PrunerView(state.search.name, state.search.objectives[0].maximize, curve, others)
    pruner = state.search.pruner
    latched = study.latched if event.latched is None else event.latched
    return pruner_rules.find(pruner.name, latched_args(pruner, latched), view)


def _curve(trial: StudyTrial) -> TrialCurve:
    value = trial.values[0] if trial.values and trial.state == "completed" else None
    return TrialCurve(
        trial=trial.number, state=_STATES[trial.state], points=dict(trial.points), value=value, rungs=_rungs(trial)
    )


def _rungs(trial: StudyTrial) -> dict[int, float]:
    written = ((name, attribute.value) for name, attribute in trial.system_attrs.items())
    return dict(_read_rungs(written))


def _read_rungs(attributes: Iterable[tuple[str, str]]) -> Iterable[tuple[int, float]]:
    for name, value in attributes:
        if name.startswith(RUNG) and name.removeprefix(RUNG).isdecimal():
            yield int(name.removeprefix(RUNG)), float(json.loads(value))
