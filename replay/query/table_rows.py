"""The rows of the tables that `eventhpo tables` writes and `eventhpo sql` asks.

Times are ISO texts in UTC, durations seconds. Values keep their own type; NaN, which SQLite has no number for, is NULL
with `is_nan` 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, TypeAlias

from eventhpo.core.fold.events import BudgetUpdated, trial_of
from eventhpo.core.search.spec import Num, Scalar
from eventhpo.views import formatting
from replay.query.decisions import DecisionRow
from replay.query.loaded_parts import LoadedCurve
from replay.query.loaded_search import LoadedSearch

FORMAT = 1  # of the tables; a change of a column gets the next one
MOST_COLUMNS = 1_500  # parameters with a column of their own: SQLite allows 2,000 columns
_LARGEST = 2**63  # of SQLite's whole numbers

TableRow: TypeAlias = dict[str, Any]


def search_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield the one row about the search, and up to which event the tables go."""
    yield {
        "search_id": search.search_id,
        "name": search.name,
        "seq": search.seq,
        "head": search.head,
        "recorded": _time(search.recorded),
        "state": search.state,
        "ending": search.ending,
        "sampler": search.sampler,
        "pruner": search.pruner,
        "seed": _storable(search.seed),
        "trials": len(search.trials),
        "format": FORMAT,
        "eventhpo": version("eventhpo"),
    }


def objective_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield the objectives, counted from 0."""
    for place, objective in enumerate(search.objectives):
        yield {"objective": place, "name": objective.name, "maximize": objective.maximize}


def parameter_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield the parameters, and which column of `params` each one has."""
    columns = param_columns(search.parameters)
    for place, name in enumerate(search.parameters):
        yield {"parameter": place, "name": name, "column": columns.get(name)}


def param_columns(names: Sequence[str]) -> dict[str, str]:
    """Return the column of each parameter: its name, with a number where SQLite could not tell two names apart."""
    columns: dict[str, str] = {}
    taken = {"trial"}
    for name in names[:MOST_COLUMNS]:
        base = name.replace("\0", "�") or "unnamed"
        column, count = base, 1
        while column.lower() in taken:
            count += 1
            column = f"{base}_{count}"
        taken.add(column.lower())
        columns[name] = column
    return columns


def trial_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield the trials; `value` is the first objective's, `values` has those of all."""
    for trial in search.trials:
        yield {
            "trial": trial.number,
            "status": trial.status,
            "rank": trial.rank,
            "value": _number(trial.value),
            "is_nan": _is_nan(trial.value),
            "attempts": len(trial.attempts),
            "iterations": sum(attempt.iterations or 0 for attempt in trial.attempts),
            "compute_time": sum(attempt.compute_time for attempt in trial.attempts),
            "why": trial.why,
            "source": trial.source,
            "imported": trial.imported,
            "imported_from": trial.imported_from,
            "seq": trial.seq,
            "suggested": _time(trial.suggested),
            "finished_seq": trial.finished_seq,
            "finished": _time(trial.finished),
        }


def value_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield each value of each trial, an objective a row."""
    for trial in search.trials:
        for place, value in enumerate(trial.values):
            if value is not None:
                row = {"trial": trial.number, "objective": place, "value": _number(value), "is_nan": _is_nan(value)}
                yield row


def param_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield the parameters of each trial, a column each; one that a trial does not have is NULL, as None is."""
    columns = param_columns(search.parameters)
    for trial in search.trials:
        given = {column: _storable(trial.params.get(name)) for name, column in columns.items()}
        yield {"trial": trial.number, **given}


def attempt_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield what each attempt meant for its trial: its status and what it was charged."""
    for attempt in search.attempts:
        yield {
            "trial": attempt.trial,
            "attempt": attempt.attempt,
            "status": attempt.status,
            "iterations": attempt.iterations,
            "late": attempt.late,
            "points": sum(len(curve.values) for curve in attempt.curves),
            "why": attempt.why,
            "seq": attempt.seq,
        }


def job_rows(search: LoadedSearch) -> Iterator[TableRow]:
    """Yield what ran: the process or task of each attempt."""
    for attempt in search.attempts:
        yield {
            "key": attempt.key,
            "trial": attempt.trial,
            "attempt": attempt.attempt,
            "job_id": attempt.job_id,
            "slot": attempt.slot,
            "started": _time(attempt.started),
            "ended": _time(attempt.ended),
            "compute_time": attempt.compute_time,
            "code": attempt.code,
            "signal": attempt.signal,
            "output": attempt.output,
        }


def metric_rows(search: LoadedSearch, after: int = 0) -> Iterator[TableRow]:
    """Yield each point of each curve of the trials that `changed_trials` names; an imported trial has attempt -1."""
    changed = changed_trials(search, after)
    for trial in (search.trials[number] for number in changed):
        for attempt in trial.attempts:
            for place, curve in enumerate(attempt.curves):
                yield from _points(trial.number, attempt.attempt, place, curve)
        if not trial.attempts and trial.curve is not None:
            yield from _points(trial.number, -1, 0, trial.curve)


def changed_trials(search: LoadedSearch, after: int) -> list[int]:
    """Return the trials whose curves may be others than as of event *after*: unfinished then, or named since."""
    named = {trial_of(row.event) for row in search.rows[after:]}
    return [t.number for t in search.trials if t.finished_seq is None or t.finished_seq > after or t.number in named]


def _points(trial: int, attempt: int, objective: int, curve: LoadedCurve) -> Iterator[TableRow]:
    late_from = len(curve.values) if curve.late_from is None else curve.late_from
    for place, (iteration, value, seq) in enumerate(zip(curve.iterations, curve.values, curve.seqs, strict=True)):
        yield {
            "trial": trial,
            "attempt": attempt,
            "objective": objective,
            "iteration": iteration,
            "value": _number(value),
            "is_nan": _is_nan(value),
            "late": place >= late_from,
            "seq": seq,
        }


def decision_rows(decisions: Iterable[DecisionRow]) -> Iterator[TableRow]:
    """Yield *decisions*; `id` is their place in the log."""
    for decision in decisions:
        yield {
            "id": decision.seq * 2**20 + decision.place,
            "seq": decision.seq,
            "at": formatting.rfc3339(decision.at),
            "type": decision.type,
            "trial": decision.trial,
            "attempt": decision.attempt,
            "verdict": decision.verdict,
            "iteration": decision.iteration,
            "value": _number(decision.value),
            "needed": _number(decision.needed),
            "margin": _number(decision.margin),
            "reason": decision.reason,
        }


def budget_rows(search: LoadedSearch, after: int = 0) -> Iterator[TableRow]:
    """Yield what each job that ended after event *after* was charged, and the budget after it."""
    for row in search.rows[after:]:
        match row.event:
            case BudgetUpdated() as charge:
                yield {
                    "seq": row.seq,
                    "at": formatting.rfc3339(row.at),
                    "trial": charge.trial,
                    "attempt": charge.attempt,
                    "iterations": charge.iterations,
                    "late": charge.late,
                    "compute_time": charge.compute_time / 1e6,
                    "used": charge.used,
                    "reserved": charge.reserved,
                }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _number(value: Num | None) -> float | None:
    """Return *value* as SQLite has it: without NaN."""
    as_float = None if value is None else float(value)
    return None if as_float is None or math.isnan(as_float) else as_float


def _is_nan(value: Num | None) -> bool:
    return value is not None and math.isnan(float(value))


def _storable(value: Scalar) -> Scalar:
    """Return *value* as SQLite can hold it: a whole number of more than 64 bits as text, NaN as text."""
    if isinstance(value, int) and not isinstance(value, bool) and not -_LARGEST <= value < _LARGEST:
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return value
