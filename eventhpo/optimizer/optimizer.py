"""`OptimizerOptuna`: ClearML's class, on the event log. Documented in docs/optimizer.md."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from clearml.automation.job import ClearmlJob, LocalClearmlJob
from clearml.automation.optimization import Budget, SearchStrategy

from eventhpo.core.fold.event_parts import JobExtras
from eventhpo.core.search.spec import Limits, Scalar
from eventhpo.errors import Usage
from eventhpo.optimizer import conversion, limits
from eventhpo.optimizer.job_handle import JobHandle, Names, TaskView
from eventhpo.optimizer.job_requests import JobRequests
from eventhpo.optimizer.jobs_argument import LocalJobs
from eventhpo.optimizer.search_run import SearchRun
from eventhpo.optimizer.search_view import ComputeTime, SearchView, metric_tables
from eventhpo.optimizer.session import SearchSession, Settings

T = TypeVar("T")


class NamedForTasks(type):
    """The class of `Optimizer`: ClearML's controller writes `str(optimizer_class)` into its task.

    The controller takes the part after the last dot, without its last two characters, and
    swaps the classes of certain names for its own. So that part is `module:name`, which
    names a class that can be imported and is none of ClearML's.
    """

    def __str__(cls) -> str:
        name = PUBLIC_NAME if cls is Optimizer else f"{cls.__module__}:{cls.__qualname__}"
        return f"<class '.{name}'>"


PUBLIC_NAME = "eventhpo:OptimizerOptuna"


def _is_news(record: logging.LogRecord) -> bool:
    """Whether *record* is no warning that the controller uses this class, as it was told to."""
    return f"Could not resolve optimizer_class {PUBLIC_NAME} " not in record.getMessage()


logging.getLogger("clearml.automation.optimization").addFilter(_is_news)


class Optimizer(SearchStrategy, metaclass=NamedForTasks):  # type: ignore[misc]
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
        max_trials: int | None = None,
        seed: int | None = None,
        take_over: bool = False,
        adopt: bool = False,
        new_parameters: Sequence[str] = (),
        upload_every: float | None = None,
        **optuna_kwargs: Any,
    ) -> None:
        # The parent's constructor asks the server for the base task; ours asks nobody.
        study = conversion.study_of(optuna_kwargs, limits.known_arguments(Optimizer.__init__))
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
        checked = limits.checked(
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
                max_trials=max_trials,
            ),
            base_task_id=base_task_id,
            nan_policy=nan_policy,
            on_stop=on_stop,
        )
        backend = limits.backend_of(jobs, base_task_id, execution_queue, new_parameters, checked.num_concurrent_workers)
        asked = conversion.search_of(
            name=study.study_name or base_task_id,
            base_task_id=base_task_id,
            parameters=hyper_parameters,
            objective=objective_metric,
            limits=checked,
            sampler=limits.one_of("optuna_sampler", optuna_sampler, "sampler", study.sampler),
            pruner=limits.one_of("optuna_pruner", optuna_pruner, "pruner", study.pruner),
            seed=conversion._plain(seed),
            jobs=backend.spec(),
            max_iteration_per_job=conversion._plain(max_iteration_per_job),
            min_iteration_per_job=conversion._plain(min_iteration_per_job),
            nan_policy=nan_policy,
        )
        settings = Settings(
            base_task_id=base_task_id,
            limits=checked,
            log=None if log is None else Path(log),
            previous=continue_previous_study,
            take_over=take_over,
            adopt=adopt,
            on_stop=on_stop,
            upload_every=limits.minutes_of("upload_every", upload_every),
        )
        self._session = SearchSession(asked, settings)
        self._requests = JobRequests(self._session, makes_jobs=self._overrides("create_job"))
        self._view = SearchView(self._session, self._requests)
        own_steps = self._overrides("process_step", "create_job", "monitor_job", "update_budget_per_job")
        self._run = SearchRun(self._session, self._requests, self, has_own_steps=own_steps, queue=execution_queue)

    def _overrides(self, *methods: str) -> bool:
        """Whether a subclass has one of *methods* of its own."""
        return any(getattr(type(self), name) is not getattr(Optimizer, name) for name in methods)

    # ------------------------------------------------------------ running

    def start(self) -> None:
        """Run the search until it is over or `stop` is called; the same log carries it on.

        Raises:
            Busy: somebody else holds the log. Usage: the log records another search.
            StorageFailed: the log cannot be written.

        In another thread than the main one, as under ClearML's controller, the script does not see
        the error: there, the optimizer's task is also marked as failed, with the error as reason.
        """
        self._run.start()

    def stop(self) -> None:
        """End the run, from any thread, and return at once; a later `start` carries the search on.

        Running jobs are ended, or left alone with `on_stop="leave"`. The thread that drives
        does it; if none does, as between two steps, this thread does. If no run was under
        way, the next `start` or `process_step` returns at once.
        """
        self._run.stop()

    def process_step(self) -> bool:
        """Look at the jobs once, do what follows, and wait until something is due; whether to go on."""
        return self._run.step()

    # ------------------------------------------------------------ single jobs

    def create_job(self) -> JobHandle | None:
        """Make the next job, not launched; None if no slot, budget or suggestion is left, or `stop` was asked."""
        return self._handle(self._requests.create())

    def helper_create_job(
        self,
        base_task_id: str,
        parameter_override: Mapping[str, Any] | None = None,
        task_overrides: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        parent: str | None = None,
        **kwargs: Any,
    ) -> JobHandle | None:
        """Make a job with the caller's own parameters; it uses the budget. None if no slot or budget is left."""
        extras = JobExtras(
            base_task_id=None if base_task_id == self._base_task_id else base_task_id,
            task_overrides=dict(task_overrides or {}),
            tags=tuple(tags or ()),
            parent=parent,
            further=dict(kwargs),
        )
        return self._handle(self._requests.create_with(parameter_override or {}, extras))

    def _handle(self, names: Names | None) -> JobHandle | None:
        return None if names is None else self._view.job(names)

    def monitor_job(self, job: Any) -> bool:
        """Whether the job waits or runs; called by hand, it is looked at first, and False once `stop` was called."""
        return self._requests.monitor(self._requests.names_of(job))

    def update_budget_per_job(self, job: Any) -> bool:
        """Whether the job is to be aborted: the log says so, and keeps the budget."""
        return self._session.of(self._requests.names_of(job), lambda state, a: a.stop is not None)

    def enqueue_trial(self, params: Mapping[str, Any]) -> None:
        """Have the search try a point next; the sampler fills in what it leaves out.

        Raises:
            Usage: it does not fit the space, or the search is over.
        """
        self._requests.enqueue(params)

    # ------------------------------------------------------------ reading

    @property
    def log(self) -> Path:
        """The path of the log: as given, else named after the optimizer's task, else after the base task."""
        return self._session.log

    def get_running_jobs(self) -> Sequence[ClearmlJob]:
        """Return the jobs that wait or run, in order of creation; none that is over or was told to end."""
        return self._view.running_jobs()

    def get_created_jobs_ids(self) -> Mapping[str, dict[str, Scalar]]:
        """Return `{task_id: {parameter: value}}` of every attempt of every run, in order of creation."""
        return self._view.params_by_task()

    def get_created_jobs_tasks(self) -> Mapping[str, ClearmlJob]:
        """Return `{task_id: job}` of every attempt of every run, in order of creation."""
        return self._view.jobs_by_task()

    @property
    def parameter_override_history(self) -> list[dict[str, Scalar]]:
        """The parameters of each job of every run, in order of creation."""
        return list(self._view.params_by_task().values())

    def get_objective_metric(self) -> tuple[str, str] | list[tuple[str, str]]:
        """Return (title, series) of the objective, a list of them for several objectives."""
        metrics = [(o.title, o.series) for o in self._session.asked.search.objectives]
        return metrics[0] if len(metrics) == 1 else metrics

    def get_top_experiments(
        self, top_k: int, *, only_completed: bool = False, include_failed: bool = False
    ) -> Sequence[Any]:
        """Return the tasks of the best *top_k* trials, the best first: of the server, where jobs run there.

        A task that was deleted at the server is left out, and the next best one is in its place.
        """
        return self._view.top_tasks(top_k, only_completed=only_completed, include_failed=include_failed)

    def get_top_experiments_details(
        self,
        top_k: int,
        all_metrics: bool = False,
        all_hyper_parameters: bool = False,
        only_completed: bool = False,
        *,
        include_failed: bool = False,
    ) -> Sequence[dict[str, Any]]:
        """Return task id, hyper-parameters and metrics of the best *top_k* trials, the best first."""
        rows = self._view.top_rows(
            top_k,
            all_metrics=all_metrics,
            only_completed=only_completed,
            include_failed=include_failed,
            all_params=all_hyper_parameters,
        )
        return [
            {"task_id": r.task_id, "hyper_parameters": r.hyper_parameters, "metrics": metric_tables(r)} for r in rows
        ]

    def get_top_experiments_id_metrics_pair(
        self, top_k: int, all_metrics: bool = False, only_completed: bool = False, *, include_failed: bool = False
    ) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return (task id, metrics) of the best *top_k* trials, the best first."""
        rows = self._view.top_rows(
            top_k, all_metrics=all_metrics, only_completed=only_completed, include_failed=include_failed
        )
        return [(str(r.task_id), metric_tables(r)) for r in rows]

    @property
    def budget(self) -> Budget:
        """What was used of jobs, iterations and compute time (minutes), by task, in ClearML's class.

        It never exceeds the limits: where iterations are limited, a job that was pruned is a
        part of one; where they are not, a retry is none.
        """
        return self._view.budget(self.total_max_jobs, self.compute_time_limit)

    @property
    def compute_time(self) -> ComputeTime:
        """Minutes that all jobs ran; `used` is the same number."""
        return self._view.compute_time()

    def _get_child_tasks(
        self,
        parent_task_id: str | None = None,
        status: str | Sequence[str] | None = None,
        order_by: str | None = None,
        additional_filters: Mapping[str, Any] | None = None,
    ) -> Sequence[TaskView]:
        """Return the tasks of this search, those of a status if one is given; the log has no other."""
        return self._view.tasks([status] if isinstance(status, str) else status)

    def _get_child_tasks_ids(self, *args: Any, **kwargs: Any) -> Sequence[str]:
        """Return the ids of `_get_child_tasks`."""
        return [task.id for task in self._get_child_tasks(*args, **kwargs)]

    # ------------------------------------------------------------ what counts for later jobs

    def set_job_class(self, job_class: Any) -> None:
        """Have jobs be of *job_class*, a subclass of `ClearmlJob`, and made, launched and aborted by its own calls.

        Raises:
            Usage: it is no such class, or the jobs run on this machine, by their command.
        """
        if job_class is ClearmlJob or (job_class is LocalClearmlJob and not self._session.on_server):
            self._session.options.job_class = (
                None  # ClearML's controller sets the latter in start_locally(), where they run anyway
            )
            return
        if not isinstance(job_class, type) or not issubclass(job_class, ClearmlJob):
            raise Usage(f"set_job_class: {job_class!r} is no subclass of clearml.automation.ClearmlJob")
        if not self._session.on_server:
            raise Usage(
                "set_job_class: jobs on this machine are started by their command; give it as LocalJobs(command=)"
            )
        self._session.options.job_class = job_class

    def set_job_default_parent(self, job_parent_task_id: str | None, project_name: str | None = None) -> None:
        """Set the parent, and the project, of the jobs from here on."""
        self._session.options.parent_id = job_parent_task_id
        self._session.options.project_name = project_name

    def set_job_naming_scheme(self, naming_function: Any) -> None:
        """Name jobs by `naming_function(base_task_name, parameters)`; False leaves the server's names."""
        self._session.options.naming_function = naming_function

    def set_optimizer_task(self, task: Any) -> None:
        """Set the task under which the search reports; it is recorded when the log is opened."""
        self._session.task.task = task


Optimizer.__qualname__ = Optimizer.__name__  # another name than ClearML's: its controller finds classes by name
OptimizerOptuna = Optimizer
