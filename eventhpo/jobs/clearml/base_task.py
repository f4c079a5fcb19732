"""Check a search against its server before it begins: base task, queue, parameters, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from eventhpo.core.search.spec import ClearmlTasks, Objective
from eventhpo.core.validation.mistakes import nearest
from eventhpo.errors import Usage
from eventhpo.jobs.clearml import projects
from eventhpo.jobs.clearml.launch import full_name
from eventhpo.jobs.clearml.session import Beforehand, Calls, Server
from eventhpo.jobs.clearml.taken import Values, misfits, nones
from eventhpo.jobs.clearml.tasks import BASE_FIELDS, Task, Tasks, base_task

HYDRA = "Hydra/"
FULL_EDIT = "Hydra/_allow_omegaconf_edit_"  # if it is true, the SDK ignores the rest of that section
SHOWN = 30  # names that a message lists


class DescribedSearch(msgspec.Struct, frozen=True):
    """The tasks of a search with what the server says of them, and warnings."""

    tasks: ClearmlTasks
    warnings: tuple[str, ...] = ()


def described(
    server: Server,
    asked: ClearmlTasks,
    names: Sequence[str],
    objectives: Sequence[Objective],
    *,
    values: Values,
    dry: bool = False,
) -> DescribedSearch:
    """Return *asked* with base task, queue and project looked up; a missing project is made, unless *dry*.

    This takes two requests and the login; one more for a queue given by id, two more for a
    project given by name.

    Raises:
        Usage: one of them does not exist; or the base task lacks a parameter or a metric
            that the search names; or a parameter cannot take a value of the search.
        Unanswered: the server does not answer.
    """
    calls = Beforehand(server)
    task = _base(calls, asked.base_task_id)
    warnings = [*_parameters(task, names, asked.new_parameters), *_metrics(task, objectives)]
    warnings += _types(task, {name: some for name, some in values.items() if name not in asked.new_parameters})
    base, queue = base_task(task), _queue(calls, asked.execution_queue)
    if asked.project is not None:
        project = projects.find(calls, asked.project) if dry else projects.id_of(calls, asked.project)
        base = msgspec.structs.replace(base, project=project, project_name=asked.project)
    return DescribedSearch(msgspec.structs.replace(asked, base=base, queue=queue, web=server.web), tuple(warnings))


def _base(server: Calls, task_id: str) -> Task:
    body = {"id": [task_id], "only_fields": BASE_FIELDS, "page": 0, "page_size": 1, "search_hidden": True}
    tasks = server.call("tasks.get_all", body, Tasks).data.tasks
    if not tasks:
        raise Usage(
            f"base_task_id: there is no task {task_id} on this ClearML server, or you may not see it; its page on the "
            "server shows its id"
        )
    return tasks[0]


def _queue(server: Calls, asked: str) -> str:
    """Return the id of the queue with the name, or else the id, *asked*."""
    queue_id = projects.queue(server, asked)
    if queue_id is not None:
        return queue_id
    queues = server.call("queues.get_all", {"only_fields": ["id", "name"]}, projects.Queues).data.queues
    if any(queue.id == asked for queue in queues):
        return asked
    near = nearest(asked, [q.name for q in queues])
    hint = f"did you mean {near!r}?" if near else f"there are {_listed(q.name for q in queues)}"
    raise Usage(f"execution_queue: there is no queue {asked!r} on this ClearML server; {hint}")


def _parameters(task: Task, names: Sequence[str], new: Sequence[str]) -> list[str]:
    have = list(task.parameters)
    missing = [name for name in names if name not in have and full_name(name) not in map(full_name, new)]
    if any(name.startswith(HYDRA) for name in have):
        _require_overrides(task, names)
        missing = [name for name in missing if not name.startswith(HYDRA)]
    if not missing:
        return []
    problem = f"the base task {task.id} has no parameter {_listed(missing)}"
    if have:
        hints = [f"did you mean {near}?" for name in missing if (near := nearest(name, have))]
        raise Usage(
            f"{problem}; {' '.join(hints) or 'Its script would never read it.'} It has: {_listed(have)}. If its script "
            "reads it all the same, name it in new_parameters"
        )
    return [f"{problem}, nor any other, so eventhpo cannot tell whether its script reads them"]


def _types(task: Task, values: Values) -> list[str]:
    """Refuse values that the script cannot take and return warnings; the section Hydra takes any text.

    Raises:
        Usage: a value is not of the type that its parameter has on the base task.
    """
    typed = {name: some for name, some in values.items() if not name.startswith(HYDRA)}
    wrong = list(misfits(task.declared, typed))
    if wrong:
        raise Usage(
            f"the base task {task.id} cannot take what the search gives it: {'; '.join(wrong)}. ClearML would "
            "keep the script's own value and say nothing. If the script reads the text itself, name the parameter in "
            "new_parameters"
        )
    turned = nones(task.declared, typed)
    return (
        [f"where the search says None, ClearML's connect gives a script False or '': {_listed(turned)}"]
        if turned
        else []
    )


def _require_overrides(task: Task, names: Sequence[str]) -> None:
    """Raise unless the SDK overrides each parameter of the section Hydra, including new ones.

    Raises:
        Usage: the script takes its whole configuration from the task instead.
    """
    asked = [name for name in names if name.startswith(HYDRA)]
    if asked and task.parameters.get(FULL_EDIT, "").lower() == "true":
        raise Usage(
            f"the base task {task.id} has {FULL_EDIT} = True: its script takes its whole configuration from the "
            f"task, and would not notice {_listed(asked)}; set it to False"
        )


def _metrics(task: Task, objectives: Sequence[Objective]) -> list[str]:
    have = [f"{m.metric}/{m.variant}" for m in task.series]
    missing = [name for o in objectives if (name := f"{o.title}/{o.series}") not in have]
    if not missing:
        return _single_values(task, objectives)
    problem = f"the base task {task.id} has reported no {_listed(missing)}"
    if have:
        raise Usage(f"{problem}; it has reported: {_listed(have)}")
    return [f"{problem}, nor anything else, so eventhpo cannot tell whether its script reports it"]


def _single_values(task: Task, objectives: Sequence[Objective]) -> list[str]:
    singles = {(m.metric, m.variant) for m in task.series if m.is_single}
    single_values = [f"{o.title}/{o.series}" for o in objectives if (o.title, o.series) in singles]
    if not single_values:
        return []
    return [
        f"the base task {task.id} has reported {_listed(single_values)} by report_single_value, "
        "which is read only when a job is over: no trial can be pruned by it"
    ]


def _listed(names: Iterable[str]) -> str:
    all_names = sorted(names)
    more = len(all_names) - SHOWN
    return ", ".join(all_names[:SHOWN]) + (f" and {more} more" if more > 0 else "") if all_names else "none"
