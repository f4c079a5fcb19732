"""Jobs and tasks as the class hands them out: they answer from the log, and ask nothing of a server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from clearml.automation.job import ClearmlJob

from eventhpo.core.fold.clocks import elapsed
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import outcome
from eventhpo.core.search.spec import Scalar, clearml_text
from eventhpo.jobs.local.host import read_clocks
from eventhpo.views import formatting
from eventhpo.views.top import Metric, row

T = TypeVar("T")
Names = tuple[int, int]  # (trial, attempt)

logger = logging.getLogger("eventhpo")

TAIL = 65_536  # bytes of a job's output that are shown


def clearml_status(state: State, attempt: Attempt) -> str:
    """Return the status that ClearML would show; what was stopped at a limit, pruned or aborted is `stopped`.

    So is a pruned job that ended by itself before the stop reached it; an aborted one that did keeps its end.
    """
    if attempt.ended is None:
        return "in_progress" if attempt.started_at is not None else "queued" if attempt.queued else "created"
    if attempt.fate in ("pruned", "aborted"):
        return "stopped"
    if attempt.ended.how == "completed":
        return "completed"
    return "stopped" if attempt.ended.how in ("stopped", "cancelled") else "failed"


class SearchOfJobs(Protocol):
    """What the handle of a job reads of its search."""

    @property
    def on_server(self) -> bool:
        """Whether the jobs are tasks on a ClearML server."""

    def of(self, names: Names, look: Callable[[State, Attempt], T]) -> T:
        """Return what *look* finds of an attempt."""

    def job_name(self, state: State, params: Mapping[str, Scalar]) -> str:
        """Return the name of a job with *params*."""

    def parent(self) -> str | None:
        """Return the id of the jobs' parent task."""


class JobActions(Protocol):
    """What the handle of a job has done."""

    def launch(self, names: Names) -> bool:
        """Have the attempt's job launched; return whether it was."""

    def abort(self, names: Names, why: str) -> None:
        """Have the attempt's job ended."""


class TaskView:
    """What can be said of a job's task without a server: a light stand-in for `clearml.Task`."""

    def __init__(self, search: SearchOfJobs, names: Names) -> None:
        self._search = search
        self._names = names

    @property
    def id(self) -> str:
        """The task's id."""
        return self._search.of(self._names, lambda state, a: str(a.job_id))

    @property
    def name(self) -> str:
        """The task's name, by the naming scheme."""
        return self._search.of(self._names, lambda state, a: self._search.job_name(state, state.trials[a.trial].params))

    @property
    def status(self) -> str:
        """The task's status in ClearML's words."""
        return self._search.of(self._names, clearml_status)

    @property
    def parent(self) -> str | None:
        """The optimizer's task, else the base task."""
        return self._search.parent()

    def get_status(self) -> str:
        """Return the status."""
        return self.status

    def get_parameters(self) -> dict[str, str]:
        """Return the parameters as strings, keyed `Section/name`."""
        return self._search.of(self._names, texts)

    def get_last_scalar_metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return `{title: {series: {last, min, max}}}` of everything that was reported."""
        by_title: dict[str, dict[str, dict[str, float]]] = {}
        for metric in self._search.of(self._names, metrics):
            values = {"last": float(metric.value), "min": float(metric.min_value), "max": float(metric.max_value)}
            by_title.setdefault(metric.metric, {})[metric.variant] = values
        return by_title

    def get_last_iteration(self) -> int:
        """Return the highest iteration of the objective, 0 before there is one."""
        return self._search.of(self._names, lambda state, a: a.highest or 0)

    def __getattr__(self, name: str) -> Any:
        """Return what only the server knows: then, and not before, its task is loaded."""
        if name.startswith("_") or not self._search.on_server:
            raise AttributeError(f"a task on this machine has no {name!r}")
        return getattr(self._loaded(), name)

    def _loaded(self) -> Any:
        if "_task" not in self.__dict__:
            from clearml import Task  # noqa: PLC0415

            self.__dict__["_task"] = Task.get_task(task_id=self.id)
        return self.__dict__["_task"]

    def _task_on_server(self) -> Any | None:
        """Return the task as the server has it, None if it was deleted there."""
        try:
            return self._loaded()
        except ValueError:  # the SDK's word for it
            logger.warning("the task %s of trial %d is not on the server any more", self.id, self._names[0])
            return None

    def __repr__(self) -> str:
        return f"<task {self.id}: {self.status}>"


def texts(state: State, attempt: Attempt) -> dict[str, str]:
    """Return the attempt's parameters as ClearML writes them."""
    params = formatting.ordered(state.search, state.trials[attempt.trial].params)
    return {name: clearml_text(value) for name, value in params.items()}


def metrics(state: State, attempt: Attempt) -> list[Metric]:
    """Return everything that the attempt's trial reported last."""
    return list(row(state, state.trials[attempt.trial], all_metrics=True).metrics.values())


class JobHandle(ClearmlJob):  # type: ignore[misc]
    """One attempt of a trial as a `ClearmlJob`; it answers from the log.

    `launch` and `abort` may be called from any thread: they become requests to the
    one writer, and come back when the log has answered.
    """

    def __init__(self, search: SearchOfJobs, actions: JobActions, names: Names) -> None:  # the parent's clones a task
        self._search, self._actions = search, actions
        self._names = names
        self._is_cached_task = False
        self.task = TaskView(search, names)
        self.task_started = False
        self.task_parameter_override: Mapping[str, Scalar] = search.of(
            names, lambda state, a: dict(state.trials[a.trial].params)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and (self._search, self._names) == (other._search, other._names)

    def __repr__(self) -> str:
        return f"<job {self.task_id()}: {self.status()}>"

    def __hash__(self) -> int:
        return hash((id(self._search), self._names))

    def task_id(self) -> str:
        """Return the job's id."""
        return self.task.id

    def launch(self, queue_name: str | None = None) -> bool:
        """Have the job started if it is not; whether it was launched."""
        return self._actions.launch(self._names)

    def abort(self, *, why: str = "") -> None:
        """Have the job ended, its trial's end says *why*; one that is over stays as it is."""
        self._actions.abort(self._names, why)

    def status(self, force: bool = False) -> str:
        """Return the status in ClearML's words."""
        return self.task.status

    def status_message(self) -> str:
        """Return why the job ended, empty as long as it runs."""

        def message(state: State, a: Attempt) -> str:
            return "" if a.ended is None else outcome.end_of(state, a).why or a.ended.why

        return self._search.of(self._names, message)

    def get_metric(self, title: str, series: str) -> tuple[float, float, float]:
        """Return (min, max, last) of a series.

        Raises:
            KeyError: it was not reported.
        """
        for metric in self._search.of(self._names, metrics):
            if (metric.metric, metric.variant) == (title, series):
                return float(metric.min_value), float(metric.max_value), float(metric.value)
        raise KeyError(f"{title}/{series} was not reported by {self.task_id()}")

    def elapsed(self) -> float:
        """Return the seconds since its start, until its end; -1 if it has not started."""

        def seconds(state: State, a: Attempt) -> float:
            return -1.0 if a.started is None else elapsed(a.started, a.finished or read_clocks()) / 1e6

        return self._search.of(self._names, seconds)

    def iterations(self) -> int:
        """Return the last iteration of the objective, -1 if the job has not started."""
        return self._search.of(self._names, lambda state, a: -1 if a.started_at is None else a.highest or 0)

    def started(self) -> bool:
        """Whether the job runs or has run."""
        return self._search.of(self._names, lambda state, a: a.started_at is not None)

    def is_running(self) -> bool:
        """Whether the job runs now."""
        return self.status() == "in_progress"

    def is_pending(self) -> bool:
        """Whether the job waits for its start."""
        return self.status() in ("created", "queued")

    def is_stopped(self, aborted_nonresponsive_as_running: bool = False) -> bool:
        """Whether the job is over, in whatever way."""
        return self._search.of(self._names, lambda state, a: a.ended is not None)

    def is_completed(self) -> bool:
        """Whether the job ended by itself, and well."""
        return self.status() == "completed"

    def is_failed(self) -> bool:
        """Whether the job failed or was lost."""
        return self.status() == "failed"

    def is_aborted(self) -> bool:
        """Whether the job was stopped: pruned, at a limit, or by somebody."""
        return self.status() == "stopped"

    def wait(
        self, timeout: float | None = None, pool_period: float = 30.0, aborted_nonresponsive_as_running: bool = False
    ) -> bool:
        """Wait up to *timeout* minutes for the end; whether it came. Somebody else must drive the search."""
        end = None if timeout is None else time.monotonic() + timeout * 60
        pause = threading.Event()
        while not self.is_stopped():
            left = pool_period if end is None else min(pool_period, end - time.monotonic())
            if left <= 0:
                return False
            pause.wait(min(left, 0.1))
        return True

    def get_console_output(self, number_of_reports: int = 1) -> Sequence[str]:
        """Return the end of what the job printed, as one text, empty before it ended; from a server its newest.

        Empty too if its task was deleted at the server.
        """
        if self._search.on_server:
            task = self.task._task_on_server()
            return [] if task is None else list(task.get_reported_console_output(number_of_reports=number_of_reports))
        output = self._search.of(self._names, lambda state, a: None if a.ended is None else a.ended.output)
        if output is None or not Path(output).is_file():
            return []
        with Path(output).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            return [file.read().decode("utf-8", "replace")]

    def worker(self) -> str | None:
        """Return the host, on a server the worker; None before the job has started, or if its task was deleted."""
        if self._search.on_server:
            return self._worker_of_task() if self.started() else None
        return self._search.of(
            self._names,
            lambda state, a: a.provenance.host if a.started_at is not None and a.provenance is not None else None,
        )

    def _worker_of_task(self) -> str | None:
        task = self.task._task_on_server()
        if task is None:
            return None
        task.reload()
        worker: str | None = task.last_worker
        return worker

    def delete(self) -> bool:
        """Return False: a job that is in the log stays in it; `abort` ends it."""
        return False

    def is_cached_task(self) -> bool:
        """Return False: every job here is a run of its own."""
        return False

    @classmethod
    def update_status_batch(cls, jobs: Sequence[Any]) -> None:
        """Do nothing: what the log says is always up to date."""
