"""The run: to its end, or step by step with a subclass's say in each, until it is stopped."""

from __future__ import annotations

import logging
import threading
from typing import Literal

from eventhpo.controller.controller import Controller
from eventhpo.core.fold.events import StopAsked
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import free_slot
from eventhpo.errors import EventhpoError, TaskTaken
from eventhpo.optimizer.by_hand import ByHand, suggests
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.reading import attempts

logger = logging.getLogger("eventhpo.optimizer")

REASON = 250  # characters; ClearML's web page shows a task's reason in one line


class Running(ByHand):
    """Drives the search: all at once, or a step at a time."""

    _execution_queue: str
    _on_stop: Literal["abort", "leave"]

    def start(self) -> None:
        """Run the search until it is over or `stop` is called; the same log carries it on.

        Raises:
            Busy: somebody else holds the log. Usage: the log records another search.
            StorageFailed: the log cannot be written.

        In another thread than the main one, as under ClearML's controller, the script does not see
        the error: there, the optimizer's task is also marked as failed, with the error as reason.
        """
        if self._heeded():
            return
        try:
            if self._has_steps_of_its_own:
                while self.process_step():
                    pass
            else:
                with self._opened().driving() as controller:
                    self._opened().mode(by_hand=False)
                    self._end_if_asked()
                    if controller.run().why == "run stopped" and self._on_stop == "abort":
                        controller.see_stops_through()
            self._conclude()
        except EventhpoError as error:
            self._fail_task(error)
            raise
        finally:
            self._stop_event.clear()

    def _fail_task(self, error: EventhpoError) -> None:
        """Log *error* and fail the optimizer's task, where the error ends a thread and not the script."""
        task = self._optimizer_task
        if isinstance(error, TaskTaken):  # the task is another's, or was ended by a person
            logger.error("this controller ends: %s", error)
            if self._artifact is not None:
                self._artifact.close()
            return
        if threading.current_thread() is threading.main_thread() or not hasattr(task, "mark_failed"):
            return
        logger.error("the search did not run: %s", error)
        reason = f"{type(error).__name__}: {error}"
        task.mark_failed(status_reason=reason[:REASON], status_message=reason, force=True)

    def stop(self) -> None:
        """End the run, from any thread, and return at once; a later `start` carries the search on.

        Running jobs are ended, or left alone with `on_stop="leave"`. The thread that drives
        does it; if none does, as between two steps, this thread does. If no run was under
        way, the next `start` or `process_step` returns at once.
        """
        self._stop_event.set()
        self._end_if_asked()
        self._after_turn()

    def _end_if_asked(self) -> None:
        if self._stop_event.is_set() and self._driver is not None:
            self._driver.interrupt(self._stop_asked)

    @property
    def _stop_asked(self) -> StopAsked:
        return StopAsked(scope="run", jobs=self._on_stop, why="stop()")

    def _after_turn(self) -> None:
        """End the run if a stop came after the driving thread had last looked for one."""
        if self._stop_event.is_set() and self._driver is not None:
            self._driver.end(self._stop_asked, wait=False)

    def _heeded(self) -> bool:
        """Whether a stop has ended this run already; each stop counts once."""
        if not (self._stop_event.is_set() and self._driver is not None and self._driver.stopped):
            return False
        self._stop_event.clear()
        logger.info("stop() was called: this run has ended; the next start() carries the search on")
        return True

    @property
    def _has_steps_of_its_own(self) -> bool:
        """Whether a subclass has a say in each step."""
        step_methods = ("process_step", "create_job", "monitor_job", "update_budget_per_job")
        return any(getattr(type(self), name) is not getattr(Running, name) for name in step_methods)

    def process_step(self) -> bool:
        """Look at the jobs once, do what follows, and wait until something is due; whether to go on."""
        if self._heeded():
            return False
        driver = self._opened()
        with driver.driving() as controller:
            driver.mode(by_hand=self._makes_jobs_itself)
            self._end_if_asked()
            self._in_step = True
            try:
                going = self._step(driver, controller)
            finally:
                self._in_step = False
        if self._stop_event.is_set():  # it may have come during the wait, or just now
            driver.end(self._stop_asked, wait=True)
            self._stop_event.clear()  # it ended this run; the next step begins another
            return False
        if not going:
            self._conclude()
        return going

    def _step(self, driver: SearchDriver, controller: Controller) -> bool:
        polled = monitored = False
        if self._makes_jobs_itself:
            self._launch_drafts()
        while True:
            action = driver.advance(suggests)
            if isinstance(action, actions.Rest) and action.why != "by hand":
                return False
            if not monitored and (polled or suggests(action) or isinstance(action, actions.Rest)):
                monitored = True
                self._monitor_all()
                continue
            if suggests(action) and (self.create_job() is not None or self._stop_event.is_set()):
                continue  # once stop was asked, what is due is no suggestion any more
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
        drafts = self._read(lambda s: [(a.trial, a.number) for a in attempts(s) if a.ended is None and not a.launched])
        for names in drafts or []:
            self._launch(names)

    def _make_jobs(self) -> bool:
        """Have the subclass make a job for a free slot; whether it did."""
        free = self._read(free_slot) is not None
        job = self.create_job() if free and not self._stop_event.is_set() else None
        return job is not None and bool(job.launch(self._execution_queue))
