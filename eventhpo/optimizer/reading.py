"""What the class answers without asking anybody: from the log, from any thread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from clearml.automation.job import ClearmlJob
from clearml.automation.optimization import Budget, SearchStrategy

from eventhpo.core.fold import budget
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import MINUTE, ClearmlTasks, Scalar
from eventhpo.errors import Usage
from eventhpo.jobs.clearml.launch import default_name
from eventhpo.optimizer.conversion import Asked
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.job_handle import JobHandle, TaskView, clearml_status
from eventhpo.views import top

T = TypeVar("T")
Names = tuple[int, int]  # (trial, attempt)


class ComputeTime(float):
    """A time that ClearML's controller reads as `compute_time.used`."""

    @property
    def used(self) -> float:
        """The minutes."""
        return float(self)


class Reading(SearchStrategy):  # type: ignore[misc]
    """The methods that read; before the log is opened they are empty."""

    _asked: Asked
    _driver: SearchDriver | None
    _base_task_id: str
    _base_task_name: str
    _job_parent_id: str | None
    _naming_function: Any
    _own_class: type[Any] | None
    total_max_jobs: int | None
    compute_time_limit: float | None

    def _read(self, look: Callable[[State], T]) -> T | None:
        """Return what *look* finds in the state, None before there is one."""
        if self._driver is None:
            return None
        with self._driver.reading() as state:
            return None if state is None else look(state)

    def _of(self, names: Names, look: Callable[[State, Attempt], T]) -> T:
        """Return what *look* finds of one attempt."""
        assert self._driver is not None
        with self._driver.reading() as state:
            assert state is not None
            return look(state, state.attempt(*names))

    def _job(self, trial: int, attempt: int) -> JobHandle:
        """Return the handle of an attempt: one of the user's own class too, if there is one."""
        own = self._own_class
        if own is None:
            return JobHandle(self, trial, attempt)
        kind = type(own.__name__, (JobHandle, own), {"__module__": own.__module__})
        return cast(JobHandle, kind(self, trial, attempt))

    def get_running_jobs(self) -> Sequence[ClearmlJob]:
        """Return the jobs that wait or run, in order of creation; none that is over or was told to end."""

        def look(state: State) -> list[Names]:
            return [(a.trial, a.number) for a in attempts(state) if a.launched and a.ended is None and not a.stop_sent]

        return [self._job(*names) for names in self._read(look) or []]

    def get_created_jobs_ids(self) -> Mapping[str, dict[str, Scalar]]:
        """Return `{task_id: {parameter: value}}` of every attempt of every run, in order of creation."""

        def look(state: State) -> dict[str, dict[str, Scalar]]:
            return {a.job_id: dict(state.trials[a.trial].params) for a in attempts(state) if a.job_id is not None}

        return self._read(look) or {}

    def get_created_jobs_tasks(self) -> Mapping[str, ClearmlJob]:
        """Return `{task_id: job}` of every attempt of every run, in order of creation."""
        jobs = self._read(lambda s: [(a.job_id, a.trial, a.number) for a in attempts(s) if a.job_id is not None]) or []
        return {task_id: self._job(trial, number) for task_id, trial, number in jobs}

    @property
    def parameter_override_history(self) -> list[dict[str, Scalar]]:
        """The parameters of each job of every run, in order of creation."""
        return list(self.get_created_jobs_ids().values())

    def get_objective_metric(self) -> tuple[str, str] | list[tuple[str, str]]:
        """Return (title, series) of the objective, a list of them for several objectives."""
        metrics = [(o.title, o.series) for o in self._asked.search.objectives]
        return metrics[0] if len(metrics) == 1 else metrics

    def get_top_experiments(
        self, top_k: int, *, only_completed: bool = False, include_failed: bool = False
    ) -> Sequence[Any]:
        """Return the tasks of the best *top_k* trials, the best first: of the server, where jobs run there.

        A task that was deleted at the server is left out, and the next best one is in its place.
        """
        checked_top_k(top_k)
        ranked = [TaskView(self, *names) for names in self._best(None, only_completed, include_failed)]
        if not self._on_server:
            return ranked[:top_k]
        existing_tasks = (task for view in ranked if (task := view._task_on_server()) is not None)
        return list(itertools.islice(existing_tasks, top_k))

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
        return [
            {"task_id": r.task_id, "hyper_parameters": r.hyper_parameters, "metrics": _metrics(r)}
            for r in self._rows(top_k, all_metrics, only_completed, include_failed, all_hyper_parameters)
        ]

    def get_top_experiments_id_metrics_pair(
        self, top_k: int, all_metrics: bool = False, only_completed: bool = False, *, include_failed: bool = False
    ) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return (task id, metrics) of the best *top_k* trials, the best first."""
        rows = self._rows(top_k, all_metrics, only_completed, include_failed)
        return [(str(r.task_id), _metrics(r)) for r in rows]

    def _rows(
        self, k: int, all_metrics: bool, only_completed: bool, include_failed: bool, all_params: bool = False
    ) -> list[top.RankedTrial]:
        checked_top_k(k)

        def look(state: State) -> list[top.RankedTrial]:
            trials = [state.trials[trial] for trial, _ in _best(state, k, only_completed, include_failed)]
            return [top.row(state, t, all_metrics=all_metrics, all_hyper_parameters=all_params) for t in trials]

        return self._read(look) or []

    def _best(self, k: int | None, only_completed: bool, include_failed: bool) -> list[Names]:
        return self._read(lambda s: _best(s, k, only_completed, include_failed)) or []

    @property
    def budget(self) -> Budget:
        """What was used of jobs, iterations and compute time (minutes), by task, in ClearML's class.

        It never exceeds the limits: where iterations are limited, a job that was pruned is a
        part of one; where they are not, a retry is none.
        """
        used = Budget(
            jobs_limit=self.total_max_jobs,
            iterations_limit=self._read(budget.limit),
            compute_time_limit=self.compute_time_limit or None,
        )
        for task_id, jobs, iterations, minutes in self._read(_used) or []:
            used.jobs.update(task_id, jobs)
            used.iterations.update(task_id, iterations)
            used.compute_time.update(task_id, minutes)
        return used

    @property
    def compute_time(self) -> ComputeTime:
        """Minutes that all jobs ran; `used` is the same number."""
        return ComputeTime(self._read(lambda s: budget.compute_used(s) / MINUTE) or 0.0)

    @property
    def _on_server(self) -> bool:
        """Whether the jobs are tasks on a ClearML server."""
        return isinstance(self._asked.search.jobs, ClearmlTasks)

    def _job_name(self, state: State, params: Mapping[str, Scalar]) -> str:
        jobs = state.search.jobs
        base = jobs.base.name if isinstance(jobs, ClearmlTasks) and jobs.base is not None else self._base_task_name
        return self._labelled(base, params) or base

    def _labelled(self, base: str, params: Mapping[str, Scalar]) -> str | None:
        """Return a job's name by the naming scheme, None to leave it to the server."""
        if self._naming_function is None:
            return default_name(base, params)
        return (self._naming_function(base, dict(params)) or None) if self._naming_function else None

    def _parent(self) -> str | None:
        return self._job_parent_id or self._base_task_id

    def _get_child_tasks(
        self,
        parent_task_id: str | None = None,
        status: str | Sequence[str] | None = None,
        order_by: str | None = None,
        additional_filters: Mapping[str, Any] | None = None,
    ) -> Sequence[TaskView]:
        """Return the tasks of this search, those of a status if one is given; the log has no other."""
        wanted = None if status is None else {status} if isinstance(status, str) else set(status)

        def look(state: State) -> list[Names]:
            with_job = (a for a in attempts(state) if a.job_id is not None)
            return [(a.trial, a.number) for a in with_job if wanted is None or clearml_status(state, a) in wanted]

        return [TaskView(self, *names) for names in self._read(look) or []]

    def _get_child_tasks_ids(self, *args: Any, **kwargs: Any) -> Sequence[str]:
        """Return the ids of `_get_child_tasks`."""
        return [task.id for task in self._get_child_tasks(*args, **kwargs)]


def checked_top_k(k: object) -> None:
    """Return if *k* says how many are wanted.

    Raises:
        Usage: it is no whole number from 0 on.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 0:
        raise Usage(f"top_k is {k!r}, expected a whole number from 0 on")


def attempts(state: State) -> list[Attempt]:
    """Return every attempt in order of creation."""
    return sorted((a for t in state.trials for a in t.attempts), key=lambda a: a.seq)


def _best(state: State, k: int | None, only_completed: bool, include_failed: bool) -> list[Names]:
    ranked = rank.top(state, only_completed=only_completed, include_failed=include_failed)
    jobs = [t.last for t in ranked if t.last is not None and t.last.job_id is not None]
    return [(a.trial, a.number) for a in jobs if a.launched or include_failed][:k]


def _used(state: State) -> list[tuple[str, float, float, float]]:
    """Return the task id of each launched attempt, the jobs, iterations and minutes that it used."""
    rows = []
    for a in attempts(state):
        if a.job_id is not None and a.launched:
            charge = a.charge if a.charge is not None else budget.charge(state, a)
            per_job = state.search.max_iteration_per_job
            jobs = charge / per_job if per_job is not None else float(a.number == 0)
            rows.append((a.job_id, jobs, float(charge), budget.compute_time(a, state.jobs_clock) / MINUTE))
    return rows


def _metrics(row: top.RankedTrial) -> dict[str, Any]:
    """Return the metrics of a row as plain tables, their numbers floats."""
    plain = {name: msgspec.structs.asdict(metric) for name, metric in row.metrics.items()}
    return {name: {k: _number(k, v) for k, v in table.items()} for name, table in plain.items()}


def _number(key: str, value: Any) -> Any:
    """Return *value* as a float if *key* is one of a value: NaN and infinities are names in a row."""
    return float(value) if key.endswith("value") and value is not None else value
