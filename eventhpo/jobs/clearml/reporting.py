"""The job's side of a task: what `eventhpo.job` does where a script runs as a ClearML task.

The SDK reads parameters from the task and sends reports to it. What ClearML cannot carry
is reported under a title of our own, which the backend reads: NaN, infinities, and the
iteration from which a retry resumes.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

from eventhpo.core.fold.job_key import read_key
from eventhpo.jobs.clearml.keys import OWN, RESUME, RETRY

_known: dict[str, Any] = {}  # the task of this process, after the first call of `task`


def is_task() -> bool:
    """Whether this process runs as a ClearML task: under an agent, or because its script called `Task.init`."""
    if os.environ.get("CLEARML_TASK_ID") or os.environ.get("TRAINS_TASK_ID"):
        return True
    sdk = sys.modules.get("clearml")
    return sdk is not None and sdk.Task.current_task() is not None


def task() -> Any:
    """Return the task of this process, started if the script has not; iterations are kept as they are reported."""
    if "task" not in _known:
        from clearml import Task  # noqa: PLC0415

        current = Task.current_task() or Task.init()
        current.set_initial_iteration(0)  # else a task that runs a second time would add them to the last iteration
        _known["task"] = current
    return _known["task"]


def texts() -> dict[str, str | None]:
    """Return the task's parameters as text, by `Section/name`; None for a parameter without a value.

    ClearML stores None as an empty text. An empty text with the type `str` is an empty string.
    """
    sections = task().data.hyperparams or {}
    params_by_name = {f"{section}/{p.name}": p for section, params in sections.items() for p in params.values()}
    return {name: None if not p.value and p.type != "str" else str(p.value) for name, p in params_by_name.items()}


def declare(params: dict[str, Any], name: str) -> None:
    """Add *params* to the parameters of the task, so that a search that clones it finds them."""
    task().connect(dict(params), name=name)


def names() -> tuple[int, int]:
    """Return trial and attempt from the key among the task's tags, (0, 0) if there is no key."""
    keys = [key for tag in task().get_tags() or () if (key := read_key(tag)) is not None]
    return (keys[0].trial, keys[0].attempt) if keys else (0, 0)


def predecessor() -> str | None:
    """Return the task id of the previous attempt, from a tag; earlier versions put it into the parent of a retry."""
    this_task = task()
    named = [tag.removeprefix(RETRY) for tag in this_task.get_tags() or () if tag.startswith(RETRY)]
    return named[0] if named else this_task.parent if names()[1] else None


def report(title: str, series: str, value: float, iteration: int) -> None:
    """Report a point; NaN and infinities go under our own title, by their names."""
    logger = task().get_logger()
    if math.isfinite(value):
        logger.report_scalar(title, series, value=value, iteration=iteration)
        return
    word = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    logger.report_scalar(OWN, f"{word} {title}/{series}", value=1.0, iteration=iteration)


def resume_from(iteration: int) -> None:
    """Report the iteration of the previous attempt from which this one resumes."""
    task().get_logger().report_scalar(OWN, RESUME, value=float(iteration), iteration=0)
