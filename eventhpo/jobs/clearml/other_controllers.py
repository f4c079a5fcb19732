"""Find another controller that works on a copy of this log, by tasks of the search that are not in our log.

The tasks are all that two copies can see of each other. If we have made n tasks since the
last look, and the other controller any, one of the newest n + 1 tasks is the other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventhpo.core.fold.job_key import AttemptKey, read_key, search_part
from eventhpo.errors import DamagedLog
from eventhpo.jobs.clearml.keys import REASON
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.clearml.tasks import PAGE, Task, Tasks
from eventhpo.jobs.clearml.watch import SECOND
from eventhpo.jobs.protocol import BoundJob, DraftRequest

SLACK = 20  # copies that people make of our tasks have our tags too
EVERY = 300 * SECOND  # between two looks of a controller that makes no tasks
SHOWN = 5  # tasks that a message names


class Rivals:
    """Looks for tasks of *search* whose keys are neither in *known* nor drafted by this controller."""

    def __init__(self, server: Server, search: str, known: Iterable[str]) -> None:
        self._server = server
        self._tag = search_part(search)
        self._known = set(known)
        self._made = 0  # keys that were drafted since the last look
        self._looked: int | None = None  # when, by the server's clock
        self._running: set[str] = set()  # tasks that the last poll saw running, and that we had not told to stop

    def drafting(self, drafts: Sequence[DraftRequest]) -> None:
        """Note that tasks with the keys of *drafts* are ours."""
        self._known.update(draft.key for draft in drafts)
        self._made += len(drafts)

    def look(self, fields: Sequence[str] = ("id",)) -> dict[str, Task]:
        """Return the newest tasks of the search, with *fields*.

        Raises:
            DamagedLog: another controller made one of them.
            Silent, Denied: as `Server.call`.
        """
        newest: dict[str, Task] = {}
        for page in range(-(-(self._made + SLACK) // PAGE)):
            asked = {"tags": [self._tag], "only_fields": [*fields, "tags"], "page": page, "order_by": ["-created"]}
            asked |= {"page_size": min(PAGE, self._made + SLACK), "search_hidden": True}
            answer = self._server.call("tasks.get_all", asked, Tasks)
            newest |= {task.id: task for task in answer.data.tasks}
            self._looked = answer.clock
            if len(answer.data.tasks) < PAGE:
                break
        others = [(key, task) for task in newest.values() if (key := self._foreign(task)) is not None]
        if others:
            raise DamagedLog(_copied([f"{task.id} (trial {k.trial}, attempt {k.attempt})" for k, task in others]))
        self._made = 0
        return newest

    def _foreign(self, task: Task) -> AttemptKey | None:
        """Return the key of *task* if it belongs to this search and to no attempt in our log."""
        keys = (read_key(tag, self._tag) for tag in task.tags)
        return next((key for key in keys if key is not None and key.text not in self._known), None)

    def polled(self, jobs: Sequence[BoundJob], tasks: dict[str, Task], now: int) -> None:
        """Check the *tasks* of a poll at *now* for stops by another controller, and every 5 minutes the newest tasks.

        Raises:
            DamagedLog: another controller made a task, or told one of ours to stop.
            Silent, Denied: as `Server.call`.
        """
        stopped = [
            job.job_id
            for job in jobs
            if job.job_id in self._running and not job.stopping and _is_stopped(tasks.get(job.job_id))
        ]
        if stopped:
            raise DamagedLog(_copied(stopped, done="stopped"))
        self._running = {
            job.job_id
            for job in jobs
            if not job.stopping and job.job_id in tasks and tasks[job.job_id].status == "in_progress"
        }
        if self._looked is None:
            self._looked = now  # the search was looked over when this controller began
        elif now - self._looked > EVERY:
            self.look()


def _is_stopped(task: Task | None) -> bool:
    return task is not None and task.status == "stopped" and task.status_reason == REASON


def _copied(names: Sequence[str], done: str = "made") -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    which = f"{'task' if len(names) == 1 else 'tasks'} {', '.join(names[:SHOWN])}{more}"
    return (
        f"another controller works on a copy of this log: it {done} {which}. Only one copy can go on: end the other "
        "controller, then resume, with --adopt (adopt=True), the copy that is to go on"
    )
