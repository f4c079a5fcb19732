"""What the class answers without asking anybody: from the log, from any thread."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any, cast

import msgspec
from clearml.automation.optimization import Budget

from eventhpo.core.fold import budget
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import MINUTE, Scalar
from eventhpo.errors import Usage
from eventhpo.optimizer.job_handle import JobActions, JobHandle, Names, TaskView, clearml_status
from eventhpo.optimizer.session import SearchSession
from eventhpo.views import top


class ComputeTime(float):
    """A time that ClearML's controller reads as `compute_time.used`."""

    @property
    def used(self) -> float:
        """The minutes."""
        return float(self)


class SearchView:
    """What the log says of the search, from any thread; before it is opened the answers are empty.

    Args:
        session: The search.
        actions: What launches and aborts the jobs whose handles are given out.
    """

    def __init__(self, session: SearchSession, actions: JobActions) -> None:
        self._session, self._actions = session, actions

    def job(self, names: Names) -> JobHandle:
        """Return the handle of an attempt: one of the user's own class too, if there is one."""
        own = self._session.options.job_class
        if own is None:
            return JobHandle(self._session, self._actions, names)
        kind = type(own.__name__, (JobHandle, own), {"__module__": own.__module__})
        return cast(JobHandle, kind(self._session, self._actions, names))

    def running_jobs(self) -> list[JobHandle]:
        """Return the jobs that wait or run, in order of creation; none that is over or was told to end."""

        def look(state: State) -> list[Names]:
            return [(a.trial, a.number) for a in attempts(state) if a.launched and a.ended is None and not a.stop_sent]

        return [self.job(names) for names in self._session.read(look) or []]

    def params_by_task(self) -> dict[str, dict[str, Scalar]]:
        """Return `{task_id: {parameter: value}}` of every attempt of every run, in order of creation."""

        def look(state: State) -> dict[str, dict[str, Scalar]]:
            return {a.job_id: dict(state.trials[a.trial].params) for a in attempts(state) if a.job_id is not None}

        return self._session.read(look) or {}

    def jobs_by_task(self) -> dict[str, JobHandle]:
        """Return `{task_id: job}` of every attempt of every run, in order of creation."""

        def look(state: State) -> list[tuple[str, Names]]:
            return [(a.job_id, (a.trial, a.number)) for a in attempts(state) if a.job_id is not None]

        return {task_id: self.job(names) for task_id, names in self._session.read(look) or []}

    def top_tasks(self, k: int, *, only_completed: bool, include_failed: bool) -> list[Any]:
        """Return the tasks of the best *k* trials, the best first: of the server, where jobs run there.

        A task that was deleted at the server is left out, and the next best one is in its place.

        Raises:
            Usage: *k* is no whole number from 0 on.
        """
        checked_top_k(k)
        best = self._session.read(lambda s: best_attempts(s, None, only_completed, include_failed)) or []
        ranked = [TaskView(self._session, names) for names in best]
        if not self._session.on_server:
            return ranked[:k]
        existing_tasks = (task for view in ranked if (task := view._task_on_server()) is not None)
        return list(itertools.islice(existing_tasks, k))

    def top_rows(
        self, k: int, *, all_metrics: bool, only_completed: bool, include_failed: bool, all_params: bool = False
    ) -> list[top.RankedTrial]:
        """Return the rows of the best *k* trials, the best first.

        Raises:
            Usage: *k* is no whole number from 0 on.
        """
        checked_top_k(k)

        def look(state: State) -> list[top.RankedTrial]:
            trials = [state.trials[trial] for trial, _ in best_attempts(state, k, only_completed, include_failed)]
            return [top.row(state, t, all_metrics=all_metrics, all_hyper_parameters=all_params) for t in trials]

        return self._session.read(look) or []

    def budget(self, jobs_limit: int | None, compute_time_limit: float | None) -> Budget:
        """Return what was used of jobs, iterations and compute time (minutes), by task, in ClearML's class."""
        used = Budget(
            jobs_limit=jobs_limit,
            iterations_limit=self._session.read(budget.limit),
            compute_time_limit=compute_time_limit or None,
        )
        for task_id, jobs, iterations, minutes in self._session.read(_used) or []:
            used.jobs.update(task_id, jobs)
            used.iterations.update(task_id, iterations)
            used.compute_time.update(task_id, minutes)
        return used

    def compute_time(self) -> ComputeTime:
        """Return the minutes that all jobs ran."""
        return ComputeTime(self._session.read(lambda s: budget.compute_used(s) / MINUTE) or 0.0)

    def tasks(self, statuses: Collection[str] | None) -> list[TaskView]:
        """Return the tasks of all attempts, those of *statuses* if some are given."""

        def look(state: State) -> list[Names]:
            with_job = (a for a in attempts(state) if a.job_id is not None)
            return [(a.trial, a.number) for a in with_job if statuses is None or clearml_status(state, a) in statuses]

        return [TaskView(self._session, names) for names in self._session.read(look) or []]


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


def best_attempts(state: State, k: int | None, only_completed: bool, include_failed: bool) -> list[Names]:
    """Return the last attempts of the best *k* trials, the best first; all of them for None."""
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


def metric_tables(row: top.RankedTrial) -> dict[str, Any]:
    """Return the metrics of a row as plain tables, their numbers floats."""
    plain = {name: msgspec.structs.asdict(metric) for name, metric in row.metrics.items()}
    return {name: {k: _number(k, v) for k, v in table.items()} for name, table in plain.items()}


def _number(key: str, value: Any) -> Any:
    """Return *value* as a float if *key* is one of a value: NaN and infinities are names in a row."""
    return float(value) if key.endswith("value") and value is not None else value
