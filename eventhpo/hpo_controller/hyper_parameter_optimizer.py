"""`HyperParameterOptimizer`: ClearML's controller, with our class and without some of its faults."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any

from clearml import Task
from clearml.automation import HyperParameterOptimizer as ClearmlController
from clearml.automation.optimization import MultiObjective, Objective

from eventhpo.core.fold.state import State, Trial
from eventhpo.errors import Usage
from eventhpo.hpo_controller.delivered import Delivered
from eventhpo.hpo_controller.page import make_report
from eventhpo.hpo_controller.rounds import Rounds, attempted
from eventhpo.optimizer.optimizer import NamedForTasks, OptimizerOptuna

logger = logging.getLogger("eventhpo.optimizer")

Callback = Callable[[str, Any, int, dict[str, Any], str], None]


FIRST_REPORT = 15.0  # seconds, as ClearML's controller
SHORTEST_PERIOD = 30.0  # seconds between two reports, whatever set_report_period says: a report is up to two uploads
ROUND = 1.0  # seconds between two looks at the log for jobs to call back
LAST_WAIT = 60.0  # seconds that the last report waits for the thread of the search
CLEARMLS = "clearml.automation.optuna"  # importing it would write a requirement into the user's task


class TakenForSeveral(NamedForTasks):
    """The class of a class that ClearML's controller takes for several objectives: it compares it with its own."""

    def __ne__(cls, other: object) -> bool:  # noqa: N805  the class of a class
        return cls is not other and not getattr(other, "__module__", "").startswith(CLEARMLS)

    def __str__(cls) -> str:  # noqa: N805
        return str(cls.__base__)

    __eq__ = type.__eq__
    __hash__ = type.__hash__


class ObjectiveFromLog(MultiObjective):  # type: ignore[misc]
    """The objectives of jobs as the log has them; a job that runs, was pruned or has failed has none."""

    def __init__(self, given: MultiObjective, optimizer: Any) -> None:
        super().__init__(given.title, given.series, given.order, given.extremum)
        self._optimizer = optimizer

    def get_objective(self, task_id: Any) -> list[float] | None:
        """Return the values of the job's trial in the order of the objectives, None if it has not completed."""
        completed = self._optimizer._session.read(lambda state: completed_trial(state, name_of(task_id)))
        return None if completed is None else values_of(completed)

    def get_current_raw_objective(self, task: Any) -> list[tuple[int, float]] | None:
        """Return (last iteration, value) for each objective, None if the job has not completed."""
        completed = self._optimizer._session.read(lambda state: completed_trial(state, name_of(task)))
        if completed is None:
            return None
        return [(completed.last.highest or 0, value) for value in values_of(completed)]


def name_of(task: Any) -> str:
    """Return the id of a task or a job, or *task* if it is the id."""
    return str(task if isinstance(task, str) else task.task_id() if hasattr(task, "task_id") else task.id)


def values_of(trial: Trial) -> list[float]:
    """Return the values of a completed trial, in the order of the objectives."""
    assert trial.finished is not None
    return [float(value) for value in trial.finished.values or ()]


def completed_trial(state: State, task_id: str) -> Trial | None:
    """Return the trial whose last job is *task_id*, None if there is none, or it has not completed."""
    for trial in state.trials:
        if trial.last is not None and trial.last.job_id == task_id:
            return trial if trial.finished is not None and trial.finished.state == "completed" else None
    return None


class HyperParameterOptimizer(ClearmlController):  # type: ignore[misc]
    """Drive a search as ClearML's controller does, on an event log.

    The arguments and methods are those of `clearml.automation.HyperParameterOptimizer`;
    `optimizer_class` is `eventhpo.OptimizerOptuna` unless a subclass of it, or an
    instance, is given, and the further arguments are those of that class.

    Raises:
        Usage: an argument is out of range, or is not known.
    """

    _make_page: Callable[[Path, Path], Any] | None = staticmethod(make_report)

    def __init__(
        self,
        base_task_id: str,
        hyper_parameters: Sequence[Any],
        objective_metric_title: str | Sequence[str],
        objective_metric_series: str | Sequence[str],
        objective_metric_sign: str | Sequence[str] = "min",
        optimizer_class: Any = OptimizerOptuna,
        *arguments: Any,
        **further: Any,
    ) -> None:
        if isinstance(optimizer_class, type):
            optimizer_class = ours(optimizer_class, several=not isinstance(objective_metric_title, str))
        elif not isinstance(optimizer_class, OptimizerOptuna):
            raise Usage(
                f"optimizer_class is {optimizer_class!r}, expected eventhpo.OptimizerOptuna or an instance of it"
            )
        super().__init__(
            base_task_id,
            hyper_parameters,
            objective_metric_title,
            objective_metric_series,
            objective_metric_sign,
            optimizer_class,
            *arguments,
            **further,
        )
        self._objective_metric: Any = ObjectiveFromLog(self._objective_metric, self.optimizer)

    def start(self, job_complete_callback: Callback | None = None) -> bool:
        """Start the search in a thread; return whether it runs.

        *job_complete_callback* is called with the job's id, value (float), last iteration
        (int), parameters, and the id of the best job, once a job has completed.
        """
        callback = None if job_complete_callback is None else self._with_documented_types(job_complete_callback)
        return bool(super().start(job_complete_callback=callback))

    def set_page_maker(self, make_page: Callable[[Path, Path], Any] | None) -> None:
        """Have `make_page(log, page)` write the page that becomes the artifact `report`, in place of `eventhpo report`.

        None: no page at the end.
        """
        self._make_page = make_page

    def upload_page(self) -> bool:
        """Upload the page of the search as it is now as the task's artifact `report`; return whether there is one.

        At the end it comes by itself. The page of `eventhpo report` needs the extra `report`.
        """
        return Rounds(self).upload_page()

    def _with_documented_types(self, callback: Callback) -> Callable[..., None]:
        def completed(job_id: str, values: Any, iterations: Any, params: Mapping[str, Any], best: str) -> None:
            one_objective = self._objective_metric.len == 1
            callback(job_id, values[0] if one_objective else values, int(iterations[0]), dict(params), best)

        return completed

    def _daemon(self) -> None:
        try:
            self.optimizer.start()
        finally:
            self._thread = None  # also after an error: the search does not run

    def _report_daemon(self) -> None:
        """Call back and report until the search is over or stopped; a round that fails is logged and tried again."""
        delivered, rounds = self._delivered(), Rounds(self)
        next_report = monotonic() + FIRST_REPORT
        while True:
            thread, stop = self._thread, self._stop_event
            over = thread is None or not thread.is_alive() or stop is None or stop.wait(ROUND)
            if not over and self.optimization_timeout is not None and time() >= self.optimization_timeout:
                over = True
                self.stop(wait_for_reporter=False)
            if over and thread is not None:
                thread.join(LAST_WAIT)  # what it still records is in the last report
            attempted("the callback", rounds.call_back, delivered)
            if over or monotonic() >= next_report:
                next_report = monotonic() + max(SHORTEST_PERIOD, self._report_period_min * 60)
                attempted("the report", rounds.report, delivered)
                attempted("the archive", rounds.archive)
            attempted("the copy of what was delivered", partial(delivered.upload, now=over))
            if over:
                attempted("the summary", rounds.upload_summary)
                attempted("the page", rounds.upload_page)
                return

    def _delivered(self) -> Delivered:
        """Return what was delivered; where the log is kept with the task, so is this."""
        session = self.optimizer._session
        minutes = session.upload_minutes
        if minutes is None:
            return Delivered(session.log)
        try:
            return Delivered(session.log, session.task.task, min(SHORTEST_PERIOD, minutes * 60))
        except (OSError, ValueError, RuntimeError) as error:
            logger.warning("what was delivered before cannot be read, so it is sent again: %s", error)
            return Delivered(session.log)

    def _auto_archive_low_performance_tasks(self, completed_jobs: Mapping[str, Any]) -> None:
        """Archive the tasks below the best `save_top_k_tasks_only`: of those that have ended, and not failed."""
        jobs = self.optimizer.get_created_jobs_tasks()
        ended = {
            task_id: result
            for task_id, result in completed_jobs.items()
            if task_id in jobs and jobs[task_id].is_stopped() and not jobs[task_id].is_failed()
        }
        if ended:
            super()._auto_archive_low_performance_tasks(ended)

    def get_time_limit(self) -> datetime | None:
        """Return when the search ends at the latest, None without a limit."""
        return None if self.optimization_timeout is None else datetime.fromtimestamp(self.optimization_timeout)

    def reached_time_limit(self) -> bool:
        """Whether the search runs, and longer than its limit; False without a limit."""
        return bool(self.optimization_timeout is not None and super().reached_time_limit())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the search, at most *timeout* minutes, or until its time limit; whether it came."""
        if timeout is None and self.optimization_timeout is not None:
            timeout = max(0.0, self.optimization_timeout - time()) / 60
        thread = self._thread  # the thread that ends sets it to None
        if thread is None:
            return True
        thread.join(None if timeout is None else timeout * 60)
        return not thread.is_alive()

    @classmethod
    def get_optimizer_top_experiments(
        cls,
        objective_metric_title: str | list[str],
        objective_metric_series: str | list[str],
        objective_metric_sign: str | list[str],
        optimizer_task_id: str,
        top_k: int,
    ) -> Sequence[Task]:
        """Return the best *top_k* tasks of an optimizer's task, the best first; signs as the constructor has them."""
        titles, series, signs = (
            [given] if isinstance(given, str) else list(given)
            for given in (objective_metric_title, objective_metric_series, objective_metric_sign)
        )
        orders, extremes = [s.removesuffix("_global") for s in signs], [s.endswith("_global") for s in signs]
        objective: Any = (
            Objective(titles[0], series[0], orders[0], extremes[0])
            if len(titles) == 1
            else MultiObjective(titles, series, orders, extremes)
        )
        tasks: Sequence[Task] = objective.get_top_tasks(top_k=top_k, optimizer_task_id=optimizer_task_id)
        return tasks


def ours(given: type[Any], *, several: bool) -> type[Any]:
    """Return the class that the controller is to use where *given* was passed: for ClearML's own class, ours.

    Raises:
        Usage: it is another strategy.
    """
    if given.__module__.startswith(CLEARMLS):
        given = OptimizerOptuna
    if not issubclass(given, OptimizerOptuna):
        raise Usage(f"optimizer_class is {given!r}, expected eventhpo.OptimizerOptuna or a subclass of it")
    if not several:
        return given
    names = {"__module__": given.__module__, "__qualname__": given.__qualname__, "__init__": given.__init__}
    return TakenForSeveral(given.__name__, (given,), names)
