"""The tables of a log as an SQLite database of their own, made with sqlite-utils."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
from sqlite_utils import Database

from eventhpo.errors import Busy, StorageFailed, Usage
from eventhpo.log import refusal
from eventhpo.log.sql import is_busy
from replay.query import table_rows
from replay.query.decisions import decisions_of
from replay.query.loaded_search import LoadedSearch
from replay.query.table_rows import FORMAT, TableRow, changed_trials, param_columns

Rows: TypeAlias = Callable[[LoadedSearch, int], Iterable[TableRow]]


class TableShape(msgspec.Struct, frozen=True, kw_only=True):
    """A table: its columns by type, its key, what its columns refer to, and its rows.

    `rows` gives those that are new or may be others after an event. `grows`: rows that are there never change.
    """

    columns: dict[str, type]
    pk: str | tuple[str, ...]
    rows: Rows
    references: tuple[tuple[str, str, str], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    texts: tuple[str, ...] = ()  # columns with full-text search
    grows: bool = False


_TRIAL = (("trial", "trials", "trial"),)
TABLES: dict[str, TableShape] = {
    "search": TableShape(
        columns={
            "search_id": str,
            "name": str,
            "seq": int,
            "head": str,
            "recorded": str,
            "state": str,
            "ending": str,
            "sampler": str,
            "pruner": str,
            "seed": int,
            "trials": int,
            "format": int,
            "eventhpo": str,
        },
        pk="search_id",
        rows=lambda search, _: table_rows.search_rows(search),
    ),
    "objectives": TableShape(
        columns={"objective": int, "name": str, "maximize": int},
        pk="objective",
        rows=lambda search, _: table_rows.objective_rows(search),
    ),
    "parameters": TableShape(
        columns={"parameter": int, "name": str, "column": str},
        pk="parameter",
        rows=lambda search, _: table_rows.parameter_rows(search),
    ),
    "trials": TableShape(
        columns={
            "trial": int,
            "status": str,
            "rank": int,
            "value": float,
            "is_nan": int,
            "attempts": int,
            "iterations": int,
            "compute_time": float,
            "why": str,
            "source": str,
            "imported": int,
            "imported_from": str,
            "seq": int,
            "suggested": str,
            "finished_seq": int,
            "finished": str,
        },
        pk="trial",
        rows=lambda search, _: table_rows.trial_rows(search),
        indexes=(("rank",), ("status",)),
        texts=("why",),
    ),
    "trial_values": TableShape(
        columns={"trial": int, "objective": int, "value": float, "is_nan": int},
        pk=("trial", "objective"),
        rows=lambda search, _: table_rows.value_rows(search),
        references=(*_TRIAL, ("objective", "objectives", "objective")),
    ),
    "params": TableShape(
        columns={},  # a column for each parameter, which only the log knows
        pk="trial",
        rows=lambda search, _: table_rows.param_rows(search),
        references=_TRIAL,
    ),
    "attempts": TableShape(
        columns={
            "trial": int,
            "attempt": int,
            "status": str,
            "iterations": int,
            "late": int,
            "points": int,
            "why": str,
            "seq": int,
        },
        pk=("trial", "attempt"),
        rows=lambda search, _: table_rows.attempt_rows(search),
        references=_TRIAL,
        indexes=(("status",),),
        texts=("why",),
    ),
    "jobs": TableShape(
        columns={
            "key": str,
            "trial": int,
            "attempt": int,
            "job_id": str,
            "slot": int,
            "started": str,
            "ended": str,
            "compute_time": float,
            "code": int,
            "signal": int,
            "output": str,
        },
        pk=("trial", "attempt"),
        rows=lambda search, _: table_rows.job_rows(search),
        references=_TRIAL,
        indexes=(("key",), ("job_id",)),
    ),
    "metrics": TableShape(
        columns={
            "trial": int,
            "attempt": int,
            "objective": int,
            "iteration": int,
            "value": float,
            "is_nan": int,
            "late": int,
            "seq": int,
        },
        pk=("trial", "attempt", "objective", "iteration"),
        rows=table_rows.metric_rows,
        references=(*_TRIAL, ("objective", "objectives", "objective")),
        indexes=(("seq",),),
    ),
    "decisions": TableShape(
        columns={
            "id": int,
            "seq": int,
            "at": str,
            "type": str,
            "trial": int,
            "attempt": int,
            "verdict": str,
            "iteration": int,
            "value": float,
            "needed": float,
            "margin": float,
            "reason": str,
        },
        pk="id",
        rows=lambda search, after: table_rows.decision_rows(decisions_of(search.rows, after)),
        references=_TRIAL,
        indexes=(("trial", "iteration"), ("verdict",)),
        texts=("reason",),
        grows=True,
    ),
    "budget": TableShape(
        columns={
            "seq": int,
            "at": str,
            "trial": int,
            "attempt": int,
            "iterations": int,
            "late": int,
            "compute_time": float,
            "used": int,
            "reserved": int,
        },
        pk="seq",
        rows=table_rows.budget_rows,
        references=_TRIAL,
        grows=True,
    ),
}

VIEWS = {
    "leaderboard": (
        "select t.rank, t.trial, t.status, t.value{params} from trials t join params p on p.trial = t.trial "
        "where t.rank is not null order by t.rank"
    ),
    "pruned_why": (
        "select trial, attempt, iteration, value, needed, margin, reason, seq, at from decisions "
        "where verdict = 'prune' order by seq"
    ),
}


class CoveredLog(msgspec.Struct, frozen=True):
    """Of which search a database has the tables, and up to which event."""

    search_id: str
    seq: int
    head: str
    format: int


def build(db: Database, search: LoadedSearch, only: Iterable[str] | None = None) -> None:
    """Fill the empty *db* with all tables and views of *search*; of the tables only *only* get rows, if it is given."""
    wanted = set(TABLES if only is None else only)
    with db.atomic():
        for name, table in TABLES.items():
            _create(db, name, search)
            if name in wanted:
                db.table(name).insert_all(table.rows(search, 0))
        _create_views(db, search)
        for name, table in TABLES.items():
            if table.texts and only is None:
                db.table(name).enable_fts(table.texts, create_triggers=True)


def update(db: Database, search: LoadedSearch) -> CoveredLog:
    """Bring the tables in *db* up to *search*, and return up to where they went before.

    Decisions and charges are appended: only those of new events are computed. What may have changed is written anew:
    trials, attempts, and the curves of attempts that reported since.

    Raises:
        Usage: *db* has the tables of another search, of a later state of the log, or of another version.
    """
    before = covered(db)
    _require_earlier(before, search)
    with db.atomic():
        for name in VIEWS:
            db.view(name).drop(ignore=True)
        for name, table in TABLES.items():
            if not table.grows:
                _remove(db, name, search, before.seq)
            db.table(name).insert_all(table.rows(search, before.seq))
        _create_views(db, search)
    return before


def _create_views(db: Database, search: LoadedSearch) -> None:
    """Make the views; the columns of `leaderboard` are those of `params`, which an update may have changed."""
    params = (column.replace('"', '""') for column in param_columns(search.parameters).values())
    listed = "".join(f', p."{column}"' for column in params)
    for name, query in VIEWS.items():
        db.create_view(name, query.replace("{params}", listed))


def column_names(name: str, search: LoadedSearch) -> list[str]:
    """Return the columns of the table *name* of *search*, in order."""
    return list(_columns(name, search))


def _columns(name: str, search: LoadedSearch) -> dict[str, type]:
    # A column of bytes has no type of its own in SQLite: each value keeps the one that it has.
    params = dict.fromkeys(param_columns(search.parameters).values(), bytes)
    return TABLES[name].columns or {"trial": int, **params}


def _create(db: Database, name: str, search: LoadedSearch) -> None:
    table = TABLES[name]
    made = db.table(name).create(_columns(name, search), pk=table.pk, foreign_keys=table.references)
    for index in table.indexes:
        made.create_index(index)


def _remove(db: Database, name: str, search: LoadedSearch, after: int) -> None:
    """Remove the rows of a table that are written anew because of what happened after event *after*."""
    if name == "params":  # whose columns may be others, too
        db.table(name).drop()
        _create(db, name, search)
    elif name == "metrics":
        changed = msgspec.json.encode(changed_trials(search, after)).decode()
        db.table(name).delete_where("trial in (select value from json_each(?))", [changed])
    else:
        db.table(name).delete_where()


def covered(db: Database) -> CoveredLog:
    """Return what the tables in *db* cover.

    Raises:
        Usage: it has no tables of eventhpo.
    """
    try:
        row = next(iter(db.table("search").rows))
        return msgspec.convert({name: row[name] for name in CoveredLog.__struct_fields__}, CoveredLog)
    except (sqlite3.Error, StopIteration, KeyError, msgspec.ValidationError) as error:
        raise Usage("it is no database that `eventhpo tables` wrote; leave --update out to write it anew") from error


def _require_earlier(before: CoveredLog, search: LoadedSearch) -> None:
    anew = "leave --update out to write it anew"
    if before.format != FORMAT:
        raise Usage(f"its tables have format {before.format}, and this version writes {FORMAT}; {anew}")
    if before.search_id != search.search_id:
        raise Usage(f"it has the tables of another search ({before.search_id}); {anew}")
    if before.seq > search.seq or search.rows[before.seq - 1].hash != before.head:
        raise Usage(f"it goes up to an event {before.seq} that this log does not have; {anew}")


# ---------------------------------------------------------------- the file


def write(new: Path, search: LoadedSearch, target: Path) -> None:
    """Write the tables of *search* to the empty file *new*, which is to take the place of *target*.

    Raises:
        StorageFailed: the disk refused.
    """
    with _opened(new, target) as db:
        build(db, search)


def update_file(target: Path, search: LoadedSearch) -> CoveredLog:
    """Bring the tables in the file *target* up to *search*, whole or not at all; return what they covered before.

    Raises:
        Usage: see `update`.
        Busy: somebody else writes to the file.
        StorageFailed: the disk refused.
    """
    with _opened(target, target) as db:
        try:
            return update(db, search)
        except Usage as error:
            raise Usage(f"{target} cannot be brought up to date: {error}") from error


@contextlib.contextmanager
def _opened(file: Path, target: Path) -> Iterator[Database]:
    try:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
            yield Database(connection)
    except sqlite3.Error as error:
        if is_busy(error):
            raise Busy(f"somebody else writes to {target}; try again") from error
        raise StorageFailed(f"{target} cannot be written: {refusal.why(error, target)}") from error
