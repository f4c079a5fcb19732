"""Compare recorded points with the report files that they were read from.

If somebody rewrote a whole log, with its hash chain, keys and head, it still contradicts the
reports of its jobs, as long as their folders exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from eventhpo.core.fold.events import JobAdopted, JobBound, MetricObserved, Recorded, ReportsRead, SearchCreated
from eventhpo.core.search.spec import Num, to_num
from eventhpo.jobs.local.folder import AttemptFolder
from eventhpo.jobs.local.reports import LONGEST, NotAReport, ReportedPoint, parse

Series: TypeAlias = tuple[str, str]
CurvePoints: TypeAlias = list[tuple[int, Num]]

_REREAD = "bytes of it had been read"  # the report file was replaced; see `reports.read`


class ReportsReading(msgspec.Struct):
    """What one poll recorded of one attempt: the bytes that it read and their points."""

    seq: int
    start: int
    end: int
    points: dict[Series, CurvePoints]
    bad: bool = False


class Compared(msgspec.Struct):
    """How many attempts and points were compared, the first difference, and what could not be compared."""

    attempts: int = 0
    points: int = 0
    wrong: str | None = None
    missing: int = 0  # attempts with points and without a report file
    rewritten: int = 0  # attempts whose file was cut or replaced after it was read


def compare(rows: Sequence[Recorded], jobs_folder: Path) -> Compared:
    """Compare the points in *rows* with the report files below *jobs_folder*.

    Raises:
        OSError: a report file cannot be read.
    """
    comparison = Compared()
    created = rows[0].event
    assert isinstance(created, SearchCreated)
    objectives = frozenset((objective.title, objective.series) for objective in created.search.objectives)
    for name, readings in _by_attempt(rows).items():
        if not any(reading.points for reading in readings):
            continue
        path = AttemptFolder(jobs_folder / Path(name).name).reports
        if not path.is_file():
            comparison.missing += 1
        elif _is_rewritten(readings, path.stat().st_size):
            comparison.rewritten += 1
        else:
            comparison.attempts += 1
            for reading in readings:
                comparison.points += sum(map(len, reading.points.values()))
                comparison.wrong = comparison.wrong or _difference(reading, path, objectives)
    return comparison


def _by_attempt(rows: Iterable[Recorded]) -> dict[str, list[ReportsReading]]:
    """Return the readings of each attempt that has a job, by the job's id."""
    jobs: dict[tuple[int, int], str] = {}
    readings_by_job: dict[str, list[ReportsReading]] = {}
    for row in rows:
        event = row.event
        if isinstance(event, JobBound | JobAdopted):
            jobs[event.trial, event.attempt] = event.job_id
        elif isinstance(event, MetricObserved | ReportsRead) and (event.trial, event.attempt) in jobs:
            readings = readings_by_job.setdefault(jobs[event.trial, event.attempt], [])
            if not readings or (readings[-1].start, readings[-1].end) != (event.from_, event.to):
                readings.append(ReportsReading(row.seq, event.from_, event.to, {}))
            if isinstance(event, MetricObserved):
                points = zip(event.iterations, event.values, strict=True)
                readings[-1].points.setdefault((event.title, event.series), []).extend(points)
            readings[-1].bad |= bool(event.bad)
            if any(_REREAD in line.why for line in event.bad):
                readings[-1].end = -1
    return readings_by_job


def _is_rewritten(readings: Sequence[ReportsReading], size: int) -> bool:
    reread = any(reading.end < reading.start for reading in readings)
    return reread or readings[-1].end > size


def _difference(reading: ReportsReading, path: Path, objectives: frozenset[Series]) -> str | None:
    """Describe the first series whose points in *reading* and in its bytes differ; None if all are equal."""
    points: dict[Series, CurvePoints] = {}
    for point in _points(path, reading.start, reading.end):
        if (point.title, point.series) in objectives:
            points.setdefault((point.title, point.series), []).append((point.iteration, to_num(point.value)))
    for series in sorted(points.keys() | reading.points.keys()):
        recorded, written = reading.points.get(series, []), points.get(series, [])
        # Another version may take other lines for bad: then the points in the log need only be among the written ones.
        if recorded != (_among(recorded, written) if reading.bad else written):
            where = f"bytes {reading.start} to {reading.end} of {path.parent.name}/{path.name}"
            return f"seq {reading.seq}: {where} hold other points of {'/'.join(series)} than the log"
    return None


def _among(recorded: CurvePoints, written: CurvePoints) -> CurvePoints:
    """Return the points of *recorded* that *written* has in the same order."""
    remaining = iter(written)
    return [point for point in recorded if any(point == candidate for candidate in remaining)]


def _points(path: Path, start: int, end: int) -> Iterator[ReportedPoint]:
    with path.open("rb") as file:
        file.seek(max(start - 1, 0))
        data = file.read(end - file.tell())
    if start and not data.startswith(b"\n"):
        data = data.partition(b"\n")[2]  # the reading began inside a line that was too long
    for line in data.split(b"\n"):
        if line.strip() and len(line) <= LONGEST:
            try:
                report = parse(line)
            except NotAReport:
                continue
            if isinstance(report, ReportedPoint):
                yield report
