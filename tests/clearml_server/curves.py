"""How reported scalars are read: averaged histograms of one task or many, every point, and single events."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable

from tests.clearml_server.endpoints import Api, Body, documented, endpoint, new_id
from tests.clearml_server.errors import error
from tests.clearml_server.state import Document

documented(
    "histograms: samples 1 to 6000, else 12; more than 100 tasks, 12; an unknown task, 101",
    "histograms: more points than samples are averaged in buckets of iterations",
    "events.scalar_metrics_iter_raw: scroll; one that stands at iteration 0 begins again",
    "events.get_scalar_metric_data: scroll",
)

SAMPLES = 2000
MOST_SAMPLES = 6000
MOST_TASKS = 100
MOST_CURVES = 50  # curves in one aggregation
SINGLE_VALUE = -(2**31)  # the iteration of report_single_value: in no curve

Row = list  # [metric, variant, iteration, value, event]
Curve = tuple[str, str]


@endpoint("events.scalar_metrics_iter_histogram", "samples", "key", "metrics", "model_events", needs=("task",))
def one(api: Api, body: Body) -> Document:
    if body["task"] not in api.state.tasks:
        raise error(101, ids=[body["task"]])
    return histograms(api, body["task"], body)


@endpoint(
    "events.multi_task_scalar_metrics_iter_histogram", "samples", "key", "metrics", "model_events", needs=("tasks",)
)
def many(api: Api, body: Body) -> Document:
    tasks = body["tasks"]
    tasks = [part.strip() for part in tasks.split(",")] if isinstance(tasks, str) else tasks
    if not 1 <= len(tasks) <= MOST_TASKS:
        bound = f"maximum length is {MOST_TASKS}" if tasks else "minimum length is 1"
        raise error(12, f"value for field 'tasks' is of wrong length: {bound}")
    if any(task not in api.state.tasks for task in tasks):
        raise error(101, ids=tasks)
    answer: Document = {}
    for task in dict.fromkeys(tasks):
        for metric, variants in histograms(api, task, body).items():
            for variant, curve in variants.items():
                curve["name"] = api.state.tasks[task]["name"]
                answer.setdefault(metric, {}).setdefault(variant, {})[task] = curve
    return {"metrics": answer}


def histograms(api: Api, task_id: str, body: Body) -> Document:
    samples, axis = body.get("samples", SAMPLES), body.get("key", "iter")
    if not isinstance(samples, int) or not 1 <= samples <= MOST_SAMPLES:
        bound = f"'{samples}' is {'lower' if samples < 1 else 'higher'} than {1 if samples < 1 else MOST_SAMPLES}"
        raise error(12, f"error for field 'samples': {bound}")
    if axis not in ("iter", "timestamp", "iso_time"):
        raise error(12, f"error for field 'key': invalid value {axis}")
    curves: dict[Curve, list[tuple[int, float]]] = {}
    for row in wanted(api.state.scalars.get(task_id, []), body.get("metrics")):
        if row[2] > SINGLE_VALUE:
            at = row[2] if axis == "iter" else row[4]["timestamp"]
            curves.setdefault((row[0], row[1]), []).append((at, row[3]))
    answer: Document = {}
    for width, group in _groups(curves, samples):
        for metric, variant in group:
            x, y = _averaged(curves[metric, variant], width)
            shown = [_iso(at) for at in x] if axis == "iso_time" else x
            answer.setdefault(metric, {})[variant] = {"name": variant, "x": shown, "y": y}
    return answer


def _iso(millis: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wanted(rows: Iterable[Row], metrics: list[Document] | None) -> list[Row]:
    """The rows of the metrics, and of their variants if any are named; all without metrics."""
    if not metrics:
        return list(rows)
    named = {each["metric"]: each.get("variants") or [] for each in metrics}
    return [row for row in rows if row[0] in named and (not named[row[0]] or row[1] in named[row[0]])]


def _width(points: list[tuple[int, float]], samples: int) -> tuple[int, int]:
    """The width of a bucket so that a curve has at most *samples* of them, and how many it then has."""
    if len(points) < samples:
        return 1, len(points)
    span = max(at for at, _ in points) - min(at for at, _ in points) + 1
    width = max(1, math.ceil(span / samples))
    return width, math.ceil(span / width)


def _groups(curves: dict[Curve, list[tuple[int, float]]], samples: int) -> list[tuple[int, list[Curve]]]:
    """Curves of about the same width are read together, with the widest of them."""
    widths = sorted((*_width(points, samples), curve) for curve, points in sorted(curves.items()))
    groups: list[tuple[int, list[Curve]]] = []
    bound = buckets = 0
    for width, size, curve in widths:
        full = groups and (buckets + size > MOST_SAMPLES or len(groups[-1][1]) >= MOST_CURVES)
        if not groups or width > bound or full:
            groups.append((width, []))
            bound, buckets = width + int(width * 0.1), 0
        groups[-1][1].append(curve)
        groups[-1] = (max(groups[-1][0], width), groups[-1][1])
        buckets += size
    return groups


def _averaged(points: list[tuple[int, float]], width: int) -> tuple[list[int], list[float]]:
    buckets: dict[int, list[float]] = {}
    for at, value in points:
        buckets.setdefault(math.floor(at / width) * width, []).append(value)
    x = sorted(buckets)
    return x, [sum(buckets[at]) / len(buckets[at]) for at in x]


@endpoint(
    "events.scalar_metrics_iter_raw",
    *("batch_size", "key", "count_total", "scroll_id", "model_events"),
    needs=("task", "metric"),
    version="2.16",
)
def raw(api: Api, body: Body) -> Document:
    scroll = _scroll_of(body.get("scroll_id"))
    if scroll and scroll["from"] is None:
        return {"returned": 0, "total": scroll["total"], "scroll_id": body["scroll_id"], "variants": {}}
    if body["task"] not in api.state.tasks:
        raise error(101, ids=[body["task"]])
    size = body.get("batch_size") or (scroll or {}).get("size") or 10_000
    rows = wanted(api.state.scalars.get(body["task"], []), [body["metric"]])
    total = len(rows) if body.get("count_total") else None
    rows.sort(key=lambda row: row[2])
    if scroll and scroll["from"]:  # 0 counts as none there, so the scroll begins again
        rows = [row for row in rows if row[2] > scroll["from"]]
    page = rows[:size]
    page += [row for row in rows[size:] if row[2] == page[-1][2]]  # an iteration is not torn apart
    variants: Document = {}
    for row in page:
        curve = variants.setdefault(row[1], {"y": [], "iter": []})
        curve["y"].append(row[3])
        curve["iter"].append(row[2])
    position = {"from": page[-1][2] if page else None, "total": total, "size": size}
    return {"returned": len(page), "total": total, "scroll_id": _scroll(position), "variants": variants}


def _scroll(position: Document) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _scroll_of(text: str | None) -> Document | None:
    try:
        return json.loads(base64.urlsafe_b64decode(text)) if text else None
    except (binascii.Error, ValueError):
        raise error(1104, scroll_id=text) from None


@endpoint("events.get_scalar_metric_data", "scroll_id", "no_scroll", "model_events", needs=("task", "metric"))
def single_events(api: Api, body: Body) -> Document:
    if body["task"] not in api.state.tasks:
        raise error(101, ids=[body["task"]])
    rows = wanted(api.state.scalars.get(body["task"], []), [{"metric": body["metric"]}])
    rows.sort(key=lambda row: -row[2])
    scroll = body.get("scroll_id") or new_id()
    start = api.state.scrolls.get(scroll, 0)
    events = [{**row[4], "value": row[4]["value"]} for row in rows[start : start + 500]]
    api.state.scrolls[scroll] = start + len(events)
    return {"events": events, "returned": len(events), "total": len(rows), "scroll_id": scroll}
