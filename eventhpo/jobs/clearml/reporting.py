"""The job's side of a task: what `eventhpo.job` does where a script runs as a ClearML task.

Parameters come from the task, reports go to it, by the SDK. What ClearML cannot carry
goes under a title of our own, which the door reads: NaN, infinities, and from which
iteration a retry goes on.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

from eventhpo.core.fold.job_key import read_key
from eventhpo.jobs.clearml.keys import OWN, RESUME, RETRY

_known: dict[str, Any] = {}  # the task of this process, once it is asked for


def is_task() -> bool:
    """Whether this process runs as a ClearML task: under an agent, or because its script called `Task.init`."""
    if os.environ.get("CLEARML_TASK_ID") or os.environ.get("TRAINS_TASK_ID"):
        return True
    sdk = sys.modules.get("clearml")
    return sdk is not None and sdk.Task.current_task() is not None


def task() -> Any:
    """Return this process's task, begun if its script has not; its iterations are those that are reported."""
    if "task" not in _known:
        from clearml import Task  # noqa: PLC0415

        current = Task.current_task() or Task.init()
        current.set_initial_iteration(0)  # a task that runs a second time would have them behind those of the first
        _known["task"] = current
    return _known["task"]


def texts() -> dict[str, str | None]:
    """Return the task's parameters as text, by `Section/name`; None if one has no value.

    ClearML stores None as an empty text; only that of a string has a type beside it.
    """
    sections = task().data.hyperparams or {}
    params_by_name = {f"{section}/{p.name}": p for section, params in sections.items() for p in params.values()}
    return {name: None if not p.value and p.type != "str" else str(p.value) for name, p in params_by_name.items()}


def declare(params: dict[str, Any], name: str) -> None:
    """Have the task know *params* as its parameters, so that a search finds them on it."""
    task().connect(dict(params), name=name)


def names() -> tuple[int, int]:
    """Return trial and attempt by the key among the task's tags, (0, 0) if there is none."""
    keys = [key for tag in task().get_tags() or () if (key := read_key(tag)) is not None]
    return (keys[0].trial, keys[0].attempt) if keys else (0, 0)


def predecessor() -> str | None:
    """Return the id of the attempt before, by a tag; before there was one, the parent of a retry said it."""
    this_task = task()
    named = [tag.removeprefix(RETRY) for tag in this_task.get_tags() or () if tag.startswith(RETRY)]
    return named[0] if named else this_task.parent if names()[1] else None


def report(title: str, series: str, value: float, iteration: int) -> None:
    """Report a point; one that ClearML cannot carry by its name."""
    logger = task().get_logger()
    if math.isfinite(value):
        logger.report_scalar(title, series, value=value, iteration=iteration)
        return
    word = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    logger.report_scalar(OWN, f"{word} {title}/{series}", value=1.0, iteration=iteration)


def resume_from(iteration: int) -> None:
    """Say from which iteration of the attempt before it this one goes on."""
    task().get_logger().report_scalar(OWN, RESUME, value=float(iteration), iteration=0)
