"""`OptimizerOptuna`: ClearML's class, on the event log. Documented in docs/optimizer.md."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Literal

from clearml.automation.job import ClearmlJob, LocalClearmlJob

from eventhpo.core.search.spec import Limits
from eventhpo.errors import Usage
from eventhpo.optimizer import conversion, limits
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.jobs_argument import LocalJobs
from eventhpo.optimizer.log_artifact import LogArtifact
from eventhpo.optimizer.running import Running
from eventhpo.optimizer.task_claim import TaskClaim


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


class Optimizer(Running, metaclass=NamedForTasks):
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
                max_trials=max_trials,
            ),
            base_task_id=base_task_id,
            nan_policy=nan_policy,
            on_stop=on_stop,
        )
        self._door = limits.door_of(
            jobs, base_task_id, execution_queue, new_parameters, self._limits.num_concurrent_workers
        )
        self._asked = conversion.search_of(
            name=study.study_name or base_task_id,
            base_task_id=base_task_id,
            parameters=hyper_parameters,
            objective=objective_metric,
            limits=self._limits,
            sampler=limits.one_of("optuna_sampler", optuna_sampler, "sampler", study.sampler),
            pruner=limits.one_of("optuna_pruner", optuna_pruner, "pruner", study.pruner),
            seed=conversion._plain(seed),
            jobs=self._door.spec(),
            max_iteration_per_job=conversion._plain(max_iteration_per_job),
            min_iteration_per_job=conversion._plain(min_iteration_per_job),
            nan_policy=nan_policy,
        )
        self._on_stop: Literal["abort", "leave"] = on_stop
        self._previous = continue_previous_study
        self._log = None if log is None else Path(log)
        self._log_given = log is not None
        self._take_over = take_over
        self._adopt = adopt
        self._stop_event = Flag()
        self._in_step = False
        self._warned = False
        self._upload_every = limits.minutes_of("upload_every", upload_every)
        self._artifact: LogArtifact | None = None
        self._claim: TaskClaim | None = None
        self._driver: SearchDriver | None = None
        self._opening = Lock()
        self._optimizer_task: Any = None
        self._job_parent_id: str | None = None
        self._job_project_name: str | None = None
        self._naming_function: Any = None
        self._own_class: type[Any] | None = None
        self._base_task_name = base_task_id

    def set_job_class(self, job_class: Any) -> None:
        """Have jobs be of *job_class*, a subclass of `ClearmlJob`, and made, launched and aborted by its own calls.

        Raises:
            Usage: it is no such class, or the jobs run on this machine, by their command.
        """
        if job_class is ClearmlJob or (job_class is LocalClearmlJob and not self._on_server):
            self._own_class = None  # ClearML's controller sets the latter in start_locally(), where they run anyway
            return
        if not isinstance(job_class, type) or not issubclass(job_class, ClearmlJob):
            raise Usage(f"set_job_class: {job_class!r} is no subclass of clearml.automation.ClearmlJob")
        if not self._on_server:
            raise Usage(
                "set_job_class: jobs on this machine are started by their command; give it as LocalJobs(command=)"
            )
        self._own_class = job_class

    def set_job_default_parent(self, job_parent_task_id: str | None, project_name: str | None = None) -> None:
        """Set the parent, and the project, of the jobs from here on."""
        self._job_parent_id = job_parent_task_id
        self._job_project_name = project_name

    def set_job_naming_scheme(self, naming_function: Any) -> None:
        """Name jobs by `naming_function(base_task_name, parameters)`; False leaves the server's names."""
        self._naming_function = naming_function

    def set_optimizer_task(self, task: Any) -> None:
        """Set the task under which the search reports; it is recorded when the log is opened."""
        self._optimizer_task = task


Optimizer.__qualname__ = Optimizer.__name__  # another name than ClearML's: its controller finds classes by name
OptimizerOptuna = Optimizer
