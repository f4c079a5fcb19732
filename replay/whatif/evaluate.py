"""A log under other rules: the one function that reads it and asks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.views import formatting
from replay.verified_rows import whole
from replay.whatif import rules
from replay.whatif.answer import Row, Spread, WhatIf
from replay.whatif.budget import budget_row
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
    """Return the search recorded at *path* under each of *pruners*, a smaller budget, fewer workers: a row each.

    With *orders* each pruner is also asked about so many shuffled orders of the recorded curves. *at* is the last
    event to look at, as `rebuild` takes it. A pruner is a `ComponentConfig`, or a text as the command line takes it.

    Raises:
        Usage: there is no such file or event, or a pruner, budget or number of workers is none that can be asked for.
        DamagedLog: it is no log of eventhpo, a row is damaged, or its tail is lost.
    """
    asked = [pruner_of(one) for one in pruners]
    return of_rows(whole(path, at), asked, max_total_jobs=max_total_jobs, workers=workers, orders=orders)


def pruner_of(pruner: str | ComponentConfig) -> ComponentConfig:
    """Return *pruner* as data.

    Raises:
        Usage: it is none, or an argument is wrong.
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
    """Return what `whatif` does of the *rows* of a log.

    Raises:
        Usage, DamagedLog: likewise.
    """
    record = Record(fold(rows))
    found: list[Row] = [recorded_row(record)]
    found += [_pruner_row(record, rows, one, orders) for one in pruners]
    if max_total_jobs is not None:
        found.append(budget_row(record, rows, max_total_jobs))
    if workers is not None:
        found.append(workers_row(record, rows, workers))
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
        rows=tuple(found),
        notes=tuple(_notes(record)),
    )


def _pruner_row(record: Record, rows: Sequence[Recorded], pruner: ComponentConfig, orders: int) -> Row:
    found: Spread | None = spread(record, rows[0], pruner, orders) if orders and record.state.single else None
    return pruner_row(record, Counterfactual(rows, pruner), found)


def _notes(record: Record) -> list[str]:
    """Return what whoever reads the rows has to know beside them."""
    state = record.state
    notes = []
    if not state.single:
        notes.append(
            "the search has several objectives, and Optuna prunes none of its trials: every pruner gives the record"
        )
    if state.finished is None:
        notes.append("the search is not finished: trials that run are counted as far as they are")
    return notes
