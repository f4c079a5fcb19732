"""Read the curves of tasks, up to 100 tasks in one request, and pick the points that the log does not have.

The server returns a curve sorted by iteration and averages values of the same iteration.
It thins out a curve of 6,000 points or more to averages of buckets, and may then thin out
every curve of the same request. A curve that was thinned out is read again point by point.
ClearML cannot carry NaN: a job that reports through `eventhpo.job` reports it under the
title `OWN`, as series `nan title/series`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from eventhpo.core.fold import curve
from eventhpo.core.fold.event_parts import BadLine
from eventhpo.core.search.spec import Objective
from eventhpo.jobs.clearml.keys import OWN, RESUME
from eventhpo.jobs.clearml.session import UNAUTHORIZED, Denied, Server
from eventhpo.jobs.clearml.tasks import NO_ITERATION, parts
from eventhpo.jobs.protocol import POINTS, BoundJob, CurveUpdate

TASKS = 100  # in one request, the server's limit
SAMPLES = 6_000  # points of a curve in one answer, the server's limit; a curve with that many may be thinned out
BATCH = 10_000  # points in one answer to the raw request, the server's limit
ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
UNKNOWN_CALL = 10  # lower subcodes say that the server does not know the call; the others are about its arguments

Points = dict[int, float]  # by iteration, rising
LinesBySeries = dict[tuple[str, str], "SeriesCurve"]  # by title and series
Span = tuple[int, int]  # lowest and highest iteration
Spans = dict[tuple[str, str], Span]  # of a series over all tasks of one answer


class SeriesCurve(msgspec.Struct):
    """Points of one series: `x` iterations, `y` values."""

    x: list[float] = []
    y: list[float | None] = []


class _CurveBatch(msgspec.Struct):
    metrics: dict[str, dict[str, dict[str, SeriesCurve]]] = {}


class _RawLine(msgspec.Struct):
    iter: list[float] = []
    y: list[float | None] = []


class _Raw(msgspec.Struct):
    returned: int = 0
    scroll_id: str | None = None
    variants: dict[str, _RawLine] = {}


class TaskReading(msgspec.Struct):
    """What was read of one task."""

    curves: tuple[CurveUpdate, ...] = ()
    bad: tuple[BadLine, ...] = ()
    inherits: int | None = None
    more: bool = False

    @property
    def points(self) -> int:
        """How many points are in it."""
        return sum(len(c.iterations) for c in self.curves)


class Curves:
    """Reads curves. It remembers only how far it read long ones; a new process reads those from the start."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._batched = True  # until the server says that it does not know the call
        self._scrolls: dict[tuple[str, str, str], str] = {}

    def read(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> dict[str, TaskReading]:
        """Return the points of each job that the log does not have, by job id.

        Raises:
            Silent, Denied: as `Server.call`.
        """
        readings: dict[str, TaskReading] = {}
        for some in parts(jobs, TASKS):
            tables = self._tables([job.job_id for job in some], objectives)
            spans = _spans(tables.values())
            for job in some:
                readings[job.job_id] = self._of_one(job, objectives, tables.get(job.job_id, {}), spans)
        return readings

    def forget(self, jobs: Sequence[BoundJob]) -> None:
        """Forget how far the long curves of all jobs but *jobs* were read."""
        ids = {job.job_id for job in jobs}
        self._scrolls = {key: value for key, value in self._scrolls.items() if key[0] in ids}

    # ---------------------------------------------------------------- requests

    def _tables(self, ids: list[str], objectives: Sequence[Objective]) -> dict[str, LinesBySeries]:
        """Return the lines of each task by title and series."""
        if self._batched:
            try:
                return self._batch(ids, objectives)
            except Denied as error:
                if error.code == UNAUTHORIZED or error.subcode >= UNKNOWN_CALL:
                    raise
                self._batched = False
        return {task_id: self._single(task_id, objectives) for task_id in ids}

    def _batch(self, ids: list[str], objectives: Sequence[Objective]) -> dict[str, LinesBySeries]:
        asked: dict[str, object] = {"tasks": ids, "metrics": _metrics(objectives), "samples": SAMPLES}
        answer = self._server.call("events.multi_task_scalar_metrics_iter_histogram", asked, _CurveBatch)
        tables: dict[str, LinesBySeries] = {}
        for title, variants in answer.data.metrics.items():
            for series, lines in variants.items():
                for task, line in lines.items():
                    tables.setdefault(task, {})[title, series] = line
        return tables

    def _single(self, task: str, objectives: Sequence[Objective]) -> LinesBySeries:
        asked: dict[str, object] = {"task": task, "metrics": _metrics(objectives), "samples": SAMPLES}
        answer = self._server.call("events.scalar_metrics_iter_histogram", asked, dict[str, dict[str, SeriesCurve]])
        return {(title, series): line for title, lines in answer.data.items() for series, line in lines.items()}

    # ---------------------------------------------------------------- one task

    def _of_one(
        self, job: BoundJob, objectives: Sequence[Objective], table: LinesBySeries, spans: Spans
    ) -> TaskReading:
        reading = TaskReading(inherits=_inherits(job, table))
        left = POINTS
        for objective, known in zip(objectives, job.known, strict=True):
            name = objective.title, objective.series
            pages = [self._page(job.job_id, name, table, known, spans)]
            for word, value in ODD.items():
                odd = self._page(job.job_id, (OWN, f"{word} {objective.title}/{objective.series}"), table, known, spans)
                odd.points = dict.fromkeys(odd.points, value)
                pages.append(odd)
            new = _merged(pages, known)
            reading.more = reading.more or len(new) > left or any(page.more for page in pages)
            new = new[:left]
            left -= len(new)
            self._turn(pages, new)
            if new:
                reading.curves += (CurveUpdate(*name, tuple(x for x, _ in new), tuple(y for _, y in new)),)
                reading.bad += tuple(_out_of_nowhere(name, known, new))
        return reading

    def _page(self, task: str, name: tuple[str, str], table: LinesBySeries, known: curve.Curve, spans: Spans) -> _Page:
        """Return the points of one series in *table*; if they are thinned out, request its next page instead."""
        points = _points(table.get(name, SeriesCurve()))
        seen = [(min(points), max(points)), spans[name]] if points else []
        return self._long(task, name) if thinned(points, known, seen) else _Page(points)

    def _long(self, task: str, name: tuple[str, str]) -> _Page:
        """Request the next page of a curve that is read point by point."""
        key = (task, *name)
        asked: dict[str, object] = {
            "task": task,
            "metric": {"metric": name[0], "variants": [name[1]]},
            "batch_size": BATCH,
        }
        if key in self._scrolls:
            asked["scroll_id"] = self._scrolls[key]
        try:
            answer = self._server.call("events.scalar_metrics_iter_raw", asked, _Raw).data
        except Denied:
            self._scrolls.pop(key, None)  # a restarted server may not know it any more: start again from the beginning
            raise
        line = answer.variants.get(name[1], _RawLine())
        turned = answer.scroll_id if answer.returned else None  # after the last page it gives no more answers
        return _Page(_firsts(line), paged=True, more=answer.returned >= BATCH, key=key, scroll=turned)

    def _turn(self, pages: Sequence[_Page], given: Sequence[tuple[int, float]]) -> None:
        """Move on from each page whose new points are all *given*; the other pages are requested again."""
        given_iterations = {x for x, _ in given}
        for page in pages:
            if page.scroll is not None and page.fresh <= given_iterations:
                self._scrolls[page.key] = page.scroll


class _Page(msgspec.Struct):
    """Points of one series; `more`: others follow after its last iteration."""

    points: Points
    paged: bool = False
    more: bool = False
    key: tuple[str, str, str] = ("", "", "")
    scroll: str | None = None
    fresh: set[int] = set()  # its iterations that the log does not have


def _merged(pages: Sequence[_Page], known: curve.Curve) -> list[tuple[int, float]]:
    """Merge the series of one curve and return the points that the log does not have, in the order of `unknown`.

    If a series has another page, no point after the end of this page is returned.
    """
    end = min((max(page.points) for page in pages if page.more and page.points), default=None)
    points: Points = {}
    for page in pages:
        last = known.highest
        if page.paged:  # a new process reads it from the start; these points are in the log already
            page.points = {x: y for x, y in page.points.items() if last is None or x > last}
        page.fresh = {x for x in page.points if last is None or x > last}
        points |= page.points
    return [(x, y) for x, y in unknown(points, known) if end is None or x <= end]


def thinned(points: Points, known: curve.Curve, spans: Sequence[Span]) -> bool:
    """Whether *points* may be averages of buckets; *spans* are the iteration ranges that the server may have cut.

    The server cuts a span of S iterations with 6,000 points or more into buckets of width
    ceil(S / 6,000), and returns each bucket at a multiple of that width. A job that reports
    only every so many iterations looks the same. It is recognised by its points in the log.
    """
    if len(points) >= SAMPLES:
        return True
    if not points:
        return False
    step = math.gcd(*points)
    if step == 1:
        return False
    widths = [width for span in spans for width in _widths(span) if step % width == 0]
    if not widths:
        return False
    spaced = len(known.iterations) > 1 and points.keys() >= set(known.iterations)
    return not (spaced and all(math.gcd(*known.iterations) % width == 0 for width in widths))


def _widths(span: Span) -> range:
    """Return the bucket widths that can lead to *span*; 10 % more, since similar curves get the widest of theirs."""
    shown = span[1] - span[0]
    least, most = math.ceil((shown + 2) / (SAMPLES + 1)), (shown + SAMPLES) // (SAMPLES - 1)
    return range(max(2, least), most + most // 10 + 1)


def _metrics(objectives: Sequence[Objective]) -> list[dict[str, object]]:
    by_title: dict[str, list[str]] = {}
    for objective in objectives:
        by_title.setdefault(objective.title, []).append(objective.series)
    asked: list[dict[str, object]] = [{"metric": title, "variants": series} for title, series in by_title.items()]
    return [*asked, {"metric": OWN}]


def _spans(tables: Iterable[LinesBySeries]) -> Spans:
    spans: Spans = {}
    for table in tables:
        for name, line in table.items():
            if line.x:
                low, high = spans.get(name, (round(line.x[0]), round(line.x[0])))
                spans[name] = min(low, *map(round, line.x)), max(high, *map(round, line.x))
    return spans


def _points(line: SeriesCurve) -> Points:
    return dict(
        sorted((round(x), y) for x, y in zip(line.x, line.y, strict=False) if y is not None and x > NO_ITERATION)
    )


def _firsts(line: _RawLine) -> Points:
    """Return the points of a page by rising iteration; of several at one iteration, the first."""
    points: Points = {}
    for x, y in sorted(zip(line.iter, line.y, strict=False), key=lambda pair: pair[0]):
        if y is not None and x > NO_ITERATION:
            points.setdefault(round(x), y)
    return points


def _inherits(job: BoundJob, table: LinesBySeries) -> int | None:
    """Return the iteration from which a retry resumes, None if it does not say or has said it before."""
    line = table.get((OWN, RESUME))
    if line is None or not job.attempt or job.cursor:
        return None
    return round(line.y[0]) if line.y and line.y[0] is not None else None


def unknown(points: Points, known: curve.Curve) -> Iterator[tuple[int, float]]:
    """Yield the points that the log does not have: first those at or before its last iteration, then the later ones."""
    last = known.highest
    have = dict(zip(known.iterations, known.values, strict=True)) | known.repeats if points else {}
    for x in sorted(points):
        if last is not None and x <= last and not (x in have and _same(have[x], points[x])):
            yield x, points[x]
    for x in sorted(points):
        if last is None or x > last:
            yield x, points[x]


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _out_of_nowhere(name: tuple[str, str], known: curve.Curve, new: Sequence[tuple[int, float]]) -> Iterator[BadLine]:
    """Yield a note for each 0.0 that follows another value: ClearML's own reporter sends NaN as 0.0."""
    before = known.values[-1] if known.values else None
    for x, y in new:
        if y == 0.0 and before is not None and before != 0.0:
            place = f"{name[0]}/{name[1]} at iteration {x}"
            yield BadLine(
                place, "0.0 after another value: it may be NaN, which ClearML's reporter sends as 0.0 (docs/clearml.md)"
            )
        before = y
