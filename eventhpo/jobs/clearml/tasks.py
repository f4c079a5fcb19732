"""Tasks as the server describes them, and the requests that read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from eventhpo.core.fold.event_parts import OtherSeries
from eventhpo.core.search.spec import BaseTask, HyperParameter, Objective, to_num
from eventhpo.jobs.clearml.keys import REASON
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.clearml.taken import UNTYPED

# The SDK's `report_single_value` sends iteration -(2 ** 31), plus the last iteration of a task that is continued.
NO_ITERATION = -(2**30)
PAGE = 500  # tasks in one answer, the server's limit
NEVER_RAN = "stopped before it started"
OURS = "stopped by us"
KEYS = 100  # tags in one request

STATUS = ("id", "status", "status_reason", "status_message", "status_changed", "started", "completed")
STATUS_FIELDS = [*STATUS, "last_update", "last_worker", "last_worker_report"]
BASE_FIELDS = ["id", "name", "project", "tags", "hyperparams", "container", "last_metrics", "status"]
FOUND_FIELDS = ["id", "name", "status", "status_reason", "status_message", "tags", "hyperparams", "parent", "comment"]


class TaskParameter(msgspec.Struct):
    """A hyper-parameter in an answer."""

    section: str = ""
    name: str = ""
    value: str | None = ""
    type: str | None = ""
    description: str | None = ""


class TaskMetric(msgspec.Struct):
    """The last metrics of one series of a task."""

    metric: str = ""
    variant: str = ""
    value: float | None = None
    min_value: float | None = None
    max_value: float | None = None
    max_value_iteration: int | None = None
    min_value_iteration: int | None = None
    first_value: float | None = None
    first_value_iteration: int | None = None
    count: int | None = None
    mean_value: float | None = None

    @property
    def is_single(self) -> bool:
        """Whether it was reported by `report_single_value`, which takes no iteration."""
        return min(self.max_value_iteration or 0, self.min_value_iteration or 0) < NO_ITERATION


class Task(msgspec.Struct):
    """The fields of a task that are read here; fields that were not requested have their defaults."""

    id: str
    name: str = ""
    status: str = ""
    status_reason: str | None = ""
    status_message: str | None = ""
    status_changed: str | None = None
    started: str | None = None
    completed: str | None = None
    last_update: str | None = None
    last_worker: str | None = None
    last_worker_report: str | None = None
    last_iteration: int | None = None
    tags: list[str] = []
    system_tags: list[str] = []
    parent: str | None = None
    project: str | None = None
    comment: str | None = ""
    hyperparams: dict[str, dict[str, TaskParameter]] = {}
    last_metrics: dict[str, dict[str, TaskMetric]] = {}
    container: dict[str, str | None] | None = None
    script: dict[str, Any] | None = None
    execution: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    configuration: dict[str, Any] | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Its hyper-parameters as text, by `Section/name`."""
        return {p.full_name: p.value for p in self.declared}

    @property
    def declared(self) -> tuple[HyperParameter, ...]:
        """Its hyper-parameters with type and description, in the server's order."""
        return tuple(
            HyperParameter(section, name, p.value or "", p.type or "", p.description or "")
            for section, names in self.hyperparams.items()
            for name, p in names.items()
        )

    @property
    def series(self) -> Iterator[TaskMetric]:
        """Its last metrics, series by series."""
        for variants in self.last_metrics.values():
            yield from variants.values()

    def describe_status(self) -> str:
        """Return the status reason and message, each if the server gave one."""
        return "; ".join(part for part in (self.status_reason, self.status_message) if part)


class Tasks(msgspec.Struct):
    """An answer to `tasks.get_all`."""

    tasks: list[Task]


def by_id(server: Server, ids: Sequence[str], fields: Sequence[str]) -> tuple[dict[str, Task], int]:
    """Return the tasks that exist, by id, and the server's clock at the first request; one request for 500 tasks.

    Raises:
        Silent, Denied: as `Server.call`.
    """
    tasks_by_id: dict[str, Task] = {}
    clock = 0
    for part in parts(ids, PAGE):
        asked = {"id": list(part), "only_fields": list(fields), "page": 0, "page_size": PAGE, "search_hidden": True}
        answer = server.call("tasks.get_all", asked, Tasks)
        clock = clock or answer.clock
        tasks_by_id |= {task.id: task for task in answer.data.tasks}
    return tasks_by_id, clock


def by_tags(server: Server, tags: Sequence[str]) -> list[Task]:
    """Return the tasks with any of *tags*, also archived ones; one request for 100 tags and 500 tasks.

    Raises:
        Silent, Denied: as `Server.call`.
    """
    tasks_by_id: dict[str, Task] = {}
    for part in parts(tags, KEYS):
        page = 0
        while True:
            asked = {"tags": list(part), "only_fields": FOUND_FIELDS, "page": page, "page_size": PAGE}
            asked |= {"search_hidden": True, "order_by": ["created"]}
            tasks = server.call("tasks.get_all", asked, Tasks).data.tasks
            tasks_by_id |= {task.id: task for task in tasks}
            page += 1
            if len(tasks) < PAGE:
                break
    return list(tasks_by_id.values())


def parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield *items* in pieces of at most *size*."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def standing(task: Task) -> str:
    """Return the status of *task*; for a stopped one `NEVER_RAN` if it never ran, `OURS` if we stopped it."""
    if task.status != "stopped":
        return task.status
    if not task.started:
        return NEVER_RAN
    return OURS if task.status_reason == REASON else task.status


def microseconds(text: str | None) -> int | None:
    """Convert a time of the server to microseconds since 1970; None if there is none."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def as_sections(declared: Iterable[HyperParameter]) -> dict[str, dict[str, dict[str, str]]]:
    """Return hyper-parameters in the form that a request has, by section and name."""
    sections: dict[str, dict[str, dict[str, str]]] = {}
    for p in declared:
        sections.setdefault(p.section, {})[p.name] = {
            "section": p.section,
            "name": p.name,
            "value": p.value,
            "type": p.type,
            "description": p.description,
        }
    return sections


def others(task: Task, objectives: Sequence[Objective], own: str) -> tuple[OtherSeries, ...]:
    """Return the last metrics of all series of *task* but the objectives and those with the title *own*."""
    names = {(o.title, o.series) for o in objectives}
    return tuple(
        OtherSeries(
            title=m.metric,
            series=m.variant,
            iteration=max(0, m.max_value_iteration or 0, m.min_value_iteration or 0),
            last=to_num(m.value),
            min=to_num(m.value if m.min_value is None else m.min_value),
            max=to_num(m.value if m.max_value is None else m.max_value),
            min_iteration=m.min_value_iteration,
            max_iteration=m.max_value_iteration,
            first=None if m.first_value is None else to_num(m.first_value),
            first_iteration=m.first_value_iteration,
            count=m.count,
            mean=None if m.mean_value is None else to_num(m.mean_value),
        )
        for m in task.series
        if m.value is not None and (m.metric, m.variant) not in names and m.metric != own
    )


def merged(base: Sequence[HyperParameter], given: Mapping[str, str], types: Mapping[str, str]) -> list[HyperParameter]:
    """Return *base* with the values of *given*; parameters that it does not have come at its end.

    The parameters in a clone request replace all those of the base task, so the request has all of them.
    """
    known = {p.full_name: p for p in base}
    changed = []
    for p in base:
        value = given.get(p.full_name, p.value)
        new = p.full_name in given and (value == "" or p.type in UNTYPED)  # None, an empty text, or None before
        kind = types[p.full_name] if new else p.type
        changed.append(HyperParameter(p.section, p.name, value, kind, p.description))
    for full, value in given.items():
        if full not in known:
            section, name = full.split("/", 1)
            changed.append(HyperParameter(section, name, value, types[full]))
    return changed


def base_task(task: Task) -> BaseTask:
    """Return what a search records of its base task."""
    return BaseTask(
        name=task.name,
        project=task.project,
        tags=tuple(task.tags),
        hyper_parameters=task.declared,
        container={name: value for name, value in (task.container or {}).items() if value},
    )
