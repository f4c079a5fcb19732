"""A whole search on simulated jobs, on a real log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eventhpo.asking.fingerprint import fingerprint
from eventhpo.controller import Requests, opened
from eventhpo.core.events import Event, SearchCreated
from eventhpo.core.spec import POLICY, Limits, Named, Objective, Parameter, Search, Simulated, UniformParameterRange
from eventhpo.core.state import State
from eventhpo.log.create import create
from eventhpo.machine import Machine
from eventhpo.testing.crashes import Crashes, CrashingLog
from eventhpo.testing.simulated import START, Cut, Scripts, SimulatedClock, SimulatedJobs

LOSS = Objective("validation", "loss", "min")
X = UniformParameterRange(name="General/x", min_value=0.0, max_value=1.0)


def search(
    *,
    objectives: Sequence[Objective] = (LOSS,),
    space: Sequence[Parameter] = (X,),
    sampler: Named = Named("RandomSampler"),
    pruner: Named = Named("NopPruner"),
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


def simulate(
    path: Path,
    what: Search,
    scripts: Scripts,
    *,
    cut: Cut = lambda trial, attempt, cursor: 2,
    inputs: Sequence[Event] = (),
    crashes: Crashes | None = None,
    requests: Callable[[], Requests] | None = None,
) -> State:
    """Run *what* to its rest on the log at *path*, which is made or carried on; return the state.

    *inputs* are recorded behind the start of the controller if the log was made
    here. The ledger of the simulated world stands beside the log.
    """
    crashes = crashes or Crashes()
    new = not path.exists()
    if new:
        create(path, created(what), START)
    clock = SimulatedClock()

    def jobs_for(state: State) -> SimulatedJobs:
        clock.attach(state)
        return SimulatedJobs(path.with_suffix(".ledger"), scripts, clock, cut=cut, point=crashes.point)

    with opened(
        path,
        jobs_for,
        clock,
        Machine("simulated", 1, "boot"),
        wrap=lambda log: CrashingLog(log, crashes.point),
        requests=None if requests is None else requests(),
    ) as controller:
        if new:
            for event in inputs:
                controller.record(event, None)
            controller.commit()
        controller.run()
        return controller.state
