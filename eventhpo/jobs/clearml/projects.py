"""Projects and queues by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from eventhpo.jobs.clearml.session import Calls


class NamedObject(msgspec.Struct):
    """Something that has an id and a name."""

    id: str
    name: str = ""


class _Projects(msgspec.Struct):
    projects: list[NamedObject] = []


def find(server: Calls, name: str) -> str | None:
    """Return the id of the project *name*, None if there is none.

    Raises:
        Silent, Denied: as `Calls.call`.
    """
    body = {"name": exactly(name), "only_fields": ["id", "name"], "search_hidden": True}
    projects = server.call("projects.get_all", body, _Projects).data.projects
    return _of_name(projects, name)


def id_of(server: Calls, name: str) -> str:
    """Return the id of the project *name*, made if there is none.

    Raises:
        Silent, Denied: as `Calls.call`.
    """
    return find(server, name) or server.call("projects.create", {"name": name, "description": ""}, NamedObject).data.id


class Queues(msgspec.Struct):
    """An answer to `queues.get_all`."""

    queues: list[NamedObject] = []


def queue(server: Calls, name: str) -> str | None:
    """Return the id of the queue *name*, None if there is none.

    Raises:
        Silent, Denied: as `Calls.call`.
    """
    queues = server.call("queues.get_all", {"name": exactly(name), "only_fields": ["id", "name"]}, Queues).data.queues
    return _of_name(queues, name)


def _of_name(objects: Sequence[NamedObject], name: str) -> str | None:
    """Return the id of the object with exactly this name: a server may ignore case when it searches."""
    return next((item.id for item in objects if item.name == name), None)


def exactly(name: str) -> str:
    """Return the pattern that matches only *name*: the server reads names as patterns."""
    return f"^{re.escape(name)}$"
