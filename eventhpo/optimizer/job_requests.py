"""Jobs that a caller makes, launches, monitors and aborts, from any thread; the log records each request first."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from eventhpo.controller.requests import EnqueueRequest, accepted, point
from eventhpo.core.fold import codec
from eventhpo.core.fold.event_parts import JobExtras
from eventhpo.core.fold.events import AbortRequested, Event, JobCreated, JobRequested, LaunchRequested, TrialSuggested
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import actions
from eventhpo.core.search.ranges import full_name
from eventhpo.errors import Usage
from eventhpo.jobs.clearml.overrides import require
from eventhpo.optimizer import conversion
from eventhpo.optimizer.driver import SearchDriver
from eventhpo.optimizer.job_handle import JobHandle, Names
from eventhpo.optimizer.search_view import attempts
from eventhpo.optimizer.session import SearchSession

Wish = TypeVar("Wish", JobRequested, AbortRequested)

logger = logging.getLogger("eventhpo.optimizer")


class JobRequests:
    """What a caller asks for outside of the loop, and a subclass within its steps.

    Args:
        session: The search.
        makes_jobs: Whether a subclass makes the jobs: then a suggestion is due only when it asks for one.
    """

    def __init__(self, session: SearchSession, *, makes_jobs: bool) -> None:
        self._session = session
        self.makes_jobs = makes_jobs
        self.in_step = False  # whether `process_step` is under way, in the thread that has the turn

    @property
    def _within_step(self) -> bool:
        """Whether this thread is in the middle of `process_step`."""
        driver = self._session.driver
        return self.in_step and driver is not None and driver.has_turn

    def create(self) -> Names | None:
        """Make the next job, not launched; None if no slot, budget or suggestion is left, or a stop was asked for."""
        if self._within_step and not self.makes_jobs:
            return self._create_due()
        return self._request(JobRequested(request=secrets.token_hex(16)))

    def _create_due(self) -> Names | None:
        """Make the job of the suggestion that is due; inside a step that is no request."""
        driver = self._session.opened()
        with driver.driving() as controller:
            while suggests(action := driver.advance(suggests)):
                controller.do(action)
                if isinstance(action, actions.Decide) and isinstance(action.event, JobCreated):
                    return action.event.trial, action.event.attempt
        return None

    def create_with(self, params: Mapping[str, Any], extras: JobExtras) -> Names | None:
        """Make a job with the caller's own parameters; it uses the budget. None if no slot or budget is left.

        Raises:
            Usage: an extra cannot be honoured, or JSON cannot carry it.
        """
        require(extras)
        named = {full_name(str(k)): conversion._plain(v) for k, v in params.items()}
        return self._request(recordable(JobRequested(request=secrets.token_hex(16), params=named, extras=extras)))

    def _request(self, request: JobRequested) -> Names | None:
        if self._session.stop.is_set():
            return None
        driver = self._session.opened()

        def answer(state: State) -> Names | str | None:
            if request.request in state.lapsed:
                return state.lapsed[request.request]
            trials = [t for t in reversed(state.trials) if t.request == request.request]
            if trials and trials[0].attempts and trials[0].attempts[0].job_id is not None:
                return trials[0].number, 0
            return "stop() was called" if self._session.stop.is_set() else None

        def build(state: State) -> Sequence[Event]:
            return () if self._session.stop.is_set() else (request,)

        outcome = driver.ask(build, answer, lambda: driver.until(answer), by_hand=not self._within_step)
        if isinstance(outcome, str):
            logger.info("no job was made: %s", outcome)
        return outcome if isinstance(outcome, tuple) else None

    def monitor(self, names: Names) -> bool:
        """Whether the job waits or runs; called by hand, it is looked at first, and False once a stop was asked for."""
        driver = self._session.opened()
        if not self._within_step:
            if self._session.stop.is_set():
                return False
            self._look_by_hand(driver)
        return self._session.of(names, lambda state, a: a.ended is None and a.stop is None)

    def _look_by_hand(self, driver: SearchDriver) -> None:
        with driver.turn() as taken:
            if not taken:
                return
            with driver.driving() as controller:
                driver.mode(by_hand=True)
                action = driver.advance()
                if isinstance(action, actions.Poll):
                    controller.do(action)
                    driver.advance()

    def names_of(self, job: Any) -> Names:
        """Return the trial and attempt of a job, or of a task's id.

        Raises:
            Usage: it is none of this search.
        """
        if isinstance(job, JobHandle):
            return job._names
        wanted = job.task_id() if hasattr(job, "task_id") else job
        attempt_ids = self._session.read(lambda s: [(a.trial, a.number) for a in attempts(s) if a.job_id == wanted])
        if not attempt_ids:
            raise Usage(f"{wanted} is no job of this search; get_created_jobs_tasks() has them all")
        return attempt_ids[0]

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Have the search try a point next; the sampler fills in what it leaves out.

        Raises:
            Usage: it does not fit the space, or the search is over.
        """
        request = EnqueueRequest(
            params=point(self._session.asked.search, {k: conversion._plain(v) for k, v in params.items()})
        )
        request_id = secrets.token_hex(16)
        refused: list[Usage] = []

        def build(state: State) -> Sequence[Event]:
            try:
                return accepted(state, request, request_id)  # the controller signs them
            except Usage as error:  # raised here, it would end the thread that drives
                refused.append(error)
                return ()

        def answer(state: State) -> bool | None:
            return request_id in state.requests or bool(refused) or None

        while not self._session.opened().ask(build, answer, lambda: None):
            pass  # the thread that drove closed the log before it read this
        if refused:
            raise refused[0]

    def launch(self, names: Names) -> bool:
        """Have the attempt's job launched if it is not; return whether it was."""
        if self._session.stop.is_set():
            return self._session.of(names, lambda state, a: a.launched)
        driver = self._session.opened()

        def build(state: State) -> Sequence[Event]:
            waits = state.attempt(*names).ended is None and not state.attempt(*names).launched
            wanted = waits and state.by_hand and not self._session.stop.is_set()
            return (LaunchRequested(trial=names[0], attempt=names[1]),) if wanted else ()

        def answer(state: State) -> bool | None:
            attempt = state.attempt(*names)
            if attempt.launched or attempt.ended is not None:
                return attempt.launched
            if self._session.stop.is_set():
                return False
            return None if state.by_hand else True  # the loop launches it

        def act() -> None:
            driver.advance(suggests)

        return bool(driver.ask(build, answer, act))

    def abort(self, names: Names, why: str) -> None:
        """Have the attempt's job ended; one that is over stays as it is."""
        if self._session.of(names, _will_end):
            return
        wish = recordable(AbortRequested(trial=names[0], attempt=names[1], why=why))
        driver = self._session.opened()

        def build(state: State) -> Sequence[Event]:
            attempt = state.attempt(*names)
            over = attempt.ended is not None or attempt.stop is not None
            return () if over else (wish,)

        def answer(state: State) -> bool | None:
            return _will_end(state, state.attempt(*names)) or None

        while not driver.ask(build, answer, driver.stop_now, keep=False):
            pass  # the thread that drove closed the log before it read this


def _will_end(state: State, attempt: Attempt) -> bool:
    """Whether the attempt is over, was told to end, or this run will tell it to end."""
    if attempt.ended is not None or attempt.stop_sent:
        return True
    return attempt.stop is not None and not (state.run_stop is not None and state.run_stop.leave)


def recordable(wish: Wish) -> Wish:
    """Return *wish* if it can be recorded: otherwise the error would reach the thread that drives, not the caller.

    Raises:
        Usage: it holds what JSON cannot carry.
    """
    try:
        codec.encode(wish)
    except (TypeError, ValueError) as error:
        raise Usage(f"what is asked of a job is recorded as JSON, and this cannot be: {error}") from error
    return wish


def suggests(action: actions.Action) -> bool:
    """Whether *action* makes a trial or the first job of one."""
    if isinstance(action, actions.Suggest):
        return True
    if not isinstance(action, actions.Decide):
        return False
    event = action.event
    return isinstance(event, TrialSuggested) or (isinstance(event, JobCreated) and event.attempt == 0)
