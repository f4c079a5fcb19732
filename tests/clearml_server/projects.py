"""Projects: found by name or id, made when missing."""

from __future__ import annotations

import re

from tests.clearml_server.clock import stored
from tests.clearml_server.endpoints import Api, Body, documented, endpoint, new_id
from tests.clearml_server.errors import error
from tests.clearml_server.state import COMPANY, USER, Document

documented("projects.get_by_id: 401")


def find_or_create(api: Api, name: str, description: str = "", **more: object) -> Document:
    """The project of that name; its parents are made with it."""
    for project in api.state.projects.values():
        if project["name"] == name:
            return project
    above = name.rpartition("/")[0]
    parent = find_or_create(api, above) if above else None
    now = stored(api.clock.now())
    project: Document = {"id": new_id(), "company": COMPANY, "user": USER, "name": name}
    project |= {"basename": name.rpartition("/")[2], "description": description, "created": now, "tags": []}
    project |= {"system_tags": [], "last_update": now, "featured": 9999}
    project |= {key: value for key, value in more.items() if value}
    if parent:
        project["parent"] = parent["id"]
    api.state.projects[project["id"]] = project
    return project


@endpoint("projects.create", "description", "tags", "system_tags", "default_output_destination", needs=("name",),
          recorded=False)  # fmt: skip
def create(api: Api, body: Body) -> Document:
    if any(project["name"] == body["name"] for project in api.state.projects.values()):
        raise error(801, name=body["name"], company=COMPANY)
    more = {key: body.get(key) for key in ("tags", "system_tags", "default_output_destination")}
    return {"id": find_or_create(api, body["name"], body.get("description") or "", **more)["id"]}


@endpoint("projects.get_by_id", needs=("project",))
def get_by_id(api: Api, body: Body) -> Document:
    project = api.state.projects.get(body["project"])
    if project is None:
        raise error(401, id=body["project"])
    return {"project": {**project, "path": _path(api, project)}}


def _path(api: Api, project: Document) -> list[str]:
    above = api.state.projects.get(project.get("parent") or "")
    return [*_path(api, above), above["id"]] if above else []


@endpoint(
    "projects.get_all",
    *("name", "basename", "id", "shallow_search", "search_hidden", "only_fields", "page", "page_size", "order_by"),
    *("tags", "system_tags", "include_stats", "allow_public", "check_own_contents"),
)
def get_all(api: Api, body: Body) -> Document:
    found = [project for project in api.state.projects.values() if _matches(project, body)]
    size = min(body.get("page_size") or 500, 500)
    only = body.get("only_fields")
    found = found[(body.get("page") or 0) * size :][:size]
    return {"projects": [{key: each[key] for key in only if key in each} if only else dict(each) for each in found]}


def _matches(project: Document, body: Body) -> bool:
    if body.get("id") and project["id"] not in body["id"]:
        return False
    return all(re.search(body[key], project[key]) for key in ("name", "basename") if body.get(key))
