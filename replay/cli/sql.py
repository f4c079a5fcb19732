"""The command `sql`: one question, asked of the tables of a log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option, csv_option, json_option
from eventhpo.core.search.spec import to_num
from eventhpo.views import csv_text, formatting, top
from replay.cli.verified import verified


@click.command()
@click.argument("log", type=LOG_FILE)
@click.argument("question")
@at_option
@csv_option
@json_option
def sql(log: Path, question: str, *, at: int | datetime | None, as_csv: bool, as_json: bool) -> None:
    """Answer QUESTION, one SELECT over the tables of the search recorded in LOG.

    The tables are those of `eventhpo tables`; they are made in memory, as far as the
    question reads them, and nothing is written. With --json a list of objects.
    """
    from replay.query.loaded_search import LoadedSearch  # noqa: PLC0415  the help must not wait for them
    from replay.query.question import ask, columns_of  # noqa: PLC0415

    with verified(log, at) as rows:
        answer = ask(LoadedSearch(log, rows), question)
        columns = columns_of(answer.columns)
        if as_json:
            output.data(output.as_json([dict(zip(columns, map(_jsonable, row), strict=True)) for row in answer.rows]))
        elif as_csv:
            output.data(csv_text.lines(columns, answer.rows))
        else:
            output.data(_table(columns, answer.rows))


def _table(columns: list[str], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    head = [formatting.line(column) for column in columns]
    return top.aligned([head, *([_cell(value) for value in row] for row in rows)])


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return formatting.number(value)
        case bytes():
            return value.hex()
    return formatting.line(str(value))


def _jsonable(value: Any) -> Any:
    """Return *value* as JSON can carry it: an infinite number as text, as everywhere in eventhpo's JSON."""
    if isinstance(value, float):
        return to_num(value)
    return value.hex() if isinstance(value, bytes) else value
