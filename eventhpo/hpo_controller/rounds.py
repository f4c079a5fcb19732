"""One round of the reporting thread: callbacks, curves, plots and archive, from the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clearml import Task

from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.errors import Usage
from eventhpo.hpo_controller import reports
from eventhpo.hpo_controller.delivered import Delivered
from eventhpo.hpo_controller.reports import FinishedTrial

logger = logging.getLogger("eventhpo.optimizer")


def attempted(what: str, act: Callable[..., object], *arguments: Any) -> None:
    """Call *act*; an error of the server or of a user's callback is logged and ends nothing."""
    try:
        act(*arguments)
    except Exception:
        logger.warning("%s of this round failed; the next round tries again", what, exc_info=True)


class Rounds:
    """Rounds for one controller; what was sent is compared, so that an unchanged plot is sent once."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller
        self._table: list[list[Any]] | None = None

    def _finished(self) -> list[FinishedTrial]:
        return self._controller.optimizer._session.read(reports.finished_trials) or []

    @property
    def _titles(self) -> list[str]:
        return ["/".join(metric) for metric in self._controller._objective_metric.get_objective_metric()]

    def _task(self) -> Any:
        """Return the task to report on, None if there is none, or it is only read."""
        return None if self._controller._readonly_task else self._controller._task or Task.current_task()

    def call_back(self, delivered: Delivered) -> None:
        """Call back for each completed job that was not called back yet, in the order of trials."""
        callback = self._controller._experiment_completed_cb
        if callback is None:
            return
        best = self._controller.optimizer._session.read(best_job)
        for trial in self._finished():
            if trial.values and trial.task_id not in delivered.called:
                iterations = [trial.iteration] * len(trial.values)
                callback(trial.task_id, list(trial.values), iterations, {"status": "completed", **trial.params}, best)
                delivered.note_called(trial.task_id)

    def report(self, delivered: Delivered) -> None:
        """Send the points that are new, and the plots if they changed; iterations are numbers of trials."""
        task = self._task()
        if task is None:
            return
        trials = self._finished()
        settled = reports.settled(trials, self._controller.optimizer._session.read(reports.first_unfinished))
        shift = -int(task.get_initial_iteration() or 0)  # the SDK adds it to each iteration
        task_logger, number = task.get_logger(), (settled[-1].trial + 1 if settled else 0)
        if number > delivered.reported:
            self._send_curves(task_logger, settled, delivered.reported, shift)
            self._controller._report_remaining_budget(task_logger, number + shift)
            delivered.note_reported(number)
        table = reports.summary_table(trials, self._titles)
        if trials and table != self._table:
            self._send_plots(task_logger, trials, table, shift)
            self._table = table
        self._controller._report_resources(task_logger, number + shift)  # asks the server, so it comes last

    def _send_curves(self, task_logger: Any, trials: list[FinishedTrial], since: int, shift: int) -> None:
        objectives = self._controller._objective_metric.objectives
        for index, (title, objective) in enumerate(zip(self._titles, objectives, strict=True)):
            sign = objective.get_objective_sign()
            for number, best, last in reports.best_and_last(trials, index, sign):
                if number > since:
                    task_logger.report_scalar(title, "max" if sign > 0 else "min", best, number + shift)
                    task_logger.report_scalar(title, "last reported", last, number + shift)

    def _send_plots(self, task_logger: Any, trials: list[FinishedTrial], table: list[list[Any]], shift: int) -> None:
        objective = {"title": f"objective: {', '.join(self._titles)}"}
        task_logger.report_table("summary", "job", shift, table_plot=self._linked(table), extra_layout=objective)
        completed = [trial for trial in trials if trial.values]
        for index, title in enumerate(self._titles if completed else ()):
            task_logger.report_scatter2d(
                title="Optimization Objective",
                series=title,
                scatter=[(trial.trial, trial.values[index]) for trial in completed],
                iteration=shift,
                labels=[str(trial.params)[1:-1] for trial in completed],
                mode="markers",
                xaxis="job #",
                yaxis="objective",
            )
        if completed:
            figure = reports.parallel_coordinates(completed, self._titles)
            task_logger.report_plotly(title="Parallel Coordinates", series="", iteration=shift, figure=figure)

    def _linked(self, table: list[list[Any]]) -> list[list[Any]]:
        """Return the table with a link to its page for each task on the server; jobs of this machine have none."""
        task = self._task()
        if not self._controller.optimizer._session.on_server or not hasattr(task, "get_output_log_web_page"):
            return table
        page = str(task.get_output_log_web_page()).replace(f"/{task.project}/", "/*/")
        links = (f'<a href="{page.replace(str(task.id), str(row[0]))}"> {row[0]} </a>' for row in table[1:])
        return [table[0], *([link, *row[1:]] for link, row in zip(links, table[1:], strict=True))]

    def archive(self) -> None:
        """Archive the tasks below the best `save_top_k_tasks_only` of those that completed."""
        completed = {
            trial.task_id: (list(trial.values), [trial.iteration] * len(trial.values), trial.params)
            for trial in self._finished()
            if trial.values
        }
        self._controller._auto_archive_low_performance_tasks(completed)

    def upload_summary(self) -> None:
        """Upload the summary table as the artifact `summary`."""
        task, trials = self._task(), self._finished()
        if task is not None and trials:
            table = reports.summary_table(trials, self._titles)
            task.upload_artifact(name="summary", artifact_object={"table": table})

    def upload_page(self) -> bool:
        """Upload what the page maker writes as the artifact `report`; return whether there is one."""
        task, make_page = self._task(), self._controller._make_page
        if task is None or make_page is None:
            return False
        with TemporaryDirectory() as folder:
            page = Path(folder) / "report.html"
            try:
                make_page(self._controller.optimizer.log, page)
            except Usage as error:  # as a package that is not installed
                logger.info("the task has no page of the search: %s", error)
                return False
            return bool(task.upload_artifact(name="report", artifact_object=str(page), wait_on_upload=True))


def best_job(state: State) -> str:
    """Return the id of the best completed job, "" if there is none."""
    best = rank.top(state, 1, only_completed=True)
    return str(best[0].last.job_id) if best and best[0].last is not None else ""
