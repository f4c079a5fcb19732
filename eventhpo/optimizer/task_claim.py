"""Which controller an optimizer task belongs to, across machines: an epoch and a holder in the task's runtime.

A log is held by a lease on its own machine. Copies of it on two machines see each other
only at the server, so there the newest controller writes its name, and each reads it
before it touches a job.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eventhpo.core.search.spec import Objective
from eventhpo.errors import TaskTaken
from eventhpo.jobs.clearml.session import Beforehand, Calls, Denied, Nothing, Server, Silent
from eventhpo.jobs.protocol import (
    BoundJob,
    CancelOutcome,
    DraftOutcome,
    DraftRequest,
    JobBackend,
    LaunchOutcome,
    PollResult,
    Refused,
    StopOutcome,
)

EPOCH, HOLDER = "eventhpo_epoch", "eventhpo_holder"  # names in the task's runtime
MARK = "claim"  # of our requests
FRESH = 1.0  # seconds: an effect that follows another one relies on the look before it


class _OptimizerTask(msgspec.Struct):
    status: str = ""
    runtime: dict[str, Any] = {}


class _OptimizerTasks(msgspec.Struct):
    tasks: list[_OptimizerTask] = []


class TaskClaim:
    """This process's claim on the optimizer task.

    Args:
        server: Where the task is.
        task_id: The optimizer task.
        joined: Whether this process's `Task.init` made or joined it, so that its status tells whether to go on.
    """

    def __init__(self, server: Server, task_id: str, *, joined: bool) -> None:
        self._server, self._task_id, self._joined = server, task_id, joined
        self._holder = secrets.token_hex(8)
        self._epoch = 0
        self._looked = float("-inf")

    def take(self, epoch: int) -> None:
        """Write *epoch*, or one more than stands there if that is higher, with this holder into the task.

        Raises:
            Unanswered, Usage: as `Beforehand.call`.
            TaskTaken: there is no such task.
        """
        server = Beforehand(self._server)
        task = self._read(server)
        if task is None:
            raise TaskTaken(f"task {self._task_id} is gone from the server")
        self._epoch = max(epoch, _epoch_of(task.runtime) + 1)
        self._write(server, task.runtime)

    def check(self) -> None:
        """Look at the task.

        Raises:
            TaskTaken: another controller has it, or it is no longer in progress.
            Silent, Denied: as `Server.call`.
        """
        task = self._read(self._server)
        if task is None:
            raise TaskTaken(
                f"task {self._task_id} is gone from the server; its jobs go on, and nothing was done to them"
            )
        self._refuse_other(task)
        if self._joined and task.status != "in_progress":
            raise TaskTaken(
                f"task {self._task_id} is {task.status}, so this controller ends; its jobs go on, and a controller "
                "that starts in the task again takes them up"
            )
        if HOLDER not in task.runtime:  # a write of the SDK that had read the task before
            self._write(self._server, task.runtime)
        self._looked = time.monotonic()

    def check_if_old(self) -> None:
        """Look at the task, unless that was done within `FRESH` seconds.

        Raises:
            TaskTaken, Silent, Denied: as `check`.
        """
        if time.monotonic() - self._looked > FRESH:
            self.check()

    def require_ours(self) -> None:
        """Look whether another controller has the task, whatever its status.

        Raises:
            TaskTaken: another controller has it.
            Silent, Denied: as `Server.call`.
        """
        task = self._read(self._server)
        if task is not None:
            self._refuse_other(task)

    def _refuse_other(self, task: _OptimizerTask) -> None:
        if task.runtime.get(HOLDER, self._holder) != self._holder:
            raise TaskTaken(
                f"another controller has task {self._task_id}, with epoch {_epoch_of(task.runtime)} (ours is "
                f"{self._epoch}): this one ends, and leaves the jobs to it"
            )

    def _read(self, server: Calls) -> _OptimizerTask | None:
        asked = {"id": [self._task_id], "only_fields": ["status", "runtime"], "search_hidden": True}
        tasks = server.call("tasks.get_all", asked, _OptimizerTasks).data.tasks
        return tasks[0] if tasks else None

    def _write(self, server: Calls, runtime: Mapping[str, Any]) -> None:
        """Write the claim into *runtime*, which the server replaces as a whole."""
        claimed = {**runtime, EPOCH: str(self._epoch), HOLDER: self._holder}
        server.call("tasks.edit", {"task": self._task_id, "force": True, "runtime": claimed}, Nothing)


def _epoch_of(runtime: Mapping[str, Any]) -> int:
    """Return the epoch that stands in *runtime*, 0 for none or for what is no number."""
    text = str(runtime.get(EPOCH, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


class ClaimedJobs:
    """The jobs of a search whose controller looks at its claim before it touches one.

    A draft begins a job, so it looks each time; other effects rely on a look of the last
    `FRESH` seconds. Where the look has no answer, an effect is refused, and tried again later.
    """

    def __init__(self, jobs: JobBackend, claim: TaskClaim) -> None:
        self._jobs, self._claim = jobs, claim
        self.shortest_wait, self.longest_wait = jobs.shortest_wait, jobs.longest_wait

    def draft(self, drafts: Sequence[DraftRequest]) -> Sequence[DraftOutcome]:
        """Create each job, if the task is ours."""
        return self._refusals(drafts, always=True) or self._jobs.draft(drafts)

    def launch(self, jobs: Sequence[BoundJob]) -> Sequence[LaunchOutcome]:
        """Start each job, if the task is ours."""
        return self._refusals(jobs) or self._jobs.launch(jobs)

    def stop(self, jobs: Sequence[BoundJob]) -> Sequence[StopOutcome]:
        """Tell each job to stop, if the task is ours."""
        return self._refusals(jobs) or self._jobs.stop(jobs)

    def cancel(self, drafts: Sequence[DraftRequest]) -> Sequence[CancelOutcome]:
        """Remove each job, if the task is ours."""
        return self._refusals(drafts) or self._jobs.cancel(drafts)

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        """Read what each job did, after a look at the claim; without an answer to that look, read all the same."""
        try:
            self._claim.check()
        except (Silent, Denied) as error:
            if not jobs:
                return Refused(error=_unread(error))
        result = self._jobs.poll(jobs, objectives)
        self.shortest_wait = self._jobs.shortest_wait  # which a backend may change with what it saw
        return result

    def close(self) -> None:
        """Release what this process holds; the jobs go on."""
        self._jobs.close()

    def _refusals(self, items: Sequence[object], *, always: bool = False) -> list[Refused]:
        """Return a refusal for each item where the look has no answer, else nothing."""
        try:
            if always:
                self._claim.check()
            else:
                self._claim.check_if_old()
        except (Silent, Denied) as error:
            return [Refused(error=_unread(error)) for _ in items]
        return []


def _unread(error: Exception) -> str:
    return f"cannot read whether the optimizer task is still ours: {error}"
