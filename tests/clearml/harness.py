"""A search on the test server, driven by a real controller through the real door and the real SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from eventhpo.clearml.door import ClearmlJobs
from eventhpo.clearml.place import OnClearml
from eventhpo.clock import SystemClock
from eventhpo.controller import Controller, opened
from eventhpo.core.events import SearchCreated
from eventhpo.core.spec import POLICY, ClearmlTasks, Limits, Named, Objective, Search, UniformParameterRange
from eventhpo.core.state import State
from eventhpo.log.create import create
from eventhpo.machine import Machine
from tests.clearml_server import ClearmlServer, Script

METRIC = Objective("validation", "loss", "min")
MACHINE = Machine("here", 1, "boot")
AT_ONCE = 1e-5  # minutes between two polls: the server's jobs go on at each


def search(base: str, **changes: object) -> Search:
    """A small search of one parameter on the queue `default`."""
    found = Search(
        name="small",
        objectives=(METRIC,),
        space=(UniformParameterRange(name="General/lr", min_value=0.0, max_value=1.0),),
        limits=Limits(num_concurrent_workers=2, total_max_jobs=4, pool_period_min=AT_ONCE),
        sampler=Named("RandomSampler"),
        pruner=Named("NopPruner"),
        seed=7,
        jobs=ClearmlTasks(base_task_id=base, execution_queue="default"),
        base_task_id=base,
        max_iteration_per_job=3,
    )
    return msgspec.structs.replace(found, **changes)


def base_task(server: ClearmlServer, **values: object) -> str:
    """A base task with parameters of its own beside the searched one, in two sections."""
    return server.make_task(
        "base",
        hyperparams={"General": {"lr": 0.1, "width": 8, **values}, "Args": {"data": "/sets/a"}},
        tags=["mine"],
    )


def falling(server: ClearmlServer, n: int = 3, end: str | None = "completed") -> Callable[[object], Script]:
    """What a job does: a falling curve above its lr."""

    def play(task: Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]]) -> Script:
        lr = float(task["hyperparams"]["General"]["lr"]["value"])
        return Script.curve(METRIC.title, METRIC.series, [lr + 1 / i for i in range(1, n + 1)], end=end)

    return play


def begin(path: Path, what: Search, **place: object) -> Search:
    """Make the log of *what*, the server asked as a new search asks it."""
    described, _ = OnClearml(**place).described(what)  # type: ignore[arg-type]
    create(path, SearchCreated(search_id="ab" * 16, search=described, policy=POLICY, fingerprint={}), 1)
    return described


def run(
    path: Path,
    place: OnClearml | None = None,
    make: type[Controller] = Controller,
    wrap: Callable[[ClearmlJobs], ClearmlJobs] = lambda jobs: jobs,
) -> State:
    """Drive the search at *path* to its rest, as a controller that was just started."""
    where = place or OnClearml()
    with opened(
        path,
        lambda state: wrap(where.open(path, state)),
        SystemClock(),
        MACHINE,
        before=where.before,
        make=make,
    ) as controller:
        controller.run()
        return controller.state
