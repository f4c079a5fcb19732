"""Make tasks: one complete clone for each draft, and never a second one.

A clone request and an enqueue request are sent once. If the answer is lost, the next call
looks up whether it took effect: a clone by the key among its tags, an enqueue by the status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from eventhpo.core.fold.event_parts import JobExtras
from eventhpo.core.search.spec import BaseTask, ClearmlTasks, Scalar, clearml_text
from eventhpo.jobs.clearml import overrides, projects
from eventhpo.jobs.clearml.keys import RETRY, tag_of_search
from eventhpo.jobs.clearml.other_controllers import Rivals
from eventhpo.jobs.clearml.session import Denied, Nothing, Server, Silent
from eventhpo.jobs.clearml.tasks import (
    BASE_FIELDS,
    STATUS_FIELDS,
    Task,
    as_sections,
    base_task,
    by_id,
    by_tags,
    merged,
    microseconds,
)
from eventhpo.jobs.protocol import (
    Bound,
    BoundJob,
    DraftOutcome,
    DraftRequest,
    Ended,
    Item,
    LaunchOutcome,
    Outcome,
    Queued,
    Refused,
    Started,
)

OPTIMIZATION = "optimization"  # the tag that ClearML's class gives its jobs
TASK_GONE, BAD_STATUS, QUEUE_GONE, ALREADY_QUEUED = 101, 110, 701, 706  # subcodes

JobNamer = Callable[[str, Mapping[str, Scalar]], str | None]


def default_name(base: str, params: Mapping[str, Scalar]) -> str | None:
    """Return a job's name as ClearML's class writes it."""
    return f"{base}: {' '.join(f'{name}={params[name]}' for name in sorted(params))}"


class Labels(msgspec.Struct, frozen=True):
    """The labels of tasks: their parent, their project (by id or by name), and what names them."""

    parent: str | None = None
    project: str | None = None
    project_name: str | None = None
    name: JobNamer = default_name


class _Id(msgspec.Struct):
    id: str


def refusal(error: Silent | Denied, what: str, doing: str) -> Refused:
    """Return a lost answer or a refusal of the server as an outcome."""
    in_doubt = isinstance(error, Silent) and error.in_doubt
    return Refused(error=f"{what}: cannot {doing}: {error}", in_doubt=in_doubt)


class Launcher:
    """Creates tasks from the base task that the log has, and enqueues them."""

    def __init__(
        self, server: Server, tasks: ClearmlTasks, labels: Callable[[], Labels], rivals: Rivals | None = None
    ) -> None:
        assert tasks.base is not None, "a search on ClearML records its base task"
        self._server = server
        self._tasks = tasks
        self._base = tasks.base
        self._labels = labels
        self._rivals = rivals
        self._queue = tasks.queue
        self._projects: dict[str, str] = {}
        self._doubted: dict[str, DraftRequest] = {}  # by key: drafts whose clone may appear only later
        self._settled: dict[str, str | None] = {}  # by key of those: the bound task, None if it was cancelled
        self.last: dict[str, str] = {}  # the status of each task when this process last saw it, by id

    # ---------------------------------------------------------------- drafts

    def draft(self, drafts: Sequence[DraftRequest]) -> list[DraftOutcome]:
        """Clone the base task for each draft; with `look`, adopt the task that has its key."""
        if self._rivals is not None:
            self._rivals.drafting(drafts)
        looked = [draft for draft in drafts if draft.look]
        try:
            tasks_by_key = self.look(looked) if looked else {}
        except (Silent, Denied) as error:
            return [refusal(error, draft.key, "look for its task") for draft in drafts]
        outcomes = while_it_answers(
            drafts, lambda draft: self._one(draft, tasks_by_key.get(draft.key, [])), "make its task"
        )
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(outcome, Refused) and outcome.in_doubt:
                self._doubted[draft.key] = draft
            elif isinstance(outcome, Bound) and draft.key in self._doubted:
                self._settled[draft.key] = outcome.job_id
        return outcomes

    def look(self, drafts: Sequence[DraftRequest]) -> dict[str, list[Task]]:
        """Return the tasks that have the keys of *drafts* among their tags, by key.

        Raises:
            Silent, Denied: as `Server.call`.
        """
        tasks_by_key: dict[str, list[Task]] = {}
        keys = {draft.key for draft in drafts}
        for task in by_tags(self._server, sorted(keys)):
            for key in keys.intersection(task.tags):
                tasks_by_key.setdefault(key, []).append(task)
        return tasks_by_key

    def _one(self, draft: DraftRequest, tasks: Sequence[Task]) -> DraftOutcome:
        own_tasks = self.own_tasks(draft, tasks)
        if own_tasks:
            return self._adopt(draft, own_tasks)
        if draft.look and tasks:
            return Refused(error=f"{draft.key}: task {tasks[0].id} carries this key and has other parameters")
        try:
            base = self._base_of(draft)
            made = self._cloned(draft, self._clone(draft, base))
        except Denied as error:
            if error.subcode == TASK_GONE:
                return Refused(error=f"{draft.key}: the base task {self._base_id(draft)} is gone: {error}")
            raise
        return Bound(job_id=made)

    def _cloned(self, draft: DraftRequest, body: dict[str, object]) -> str:
        """Clone and return the id; if the parent was deleted, which the server refuses, use the base task as parent."""
        parents = [draft.extras.parent or self._labels().parent, self._tasks.base_task_id]
        for parent in filter(None, parents):
            try:
                return self._server.call("tasks.clone", body | {"new_task_parent": parent}, _Id).data.id
            except Denied as error:
                of_parent = error.subcode == TASK_GONE and parent != self._base_id(draft) and parent in str(error)
                if not of_parent or parent == self._tasks.base_task_id:
                    raise
        raise AssertionError("the base task is always a parent")

    def _adopt(self, draft: DraftRequest, own_tasks: Sequence[Task]) -> DraftOutcome:
        """Bind the first of *own_tasks*; delete the others: clones whose answer was lost and that never ran."""
        for extra in own_tasks[1:]:
            if extra.status == "created":
                self.delete(extra.id)
        return Bound(job_id=own_tasks[0].id, adopted=True)

    def own_tasks(self, draft: DraftRequest, tasks: Sequence[Task]) -> list[Task]:
        """Return those of *tasks* that may be bound to *draft*, the oldest first.

        If no task has our name for it, the oldest task with these parameters is taken: it was
        made under another naming scheme, and a copy cannot be older than its original.
        """
        alike = [task for task in tasks if holds(task, draft.params)]
        return [task for task in alike if self.is_ours(draft, task)] or alike[:1]

    def is_ours(self, draft: DraftRequest, task: Task) -> bool:
        """Whether *task* is our clone for *draft*, and not a copy of it that a person made."""
        name = self._name(draft)
        named = name is None or task.name.strip() == name.strip()  # the server strips names
        return named and holds(task, draft.params) and (task.comment or "") == comment(draft.params)

    def _clone(self, draft: DraftRequest, base: BaseTask) -> dict[str, object]:
        labels = self._labels()
        parent = draft.extras.parent or labels.parent
        values = texts(draft.params)
        types = {full_name(name): kind_of(value) for name, value in draft.params.items()}
        declared = merged(base.hyper_parameters, values, types)
        tags = [*base.tags, *draft.extras.tags, OPTIMIZATION, f"opt: {parent}" if parent else "opt", *retry_of(draft)]
        container: dict[str, object] = {"new_task_container": base.container} if base.container else {}
        body: dict[str, object] = container | {
            "task": self._base_id(draft),
            "new_task_comment": comment(draft.params),
            "new_task_tags": list(dict.fromkeys([*tags, tag_of_search(draft.key), draft.key])),
            "new_task_hyperparams": as_sections(declared),
        }
        name, project = self._name(draft), self._project(labels, draft.extras) or base.project
        return body | ({"new_task_name": name} if name else {}) | ({"new_task_project": project} if project else {})

    def _project(self, labels: Labels, extras: JobExtras) -> str | None:
        """Return the id of the project for a job; one that is given by name is looked up once."""
        name = overrides.target_project(extras) or labels.project_name
        if name is None:
            return labels.project
        if name not in self._projects:
            self._projects[name] = projects.id_of(self._server, name)
        return self._projects[name]

    def _base_of(self, draft: DraftRequest) -> BaseTask:
        """Return the task to clone: the base task of the search as its log has it, or one that the caller named."""
        other = draft.extras.base_task_id
        if other is None:
            return self._base
        tasks, _ = by_id(self._server, [other], BASE_FIELDS)
        if other not in tasks:
            raise Denied(400, TASK_GONE, f"there is no task {other}")
        return base_task(tasks[other])

    def _base_id(self, draft: DraftRequest) -> str:
        return draft.extras.base_task_id or self._tasks.base_task_id

    def _name(self, draft: DraftRequest) -> str | None:
        return self._labels().name(self._base.name, draft.params)

    # ---------------------------------------------------------------- launches

    def launch(self, jobs: Sequence[BoundJob]) -> list[LaunchOutcome]:
        """Enqueue each task that is still a draft; leave the others alone.

        Raises:
            DamagedLog: another controller works on a copy of this log.
        """
        try:
            sections = {section for job in jobs for section in overrides.sections(job.extras)}
            tasks = self._read_back([job.job_id for job in jobs], [*STATUS_FIELDS, *sorted(sections)])
        except (Silent, Denied) as error:
            return [refusal(error, job.job_id, "read its task back") for job in jobs]
        return while_it_answers(jobs, lambda job: self._enqueue(job, tasks.get(job.job_id)), "enqueue it")

    def _read_back(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Task]:
        """Return the tasks with these ids, by id; those that were just cloned are among the newest of the search.

        The newest tasks are read first: they show another controller before any job of ours runs.
        """
        newest = {} if self._rivals is None else self._rivals.look(fields)
        older = [job_id for job_id in ids if job_id not in newest]
        return newest | (by_id(self._server, older, fields)[0] if older else {})

    def _enqueue(self, job: BoundJob, task: Task | None) -> LaunchOutcome:
        if task is None:
            return Ended(how="lost", why="its task was deleted before it was launched")
        if task.status != "created":
            at = microseconds(task.started)
            if at is None and task.status == "stopped":
                return Ended(how="cancelled", why=task.describe_status() or "stopped before it was launched")
            return Queued() if task.status == "queued" or at is None else Started(at)
        self.last.pop(job.job_id, None)  # its status is unknown until the server says that a queue has it
        try:
            changes = overrides.changes(job.extras, task)
            if changes:
                self._server.call("tasks.edit", {"task": job.job_id, "force": True, **changes}, Nothing)
            self._server.call("tasks.enqueue", {"task": job.job_id, "queue": self._queue}, Nothing)
        except Denied as error:
            return self._not_enqueued(job, error)
        self.last[job.job_id] = "queued"
        return Queued()

    def _not_enqueued(self, job: BoundJob, error: Denied) -> LaunchOutcome:
        if error.subcode == ALREADY_QUEUED:
            return Queued()
        if error.subcode == QUEUE_GONE:
            return self._without_queue(error)
        raise error

    def _without_queue(self, error: Denied) -> Refused:
        """Look for another queue with the name that the search gives; the next launch uses it."""
        name = self._tasks.execution_queue
        queue_id = projects.queue(self._server, name)
        if queue_id is None:
            return Refused(error=f"the queue {name} is gone ({error}); launches wait for a queue of that name or id")
        self._queue = queue_id
        return Refused(error=f"the queue {name} is gone ({error}); the next launch goes to another queue of this name")

    # ---------------------------------------------------------------- clean-up

    def cancelled(self, draft: DraftRequest) -> None:
        """Note that no attempt will be bound to the task of *draft*."""
        if draft.key in self._doubted:
            self._settled[draft.key] = None

    def sweep(self) -> None:
        """Delete the clones whose answer was lost and that appeared only after they were looked for.

        Raises:
            Silent, Denied: as `Server.call`.
        """
        drafts = [self._doubted[key] for key in self._settled]
        tasks_by_key = self.look(drafts) if drafts else {}
        for draft in drafts:
            for task in tasks_by_key.get(draft.key, []):
                if task.status == "created" and task.id != self._settled[draft.key] and self.is_ours(draft, task):
                    self.delete(task.id)

    def delete(self, task: str) -> None:
        """Delete a draft that never ran; it may be gone already.

        Raises:
            Silent, Denied: as `Server.call`.
        """
        try:
            self._server.call("tasks.delete", {"task": task, "force": False}, Nothing)
        except Denied as error:
            if error.subcode != TASK_GONE:
                raise


def retry_of(draft: DraftRequest) -> list[str]:
    """Return the tag that names the previous attempt; no tag for a first attempt."""
    return [f"{RETRY}{draft.before}"] if draft.before else []


def texts(params: Mapping[str, Scalar]) -> dict[str, str]:
    """Return parameters as ClearML stores them, by `Section/name`; the section is General if none is given."""
    return {full_name(name): clearml_text(value) for name, value in params.items()}


def holds(task: Task, params: Mapping[str, Scalar]) -> bool:
    """Whether *task* has these parameters."""
    have = task.parameters
    return all(have.get(name, "") == value for name, value in texts(params).items())


def kind_of(value: Scalar) -> str:
    """Return the type that a parameter is stored with, empty for None."""
    return "" if value is None else type(value).__name__


def full_name(name: str) -> str:
    """Return *name* as `Section/name`."""
    return name if "/" in name else f"General/{name}"


def comment(params: Mapping[str, Scalar]) -> str:
    """Return a job's comment as ClearML's class writes it."""
    return "\n".join(f"{name}={params[name]}" for name in sorted(params))


def while_it_answers(items: Sequence[Item], do: Callable[[Item], Outcome], doing: str) -> list[Outcome | Refused]:
    """Return the outcome of *do* for each item; after the first time-out the other items are refused untried."""
    outcomes: list[Outcome | Refused] = []
    silent = False
    for item in items:
        what = item.key if isinstance(item, DraftRequest) else item.job_id
        if silent:
            outcomes.append(Refused(error=f"{what}: not tried, since the server does not answer"))
            continue
        try:
            outcomes.append(do(item))
        except Silent as error:
            silent = True
            outcomes.append(refusal(error, what, doing))
        except Denied as error:
            outcomes.append(refusal(error, what, doing))
    return outcomes
