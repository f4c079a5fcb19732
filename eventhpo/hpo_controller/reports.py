"""The reports on the optimizer's task: plain figures of the log, without a request for any job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from eventhpo.core.fold.state import State

HEAD = ("task id", "trial", "status", "why", "iteration")


class FinishedTrial(msgspec.Struct, frozen=True):
    """A trial with its outcome, copied out of the state."""

    trial: int
    task_id: str
    status: str
    why: str
    iteration: int
    values: tuple[float, ...]  # empty if it did not complete
    params: dict[str, Any]


def finished_trials(state: State) -> list[FinishedTrial]:
    """Return the finished trials that had a job, by number; imported ones are none."""
    return [
        FinishedTrial(
            trial=trial.number,
            task_id=trial.last.job_id or "",
            status=trial.finished.state,
            why=trial.finished.why,
            iteration=trial.last.highest or 0,
            values=tuple(map(float, trial.finished.values or ())) if trial.finished.state == "completed" else (),
            params=dict(trial.params),
        )
        for trial in state.trials
        if trial.finished is not None and trial.last is not None
    ]


def settled(trials: Sequence[FinishedTrial], unfinished: int | None) -> list[FinishedTrial]:
    """Return the trials before the first unfinished one: what is said of them does not change any more."""
    return [trial for trial in trials if unfinished is None or trial.trial < unfinished]


def first_unfinished(state: State) -> int | None:
    """Return the number of the first trial without an outcome, None if there is none."""
    return min((number for number, trial in state.active.items() if trial.finished is None), default=None)


def summary_table(trials: Sequence[FinishedTrial], titles: Sequence[str]) -> list[list[Any]]:
    """Return the summary: a head, then a row for each trial, also if none has completed.

    A trial without a value has empty cells for its objectives, and its `why` says what became of it.
    """
    names = sorted({name for trial in trials for name in trial.params})
    rows: list[list[Any]] = [[*HEAD, *titles, *names]]
    for trial in trials:
        values: Sequence[Any] = trial.values or [""] * len(titles)
        cells = [trial.params.get(name, "") for name in names]
        rows.append([trial.task_id, trial.trial, trial.status, trial.why, trial.iteration, *values, *cells])
    return rows


def best_and_last(trials: Sequence[FinishedTrial], number: int, sign: float) -> list[tuple[int, float, float]]:
    """Return (trial + 1, best so far, own value) of objective *number* for each completed trial, by trial."""
    rows: list[tuple[int, float, float]] = []
    for trial in trials:
        if trial.values:
            value = trial.values[number]
            best = value if not rows else max(rows[-1][1], value) if sign > 0 else min(rows[-1][1], value)
            rows.append((trial.trial + 1, best, value))
    return rows


def parallel_coordinates(trials: Sequence[FinishedTrial], titles: Sequence[str]) -> dict[str, Any]:
    """Return the plotly figure of completed trials: an axis for each parameter, then one for each objective."""
    names = sorted({name for trial in trials for name in trial.params})
    axes = [axis(name, [trial.params.get(name, "") for trial in trials]) for name in names]
    axes += [axis(title, [trial.values[index] for trial in trials]) for index, title in enumerate(titles)]
    line = {"colorscale": "Viridis", "color": [trial.values[-1] for trial in trials]}
    return {"data": [{"type": "parcoords", "line": line, "dimensions": axes}], "layout": {}}


def axis(label: str, cells: Sequence[Any]) -> dict[str, Any]:
    """Return the axis of one column: numbers as they are, anything else as one tick for each different text."""
    if all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells):
        return {"label": label, "values": [float(cell) for cell in cells]}
    texts = sorted({str(cell) for cell in cells})
    values = [texts.index(str(cell)) for cell in cells]
    return {"label": label, "values": values, "tickvals": list(range(len(texts))), "ticktext": texts}
