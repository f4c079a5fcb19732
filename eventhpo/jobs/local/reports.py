"""Read what a job reports after a cursor: one JSON object a line.

The cursor is a byte offset in the file. It comes after a newline, with one exception: it
may be inside a line that is too long to be a report; the rest of that line is skipped.

Jobs append reports. If the file is not the one that was read before (`_rewritten`), that
is recorded as a bad line, and the file is read again from its start.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from eventhpo.core.fold import curve
from eventhpo.core.fold.event_parts import BadLine, OtherSeries, unspelled
from eventhpo.core.search.spec import Objective, to_num
from eventhpo.jobs.protocol import POINTS, CurveUpdate

LONGEST = 1 << 20  # bytes of a line: far more than a report needs, and small enough for memory
PER_POLL = 4 << 20  # bytes read of one job in one poll; more than LONGEST, so that every poll moves the cursor
NAME = 1_000  # characters of a title or series: they go into every event
SERIES = 1_000  # other series in one poll: they go into one event
SPELLED = 20  # bad lines of a poll that are recorded one by one; the others are counted
BIGGEST = 2**63 - 1  # the largest integer of SQLite and Optuna

_NAMED = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_LAST = 16_384  # bytes at the end of a file that hold its last line, unless its names are all escapes
_KEYS = 5  # keys that the message of a missing key names: a report needs four

# What programs print for a number that JSON cannot carry: Python nan and inf, json.dumps NaN and Infinity, C -nan.
_BARE = re.compile(rb'("value"\s*:\s*)([+-]?)(nan|inf|infinity)(?=\s*[,}])', re.IGNORECASE)


class ReportedPoint(NamedTuple):
    """A value reported."""

    title: str
    series: str
    iteration: int
    value: float


class Claim(NamedTuple):
    """A retry says that it resumes after `iteration` of its predecessor."""

    iteration: int


ReportLine: TypeAlias = ReportedPoint | Claim


class NotAReport(ValueError):
    """A line that is no report; the message says why."""


class ReportBatch(NamedTuple):
    """What was read from a cursor on; `to` is the new cursor, `more` says that there is more to read."""

    to: int
    curves: tuple[CurveUpdate, ...] = ()
    others: tuple[OtherSeries, ...] = ()
    bad: tuple[BadLine, ...] = ()
    inherits: int | None = None
    more: bool = False


# ---------------------------------------------------------------- one line


def parse(line: bytes) -> ReportLine:
    """Return the report in *line*.

    Raises:
        NotAReport: it is none. Nothing is guessed.
    """
    try:
        fields = _JSON.decode(_BARE.sub(_literal, line).decode("utf-8"))
    except UnicodeDecodeError:
        raise NotAReport("not UTF-8") from None
    except RecursionError:
        raise NotAReport("nested too deeply") from None
    except NotAReport:
        raise
    except ValueError as error:
        raise NotAReport(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise NotAReport("not a JSON object")
    if "resume_from" in fields:
        return Claim(_iteration(fields, "resume_from"))
    return ReportedPoint(
        _name(fields, "title"), _name(fields, "series"), _iteration(fields, "iteration"), _value(fields)
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise NotAReport("a key stands twice")
    return fields


class _Literal(float):
    """NaN or an infinity, which JSON cannot express, as Python's `json.dumps` writes it."""


def _literal(match: re.Match[bytes]) -> bytes:
    """Spell a bare `nan` or `inf` as Python's decoder knows it; a NaN loses its sign."""
    key, sign, word = match.groups()
    return bytes(key) + (b"NaN" if word.lower() == b"nan" else sign.replace(b"+", b"") + b"Infinity")


_JSON = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_Literal)


def _get(fields: dict[str, object], key: str) -> object:
    if key not in fields:
        present = [name[:40] for name in list(fields)[:_KEYS]]
        raise NotAReport(f"{key} is missing; there is {', '.join(present) or 'nothing'}")
    return fields[key]


def _name(fields: dict[str, object], key: str) -> str:
    name = _get(fields, key)
    if not isinstance(name, str):
        raise NotAReport(f"{key} is not a string")
    if len(name) > NAME:
        raise NotAReport(f"{key} is longer than {NAME} characters")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise NotAReport(f"{key} holds half a character")
    return name


def _iteration(fields: dict[str, object], key: str) -> int:
    number = _get(fields, key)
    if not isinstance(number, int) or isinstance(number, bool):
        raise NotAReport(f"{key} is not an integer")
    if not 0 <= number <= BIGGEST:
        raise NotAReport(f"{key} is outside 0 to 2**63 - 1")
    return number


def _value(fields: dict[str, object]) -> float:
    value = _get(fields, "value")
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    if isinstance(value, _Literal):
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise NotAReport('value is neither a number nor "nan", "inf", "-inf"')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise NotAReport("value is too large for a float")
    return number


# ---------------------------------------------------------------- many lines


class _Other:
    """One series that is no objective, as far as it was read."""

    def __init__(self, first: ReportedPoint) -> None:
        self.first = self.last = self.min = self.max = first
        self.count, self.sum = 0, 0.0

    def add(self, point: ReportedPoint) -> None:
        self.last = point
        self.min = point if math.isnan(self.min.value) or point.value < self.min.value else self.min
        self.max = point if math.isnan(self.max.value) or point.value > self.max.value else self.max
        self.count, self.sum = self.count + 1, self.sum + point.value

    def named(self, title: str, series: str) -> OtherSeries:
        return OtherSeries(
            title=title,
            series=series,
            iteration=self.last.iteration,
            last=to_num(self.last.value),
            min=to_num(self.min.value),
            max=to_num(self.max.value),
            min_iteration=self.min.iteration,
            max_iteration=self.max.iteration,
            first=to_num(self.first.value),
            first_iteration=self.first.iteration,
            count=self.count,
            mean=to_num(self.sum / self.count),
        )


class _Tally:
    """The reports of one batch, as they go into events."""

    def __init__(self, name: str, objectives: Sequence[Objective], fresh: bool) -> None:
        self._name = name
        self._curves: dict[tuple[str, str], tuple[list[int], list[float]]] = {
            (objective.title, objective.series): ([], []) for objective in objectives
        }
        self._others: dict[tuple[str, str], _Other] = {}
        self._bad: list[BadLine] = []
        self._unspelled = 0
        self._points = 0
        self._fresh = fresh
        self._inherits: int | None = None

    def is_full(self) -> bool:
        return self._points >= POINTS or len(self._others) >= SERIES

    def line(self, line: bytes, at: int) -> None:
        """Take one line, whose first byte is the file's byte *at*."""
        if len(line) > LONGEST:
            self.bad(at, f"longer than {LONGEST} bytes")
        elif line.strip():
            try:
                self._take(parse(line))
            except NotAReport as error:
                self.bad(at, str(error))

    def _take(self, report: ReportLine) -> None:
        match report:
            case Claim(iteration):
                if not self._fresh or self._points or self._inherits is not None:
                    raise NotAReport("report resume_from once, before the first point")
                self._inherits = iteration
            case ReportedPoint(title, series, iteration, value):
                curve = self._curves.get((title, series))
                if curve is None:
                    self._others.setdefault((title, series), _Other(report)).add(report)
                else:
                    curve[0].append(iteration)
                    curve[1].append(value)
                    self._points += 1

    def bad(self, at: int, why: str) -> None:
        if len(self._bad) < SPELLED:
            self._bad.append(BadLine(f"{self._name}:byte {at}", why))
            return
        if not self._unspelled:
            self._bad.append(BadLine(f"{self._name}:byte {at}", ""))
        self._unspelled += 1

    def batch(self, to: int, more: bool) -> ReportBatch:
        if self._unspelled:
            self._bad[-1] = unspelled(self._bad[-1].place, self._unspelled)
        curves = (
            CurveUpdate(title, series, tuple(iterations), tuple(values))
            for (title, series), (iterations, values) in self._curves.items()
            if iterations
        )
        others = (other.named(title, series) for (title, series), other in self._others.items())
        return ReportBatch(to, tuple(curves), tuple(others), tuple(self._bad), self._inherits, more)


def size_of(path: Path) -> int:
    """Return how many bytes *path* has, 0 if it is not there (yet)."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read(
    path: Path,
    cursor: int,
    objectives: Sequence[Objective],
    *,
    fresh: bool,
    final: bool,
    known: Sequence[curve.Curve] = (),
) -> ReportBatch:
    """Return the reports after *cursor*, up to the last newline; the same cursor gets the same, or more.

    *fresh*: no objective point was read before. *final*: the file is complete, so the
    text after the last newline is a line too. *known*: the curves of the objectives as the
    log has them, empty for an attempt that was taken for lost.
    """
    size = size_of(path)
    if size == cursor and not (final and known):  # most jobs in most polls
        return ReportBatch(cursor)
    tally = _Tally(path.name, objectives, fresh)
    why = _rewritten(path, size, cursor, objectives, known)
    if why:
        tally.bad(min(size, cursor), f"{why}: {cursor} bytes of it had been read; it is read again from its start")
        cursor = 0
    if size == cursor:
        return tally.batch(cursor, False)
    start = max(cursor - 1, 0)  # the byte before the cursor shows whether it is inside a line
    data = _bytes(path, start, min(size, cursor + PER_POLL) - start)
    at_end = start + len(data) >= size
    used = _lines(data, start, cursor, tally, final=final and at_end)
    return tally.batch(start + used, more=not at_end or _has_line(data, used, final=final))


def _rewritten(
    path: Path, size: int, cursor: int, objectives: Sequence[Objective], known: Sequence[curve.Curve]
) -> str:
    """Return why *path* cannot be the file that was read up to *cursor*; empty if it may be.

    It is shorter; or the cursor is inside a line of normal length; or nothing was added and
    the last line is a point that the log does not have.
    """
    if size < cursor:
        return "the file was cut or replaced"
    if cursor and known:
        anew = _cuts_a_line(path, cursor) if size > cursor else _ends_with_news(path, size, objectives, known)
        return "the file was written anew" if anew else ""
    return ""


def _cuts_a_line(path: Path, cursor: int) -> bool:
    """Whether *cursor* is inside a line of at most `LONGEST` bytes, where no reading ends."""
    if _bytes(path, cursor - 1, 1) == b"\n":
        return False
    start = max(cursor - LONGEST - 1, 0)
    before = _bytes(path, start, cursor - start)
    return len(before) <= LONGEST or b"\n" in before


def _ends_with_news(path: Path, size: int, objectives: Sequence[Objective], known: Sequence[curve.Curve]) -> bool:
    """Whether the last line of *path* is a point of an objective that its known curve does not have."""
    start = max(size - _LAST, 0)
    lines = _bytes(path, start, size - start).split(b"\n")
    if len(lines) == 1 and start:  # a long one: its beginning is not here
        return False
    try:
        last = parse(next((line for line in reversed(lines) if line.strip()), b""))
    except NotAReport:
        return False
    return isinstance(last, ReportedPoint) and any(
        (o.title, o.series) == (last.title, last.series) and not known_curve.has(last.iteration, last.value)
        for o, known_curve in zip(objectives, known, strict=True)
    )


def _has_line(data: bytes, used: int, *, final: bool) -> bool:
    return data.find(b"\n", used) >= 0 or (final and used < len(data))


def _bytes(path: Path, start: int, length: int) -> bytes:
    """Return up to *length* bytes from *start* on; never wait, even if the file is a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.pread(descriptor, length, start)
    finally:
        os.close(descriptor)


def _lines(data: bytes, start: int, cursor: int, tally: _Tally, *, final: bool) -> int:
    """Give each line to *tally* until it is full; return how many bytes of *data* were used."""
    used = cursor - start
    inside = used > 0 and data[used - 1] != ord("\n")
    while not tally.is_full():
        end = data.find(b"\n", used)
        if end < 0:
            return _rest(data, start, used, tally, inside=inside, final=final)
        if not inside:
            tally.line(data[used:end], start + used)
        inside = False
        used = end + 1
    return used


def _rest(data: bytes, start: int, used: int, tally: _Tally, *, inside: bool, final: bool) -> int:
    """Handle text without a newline: use it if it is too long or the file is final, else leave it for later."""
    if inside:
        return len(data)
    if len(data) - used > LONGEST or (final and used < len(data)):
        tally.line(data[used:], start + used)
        return len(data)
    return used
