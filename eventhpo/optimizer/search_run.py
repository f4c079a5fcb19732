"""The run: to its end, or step by step with a subclass's say in each, until it is stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from eventhpo.controller.controller import Controller
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import free_slot
from eventhpo.errors import EventhpoError
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.job_requests import JobRequests, suggests
from eventhpo.optimizer.search_view import attempts
from eventhpo.optimizer.session import SearchSession

logger = logging.getLogger("eventhpo.optimizer")


class Steps(Protocol):
    """What a subclass of ClearML's class may have of its own in each step."""

    def process_step(self) -> bool:
        """Do one step; return whether to go on."""

    def create_job(self) -> Any | None:
        """Make a job; None if there is none to make."""

    def monitor_job(self, job: Any) -> bool:
        """Return whether the job is to go on."""

    def get_running_jobs(self) -> Sequence[Any]:
        """Return the jobs that wait or run."""


class SearchRun:
    """Drives the search: all at once, or a step at a time.

    Args:
        session: The search.
        requests: What makes, launches and aborts single jobs.
        steps: The object whose methods are called in each step.
        has_own_steps: Whether some of these methods are a subclass's.
        queue: The queue in which a subclass's jobs are launched.
    """

    def __init__(
        self, session: SearchSession, requests: JobRequests, steps: Steps, *, has_own_steps: bool, queue: str
    ) -> None:
        self._session, self._requests, self._steps = session, requests, steps
        self._has_own_steps, self._queue = has_own_steps, queue

    def start(self) -> None:
        """Run the search until it is over or `stop` is called; promises and errors are those of `Optimizer.start`."""
        if self._heeded():
            return
        try:
            if self._has_own_steps:
                while self._steps.process_step():
                    pass
            else:
                with self._session.opened().driving() as controller:
                    self._session.opened().mode(by_hand=False)
                    self._session.end_if_asked()
                    if controller.run().why == "run stopped" and self._session.aborts_jobs:
                        controller.see_stops_through()
            self._session.conclude()
        except EventhpoError as error:
            self._session.task.fail(error)
            raise
        finally:
            self._session.stop.clear()

    def stop(self) -> None:
        """End the run, from any thread, and return at once, as `Optimizer.stop` promises.

        The thread that drives does it; if none does, as between two steps, this thread does.
        """
        self._session.stop.set()
        self._session.end_if_asked()
        self._session.end_missed_stop()

    def _heeded(self) -> bool:
        """Whether a stop has ended this run already; each stop counts once."""
        if not (self._session.stop.is_set() and self._session.driver is not None and self._session.driver.stopped):
            return False
        self._session.stop.clear()
        logger.info("stop() was called: this run has ended; the next start() carries the search on")
        return True

    def step(self) -> bool:
        """Look at the jobs once, do what follows, and wait until something is due; whether to go on."""
        if self._heeded():
            return False
        driver = self._session.opened()
        with driver.driving() as controller:
            driver.mode(by_hand=self._requests.makes_jobs)
            self._session.end_if_asked()
            self._requests.in_step = True
            try:
                going = self._advance(driver, controller)
            finally:
                self._requests.in_step = False
        if self._session.stop.is_set():  # it may have come during the wait, or just now
            driver.end(self._session.stop_asked, wait=True)
            self._session.stop.clear()  # it ended this run; the next step begins another
            return False
        if not going:
            self._session.conclude()
        return going

    def _advance(self, driver: SearchDriver, controller: Controller) -> bool:
        polled = monitored = False
        if self._requests.makes_jobs:
            self._launch_drafts()
        while True:
            action = driver.advance(suggests)
            if isinstance(action, actions.Rest) and action.why != "by hand":
                return False
            if not monitored and (polled or suggests(action) or isinstance(action, actions.Rest)):
                monitored = True
                self._monitor_all()
                continue
            if suggests(action) and (self._steps.create_job() is not None or self._session.stop.is_set()):
                continue  # once stop was asked, what is due is no suggestion any more
            if self._requests.makes_jobs and monitored and self._make_jobs():
                continue
            if isinstance(action, actions.Rest):
                return False  # made by hand, and nothing is left that runs
            if polled:
                return True
            controller.do(action)
            polled = True

    def _monitor_all(self) -> None:
        for job in self._steps.get_running_jobs():
            if not self._steps.monitor_job(job) and self._session.of(
                job._names, lambda state, a: a.ended is None and a.stop is None
            ):
                job.abort(why="monitor_job returned False")

    def _launch_drafts(self) -> None:
        """Launch what a subclass made and left in an earlier step, or in a process that was killed."""
        drafts = self._session.read(
            lambda s: [(a.trial, a.number) for a in attempts(s) if a.ended is None and not a.launched]
        )
        for names in drafts or []:
            self._requests.launch(names)

    def _make_jobs(self) -> bool:
        """Have the subclass make a job for a free slot; whether it did."""
        free = self._session.read(free_slot) is not None
        job = self._steps.create_job() if free and not self._session.stop.is_set() else None
        return job is not None and bool(job.launch(self._queue))


def _goes_on(state: State, attempt: Attempt) -> bool:
    """Whether the attempt has not ended, and was not told to."""
    return attempt.ended is None and attempt.stop is None
