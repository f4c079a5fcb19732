"""The table of a run as JSON, and as Markdown for docs/benchmarks.md, which is made from that JSON."""

from __future__ import annotations

import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import msgspec

from tests.benchmarks.measure import Figure

DOCS = Path(__file__).parents[2] / "docs"
JSON, PAGE = DOCS / "benchmarks.json", DOCS / "benchmarks.md"
BEGIN, END = "<!-- table: python -m tests.benchmarks -->\n", "<!-- end of table -->\n"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of all rows: when, on what machine, with which versions, and its figures."""

    date: str
    machine: str
    cores: int
    versions: dict[str, str]
    figures: list[Figure]


def run_of(figures: list[Figure], cores: int) -> Run:
    """Return *figures* with the date, the machine and the versions that they belong to."""
    names = ("eventhpo", "optuna", "numpy", "msgspec", "click", "sqlalchemy")
    return Run(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.system()} {platform.machine()}",
        cores=cores,
        versions={
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: version(name) for name in names},
        },
        figures=figures,
    )


def merged(old: Run, new: Run) -> Run:
    """Return *old* with the rows that *new* has measured again; new rows come last.

    Raises:
        ValueError: the two are of different machines or versions.
    """
    if (old.machine, old.cores, old.versions) != (new.machine, new.cores, new.versions):
        raise ValueError("rows of another machine or other versions do not belong into one table: measure all rows")
    again = {(figure.row, figure.title) for figure in new.figures}
    replaced = {key: [f for f in new.figures if (f.row, f.title) == key] for key in again}
    figures: list[Figure] = []
    for key, group in groupby(old.figures, key=lambda figure: (figure.row, figure.title)):
        figures += replaced.pop(key, None) or list(group)
    figures += [figure for figure in new.figures if (figure.row, figure.title) in replaced]
    return msgspec.structs.replace(new, figures=figures)


def markdown(run: Run) -> str:
    """Return the table of *run*."""
    versions = ", ".join(f"{name} {number}" for name, number in run.versions.items())
    lines = [f"{run.date}, {run.machine}, {run.cores} cores; {versions}.", ""]
    lines += ["| | work | way | median | least to most | ratio | goal |", "|---|---|---|---|---|---|---|"]
    for _, figures in groupby(run.figures, key=lambda figure: (figure.row, figure.title)):
        for n, figure in enumerate(figures):
            row, title = (figure.row, figure.title) if n == 0 else ("", "")
            goal = "" if figure.goal is None else f"{figure.goal:.3g}"
            spread = f"{figure.least:.3g} to {figure.most:.3g}"
            median = f"{figure.median:.3g} {figure.unit}"
            lines.append(f"| {row} | {title} | {figure.way} | {median} | {spread} | {figure.ratio:.3g} | {goal} |")
    return "\n".join(lines) + "\n"


def page_with(text: str, run: Run) -> str:
    """Return the page *text* with its table replaced by the one of *run*."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{markdown(run)}{END}{after}"
