"""A search on the test server, driven by a real controller through the real backend and the real SDK."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from eventhpo.controller.clock import Clock, SystemClock
from eventhpo.controller.controller import Controller, opened
from eventhpo.controller.host import Machine
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import Event, Recorded, SearchCreated, StopAsked
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import (
    POLICY,
    ClearmlTasks,
    ComponentConfig,
    Limits,
    Objective,
    Search,
    UniformParameterRange,
)
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.testing.simulated import START
from tests.clearml_server import ClearmlServer, Script

METRIC = Objective("validation", "loss", "min")
MACHINE = Machine("here", 1, "boot")
Kind = TypeVar("Kind", bound=Event)
AT_ONCE = 1e-5  # minutes between two polls: the server's jobs go on at each


def search(base: str, **changes: object) -> Search:
    """A small search of one parameter on the queue `default`."""
    found = Search(
        name="small",
        objectives=(METRIC,),
        space=(UniformParameterRange(name="General/lr", min_value=0.0, max_value=1.0),),
        limits=Limits(num_concurrent_workers=2, total_max_jobs=4, pool_period_min=AT_ONCE),
        sampler=ComponentConfig("RandomSampler"),
        pruner=ComponentConfig("NopPruner"),
        seed=7,
        jobs=ClearmlTasks(base_task_id=base, execution_queue="default"),
        base_task_id=base,
        max_iteration_per_job=3,
    )
    return msgspec.structs.replace(found, **changes)


def unhurried(base: str, workers: int = 2, **changes: Any) -> Search:
    """The same, polled as seldom as the backend has it: for a run whose hours pass at once.

    What is no field of `Search` is one of `Limits`.
    """
    limits = {name: changes.pop(name) for name in list(changes) if name in Limits.__struct_fields__}
    given = {"total_max_jobs": 4, "pool_period_min": 2.0, **limits}
    return search(base, limits=Limits(num_concurrent_workers=workers, **given), **changes)


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
    described, _ = ClearmlChoice(**place).described(what)  # type: ignore[arg-type]
    create(path, SearchCreated(search_id="ab" * 16, search=described, policy=POLICY, fingerprint={}), 1)
    return described


def run(
    path: Path,
    place: ClearmlChoice | None = None,
    make: type[Controller] = Controller,
    wrap: Callable[[ClearmlBackend], ClearmlBackend] = lambda jobs: jobs,
    clock: Clock | None = None,
    pid: int = 1,
) -> State:
    """Drive the search at *path* to its rest, as a controller that was just started."""
    where = place or ClearmlChoice()
    with opened(
        path,
        lambda state: wrap(where.open(path, state)),
        clock or SystemClock(),
        msgspec.structs.replace(MACHINE, pid=pid),
        before=where.before,
        make=make,
    ) as controller:
        if isinstance(clock, Hours):
            clock.controller = controller
        controller.run()
        return controller.state


class Hours:
    """The controller's clock and the server's, moved on by each wait, so that no wait takes any time.

    *then* is called at each wait with how many there were; more than *most* are one too many.
    """

    def __init__(
        self,
        server: ClearmlServer | None = None,
        then: Callable[[int], None] = lambda waits: None,
        most: int = 500,
    ) -> None:
        self.waits: list[float] = []  # seconds each
        self.controller: Controller | None = None
        self._server, self._then, self._most = server, then, most
        self._passed = 0.0

    def now(self) -> int:
        return START + round(self._passed * 1e6)

    def read(self) -> ClockReading:
        return ClockReading(self.now())

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        if meanwhile():
            return
        seconds = seconds if due is None else max(0.0, min(seconds, due / 1e6))
        self.waits.append(seconds)
        assert len(self.waits) <= self._most, "it waits without end"
        self._passed += seconds
        if self._server is not None:
            self._server.clock.advance(seconds)
        self._then(len(self.waits))

    def wake(self) -> None:
        """Nothing waits for real."""

    def stop(self, jobs: str = "leave") -> None:
        """End the run, as Ctrl-C does."""
        assert self.controller is not None
        self.controller.interrupt(StopAsked(scope="run", jobs=jobs))  # type: ignore[arg-type]


def rows(path: Path) -> list[Recorded]:
    """The rows of the log."""
    return read(path).rows


def of(path: Path, kind: type[Kind]) -> list[Kind]:
    """The events of that kind in the log."""
    return [row.event for row in rows(path) if isinstance(row.event, kind)]


def outcomes(state: State) -> list[tuple[str, str]]:
    """How each trial ended, and why."""
    return [(t.finished.state, t.finished.why) for t in state.trials if t.finished is not None]


def our_tasks(server: ClearmlServer) -> list[dict[str, Any]]:
    """The tasks of searches, oldest first."""
    return [t for t in server.state.tasks.values() if "optimization" in t["tags"]]


def launches(server: ClearmlServer) -> Counter[str]:
    """How often each task was put into a queue by us."""
    return Counter(r.body["task"] for r in server.requests.kept if r.endpoint == "tasks.enqueue")
