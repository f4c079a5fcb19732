"""What jobs report: scalars, logs and plots, as they are stored and in what they do to the task."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterable

from tests.clearml_server.clock import exact
from tests.clearml_server.endpoints import Api, Body, documented, endpoint
from tests.clearml_server.errors import error
from tests.clearml_server.lifecycle import touch
from tests.clearml_server.state import Document

documented(
    "events.add_batch: plots",
    "events.add_batch: errors by kind; 131 if nothing was added",
    "events.add_batch: published tasks take no events",
    "events.add_batch: repeats='overwrite': the last value of one iteration replaces the ones before it",
)

SCALAR, LOG, PLOT = "training_stats_scalar", "log", "plot"
TYPES = frozenset({SCALAR, LOG, PLOT, "training_stats_vector", "training_debug_image"})
MONITORS = frozenset({":monitor:machine", ":monitor:gpu"})  # their iteration is seconds, not the task's


@endpoint("events.add_batch")
def add_batch(api: Api, body: Body) -> Document:
    """*body* is {"lines": [event]}: the one call whose body is JSON lines."""
    events = body["lines"]
    if not events:
        raise error(17)
    wrong: Counter[str] = Counter()
    added = [event for event in events if _is_good(api, event, wrong)]
    now = exact(api.clock.now())
    for event in added:
        event.setdefault("timestamp", int(api.clock.now().timestamp() * 1000))
        event.update({"@timestamp": now, "metric": event.get("metric") or "", "variant": event.get("variant") or ""})
        event.setdefault("model_event", False)
        _store(api, event)
    for task_id in {event["task"] for event in added}:
        _tell_task(api, task_id, [event for event in added if event["task"] == task_id])
    if not added:
        raise error(131, **{key.replace(" ", "_"): count for key, count in wrong.items()})
    return {"added": len(added), "errors": sum(wrong.values()), "errors_info": dict(wrong)}


@endpoint("events.add", *("task", "type", "iter", "metric", "variant", "value", "timestamp", "worker", "level", "msg"),
          recorded=False)  # fmt: skip
def add(api: Api, body: Body) -> Document:
    return add_batch(api, {"lines": [body]})


def _is_good(api: Api, event: Document, wrong: Counter[str]) -> bool:
    kind, task = event.get("type"), api.state.tasks.get(event.get("task") or "")
    if kind is None:
        wrong["Event must have a 'type' field"] += 1
    elif kind not in TYPES:
        wrong[f"Invalid event type {kind}"] += 1
    elif event.get("task") is None:
        wrong["Event must have a 'task' field"] += 1
    elif task is None or task["status"] in ("publishing", "published"):
        wrong[f"Invalid task id {event['task']}"] += 1
    elif kind == SCALAR and not _is_number(event.get("value")):
        wrong["Error when indexing events batch"] += 1
    else:
        return True
    return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def float32(value: float) -> float:
    """The index keeps 32 bits of a value."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _store(api: Api, event: Document) -> None:
    task_id = event["task"]
    if event["type"] == SCALAR:
        rows = api.state.scalars.setdefault(task_id, [])
        row = [event["metric"], event["variant"], int(event.get("iter") or 0), float32(event["value"]), event]
        if api.options.repeats == "overwrite":
            rows[:] = [kept for kept in rows if kept[:3] != row[:3]]
        rows.append(row)
    elif event["type"] == LOG:
        api.state.logs.setdefault(task_id, []).append(event)
    elif event["type"] == PLOT:
        api.state.plots.setdefault(task_id, []).append(event)


def _tell_task(api: Api, task_id: str, events: Iterable[Document]) -> None:
    task = api.state.tasks[task_id]
    for event in events:
        if event.get("iter") is not None and event["metric"] not in MONITORS:
            task["last_iteration"] = max(task["last_iteration"], int(event["iter"]))
        stats = task["metric_stats"].setdefault(key_of(event["metric"]), {"metric": event["metric"]})
        stats.setdefault("event_stats_by_type", {})[event["type"]] = {"last_update": event["timestamp"]}
    scalars = [event for event in events if event["type"] == SCALAR]
    for metric, variant in dict.fromkeys((event["metric"], event["variant"]) for event in scalars):
        of_it = [event for event in scalars if (event["metric"], event["variant"]) == (metric, variant)]
        kept = task["last_metrics"].setdefault(key_of(metric), {}).setdefault(key_of(variant), {})
        _summarise(kept, metric, variant, of_it)
    touch(api, task)


def _summarise(kept: Document, metric: str, variant: str, events: list[Document]) -> None:
    """The last value is that of this batch's highest iteration, whatever was reported before it."""
    last = max(enumerate(events), key=lambda at: (at[1].get("iter") or 0, at[1].get("timestamp") or 0, at[0]))[1]
    kept.update(metric=metric, variant=variant, value=last["value"])
    for event in events:
        step, value = event.get("iter") or 0, event["value"]
        if "min_value" not in kept or value < kept["min_value"]:
            kept.update(min_value=value, min_value_iteration=step)
        if "max_value" not in kept or value > kept["max_value"]:
            kept.update(max_value=value, max_value_iteration=step)
        kept.setdefault("first_value", value)
        kept.setdefault("first_value_iteration", step)
    before = kept.get("count", 0)
    total = kept.get("mean_value", 0.0) * before + sum(event["value"] for event in events)
    kept.update(count=before + len(events), mean_value=round(total / (before + len(events)), 2))


def key_of(name: str) -> str:
    """How a metric or variant is named in last_metrics: the MD5 of its name."""
    return hashlib.md5(name.encode()).hexdigest()  # noqa: S324 - the server's own key


@endpoint(
    "events.get_task_log",
    *("batch_size", "navigate_earlier", "from_timestamp", "order", "metrics", "scroll_id", "from"),
    needs=("task",),
    version="2.9",
    recorded=False,
)
def get_task_log(api: Api, body: Body) -> Document:
    logs = sorted(api.state.logs.get(body["task"], []), key=lambda event: event["timestamp"])
    events = logs[-(body.get("batch_size") or 5000) :]
    if body.get("order", "desc") == "desc":
        events = events[::-1]
    return {"events": events, "returned": len(events), "total": len(logs)}


@endpoint(
    "events.get_task_events",
    *("order", "batch_size", "event_type", "scroll_id", "metrics", "count_total", "model_events"),
    needs=("task",),
    recorded=False,
)
def get_task_events(api: Api, body: Body) -> Document:
    """All of them in one answer; the one to its scroll_id is empty."""
    task, kind = body["task"], body.get("event_type", "all")
    kept = [row[4] for row in api.state.scalars.get(task, [])] + api.state.logs.get(task, [])
    kept = [event for event in kept + api.state.plots.get(task, []) if kind in ("all", event["type"])]
    kept.sort(key=lambda event: event["timestamp"], reverse=body.get("order") == "desc")
    events = [] if body.get("scroll_id") else kept
    return {"events": events, "returned": len(events), "total": len(kept), "scroll_id": "FFFF"}
