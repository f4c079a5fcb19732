"""Trials, attempts, curves and decisions as data frames of pandas."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from eventhpo.errors import not_installed
from replay.query.decisions import DecisionRow
from replay.query.loaded_parts import LoadedAttempt, LoadedObjective, LoadedTrial

if TYPE_CHECKING:
    import pandas as pd

FrameRow: TypeAlias = dict[str, Any]
_POINT = ("trial", "attempt", "objective", "iteration", "value", "late", "seq")


def of_trials(
    trials: Sequence[LoadedTrial], objectives: Sequence[LoadedObjective], parameters: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each trial, with a column for each objective and each parameter.

    Columns have Optuna's names: `value` (of several objectives `values_NAME`) and `params_NAME`.

    Raises:
        Usage: pandas is not installed.
    """
    values = ("value",) if len(objectives) == 1 else tuple(f"values_{objective.name}" for objective in objectives)
    others = tuple(
        name for name in LoadedTrial.__struct_fields__ if name not in ("params", "values", "attempts", "curve")
    )
    columns = {name: [getattr(trial, name) for trial in trials] for name in others}
    columns |= {name: [trial.values[place] for trial in trials] for place, name in enumerate(values)}
    columns |= {f"params_{name}": [trial.params.get(name) for trial in trials] for name in parameters}
    columns["attempts"] = [len(trial.attempts) for trial in trials]
    columns["iterations"] = [sum(attempt.iterations or 0 for attempt in trial.attempts) for trial in trials]
    columns["compute_time"] = [sum(attempt.compute_time for attempt in trial.attempts) for trial in trials]
    first = ("number", "status", "rank", *values, *(f"params_{name}" for name in parameters))
    return _frame({name: columns[name] for name in dict.fromkeys((*first, *columns))})


def of_attempts(attempts: Sequence[LoadedAttempt]) -> pd.DataFrame:
    """Return a row for each attempt.

    Raises:
        Usage: pandas is not installed.
    """
    names = (name for name in LoadedAttempt.__struct_fields__ if name != "curves")
    return _frame({name: [getattr(attempt, name) for attempt in attempts] for name in names})


def of_curves(attempts: Sequence[LoadedAttempt]) -> pd.DataFrame:
    """Return a row for each point that an attempt reported of an objective.

    Raises:
        Usage: pandas is not installed.
    """
    points = list(_points(attempts))
    return _frame({name: [point[place] for point in points] for place, name in enumerate(_POINT)})


def _points(attempts: Sequence[LoadedAttempt]) -> Iterator[tuple[Any, ...]]:
    for attempt in attempts:
        for curve in attempt.curves:
            late_from = len(curve.values) if curve.late_from is None else curve.late_from
            for place, point in enumerate(zip(curve.iterations, curve.values, strict=True)):
                yield attempt.trial, attempt.attempt, curve.objective, *point, place >= late_from, curve.seqs[place]


def of_decisions(decisions: Sequence[DecisionRow]) -> pd.DataFrame:
    """Return a row for each decision; `at` is a time in UTC.

    Raises:
        Usage: pandas is not installed.
    """
    rows = [msgspec.structs.asdict(decision) for decision in decisions]
    columns = {name: [row[name] for row in rows] for name in DecisionRow.__struct_fields__}
    for name in ("value", "needed", "margin"):
        columns[name] = [None if number is None else float(number) for number in columns[name]]
    frame = _frame(columns)
    import pandas as pd  # noqa: PLC0415  an extra

    frame["at"] = pd.to_datetime(frame["at"], unit="us", utc=True)
    return frame


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    if importlib.util.find_spec("pandas") is None:
        raise not_installed("to_dataframe needs pandas, which is", "pandas")
    import pandas as pd  # noqa: PLC0415  an extra

    return pd.DataFrame({name: _column(values) for name, values in columns.items()}, columns=list(columns))


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    """Return *values* as a column of their own type: whole numbers stay whole also where some are missing."""
    import pandas as pd  # noqa: PLC0415  an extra

    kinds = {type(value) for value in values if value is not None}
    missing = any(value is None for value in values)
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pd.Series(values, dtype="Int64" if missing else "int64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if missing else "bool")
    if float in kinds and kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series(values) if len(kinds) == 1 else pd.Series(values, dtype="object")
