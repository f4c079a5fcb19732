"""Controllers on simulated jobs whose backend, clock or requests a test makes itself, and ones that are interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eventhpo.controller.controller import Controller, Tell, opened, tell_nobody
from eventhpo.controller.host import Machine
from eventhpo.core.fold.events import Event, StopAsked
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import Search
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.testing.searches import ScriptedRequests, created
from eventhpo.testing.simulated import START, Scripts, SimulatedClock, SimulatedJobs
from tests.core.rules import Log

BackendMaker = Callable[[Path, Scripts, SimulatedClock, State], SimulatedJobs]


def plain_backend(ledger: Path, scripts: Scripts, clock: SimulatedClock, state: State) -> SimulatedJobs:
    return SimulatedJobs(ledger, scripts, clock)


def controlled(
    path: Path,
    what: Search,
    scripts: Scripts,
    *,
    backend: BackendMaker = plain_backend,
    clock: SimulatedClock | None = None,
    requests: ScriptedRequests | None = None,
    make: type[Controller] = Controller,
    tell: Tell = tell_nobody,
) -> Log:
    """Return the log of a search, made or carried on at *path*, run to its rest."""
    if not path.exists():
        create(path, created(what), START)
    time = clock or SimulatedClock()
    asked = requests or ScriptedRequests(())

    def jobs_for(state: State) -> SimulatedJobs:
        time.attach(state)
        asked.attach(state)
        return backend(path.with_suffix(".ledger"), scripts, time, state)

    machine = Machine("simulated", 1, "boot")
    with opened(path, jobs_for, time, machine, requests=asked, make=make, tell=tell) as controller:
        controller.run()
    return Log(read(path, verify=True).rows)


class Interrupted(Controller):
    """Is interrupted, from within, in the step that records row `at` of its log."""

    at = 0
    how: StopAsked

    def record(self, event: Event, cause: int | None) -> None:
        super().record(event, cause)
        if self.state.head.seq == self.at:
            self.interrupt(self.how)


def interrupted_at(row: int, how: StopAsked) -> type[Controller]:
    """Return a controller that is interrupted at *row*."""
    return type("InterruptedAt", (Interrupted,), {"at": row, "how": how})


def left_at_each(folder: Path, rows: Sequence[int], how: StopAsked, what: Search, scripts: Scripts) -> list[Log]:
    """Return the logs of a search whose run was ended at one row each, and then carried on to its end."""
    found = []
    for row in rows:
        path = folder / f"{row}.db"
        log = controlled(path, what, scripts, make=interrupted_at(row, how))
        while log.state.finished is None:
            log = controlled(path, what, scripts)
        found.append(log)
    return found
