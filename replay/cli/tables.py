"""The command `tables`: a search as an SQLite database of plain tables, or as CSV files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, LOG_FILE, at_option
from eventhpo.errors import StorageFailed, Usage
from eventhpo.log import refusal
from eventhpo.views import csv_text
from replay.cli.verified import verified
from replay.cli.written_file import replacing, require_not_of_a_log, write_new

if TYPE_CHECKING:
    from replay.query.loaded_search import LoadedSearch


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    metavar="FILE",
    help="The database; one that is there is replaced.  [default: the log's name with .tables.db, in this folder]",
)
@click.option("--update", is_flag=True, help="Add what is new to the tables in FILE.  [default: write them anew]")
@click.option("--csv", "folder", type=FILE, metavar="FOLDER", help="A CSV file for each table.  [default: none]")
@at_option
def tables(log: Path, target: Path | None, *, update: bool, folder: Path | None, at: int | datetime | None) -> None:
    """Write the search recorded in LOG as plain tables, for SQL, Datasette, notebooks and spreadsheets.

    The tables: search, objectives, parameters, trials, trial_values, params (a column for
    each parameter), attempts, jobs, metrics, decisions (verdicts with reasons), budget;
    the views: leaderboard and pruned_why. With --csv alone no database is written. Of a
    damaged log its verified beginning is written, and the exit code is 3.
    """
    if update and (at is not None or (folder is not None and target is None)):
        raise Usage("--update brings a database up to the end of the log: it goes with -o, and not with --at")
    from replay.query.loaded_search import LoadedSearch  # noqa: PLC0415  the help must not wait for them

    with verified(log, at) as rows:
        search = LoadedSearch(log, rows)
        if target is not None or folder is None:
            output.data([_write_database(search, target or Path(f"{log.stem}.tables.db"), update=update)])
        if folder is not None:
            output.data(_write_csv(search, folder))


def _write_database(search: LoadedSearch, target: Path, *, update: bool) -> str:
    from replay.query import database  # noqa: PLC0415  likewise

    if update and target.exists():
        require_not_of_a_log(target, search.log)
        before = database.update_file(target, search)
        return f"{target}: from event {before.seq} to {search.seq}"
    with replacing(target, search.log) as new:
        database.write(new, search, target)
    return f"{target}: up to event {search.seq}"


def _write_csv(search: LoadedSearch, folder: Path) -> list[str]:
    from replay.query.database import TABLES, column_names  # noqa: PLC0415  likewise

    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageFailed(f"{folder} cannot be made: {refusal.why(error, folder)}") from error
    written = []
    for name, table in TABLES.items():
        columns = column_names(name, search)
        cells = ([row[column] for column in columns] for row in table.rows(search, 0))
        text = "\r\n".join(csv_text.lines(columns, cells)) + "\r\n"
        write_new(folder / f"{name}.csv", text.encode("utf-8", "backslashreplace"), search.log)
        written.append(str(folder / f"{name}.csv"))
    return written
