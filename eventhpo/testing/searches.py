"""A whole search on simulated jobs, on a real log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from eventhpo.controller.controller import Controller, opened
from eventhpo.controller.host import Machine
from eventhpo.core.fold.events import AbortRequested, DrivenByHand, Event, LaunchRequested, SearchCreated, request_of
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.search.spec import (
    POLICY,
    ComponentConfig,
    Limits,
    Objective,
    Parameter,
    Search,
    Simulated,
    UniformParameterRange,
)
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.optuna_adapter.user_classes import NOTHING, UserClasses
from eventhpo.testing.crashes import Crashes, CrashingLog
from eventhpo.testing.simulated import START, CutPoint, Scripts, SetBy, SimulatedClock, SimulatedJobs

LOSS = Objective("validation", "loss", "min")
X = UniformParameterRange(name="General/x", min_value=0.0, max_value=1.0)


def search(
    *,
    objectives: Sequence[Objective] = (LOSS,),
    space: Sequence[Parameter] = (X,),
    sampler: ComponentConfig = ComponentConfig("RandomSampler"),
    pruner: ComponentConfig = ComponentConfig("NopPruner"),
    seed: int = 7,
    max_iteration_per_job: int | None = None,
    min_iteration_per_job: int | None = None,
    nan_policy: str = "fail",
    **limits: object,
) -> Search:
    """Return a search on simulated jobs; *limits* are those of `Limits`."""
    return Search(
        name="simulated",
        objectives=tuple(objectives),
        space=tuple(space),
        limits=Limits(**{"total_max_jobs": 6, "pool_period_min": 0.01} | limits),  # type: ignore[arg-type]
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        jobs=Simulated(),
        max_iteration_per_job=max_iteration_per_job,
        min_iteration_per_job=min_iteration_per_job,
        nan_policy="worst" if nan_policy == "worst" else "fail",
    )


def created(what: Search, search_id: str = "5ea4c4" * 5 + "00") -> SearchCreated:
    """Return the first event of a log of *what*."""
    return SearchCreated(search_id=search_id, search=what, policy=POLICY, fingerprint=fingerprint())


class ScriptedRequests:
    """Requests that come when the log has a given number of steps."""

    def __init__(self, asks: Sequence[tuple[int, Event]]) -> None:
        self._asks = asks
        self._state: State | None = None

    def attach(self, state: State) -> None:
        """Follow the log of *state*."""
        self._state = state

    def any(self) -> bool:
        """Whether one is due and not in the log."""
        return self._state is not None and bool(self._due(self._state))

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        """Yield what is due."""
        for event in self._due(state):
            yield event, lambda: None

    def _due(self, state: State) -> list[Event]:
        return [event for steps, event in self._asks if state.steps >= steps and _open(state, event)]


def _open(state: State, event: Event) -> bool:
    """Whether *event* can be asked now and has not been: by its id, else by what it does."""
    match event:
        case LaunchRequested(trial=trial, attempt=number):
            attempt = _attempt(state, trial, number)
            return attempt is not None and not attempt.released
        case AbortRequested(trial=trial, attempt=number):
            attempt = _attempt(state, trial, number)
            return attempt is not None and attempt.ended is None and attempt.stop is None
        case DrivenByHand(by_hand=by_hand):
            return state.by_hand != by_hand
    return request_of(event) not in state.requests


def _attempt(state: State, trial: int, number: int) -> Attempt | None:
    exists = trial < len(state.trials) and number < len(state.trials[trial].attempts)
    return state.attempt(trial, number) if exists else None


def simulate(
    path: Path,
    what: Search,
    scripts: Scripts,
    *,
    cut: CutPoint = lambda trial, attempt, cursor: 2,
    inputs: Sequence[Event] = (),
    crashes: Crashes | None = None,
    asks: Sequence[tuple[int, Event]] = (),
    make: type[Controller] = Controller,
    own: UserClasses = NOTHING,
    set_by: SetBy | None = None,
) -> State:
    """Run *what* to its rest on the log at *path*, which is made or carried on; return the state.

    *inputs* follow the first event of a log that is made here; *asks* are asked
    of the live controller once its log has so many steps, each with a `request` id of
    its own if its type has one. With *set_by* there is a boot clock, and the wall clock
    is set as the log goes on. The ledger of the simulated jobs is next to the log.
    """
    crashes = crashes or Crashes()
    if not path.exists():
        create(path, created(what), START, inputs)
    clock = SimulatedClock(set_by)
    if set_by is not None:
        clock.follow(read(path).rows)
    requests = ScriptedRequests(asks)

    def jobs_for(state: State) -> SimulatedJobs:
        clock.attach(state)
        requests.attach(state)
        return SimulatedJobs(path.with_suffix(".ledger"), scripts, clock, cut=cut, point=crashes.point)

    with opened(
        path,
        jobs_for,
        clock,
        Machine("simulated", 1, "boot"),
        wrap=lambda log: CrashingLog(log, crashes.point),
        requests=requests,
        make=make,
        own=own,
    ) as controller:
        controller.run()
        return controller.state
