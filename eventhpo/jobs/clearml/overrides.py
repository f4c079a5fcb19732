"""What a caller overrides of a job in addition to its parameters, as `ClearmlJob` takes it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from eventhpo.core.fold.event_parts import JobExtras
from eventhpo.core.validation.mistakes import nearest
from eventhpo.errors import Usage
from eventhpo.jobs.clearml.tasks import Task

SECTIONS = ("script", "container", "execution", "output", "configuration")
PLAIN = ("name", "comment", "type")  # fields of a task that are one value
FURTHER = ("configuration_overrides", "target_project", "output_uri", "enable_local_imports")
_REFUSED = {
    "allow_caching": "a job that is taken from an earlier run is no job of this search",
    "disable_clone_task": "the base task itself would be run, and could not be cloned again",
}


def require(extras: JobExtras) -> None:
    """Raise unless all of *extras* can be applied to a task.

    Raises:
        Usage: an argument cannot be; the message names it.
    """
    for name, value in extras.further.items():
        if name in _REFUSED and value:
            raise Usage(f"{name}={value!r} is not accepted: {_REFUSED[name]}")
        if name not in _REFUSED and name not in FURTHER:
            near = nearest(name, FURTHER)
            hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join(FURTHER)}"
            raise Usage(f"{name}= is no argument of a job{hint}")
    given = extras.further.get("configuration_overrides") or {}
    if not isinstance(given, Mapping):
        raise Usage(f"configuration_overrides={given!r} is not accepted: expected a table by name")
    for path in extras.task_overrides:
        section = path.partition(".")[0]
        if section not in (*SECTIONS, *PLAIN):
            raise Usage(f"task_overrides: {path!r} cannot be overridden; there are {', '.join((*SECTIONS, *PLAIN))}")


def target_project(extras: JobExtras) -> str | None:
    """Return the name of the project that the caller wants this job in."""
    name = extras.further.get("target_project")
    return None if name is None else str(name)


def sections(extras: JobExtras) -> set[str]:
    """Return the sections of a task that must be read first, since an edit replaces a whole section."""
    names = {path.partition(".")[0] for path in extras.task_overrides} & set(SECTIONS)
    return names | ({"configuration"} if extras.further.get("configuration_overrides") else set())


def changes(extras: JobExtras, task: Task) -> dict[str, Any]:
    """Return the fields of *task* that *extras* changes, each section as a whole."""
    fields: dict[str, Any] = {}
    for path, value in extras.task_overrides.items():
        section, _, field = path.partition(".")
        if not field:
            fields[section] = value
            continue
        whole = fields.get(section, copy.deepcopy(getattr(task, section, None)))
        fields[section] = _with(whole, field.split("."), value)
    given = extras.further.get("configuration_overrides") or {}
    if given:
        fields.setdefault("configuration", copy.deepcopy(task.configuration or {})).update(_configuration(given))
    uri = extras.further.get("output_uri")
    if isinstance(uri, str):
        fields["output_dest"] = uri
    return fields


def _with(whole: Any, path: list[str], value: Any) -> Any:
    """Return *whole* with *value* at *path*; a null or a text on the way is replaced by a table."""
    if not path:
        return value
    table = whole if isinstance(whole, dict) else {}
    return table | {path[0]: _with(table.get(path[0]), path[1:], value)}


def _configuration(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "name": name,
            "value": value if isinstance(value, str) else json.dumps(value),
            "type": None if isinstance(value, str) else "json",
        }
        for name, value in given.items()
    }
