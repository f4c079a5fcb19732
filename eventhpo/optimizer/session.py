"""One search of the class: its log, made, compared with today's arguments, opened, read and let go of."""

from __future__ import annotations

import logging
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from eventhpo.controller.author import this_author
from eventhpo.controller.clock import SystemClock
from eventhpo.controller.controller import Controller
from eventhpo.controller.request_files import FileRequests
from eventhpo.core.fold.events import Event, LimitsChanged, Recorded, SearchCreated, StopAsked
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import ending
from eventhpo.core.search.spec import POLICY, ClearmlTasks, Limits, LocalCommand, Scalar
from eventhpo.errors import Usage
from eventhpo.jobs.backend_choice import BackendChoice, backend_choice
from eventhpo.jobs.command_folder import is_the_same
from eventhpo.log import paths
from eventhpo.log.create import create
from eventhpo.optimizer import conversion, import_study
from eventhpo.optimizer.conversion import Asked
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.job_handle import Names
from eventhpo.optimizer.job_options import JobOptions
from eventhpo.optimizer.optimizer_task import OptimizerTaskLink
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.views import conclusion, event_lines

logger = logging.getLogger("eventhpo.optimizer")
T = TypeVar("T")

progress = logging.getLogger("eventhpo")  # what `eventhpo run` prints

_TWO_ANSWERS = (
    "%s (event %d): two copies of your sampler or pruner, seeded alike and asked the same, gave two answers. The first "
    "is recorded and counts; it cannot be decided again. Keep randomness in a generator that the instance holds"
)


class Settings(msgspec.Struct, frozen=True):
    """What the constructor was told, apart from the search itself."""

    base_task_id: str
    limits: Limits
    log: Path | None
    previous: Any  # the Optuna study whose trials a new search imports
    take_over: bool
    adopt: bool
    on_stop: Literal["abort", "leave"]
    upload_every: float | None  # minutes


class SearchSession:
    """One search in its log: opened when it is first needed, read from any thread, stopped, and let go of.

    Args:
        asked: The search that the arguments describe.
        settings: The other arguments.
    """

    def __init__(self, asked: Asked, settings: Settings) -> None:
        self.asked = asked
        self.options = JobOptions(settings.base_task_id)
        self.task = OptimizerTaskLink()
        self.stop = Flag()  # set by a stop that has not yet ended a run
        self.driver: SearchDriver | None = None
        self._settings = settings
        self._log = settings.log
        self._opening = Lock()
        self._warned = False  # of a decision that cannot be made again

    @property
    def log(self) -> Path:
        """The path of the log: as given, else named after the optimizer's task, else after the base task."""
        if self._log is None:
            self._log = Path(f"{self.task.id or self._settings.base_task_id}.db")
        return self._log

    @property
    def upload_minutes(self) -> float | None:
        """Minutes between two uploads of the log to the optimizer's task, None where it is not kept there."""
        return self.task.upload_minutes(self._settings.upload_every)

    # ------------------------------------------------------------ reading

    def read(self, look: Callable[[State], T]) -> T | None:
        """Return what *look* finds in the state, None before there is one."""
        if self.driver is None:
            return None
        with self.driver.reading() as state:
            return None if state is None else look(state)

    def of(self, names: Names, look: Callable[[State, Attempt], T]) -> T:
        """Return what *look* finds of one attempt of an open log."""
        assert self.driver is not None
        with self.driver.reading() as state:
            assert state is not None
            return look(state, state.attempt(*names))

    @property
    def on_server(self) -> bool:
        """Whether the jobs are tasks on a ClearML server."""
        return isinstance(self.asked.search.jobs, ClearmlTasks)

    def job_name(self, state: State, params: Mapping[str, Scalar]) -> str:
        """Return the name of a job with *params*."""
        jobs = state.search.jobs
        base = (
            jobs.base.name if isinstance(jobs, ClearmlTasks) and jobs.base is not None else self._settings.base_task_id
        )
        return self.options.name(base, params) or base

    def parent(self) -> str | None:
        """Return the id of the jobs' parent task."""
        return self.options.parent()

    # ------------------------------------------------------------ opening

    def opened(self) -> SearchDriver:
        """Return the driver of the log, which is created or compared with the arguments when it is first needed.

        Raises:
            Usage: the log records another search. DamagedLog: the copy at the task is damaged.
        """
        with self._opening:
            if self.driver is None:
                fetched = self.task.keep(self.log, self._settings.upload_every)
                self._create()
                backend = backend_choice(
                    self.asked.search,
                    self.log,
                    labels=lambda: self.options.labels(self.task.task),
                    adopt=self._settings.adopt or fetched,  # jobs may have been made after the copy
                    job_class=lambda: self.options.job_class,
                )
                self.driver = SearchDriver(
                    self.log,
                    lambda state: self.task.guarded(backend.open(self.log, state)),
                    before=lambda state, rows: self._before(backend, state, rows),
                    files=FileRequests(self.log),
                    take_over=self._settings.take_over,
                    prepare=self._prepare,
                    tell=self._log_rows,
                    after_turn=self.end_missed_stop,
                    own=self.asked.own,
                )
            return self.driver

    def _create(self) -> None:
        for warning in self.asked.warnings:
            logger.warning(warning)
        if self._settings.log is None:
            logger.warning("no log= was given: this search is recorded in %s", self.log.absolute())
        paths.refuse_name(self.log)
        if self.log.exists():
            return
        search, warnings = backend_choice(self.asked.search, self.log).described(self.asked.search)
        for warning in warnings:
            logger.warning(warning)
        event = SearchCreated(search_id=secrets.token_hex(16), search=search, policy=POLICY, fingerprint=fingerprint())
        inputs: list[Event] = []
        if self._settings.previous is not None:
            study = import_study.imported(self._settings.previous, self.asked.search)
            inputs.append(study)
            head, lost = import_study.describe_import(study, self.asked.search)
            progress.info("%s", head)
            for text in lost:
                progress.warning("%s", text)
        author = this_author()
        create(self.log, author.sign(event), SystemClock().now(), [author.sign(given) for given in inputs])
        logger.info("this search is recorded in %s; the same script with the same log carries it on", self.log)

    def _before(self, backend: BackendChoice, state: State, rows: Sequence[Recorded]) -> Sequence[Event]:
        """Compare what is recorded with today's arguments, then look the place over: nothing is written yet.

        Raises:
            Usage: the log records another search.
        """
        search, now = state.search, self.asked.search.jobs
        if isinstance(now, LocalCommand) and is_the_same(state, self.log, now):
            search = replace(search, jobs=now)
        differences = conversion.parted(search, self.asked)
        if self._settings.previous is not None:
            differences += import_study.parted(state, self._settings.previous)
        if differences:
            what = f"{self.log} records another search; give what it records, or another log=:"
            raise Usage("\n".join((what, *differences)))
        for text in backend.remarks(state):
            logger.warning(text)
        return backend.before(state, rows)

    def _prepare(self, controller: Controller) -> None:
        """Record what may change from one start to the next."""
        state = controller.state
        self.task.claim(state.epoch)
        changes = conversion.limit_changes(state.limits, self._settings.limits)
        if changes.given():
            controller.record(LimitsChanged(changes=changes), None)
        if (task := self.task.change(state)) is not None:
            controller.record(task, None)
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
        way_on = (
            f"raise {' and '.join(names)}" if names else "enqueue a point, since all points of its space were tried"
        )
        progress.info("%s: this search has finished, and nothing runs; to go on with it: %s", self.log, way_on)

    # ------------------------------------------------------------ ending

    @property
    def stop_asked(self) -> StopAsked:
        """The input that a stop of this run is recorded as."""
        return StopAsked(scope="run", jobs=self._settings.on_stop, why="stop()")

    @property
    def aborts_jobs(self) -> bool:
        """Whether a stop ends the jobs that run."""
        return self._settings.on_stop == "abort"

    def end_if_asked(self) -> None:
        """Have the run that is under way end, if a stop was asked for."""
        if self.stop.is_set() and self.driver is not None:
            self.driver.interrupt(self.stop_asked)

    def end_missed_stop(self) -> None:
        """End the run if a stop came after the driving thread had last looked for one."""
        if self.stop.is_set() and self.driver is not None:
            self.driver.end(self.stop_asked, wait=False)

    def conclude(self) -> None:
        """Let go of the log; log how the search came out, if it is over."""
        self.close()
        state = self.read(lambda state: state)
        if state is None or state.finished is None:
            return
        bad = conclusion.is_bad(state)
        for text in (*(conclusion.last_output(state) if bad else ()), *conclusion.render_end(self.log, state)):
            self._say(logging.WARNING if bad else logging.INFO, text)

    def _say(self, level: int, text: str) -> None:
        """Log a line of the search; report it as text of the optimizer's task if Python's log does not show it."""
        progress.log(level, "%s", text)
        if not progress.isEnabledFor(level):
            self.task.report(level, text)

    def _log_rows(self, rows: Sequence[Recorded], state: State) -> None:
        """Log what `eventhpo run` shows."""
        self.task.note(rows)
        for line in event_lines.lines(rows, state):
            self._say(logging.WARNING if line.warns else logging.INFO, line.text)
        for row in rows:
            if getattr(row.event, "not_again", None) and not self._warned:
                self._warned = True
                logger.warning(_TWO_ANSWERS, type(row.event).__name__, row.seq)

    def close(self) -> None:
        """Let go of the log; what it said last can still be read."""
        if self.driver is not None:
            self.driver.close()
        self.task.release()
