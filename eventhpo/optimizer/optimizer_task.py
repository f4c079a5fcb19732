"""The task under which a search reports: the log is kept with it, it is claimed, and it fails if the search does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clearml import Task

from eventhpo.core.fold.events import OptimizerTaskSet, Recorded
from eventhpo.core.fold.state import State
from eventhpo.errors import EventhpoError, TaskTaken
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.protocol import JobBackend
from eventhpo.optimizer import log_artifact
from eventhpo.optimizer.log_artifact import LogArtifact
from eventhpo.optimizer.task_claim import MARK, ClaimedJobs, TaskClaim

logger = logging.getLogger("eventhpo.optimizer")

REASON = 250  # characters; ClearML's web page shows a task's reason in one line


class OptimizerTaskLink:
    """What a search does to its optimizer's task; without a task, nothing."""

    def __init__(self) -> None:
        self.task: Any = None  # a `clearml.Task`, or what the caller takes for one
        self._artifact: LogArtifact | None = None
        self._claim: TaskClaim | None = None

    @property
    def id(self) -> str | None:
        """The task's id, None without a task."""
        return getattr(self.task, "id", None)

    def keep(self, log: Path, upload_every: float | None) -> bool:
        """Have *log* kept as an artifact of the task; take it from there if it is not here, and return whether it was.

        Done where an agent runs this script, whose folder does not last, or where *upload_every* (minutes) is given.

        Raises:
            DamagedLog: the copy at the task is damaged.
        """
        every = self.upload_minutes(upload_every)
        if every is None:
            return False
        task_id = str(self.task.id)
        joined = getattr(Task.current_task(), "id", None) == task_id
        self._claim = TaskClaim(Server(MARK), task_id, joined=joined)
        self._artifact = LogArtifact(self.task, log, every, self._claim.require_ours)
        return not log.exists() and self._artifact.fetch()

    def upload_minutes(self, upload_every: float | None) -> float | None:
        """Return the minutes between two uploads of the log, None where it is not kept with the task."""
        if not hasattr(self.task, "upload_artifact"):
            return None
        on_an_agent = getattr(self.task, "running_locally", lambda: True)() is False
        return log_artifact.EVERY if upload_every is None and on_an_agent else upload_every

    def claim(self, epoch: int) -> None:
        """Write the controller's epoch into the task, if the log is kept there.

        Raises:
            Unanswered, Usage, TaskTaken: as `TaskClaim.take`.
        """
        if self._claim is not None:
            self._claim.take(epoch)

    def guarded(self, jobs: JobBackend) -> JobBackend:
        """Return *jobs*; where the log is kept with the task, no effect comes before a look at the claim."""
        return jobs if self._claim is None else ClaimedJobs(jobs, self._claim)

    def change(self, state: State) -> OptimizerTaskSet | None:
        """Return the event that records this task, None if it is recorded or there is none."""
        if self.id is None or (state.optimizer_task is not None and state.optimizer_task.task_id == self.id):
            return None
        return OptimizerTaskSet(task_id=str(self.id), name=str(getattr(self.task, "name", "")))

    def note(self, rows: Sequence[Recorded]) -> None:
        """Take in that *rows* were recorded: the copy of the log is renewed when it is due."""
        if self._artifact is not None:
            self._artifact.note(rows)

    def report(self, level: int, text: str) -> None:
        """Write *text* into the task's console."""
        if hasattr(self.task, "get_logger"):
            self.task.get_logger().report_text(text, level=level, print_console=False)

    def fail(self, error: EventhpoError) -> None:
        """Log *error* and fail the task, where the error ends a thread and not the script."""
        if isinstance(error, TaskTaken):  # the task is another's, or was ended by a person
            logger.error("this controller ends: %s", error)
            self.release()
            return
        if threading.current_thread() is threading.main_thread() or not hasattr(self.task, "mark_failed"):
            return
        logger.error("the search did not run: %s", error)
        reason = f"{type(error).__name__}: {error}"
        self.task.mark_failed(status_reason=reason[:REASON], status_message=reason, force=True)

    def release(self) -> None:
        """Upload what is new of the log, and end the uploads."""
        if self._artifact is not None:
            self._artifact.close()
