"""Which trials are best: a total order, late points included, ties by trial number."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from eventhpo.core.fold.curve import meaning, worth
from eventhpo.core.fold.event_parts import ImportedTrial
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.search.spec import Objective


def values(state: State, trial: Trial) -> list[float | None]:
    """Return each objective's value over everything that the trial's last attempt reported.

    That of an imported trial is what it was told, of a pruned one the meaning of its curve.
    """
    if state.study is not None:
        return _of_study(state, trial)
    if trial.imported is not None:
        return _told(state, trial.imported)
    if not state.search.space and trial.finished is not None and trial.finished.values is not None:
        return [float(value) for value in trial.finished.values]  # a study's log as a search: told, not reported
    if trial.last is None:
        return [None] * len(state.search.objectives)
    pairs = zip(state.search.objectives, trial.last.curves, strict=True)
    exact = () if trial.last.ended is None else trial.last.ended.exact
    return [worth(objective, curve, len(curve.values), exact) for objective, curve in pairs]


def _of_study(state: State, trial: Trial) -> list[float | None]:
    """Return what a trial of a study was told; of one that was told nothing, its last report."""
    assert state.study is not None
    own = state.study.trials[trial.number]
    if own.values is not None:
        return list(own.values)
    lacking: list[float | None] = [None] * len(state.search.objectives)
    return [own.points[max(own.points)]] if own.points and state.single else lacking


def _told(state: State, trial: ImportedTrial) -> list[float | None]:
    if trial.values is not None:
        return [float(v) for v in trial.values]
    lacking: list[float | None] = [None] * len(state.search.objectives)
    return [meaning(state.search.objectives[0], [float(v) for v in trial.reported])] if state.single else lacking


def top(
    state: State,
    k: int | None = None,
    *,
    only_completed: bool = False,
    include_failed: bool = False,
    include_imported: bool = False,
) -> list[Trial]:
    """Return the best *k* trials, best first.

    Running, completed and pruned ones; failed and aborted ones only with
    *include_failed*, those of another study, which have no job here, only with
    *include_imported*. By value, NaN after every number and no value last, then by
    trial number; with several objectives by successive non-dominated fronts.
    """
    trials = listed(
        state, only_completed=only_completed, include_failed=include_failed, include_imported=include_imported
    )
    costs = {t.number: _costs(state, t) for t in trials}
    if state.single:
        order = heapq.nsmallest(len(trials) if k is None else k, trials, key=lambda t: (costs[t.number], t.number))
    else:
        order = [t for front in _fronts(trials, costs) for t in front]
    return order if k is None else order[:k]


def listed(
    state: State, *, only_completed: bool = False, include_failed: bool = False, include_imported: bool = False
) -> list[Trial]:
    """Return the trials that `top` ranks, by number."""
    trials = (t for t in state.trials if include_imported or t.imported is None)
    return [t for t in trials if _listed(t, only_completed, include_failed)]


def pareto_front(state: State, trials: Sequence[Trial]) -> list[Trial]:
    """Return those of *trials* that no other of them dominates, in their order."""
    costs = {t.number: _costs(state, t) for t in trials}
    return next(iter(_fronts(trials, costs)), [])


def _listed(trial: Trial, only_completed: bool, include_failed: bool) -> bool:
    state = "running" if trial.finished is None else trial.finished.state
    if only_completed:
        return state == "completed"
    return include_failed or state in ("running", "completed", "pruned")


def _costs(state: State, trial: Trial) -> tuple[tuple[int, float], ...]:
    pairs = zip(state.search.objectives, values(state, trial), strict=True)
    return tuple(_cost(objective, value) for objective, value in pairs)


def _cost(objective: Objective, value: float | None) -> tuple[int, float]:
    """Return what sorts better values first: numbers, then NaN, then none."""
    if value is None:
        return (2, 0.0)
    if math.isnan(value):
        return (1, 0.0)
    return (0, -value if objective.maximize else value)


def _fronts(trials: Sequence[Trial], costs: dict[int, tuple[tuple[int, float], ...]]) -> list[list[Trial]]:
    """Return the non-dominated fronts, each in the order of *trials*.

    Taken by their costs, a trial can only be dominated by one that was taken before. If a front dominates it, so do
    the fronts before that one, so its own is found by bisection (efficient non-dominated sort, Zhang et al. 2015).
    """
    fronts: list[list[int]] = []  # places in *trials*
    cost_of = [costs[trial.number] for trial in trials]
    for place in sorted(range(len(trials)), key=lambda place: (cost_of[place], place)):
        above, below = 0, len(fronts)  # fronts before `above` dominate it, those from `below` on do not
        while above < below:
            middle = (above + below) // 2
            if any(_dominates(cost_of[other], cost_of[place]) for other in reversed(fronts[middle])):
                above = middle + 1
            else:
                below = middle
        if above == len(fronts):
            fronts.append([])
        fronts[above].append(place)
    return [[trials[place] for place in sorted(front)] for front in fronts]


def _dominates(a: tuple[tuple[int, float], ...], b: tuple[tuple[int, float], ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
