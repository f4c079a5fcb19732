"""Tables as CSV, for spreadsheets and data frames: RFC 4180, a headline first."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a text that begins so


def lines(headline: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Return *headline* and *rows* as lines without their ends; a text with line breaks stays one item.

    Numbers stand there with all their digits, nothing for None, and true and false for truth values. A text that a
    spreadsheet would run as a formula gets a leading quote ('), as names in a log may come from anybody.
    """
    return map(line, itertools.chain((headline,), rows))


def line(cells: Sequence[Any]) -> str:
    """Return *cells* as one line; see `lines`."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([_cell(cell) for cell in cells])
    return buffer.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case str():
            return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
