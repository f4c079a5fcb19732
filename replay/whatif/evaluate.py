"""`whatif`: reads a log and evaluates it under other rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.views import formatting
from replay.study_as_search import as_search
from replay.verified_rows import whole
from replay.whatif import rules
from replay.whatif.answer import Row, Spread, WhatIf
from replay.whatif.budget import budget_row
from replay.whatif.cost import is_study
from replay.whatif.counterfactual import Counterfactual
from replay.whatif.orders import spread
from replay.whatif.rows import Record, number, pruner_row, recorded_row
from replay.whatif.workers import workers_row


def whatif(
    path: str | os.PathLike[str],
    pruners: Sequence[str | ComponentConfig] = (),
    *,
    max_total_jobs: int | None = None,
    workers: int | None = None,
    orders: int = 0,
    at: int | str | datetime | None = None,
) -> WhatIf:
    """Return the search recorded at *path* under other rules: one row for each pruner, budget and number of workers.

    Args:
        path: the log.
        pruners: each a `ComponentConfig`, or a text such as `"MedianPruner:n_startup_trials=2"`.
        max_total_jobs: a smaller budget, as `total_max_jobs` of the search.
        workers: a smaller `num_concurrent_workers`.
        orders: in how many shuffled orders of the recorded curves each pruner is tried too.
        at: the last event to read, a seq or a time, as `rebuild` takes it.

    Raises:
        Usage: there is no such file or event, or a pruner, budget or number of workers does not fit.
        DamagedLog: it is not a log of eventhpo, a row is damaged, or its tail is lost.
    """
    asked = [pruner_of(pruner) for pruner in pruners]
    return of_rows(whole(path, at), asked, max_total_jobs=max_total_jobs, workers=workers, orders=orders)


def pruner_of(pruner: str | ComponentConfig) -> ComponentConfig:
    """Return *pruner*, which may be a text, as a checked `ComponentConfig`.

    Raises:
        Usage: Optuna has no such pruner, or an argument is wrong.
    """
    return rules.pruner(pruner) if isinstance(pruner, str) else rules.checked(pruner, pruner.name)


def of_rows(
    rows: Sequence[Recorded],
    pruners: Sequence[ComponentConfig],
    *,
    max_total_jobs: int | None = None,
    workers: int | None = None,
    orders: int = 0,
) -> WhatIf:
    """Do what `whatif` does, for the *rows* of a log.

    Raises:
        Usage, DamagedLog: as `whatif`.
    """
    rows = as_search(rows)
    record = Record(fold(rows))
    answer_rows: list[Row] = [recorded_row(record)]
    answer_rows += [_pruner_row(record, rows, pruner, orders) for pruner in pruners]
    if max_total_jobs is not None:
        answer_rows.append(budget_row(record, rows, max_total_jobs))
    if workers is not None:
        answer_rows.append(workers_row(record, rows, workers))
    state, winner = record.state, record.winner
    return WhatIf(
        name=state.search.name,
        search_id=state.search_id,
        seq=state.head.seq,
        objective=", ".join(map(formatting.metric, state.search.objectives)),
        seed=state.search.seed,
        iterations=record.iterations(),
        compute_time=record.compute_time(),
        winner=None if winner is None else winner.number,
        value=None if winner is None else number(record.value(winner)),
        rows=tuple(answer_rows),
        notes=tuple(_notes(record)),
    )


def _pruner_row(record: Record, rows: Sequence[Recorded], pruner: ComponentConfig, orders: int) -> Row:
    orders_spread: Spread | None = spread(record, rows[0], pruner, orders) if orders and record.state.single else None
    return pruner_row(record, Counterfactual(rows, pruner), orders_spread)


def _notes(record: Record) -> list[str]:
    """Return what a reader of the rows needs to know too."""
    state = record.state
    notes = []
    if not state.single:
        notes.append(
            "the search has several objectives, and Optuna prunes none of its trials: every pruner gives the record"
        )
    runs = any(attempt.live for trial in state.active.values() for attempt in trial.attempts)
    if state.finished is None and (runs or not is_study(state)):
        what = "a trial of the study runs" if is_study(state) else "the search is not finished"
        notes.append(f"{what}: running trials are counted up to the last event")
    return notes
