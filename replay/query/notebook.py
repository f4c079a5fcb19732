"""A loaded search as HTML, for the output of a notebook's cell."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.errors import Usage
from eventhpo.views import formatting, status, top
from eventhpo.views.formatting import line

SHOWN = 10  # trials


def html(log: Path, rows: Sequence[Recorded], state: State) -> str:
    """Return where the search stands, its best trials, and its history as a picture if the extra `report` is there.

    Names and texts of the log are escaped.
    """
    return "\n".join(_parts(log, rows, state))


def _parts(log: Path, rows: Sequence[Recorded], state: State) -> Iterator[str]:
    ending = status.ending_of(state)
    standing = "unfinished" if state.finished is None else state.finished.state
    why = f" ({status.describe_ending(ending)})" if ending is not None else ""
    trials = formatting.plural(len(state.trials), "trial")
    yield f"<p><b>{escape(line(state.search.name))}</b>: {standing}{escape(why)}, {trials}, event {state.head.seq}</p>"
    ranked = top.rows(state, SHOWN)
    if ranked:
        yield _table(top.cells(state, ranked))
    yield _history(log, rows)


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    rows = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _history(log: Path, rows: Sequence[Recorded]) -> str:
    """Return the history as an SVG; nothing without the extra, or without a value."""
    if any(importlib.util.find_spec(name) is None for name in ("altair", "vl_convert")):
        return ""
    from replay.report.build import of_rows  # noqa: PLC0415  the extra is there
    from replay.report.picture import draw  # noqa: PLC0415

    try:
        return draw(of_rows(rows).data(log), "history", "svg").decode()
    except Usage:
        return ""  # no trial has a value
