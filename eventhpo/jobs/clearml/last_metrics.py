"""What the last metrics of a finished task add to its curves: double precision, and single values.

A curve comes from the server in single precision; the last metrics of a task are in
double precision. They name the iteration of the least, the greatest and the first
value, but not the iteration of the last value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eventhpo.core.fold.curve import single_precision
from eventhpo.core.fold.event_parts import ExactValue
from eventhpo.core.search.spec import Objective, to_num
from eventhpo.jobs.clearml.tasks import Task, TaskMetric
from eventhpo.jobs.protocol import BoundJob, CurveUpdate


def exact(
    task: Task, job: BoundJob, new: Sequence[CurveUpdate], objectives: Sequence[Objective]
) -> tuple[ExactValue, ...]:
    """Return the points of the objectives' curves that *task* has in double precision, each once.

    The whole curve is what the log has of *job* and what is *new*.
    """
    metrics = {(m.metric, m.variant): m for m in task.series}
    read = {(c.title, c.series): c for c in new}
    exact_values: list[ExactValue] = []
    for objective, known in zip(objectives, job.known, strict=True):
        name = objective.title, objective.series
        if name not in metrics or metrics[name].is_single:
            continue
        points = dict(zip(known.iterations, known.values, strict=True))
        if name in read:
            points |= zip(read[name].iterations, read[name].values, strict=True)
        pairs = dict.fromkeys(_pairs(metrics[name], task, points))
        exact_values += [ExactValue(*name, at, to_num(double)) for at, double in pairs if _is_of(points, at, double)]
    return tuple(exact_values)


def _pairs(metric: TaskMetric, task: Task, points: dict[int, float]) -> Iterator[tuple[int, float]]:
    """Yield each value with its iteration.

    The last value has no iteration of its own. It gets the iteration of the only point with
    the same single precision; if there is no such point, the task's last iteration, which
    another series may have reached.
    """
    for value, at in (
        (metric.min_value, metric.min_value_iteration),
        (metric.max_value, metric.max_value_iteration),
        (metric.first_value, metric.first_value_iteration),
    ):
        if value is not None and at is not None:
            yield at, value
    if metric.value is not None:
        alike = [at for at, value in points.items() if value == single_precision(metric.value)]
        last = alike[0] if len(alike) == 1 else task.last_iteration
        if last is not None:
            yield last, metric.value


def _is_of(points: dict[int, float], at: int, double: float) -> bool:
    """Whether the curve has this value in single precision at that iteration."""
    return at in points and points[at] != double and points[at] == single_precision(double)


def singles(
    task: Task, job: BoundJob, new: Sequence[CurveUpdate], objectives: Sequence[Objective]
) -> tuple[CurveUpdate, ...]:
    """Return the objectives that have no curve and were reported by `report_single_value`, as curves of one point.

    Its iteration is the last one that the task reported of anything: what the value cost.
    """
    metrics = {(m.metric, m.variant): m for m in task.series}
    read = {(c.title, c.series) for c in new}
    curves = []
    for objective, known in zip(objectives, job.known, strict=True):
        metric = metrics.get((objective.title, objective.series))
        has_curve = bool(known.iterations) or (objective.title, objective.series) in read
        if metric is not None and metric.is_single and metric.value is not None and not has_curve:
            at = max(0, task.last_iteration or 0)
            curves.append(CurveUpdate(objective.title, objective.series, (at,), (metric.value,)))
    return tuple(curves)
