"""The log that the class records in: made, compared with today's arguments, opened, let go of."""

from __future__ import annotations

import logging
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from clearml import Task
from msgspec.structs import replace

from eventhpo.controller.author import this_author
from eventhpo.controller.clock import SystemClock
from eventhpo.controller.controller import Controller
from eventhpo.controller.request_files import FileRequests
from eventhpo.core.fold.events import Event, LimitsChanged, OptimizerTaskSet, Recorded, SearchCreated
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import ending
from eventhpo.core.search.spec import POLICY, Limits, LocalCommand
from eventhpo.errors import Usage
from eventhpo.jobs.backend_choice import BackendChoice, backend_choice
from eventhpo.jobs.clearml.launch import Labels
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.command_folder import is_the_same
from eventhpo.jobs.protocol import JobBackend
from eventhpo.log import paths
from eventhpo.log.create import create
from eventhpo.optimizer import conversion, import_study, log_artifact
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.log_artifact import LogArtifact
from eventhpo.optimizer.reading import Reading
from eventhpo.optimizer.task_claim import MARK, ClaimedJobs, TaskClaim
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.views import conclusion, event_lines

logger = logging.getLogger("eventhpo.optimizer")
progress = logging.getLogger("eventhpo")  # what `eventhpo run` prints

_TWO_ANSWERS = (
    "%s (event %d): two copies of your sampler or pruner, seeded alike and asked the same, gave two answers. The first "
    "is recorded and counts; it cannot be decided again. Keep randomness in a generator that the instance holds"
)


class Recording(Reading):
    """Opens the log when it is first needed; a log of another search is refused."""

    _limits: Limits
    _log: Path | None
    _log_given: bool
    _optimizer_task: Any
    _previous: Any
    _take_over: bool
    _adopt: bool
    _job_project_name: str | None
    _opening: Lock
    _warned: bool  # of a decision that cannot be made again
    _upload_every: float | None
    _artifact: LogArtifact | None
    _claim: TaskClaim | None

    @property
    def log(self) -> Path:
        """The path of the log: as given, else named after the optimizer's task, else after the base task."""
        if self._log is None:
            task = getattr(self._optimizer_task, "id", None)
            self._log = Path(f"{task or self._base_task_id}.db")
        return self._log

    def _opened(self) -> SearchDriver:
        with self._opening:
            if self._driver is None:
                self._keep_with_task()
                self._create()
                place = backend_choice(
                    self._asked.search,
                    self.log,
                    labels=self._labels,
                    adopt=self._adopt,
                    job_class=lambda: self._own_class,
                )
                self._driver = SearchDriver(
                    self.log,
                    lambda state: self._jobs_of(place, state),
                    before=lambda state, rows: self._before(place, state, rows),
                    files=FileRequests(self.log),
                    take_over=self._take_over,
                    prepare=self._prepare,
                    tell=self._log_rows,
                    after_turn=self._after_turn,
                    own=self._asked.own,
                )
            return self._driver

    def _keep_with_task(self) -> None:
        """Have the log kept as an artifact of the optimizer's task; take it from there if it is not here.

        Done where an agent runs this script, whose folder does not last, or where `upload_every` asks for it.

        Raises:
            DamagedLog: the copy at the task is damaged.
        """
        every = self._upload_every
        if every is None and getattr(self._optimizer_task, "running_locally", lambda: True)() is False:
            every = log_artifact.EVERY
        if every is None or not hasattr(self._optimizer_task, "upload_artifact"):
            return
        task_id = str(self._optimizer_task.id)
        joined = getattr(Task.current_task(), "id", None) == task_id
        self._claim = TaskClaim(Server(MARK), task_id, joined=joined)
        self._artifact = LogArtifact(self._optimizer_task, self.log, every, self._claim.require_ours)
        if not self.log.exists() and self._artifact.fetch():
            self._adopt = True  # jobs may have been made after the copy

    def _jobs_of(self, place: BackendChoice, state: State) -> JobBackend:
        """Return the jobs of *place*; where the log is kept with its task, no effect comes before a look at that."""
        jobs = place.open(self.log, state)
        return jobs if self._claim is None else ClaimedJobs(jobs, self._claim)

    def _create(self) -> None:
        for warning in self._asked.warnings:
            logger.warning(warning)
        if not self._log_given:
            logger.warning("no log= was given: this search is recorded in %s", self.log.absolute())
        paths.refuse_name(self.log)
        if self.log.exists():
            return
        search, warnings = backend_choice(self._asked.search, self.log).described(self._asked.search)
        for warning in warnings:
            logger.warning(warning)
        event = SearchCreated(search_id=secrets.token_hex(16), search=search, policy=POLICY, fingerprint=fingerprint())
        inputs: list[Event] = []
        if self._previous is not None:
            study = import_study.imported(self._previous, self._asked.search)
            inputs.append(study)
            head, lost = import_study.describe_import(study, self._asked.search)
            progress.info("%s", head)
            for text in lost:
                progress.warning("%s", text)
        author = this_author()
        create(self.log, author.sign(event), SystemClock().now(), [author.sign(given) for given in inputs])
        logger.info("this search is recorded in %s; the same script with the same log carries it on", self.log)

    def _before(self, place: BackendChoice, state: State, rows: Sequence[Recorded]) -> Sequence[Event]:
        """Compare what is recorded with today's arguments, then look the place over: nothing is written yet.

        Raises:
            Usage: the log records another search.
        """
        search, now = state.search, self._asked.search.jobs
        if isinstance(now, LocalCommand) and is_the_same(state, self.log, now):
            search = replace(search, jobs=now)
        differences = conversion.parted(search, self._asked)
        if self._previous is not None:
            differences += import_study.parted(state, self._previous)
        if differences:
            raise Usage(f"{self.log} records another search:\n" + "\n".join(differences))
        for text in place.remarks(state):
            logger.warning(text)
        return place.before(state, rows)

    def _labels(self) -> Labels:
        """Return how jobs on a ClearML server are labelled: as ClearML's class does it."""
        task = self._optimizer_task
        parent = self._job_parent_id or getattr(task, "id", None)
        project = getattr(task, "project", None) if self._job_project_name is None else None
        return Labels(parent=parent, project=project, project_name=self._job_project_name, name=self._labelled)

    def _prepare(self, controller: Controller) -> None:
        """Record what may change from one start to the next."""
        state = controller.state
        if self._claim is not None:
            self._claim.take(state.epoch)
        changes = conversion.limit_changes(state.limits, self._limits)
        if changes.given():
            controller.record(LimitsChanged(changes=changes), None)
        task = getattr(self._optimizer_task, "id", None)
        if task is not None and (state.optimizer_task is None or state.optimizer_task.task_id != task):
            controller.record(
                OptimizerTaskSet(task_id=str(task), name=str(getattr(self._optimizer_task, "name", ""))), None
            )
        self._say_if_over(controller.state)

    def _say_if_over(self, state: State) -> None:
        """Log that nothing runs, and what lets the search go on, if it is over."""
        if state.finished is None:
            return
        if state.finished.state == "stopped":
            progress.warning(
                "%s: this search was stopped, and nothing runs; to go on with it: eventhpo resume %s --reopen",
                self.log,
                shlex.quote(str(self.log)),
            )
            return
        names = ending.to_raise(state)
        way_on = f"raise {' and '.join(names)}" if names else "all points of its space were tried; enqueue one"
        progress.info("%s: this search has finished, and nothing runs; to go on with it: %s", self.log, way_on)

    def _conclude(self) -> None:
        """Let go of the log; log how the search came out, if it is over."""
        self._close()
        state = self._read(lambda state: state)
        if state is None or state.finished is None:
            return
        bad = conclusion.is_bad(state)
        for text in (*(conclusion.last_output(state) if bad else ()), *conclusion.render_end(self.log, state)):
            self._say(logging.WARNING if bad else logging.INFO, text)

    def _say(self, level: int, text: str) -> None:
        """Log a line of the search; report it as text of the optimizer's task if Python's log does not show it."""
        progress.log(level, "%s", text)
        if not progress.isEnabledFor(level) and hasattr(self._optimizer_task, "get_logger"):
            self._optimizer_task.get_logger().report_text(text, level=level, print_console=False)

    def _log_rows(self, rows: Sequence[Recorded], state: State) -> None:
        """Log what `eventhpo run` shows."""
        if self._artifact is not None:
            self._artifact.note(rows)
        for line in event_lines.lines(rows, state):
            self._say(logging.WARNING if line.warns else logging.INFO, line.text)
        for row in rows:
            if getattr(row.event, "not_again", None) and not self._warned:
                self._warned = True
                logger.warning(_TWO_ANSWERS, type(row.event).__name__, row.seq)

    def _after_turn(self) -> None:
        """Called after a thread has driven; does nothing here."""

    def _close(self) -> None:
        if self._driver is not None:
            self._driver.close()
        if self._artifact is not None:
            self._artifact.close()
