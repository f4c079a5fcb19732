"""Tasks as documents: made, cloned, read and edited."""

from __future__ import annotations

from copy import deepcopy

from tests.clearml_server.clock import exact, stored
from tests.clearml_server.endpoints import Api, Body, documented, endpoint, new_id
from tests.clearml_server.errors import error
from tests.clearml_server.lifecycle import DELETED, find, touch, touch_project
from tests.clearml_server.state import COMPANY, USER, Document

CREATED = ("name", "tags", "system_tags", "type", "comment", "parent", "project", "input", "models", "container",
           "output_dest", "execution", "hyperparams", "configuration", "script", "runtime")  # fmt: skip

# What a user sets in the web page does not count as life of the task: last_update stays.
OF_THE_USER = frozenset({"name", "comment", "project", "tags", "system_tags", "status_message"})

documented(
    "tasks.clone: drops development and archived, the queue and output artifacts",
)


def new_task(api: Api, **fields: object) -> Document:
    now = stored(api.clock.now())
    task: Document = {"id": new_id(), "company": COMPANY, "user": USER, "name": "", "type": "training"}
    task |= {"status": "created", "status_reason": "", "status_message": "", "report_assets": [], "created": now}
    task |= {
        "output": {},
        "execution": {"test_split": 0, "parameters": {}, "model_desc": {}, "model_labels": {}, "artifacts": []},
    }
    task |= {"tags": [], "system_tags": [], "last_update": now, "last_change": now, "last_iteration": 0}
    task |= {"last_metrics": {}, "unique_metrics": [], "metric_stats": {}, "hyperparams": {}, "configuration": {}}
    task |= {"runtime": {}, "models": {"input": [], "output": []}, "container": {}, "last_changed_by": USER}
    task |= {name: value for name, value in fields.items() if value is not None}
    task["tags"], task["system_tags"] = sorted(set(task["tags"])), sorted(set(task["system_tags"]))
    api.state.tasks[task["id"]] = task
    touch_project(api, task.get("project"))
    return task


@endpoint("tasks.create", *CREATED, needs=("name", "type"))
def create(api: Api, body: Body) -> Document:
    if body.get("project") and body["project"] not in api.state.projects:
        raise error(401, id=body["project"])
    given = {name: deepcopy(body[name]) for name in CREATED if name in body and name not in EMBEDDED}
    output = given.pop("output_dest", None)
    task = new_task(api, **given, output={"destination": output} if output else None)
    for name in EMBEDDED & set(body):
        task[name] = {**task.get(name, {}), **body[name]}
    return {"id": task["id"]}


EMBEDDED = frozenset({"script", "execution", "models"})


@endpoint(
    "tasks.clone",
    *("new_task_name", "new_task_comment", "new_task_tags", "new_task_system_tags", "new_task_parent"),
    *("new_task_project", "new_task_hyperparams", "new_task_configuration", "new_task_container"),
    *("new_task_input_models", "execution_overrides", "validate_references", "new_project_name"),
    needs=("task",),
)
def clone(api: Api, body: Body) -> Document:
    base = api.state.tasks.get(body["task"])
    if base is None:
        raise error(101, id=body["task"], company=COMPANY)
    _check_references(api, body)
    project = body.get("new_task_project")
    made = {}
    if not project and body.get("new_project_name"):
        from tests.clearml_server.projects import find_or_create

        project = find_or_create(api, body["new_project_name"])["id"]
        made = {"new_project": {"id": project, "name": body["new_project_name"]}}
    base = deepcopy(base)
    execution = {key: value for key, value in base["execution"].items() if key != "queue"}
    execution |= deepcopy(body.get("execution_overrides") or {})
    execution["artifacts"] = [each for each in execution.get("artifacts") or [] if each.get("mode") == "input"]
    parent = base.get("parent")
    task = new_task(
        api,
        name=body.get("new_task_name") or base["name"],
        comment=body.get("new_task_comment") or base.get("comment"),
        parent=body.get("new_task_parent") or (parent if parent and not parent.startswith(DELETED) else base["id"]),
        project=project or base.get("project"),
        tags=body.get("new_task_tags") or base["tags"],
        system_tags=body.get("new_task_system_tags")
        or [tag for tag in base["system_tags"] if tag not in ("development", "archived")],
        type=base["type"],
        script=base.get("script"),
        output={key: value for key, value in base["output"].items() if key == "destination"},
        models={"input": body.get("new_task_input_models") or base["models"]["input"], "output": []},
        container=deepcopy(body.get("new_task_container")) or base["container"],
        execution=execution,
        configuration=deepcopy(body.get("new_task_configuration")) or base["configuration"],
        hyperparams=deepcopy(body.get("new_task_hyperparams")) or base["hyperparams"],
    )
    return {"id": task["id"], **made}


def _check_references(api: Api, body: Body) -> None:
    if body.get("new_task_parent") and body["new_task_parent"] not in api.state.tasks:
        raise error(101, "invalid parent", parent=body["new_task_parent"])
    if body.get("new_task_project") and body["new_task_project"] not in api.state.projects:
        raise error(401, id=body["new_task_project"])


@endpoint("tasks.get_by_id", needs=("task",))
def get_by_id(api: Api, body: Body) -> Document:
    task = api.state.tasks.get(body["task"])
    if task is None:
        raise error(101, ids=[body["task"]])
    return {"task": deepcopy(task)}


@endpoint("tasks.edit", *CREATED, "status", "force", "status_reason", "status_message", needs=("task",))
def edit(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    if not body.get("force") and task["status"] != "created":
        raise error(110, expected="created", status=task["status"])
    given = {name: deepcopy(body[name]) for name in (*CREATED, "status") if name in body}
    return _update(api, task, given, merge=True)


@endpoint(
    "tasks.update", *CREATED, "status", "status_reason", "status_message", "force", needs=("task",), recorded=False
)
def update(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    names = ("name", "comment", "project", "tags", "system_tags", "status_message")
    return _update(api, task, {name: deepcopy(body[name]) for name in names if name in body}, merge=False)


def _update(api: Api, task: Document, given: Document, *, merge: bool) -> Document:
    if not given:
        return {"updated": 0}
    if "output_dest" in given:
        given["output"] = {**task["output"], "destination": given.pop("output_dest")}
    for name in EMBEDDED & set(given) if merge else ():
        start = {"requirements": {}} if name == "script" else {}
        given[name] = {**start, **task.get(name, {}), **given[name]}
    for name in {"tags", "system_tags"} & set(given):
        given[name] = list(dict.fromkeys(given[name] or []))
    now = api.clock.now()
    task.update(deepcopy(given))
    for name in {"tags", "system_tags"} & set(given):
        task[name] = sorted(task[name])
    shown = {**given, "last_change": exact(now), "last_changed_by": USER}
    task.update(last_change=stored(now), last_changed_by=USER)
    if not set(given) <= OF_THE_USER:
        shown["last_update"], task["last_update"] = exact(now), stored(now)
    touch_project(api, task.get("project"))
    return {"updated": 1, "fields": shown}


@endpoint(
    "tasks.edit_hyper_params",
    "replace_hyperparams",
    "force",
    needs=("task", "hyperparams"),
    version="2.9",
    recorded=False,
)
def edit_hyper_params(api: Api, body: Body) -> Document:
    task, replace = find(api, body["task"]), body.get("replace_hyperparams", "none")
    if not body.get("force") and task["status"] != "created":
        raise error(110, expected="created", status=task["status"])
    named = {item["section"] for item in body["hyperparams"]}
    params = {} if replace == "all" else task["hyperparams"]
    params = {section: {} if replace == "section" and section in named else params[section] for section in params}
    for item in body["hyperparams"]:
        params.setdefault(item["section"], {})[item["name"]] = item
    task["hyperparams"] = params
    touch(api, task)
    return {"updated": 1}


@endpoint("models.get_all", "task", "id", "name", "only_fields", "page", "page_size", recorded=False)
def models(api: Api, body: Body) -> Document:
    """This server keeps no models; the SDK asks before it deletes a task."""
    return {"models": []}


@endpoint("tasks.set_requirements", needs=("task", "requirements"))
def set_requirements(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    if not task.get("script"):
        raise error(12, "Task has no script field")
    task["script"]["requirements"] = body["requirements"]
    return {"updated": 1, "fields": {}}


@endpoint("tasks.add_or_update_artifacts", "force", needs=("task", "artifacts"), version="2.10")
def add_or_update_artifacts(api: Api, body: Body) -> Document:
    task = find(api, body["task"])
    kept = {(each["key"], each["mode"]): each for each in task["execution"]["artifacts"]}
    for artifact in body["artifacts"]:
        kept[artifact["key"], artifact.get("mode", "output")] = {"mode": "output", **artifact}
    task["execution"]["artifacts"] = list(kept.values())
    touch(api, task)
    return {"updated": 1}
