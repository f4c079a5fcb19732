"""`OptimizerOptuna`: ClearML's class, on the event log. Documented in docs/optimizer.md."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Literal

from clearml.automation.job import ClearmlJob

from eventhpo.asking.fingerprint import fingerprint
from eventhpo.clock import SystemClock
from eventhpo.controller import Controller
from eventhpo.core import actions
from eventhpo.core.events import (
    AbortRequested,
    Event,
    JobCreated,
    JobExtras,
    JobRequested,
    LaunchRequested,
    LimitsChanged,
    OptimizerTaskSet,
    Recorded,
    SearchCreated,
    StopAsked,
    TrialSuggested,
)
from eventhpo.core.ranges import full_name
from eventhpo.core.spec import POLICY, Limits
from eventhpo.core.state import State
from eventhpo.errors import Usage
from eventhpo.log.create import create
from eventhpo.optimizer import convert, importing, limits
from eventhpo.optimizer.doors import LocalJobs
from eventhpo.optimizer.driver import Driver
from eventhpo.optimizer.handles import Job
from eventhpo.optimizer.reading import Names, Reading, attempts
from eventhpo.requests import EnqueueRequest, FileRequests, accepted, point

logger = logging.getLogger("eventhpo.optimizer")


class Optimizer(Reading):
    """Search with Optuna, on a log: resumed by running the same script again with the same `log`.

    The arguments, methods, units and defaults are those of ClearML's
    `automation.optuna.OptimizerOptuna`; the keyword-only ones are this class's own. The
    constructor has no effect: the log is opened by the first `start()`,
    `process_step()`, `create_job()` or `helper_create_job()`.

    Raises:
        Usage: an argument cannot be expressed, is out of range, or is not known.
    """

    def __init__(
        self,
        base_task_id: str,
        hyper_parameters: Sequence[Any],
        objective_metric: Any,
        execution_queue: str,
        num_concurrent_workers: int,
        max_iteration_per_job: int | None,
        total_max_jobs: int | None,
        pool_period_min: float = 2.0,
        min_iteration_per_job: int | None = None,
        time_limit_per_job: float | None = None,
        compute_time_limit: float | None = None,
        optuna_sampler: Any | None = None,
        optuna_pruner: Any | None = None,
        continue_previous_study: Any | None = None,
        *,
        log: str | Path | None = None,
        jobs: LocalJobs | None = None,
        on_stop: Literal["abort", "leave"] = "abort",
        max_failures_per_trial: int = 1,
        max_lost_per_trial: int = 3,
        max_failed_trials: int | None = None,
        nan_policy: Literal["fail", "worst"] = "fail",
        target_value: float | None = None,
        patience: int | None = None,
        wall_time_limit: float | None = None,
        seed: int | None = None,
        take_over: bool = False,
        adopt: bool = False,
        **optuna_kwargs: Any,
    ) -> None:
        # The parent's constructor asks the server for the base task; ours asks nobody.
        study = convert.study_of(optuna_kwargs, limits.known_arguments(Optimizer.__init__))
        self._base_task_id = base_task_id
        self._hyper_parameters = hyper_parameters
        self._objective_metric = objective_metric
        self._execution_queue = execution_queue
        self._num_concurrent_workers = num_concurrent_workers
        self.pool_period_minutes = pool_period_min
        self.time_limit_per_job = time_limit_per_job
        self.compute_time_limit = compute_time_limit
        self.max_iteration_per_job = max_iteration_per_job
        self.min_iteration_per_job = min_iteration_per_job
        self.total_max_jobs = total_max_jobs
        self._limits = limits.checked(
            Limits(
                num_concurrent_workers=num_concurrent_workers,
                total_max_jobs=total_max_jobs,
                pool_period_min=pool_period_min,
                time_limit_per_job=time_limit_per_job,
                compute_time_limit=compute_time_limit,
                wall_time_limit=wall_time_limit,
                max_failures_per_trial=max_failures_per_trial,
                max_lost_per_trial=max_lost_per_trial,
                max_failed_trials=max_failed_trials,
                target_value=target_value,
                patience=patience,
            ),
            base_task_id=base_task_id,
            nan_policy=nan_policy,
            on_stop=on_stop,
        )
        self._door = limits.door_of(jobs)
        self._asked = convert.search_of(
            name=study.study_name or base_task_id,
            base_task_id=base_task_id,
            parameters=hyper_parameters,
            objective=objective_metric,
            limits=self._limits,
            sampler=limits.one_of("optuna_sampler", optuna_sampler, "sampler", study.sampler),
            pruner=limits.one_of("optuna_pruner", optuna_pruner, "pruner", study.pruner),
            seed=convert._plain(seed),
            jobs=self._door.spec(),
            max_iteration_per_job=convert._plain(max_iteration_per_job),
            min_iteration_per_job=convert._plain(min_iteration_per_job),
            nan_policy=nan_policy,
        )
        self._on_stop: Literal["abort", "leave"] = on_stop
        self._previous = continue_previous_study
        self._log = None if log is None else Path(log)
        self._take_over = take_over
        self._adopt = adopt
        self._stop_event = Flag()
        self._in_step = False
        self._driver: Driver | None = None
        self._opening = Lock()
        self._optimizer_task: Any = None
        self._job_parent_id: str | None = None
        self._job_project_id: str | None = None
        self._naming_function: Any = None
        self._base_task_name = base_task_id

    # ------------------------------------------------------------ the log

    @property
    def log(self) -> Path:
        """The path of the log: as given, else named after the optimizer's task, else after the base task."""
        if self._log is None:
            task = getattr(self._optimizer_task, "id", None)
            self._log = Path(f"{task or self._base_task_id}.db")
        return self._log

    def _opened(self) -> Driver:
        with self._opening:
            if self._driver is None:
                self._create()
                self._driver = Driver(
                    self.log,
                    lambda state: self._door.open(self.log, state),
                    files=FileRequests(self.log),
                    take_over=self._take_over,
                    prepare=self._prepare,
                    tell=self._told,
                )
            return self._driver

    def _create(self) -> None:
        for warning in self._asked.warnings:
            logger.warning(warning)
        if self.log.exists():
            return
        event = SearchCreated(
            search_id=secrets.token_hex(16), search=self._asked.search, policy=POLICY, fingerprint=fingerprint()
        )
        inputs: list[Event] = []
        if self._previous is not None:
            inputs.append(importing.imported(self._previous, self._asked.search))
        create(self.log, event, SystemClock().now(), inputs)
        logger.info("this search is recorded in %s; the same script with the same log carries it on", self.log)

    def _prepare(self, controller: Controller) -> None:
        """Compare what is recorded with today's arguments; record what may change."""
        state = controller.state
        found = convert.parted(state.search, self._asked)
        if found:
            raise Usage(f"{self.log} records another search:\n" + "\n".join(found))
        changes = convert.limit_changes(state.limits, self._limits)
        if changes.given():
            controller.record(LimitsChanged(changes=changes), None)
        task = getattr(self._optimizer_task, "id", None)
        if task is not None and (state.optimizer_task is None or state.optimizer_task.task_id != task):
            controller.record(
                OptimizerTaskSet(task_id=str(task), name=str(getattr(self._optimizer_task, "name", ""))), None
            )

    def _told(self, row: Recorded, state: State) -> None:
        if isinstance(row.event, TrialSuggested):
            logger.info("trial %d: %s", row.event.trial, row.event.params)

    # ------------------------------------------------------------ running

    def start(self) -> None:
        """Run the search until it is over or `stop` is called; the same log carries it on.

        Raises:
            Busy: somebody else holds the log. Usage: the log records another search.
            StorageFailed: the log cannot be written.
        """
        try:
            if self._has_steps_of_its_own:
                while self.process_step():
                    pass
            else:
                with self._opened().driving() as controller:
                    self._opened().mode(by_hand=False)
                    self._end_if_asked()
                    controller.run()
            self._close()
        finally:
            self._stop_event.clear()

    def stop(self) -> None:
        """End the run, from any thread; the search is carried on by the next `start`.

        Running jobs are ended, or left with `on_stop="leave"`.
        """
        self._stop_event.set()
        self._end_if_asked()

    def _end_if_asked(self) -> None:
        if self._stop_event.is_set() and self._driver is not None:
            self._driver.interrupt(StopAsked(scope="run", jobs=self._on_stop, why="stop()"))

    def _close(self) -> None:
        if self._driver is not None:
            self._driver.close()

    @property
    def _has_steps_of_its_own(self) -> bool:
        """Whether a subclass has a say in each step."""
        mine = ("process_step", "create_job", "monitor_job", "update_budget_per_job")
        return any(getattr(type(self), name) is not getattr(Optimizer, name) for name in mine)

    @property
    def _within_step(self) -> bool:
        """Whether this thread is in the middle of `process_step`."""
        return self._in_step and self._driver is not None and self._driver.mine

    @property
    def _makes_jobs_itself(self) -> bool:
        """Whether a subclass makes the jobs: then a suggestion is due only when it asks for one."""
        return type(self).create_job is not Optimizer.create_job

    def process_step(self) -> bool:
        """Look at the jobs once, do what follows, and wait until something is due; whether to go on."""
        driver = self._opened()
        with driver.driving() as controller:
            driver.mode(by_hand=self._makes_jobs_itself)
            self._end_if_asked()
            self._in_step = True
            try:
                going = self._step(driver, controller)
            finally:
                self._in_step = False
            if self._stop_event.is_set():
                going = False
                self._end_if_asked()  # a stop that came during the wait
                driver.advance()
        if not going:
            self._close()
            self._stop_event.clear()  # it ended this run; the next step begins another
        return going

    def _step(self, driver: Driver, controller: Controller) -> bool:
        polled = monitored = False
        if self._makes_jobs_itself:
            self._launch_drafts()
        while True:
            action = driver.advance(_suggests)
            if isinstance(action, actions.Rest) and action.why != "by hand":
                return False
            if not monitored and (polled or _suggests(action) or isinstance(action, actions.Rest)):
                monitored = True
                self._monitor_all()
                continue
            if _suggests(action) and self.create_job() is not None:
                continue
            if self._makes_jobs_itself and monitored and self._make_jobs():
                continue
            if isinstance(action, actions.Rest):
                return False  # made by hand, and nothing is left that runs
            if polled:
                return True
            controller.do(action)
            polled = True

    def _monitor_all(self) -> None:
        for job in self.get_running_jobs():
            if not self.monitor_job(job) and self._of(job._names, lambda state, a: a.ended is None and a.stop is None):
                job.abort(why="monitor_job returned False")

    def _launch_drafts(self) -> None:
        """Launch what a subclass made and left in an earlier step, or in a process that was killed."""
        left = self._read(lambda s: [(a.trial, a.number) for a in attempts(s) if a.ended is None and not a.launched])
        for names in left or []:
            self._launch(names)

    def _make_jobs(self) -> bool:
        """Have the subclass make a job for a free slot; whether it did."""
        free = self._num_concurrent_workers - len(self.get_running_jobs())
        job = self.create_job() if free > 0 and not self._stop_event.is_set() else None
        return job is not None and bool(job.launch(self._execution_queue))

    def create_job(self) -> Job | None:
        """Make the next job, not launched; None if no slot, budget or suggestion is left, or `stop` was asked."""
        if self._within_step and not self._makes_jobs_itself:
            return self._create_due()
        return self._request(JobRequested(request=secrets.token_hex(16)))

    def _create_due(self) -> Job | None:
        """Make the job of the suggestion that is due; inside a step that is no request."""
        driver = self._opened()
        with driver.driving() as controller:
            while _suggests(action := driver.advance(_suggests)):
                controller.do(action)
                if isinstance(action, actions.Decide) and isinstance(action.event, JobCreated):
                    return Job(self, action.event.trial, action.event.attempt)
        return None

    def helper_create_job(
        self,
        base_task_id: str,
        parameter_override: Mapping[str, Any] | None = None,
        task_overrides: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        parent: str | None = None,
        **kwargs: Any,
    ) -> Job | None:
        """Make a job of one's own parameters, in the budget and in every list; None where there is no room for it."""
        params = {full_name(str(k)): convert._plain(v) for k, v in (parameter_override or {}).items()}
        extras = JobExtras(
            base_task_id=None if base_task_id == self._base_task_id else base_task_id,
            task_overrides=dict(task_overrides or {}),
            tags=tuple(tags or ()),
            parent=parent,
            further=dict(kwargs),
        )
        return self._request(JobRequested(request=secrets.token_hex(16), params=params, extras=extras))

    def _request(self, request: JobRequested) -> Job | None:
        if self._stop_event.is_set():
            return None
        driver = self._opened()

        def answer(state: State) -> Names | str | None:
            if request.request in state.lapsed:
                return state.lapsed[request.request]
            found = [t for t in reversed(state.trials) if t.request == request.request]
            bound = found and found[0].attempts and found[0].attempts[0].job_id is not None
            return (found[0].number, 0) if bound else None

        found = driver.ask(lambda state: request, answer, lambda: driver.until(answer), by_hand=not self._within_step)
        if isinstance(found, str):
            logger.info("no job was made: %s", found)
        return Job(self, *found) if isinstance(found, tuple) else None

    def monitor_job(self, job: Any) -> bool:
        """Whether the job waits or runs; called by hand, it is looked at first."""
        names = self._names_of(job)
        driver = self._opened()
        if not self._within_step:
            self._look_by_hand(driver)
        return self._of(names, lambda state, a: a.ended is None and a.stop is None)

    def _look_by_hand(self, driver: Driver) -> None:
        with driver.turn() as mine:
            if not mine:
                return
            with driver.driving() as controller:
                driver.mode(by_hand=True)
                action = driver.advance()
                if isinstance(action, actions.Poll):
                    controller.do(action)
                    driver.advance()

    def update_budget_per_job(self, job: Any) -> bool:
        """Whether the job is to be aborted: the log says so, and keeps the budget."""
        return self._of(self._names_of(job), lambda state, a: a.stop is not None)

    def _names_of(self, job: Any) -> Names:
        if isinstance(job, Job):
            return job._names
        wanted = job.task_id()
        found = self._read(lambda s: [(a.trial, a.number) for a in attempts(s) if a.job_id == wanted])
        if not found:
            raise Usage(f"{wanted} is no job of this search")
        return found[0]

    def enqueue_trial(self, params: Mapping[str, Any]) -> None:
        """Have a point of one's own tried next; what it leaves out is sampled.

        Raises:
            Usage: it does not fit the space, or the search is over.
        """
        request = EnqueueRequest(params=point(self._asked.search, {k: convert._plain(v) for k, v in params.items()}))
        request_id = secrets.token_hex(16)
        refused: list[Usage] = []

        def build(state: State) -> Event | None:
            try:
                return accepted(state, request, request_id)
            except Usage as error:  # raised here, it would end whoever drives
                refused.append(error)
                return None

        def answer(state: State) -> bool | None:
            return request_id in state.requests or bool(refused) or None

        while not self._opened().ask(build, answer, lambda: None):
            pass  # whoever drove let go of the log before it read this
        if refused:
            raise refused[0]

    def _launch(self, names: Names) -> bool:
        driver = self._opened()

        def build(state: State) -> Event | None:
            waits = state.attempt(*names).ended is None and not state.attempt(*names).launched
            return LaunchRequested(trial=names[0], attempt=names[1]) if waits and state.by_hand else None

        def answer(state: State) -> bool | None:
            attempt = state.attempt(*names)
            if attempt.launched or attempt.ended is not None:
                return attempt.launched
            return None if state.by_hand else True  # the loop launches it

        def act() -> None:
            driver.advance(_suggests)

        return bool(driver.ask(build, answer, act))

    def _abort(self, names: Names, why: str) -> None:
        if self._of(names, lambda state, a: a.ended is not None or a.stop is not None):
            return
        driver = self._opened()

        def build(state: State) -> Event | None:
            over = state.attempt(*names).ended is not None
            return None if over else AbortRequested(trial=names[0], attempt=names[1], why=why)

        def answer(state: State) -> bool | None:
            attempt = state.attempt(*names)
            return attempt.ended is not None or attempt.stop is not None or None

        driver.ask(build, answer, driver.stop_now)

    # ------------------------------------------------------------ settings, before the start

    def set_job_class(self, job_class: Any) -> None:
        """Refuse: jobs of one's own class need the door to ClearML.

        Raises:
            Usage: always, unless it is ClearML's own class.
        """
        if job_class is not ClearmlJob:
            raise Usage(
                "set_job_class: jobs on this machine are started by their command; give it as LocalJobs(command=)"
            )

    def set_job_default_parent(self, job_parent_task_id: str | None, project_name: str | None = None) -> None:
        """Set the parent, and the project, of the jobs from here on."""
        self._job_parent_id = job_parent_task_id
        self._job_project_id = project_name

    def set_job_naming_scheme(self, naming_function: Any) -> None:
        """Name jobs by `naming_function(base_task_name, parameters)`; False leaves the server's names."""
        self._naming_function = naming_function

    def set_optimizer_task(self, task: Any) -> None:
        """Set the task under which the search reports; it is recorded when the log is opened."""
        self._optimizer_task = task


def _suggests(action: actions.Action) -> bool:
    """Whether *action* makes a trial or the first job of one."""
    if isinstance(action, actions.Suggest):
        return True
    if not isinstance(action, actions.Decide):
        return False
    event = action.event
    return isinstance(event, TrialSuggested) or (isinstance(event, JobCreated) and event.attempt == 0)


Optimizer.__qualname__ = Optimizer.__name__  # another name than ClearML's: its controller finds classes by name
OptimizerOptuna = Optimizer
