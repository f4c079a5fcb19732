"""Curves of tasks: read for up to 100 tasks in one request, and told apart from what the log has.

The server gives a curve sorted by iteration, values of one iteration averaged, and no
more points than were asked for: a longer curve is thinned out, and has to be read
point by point. NaN does not travel: a job that reports through `eventhpo.job` names it
under `OWN`, as series `nan title/series`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from eventhpo.clearml.session import Denied, Server
from eventhpo.clearml.tasks import parts
from eventhpo.clearml.words import OWN, RESUME
from eventhpo.core import curve
from eventhpo.core.events import BadLine
from eventhpo.core.spec import Objective
from eventhpo.jobs.protocol import POINTS, Curve, Job

TASKS = 100  # of one question, the server's limit
SAMPLES = 6_000  # points of a curve in one answer, the server's limit; a curve of so many may be thinned out
BATCH = 10_000  # points of one answer to the raw question, the server's limit
ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
OWN_REASONS = 100  # subcodes from here on are about what was asked; below, the call itself is not known

Points = dict[int, float]  # by iteration, rising


class Line(msgspec.Struct):
    """Points of one series: `x` iterations, `y` values."""

    x: list[float] = []
    y: list[float | None] = []


class _Batch(msgspec.Struct):
    metrics: dict[str, dict[str, dict[str, Line]]] = {}


class _RawLine(msgspec.Struct):
    iter: list[float] = []
    y: list[float | None] = []


class _Raw(msgspec.Struct):
    returned: int = 0
    scroll_id: str | None = None
    variants: dict[str, _RawLine] = {}


class Reading(msgspec.Struct):
    """What was read of one task."""

    curves: tuple[Curve, ...] = ()
    bad: tuple[BadLine, ...] = ()
    inherits: int | None = None
    more: bool = False

    @property
    def points(self) -> int:
        """How many points are in it."""
        return sum(len(c.iterations) for c in self.curves)


class Curves:
    """Reads curves; remembers only where it stopped in long ones, which a new process looks up again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._batched = True  # until the server says that it does not know the call
        self._scrolls: dict[tuple[str, str, str], str] = {}

    def read(self, jobs: Sequence[Job], objectives: Sequence[Objective]) -> dict[str, Reading]:
        """Return what each job reported that its log does not have, by job id.

        Raises:
            Silent, Denied: as `Server.call`.
        """
        found: dict[str, Reading] = {}
        for some in parts(jobs, TASKS):
            tables = self._tables([job.job_id for job in some], objectives)
            for job in some:
                found[job.job_id] = self._of_one(job, objectives, tables.get(job.job_id, {}))
        return found

    def forget(self, jobs: Sequence[Job]) -> None:
        """Forget where long curves of any others than *jobs* were read to."""
        ids = {job.job_id for job in jobs}
        self._scrolls = {key: value for key, value in self._scrolls.items() if key[0] in ids}

    # ---------------------------------------------------------------- questions

    def _tables(self, ids: list[str], objectives: Sequence[Objective]) -> dict[str, dict[tuple[str, str], Line]]:
        """Return the lines of each task by title and series."""
        if self._batched:
            try:
                return self._batch(ids, objectives)
            except Denied as error:
                if error.subcode >= OWN_REASONS:
                    raise
                self._batched = False
        return {one: self._single(one, objectives) for one in ids}

    def _batch(self, ids: list[str], objectives: Sequence[Objective]) -> dict[str, dict[tuple[str, str], Line]]:
        asked: dict[str, object] = {"tasks": ids, "metrics": _metrics(objectives), "samples": SAMPLES}
        answer = self._server.call("events.multi_task_scalar_metrics_iter_histogram", asked, _Batch)
        found: dict[str, dict[tuple[str, str], Line]] = {}
        for title, variants in answer.data.metrics.items():
            for series, lines in variants.items():
                for task, line in lines.items():
                    found.setdefault(task, {})[title, series] = line
        return found

    def _single(self, task: str, objectives: Sequence[Objective]) -> dict[tuple[str, str], Line]:
        asked: dict[str, object] = {"task": task, "metrics": _metrics(objectives), "samples": SAMPLES}
        answer = self._server.call("events.scalar_metrics_iter_histogram", asked, dict[str, dict[str, Line]])
        return {(title, series): line for title, lines in answer.data.items() for series, line in lines.items()}

    # ---------------------------------------------------------------- one task

    def _of_one(self, job: Job, objectives: Sequence[Objective], table: dict[tuple[str, str], Line]) -> Reading:
        found = Reading(inherits=_inherits(job, table))
        left = POINTS
        for objective, known in zip(objectives, job.known, strict=True):
            name = objective.title, objective.series
            points = _points(table.get(name, Line())) | _odd(table, f"{objective.title}/{objective.series}")
            if len(points) >= SAMPLES:
                points, more = self._long(job.job_id, name, known)
                found.more = found.more or more
            new = list(unknown(points, known))
            found.more = found.more or len(new) > left
            new = new[:left]
            left -= len(new)
            if new:
                found.curves += (Curve(*name, tuple(x for x, _ in new), tuple(y for _, y in new)),)
                found.bad += tuple(_out_of_nowhere(name, known, new))
        return found

    def _long(self, task: str, name: tuple[str, str], known: curve.Curve) -> tuple[Points, bool]:
        """Return the next points of a curve that has to be read point by point, and whether there are more."""
        key = (task, *name)
        asked: dict[str, object] = {
            "task": task,
            "metric": {"metric": name[0], "variants": [name[1]]},
            "batch_size": BATCH,
        }
        if key in self._scrolls:
            asked["scroll_id"] = self._scrolls[key]
        answer = self._server.call("events.scalar_metrics_iter_raw", asked, _Raw).data
        line = answer.variants.get(name[1], _RawLine())
        if answer.scroll_id is not None and answer.returned:
            self._scrolls[key] = answer.scroll_id
        last = known.highest
        points = _points(Line(line.iter, line.y))
        return {x: y for x, y in points.items() if last is None or x > last}, answer.returned >= BATCH


def _metrics(objectives: Sequence[Objective]) -> list[dict[str, object]]:
    by_title: dict[str, list[str]] = {}
    for objective in objectives:
        by_title.setdefault(objective.title, []).append(objective.series)
    asked: list[dict[str, object]] = [{"metric": title, "variants": series} for title, series in by_title.items()]
    return [*asked, {"metric": OWN}]


def _points(line: Line) -> Points:
    pairs = sorted((round(x), y) for x, y in zip(line.x, line.y, strict=False) if y is not None)
    return dict(pairs)


def _odd(table: dict[tuple[str, str], Line], name: str) -> Points:
    """Return the points that ClearML cannot carry."""
    found: Points = {}
    for word, value in ODD.items():
        line = table.get((OWN, f"{word} {name}"), Line())
        found |= {round(x): value for x in line.x}
    return found


def _inherits(job: Job, table: dict[tuple[str, str], Line]) -> int | None:
    """Return from which iteration a retry says that it goes on, the first time that it says so."""
    line = table.get((OWN, RESUME))
    if line is None or not job.attempt or job.points:
        return None
    return round(line.y[0]) if line.y and line.y[0] is not None else None


def unknown(points: Points, known: curve.Curve) -> Iterator[tuple[int, float]]:
    """Yield the points that the log does not have: what was rewound or changed first, then what is new."""
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
    """Yield a note for each 0.0 behind another value: ClearML's own reporter sends NaN as 0.0."""
    before = known.values[-1] if known.values else None
    for x, y in new:
        if y == 0.0 and before is not None and before != 0.0:
            place = f"{name[0]}/{name[1]} at iteration {x}"
            yield BadLine(place, "0.0 out of nowhere: ClearML's reporter sends NaN as 0.0; see docs/clearml.md")
        before = y
