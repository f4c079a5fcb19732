"""Numbers, values and times as people read them, and as JSON and ClearML carry them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from eventhpo.core.search.space import job_names
from eventhpo.core.search.spec import MINUTE, ClearmlTasks, ComponentConfig, Num, Objective, Scalar, Search

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 200  # characters of one value in a line: a line stays a line


def rfc3339(at: int) -> str:
    """Return *at* (microseconds since 1970, UTC) as RFC 3339 with six decimals."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def named_some(names: Sequence[str], most: int = 5) -> str:
    """Return *names* in a line, the first *most* of them and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def number(value: Num | None) -> str:
    """Return *value* in at most six digits; a dash for none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.6g}"


def scalar(value: Scalar) -> str:
    """Return *value* as a line of text shows it: a float in at most six digits (JSON has them all)."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return line(value) if isinstance(value, str) else json.dumps(value)


def params(values: Mapping[str, Scalar]) -> str:
    """Return *values* as `name=value`, separated by blanks."""
    return " ".join(f"{name}={scalar(value)}" for name, value in values.items())


def ordered(search: Search, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return *values* in the order of the space, others after them: a log gives them back sorted by name."""
    return {name: values[name] for name in job_names(search.space) if name in values} | dict(values)


def component(config: ComponentConfig) -> str:
    """Return a sampler or pruner as a call with its arguments, its name alone without any."""
    given = ", ".join(f"{key}={json.dumps(value)}" for key, value in config.args.items())
    return f"{config.name}({given})" if given else config.name


def metric(objective: Objective) -> str:
    """Return an objective's name as `title/series`."""
    return f"{objective.title}/{objective.series}"


def task(search: Search, task_id: str | None) -> str | None:
    """Return the link to a task on a server, or its id; None for a job on this machine, or before there is a task."""
    if task_id is None or not isinstance(search.jobs, ClearmlTasks):
        return None
    return search.jobs.link(task_id) or task_id


def link(search: Search, task_id: str | None) -> str | None:
    """Return the link to a task on a server, None if there is none."""
    return search.jobs.link(task_id) if task_id is not None and isinstance(search.jobs, ClearmlTasks) else None


def in_minutes(microseconds: int) -> float:
    """Return a time in minutes, as limits are written."""
    return microseconds / MINUTE


def duration(microseconds: int) -> str:
    """Return a time with its unit: 1.5 s, 12.0 min, 3.2 h."""
    seconds = microseconds / 1e6
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def plural(count: int, noun: str) -> str:
    """Return *count* with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def line(text: str) -> str:
    """Return *text* as one line without control characters, cut to `LONGEST` characters."""
    # What a job or a server said may hold a terminal's escape sequences.
    printable = "".join(c if c.isprintable() else " " for c in text).strip()
    return printable if len(printable) <= LONGEST else printable[: LONGEST - 3] + "..."


def is_nan(value: Num | None) -> bool:
    """Whether *value* is NaN, by name or by nature."""
    return value == "nan" or (isinstance(value, float) and math.isnan(value))
