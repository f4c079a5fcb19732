"""Ways to do the same work, timed in turn, so that each meets the same machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

Work = Callable[[Path], Any]  # does the work in an empty folder; a float that it returns is its time in seconds


class Way(msgspec.Struct, frozen=True):
    """One way to do a row's work."""

    name: str
    work: Work
    goal: float | None = None  # the most that its ratio to the anchor shall be


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: the same work in several ways, of which one is the anchor of the ratios."""

    key: str
    title: str
    unit: str
    ways: Sequence[Way]
    anchor: str
    per: float = 1.0  # a measured second counts for so many of `unit`
    rounds: int = 3


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What one way took, in the row's unit, and its ratio to the anchor."""

    row: str
    title: str
    way: str
    unit: str
    median: float
    least: float
    most: float
    ratio: float
    goal: float | None


def figures(row: Row, done: Callable[[], None] = lambda: None) -> list[Figure]:
    """Run all ways of *row* in turn, `rounds` times; call *done* after each run."""
    took: dict[str, list[float]] = {way.name: [] for way in row.ways}
    for _ in range(row.rounds):
        for way in row.ways:
            took[way.name].append(_timed(way.work) * row.per)
            done()
    anchor = statistics.median(took[row.anchor])
    return [
        Figure(
            row=row.key,
            title=row.title,
            way=way.name,
            unit=row.unit,
            median=statistics.median(times),
            least=min(times),
            most=max(times),
            ratio=statistics.median(times) / anchor,
            goal=way.goal,
        )
        for way, times in ((way, took[way.name]) for way in row.ways)
    ]


def _timed(work: Work) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        own = work(Path(folder))
        return own if isinstance(own, float) else time.perf_counter() - start
