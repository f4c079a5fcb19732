"""The cells of the determinism matrix, each defined once: what is run, and what it must equal.

A row is a search with one of Optuna's samplers and pruners (`tests/optuna_adapter/samples.py`).
Its cells are {1, 4} jobs in flight x {never killed, killed at random} x {first run,
decided again in another process}. All are held against one log: that of the search as
it ran here, once, left alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from eventhpo.controller.controller import Controller
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import Event, JobPruned, MetricObserved, Recorded, TrialFinished, TrialSuggested
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import ComponentConfig, Num, to_num
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.testing.crashes import Crashes
from tests.crash.scenarios import Scenario
from tests.crash.test_crash_sweep import crashed, finish, parted
from tests.matrix.elsewhere import Elsewhere
from tests.optuna_adapter import samples

IN_FLIGHT = (1, 4)
KILLS = 3  # a search: the first in its second quarter, the others where the resumed controllers come to


class Cell(NamedTuple):
    """One way to come to a search's decisions."""

    in_flight: int
    killed: bool
    again: bool  # decided again, prefix by prefix, from the log of the first run

    def __str__(self) -> str:
        run = "decided again" if self.again else "first run"
        return f"{self.in_flight} in flight, {'killed' if self.killed else 'never killed'}, {run}"


CELLS = tuple(Cell(n, killed, again) for n in IN_FLIGHT for killed in (False, True) for again in (False, True))


class Found(msgspec.Struct, frozen=True):
    """What a cell came to: how many decisions were compared, and where the first one differs."""

    decisions: int
    parted: str | None = None


class Evidence(msgspec.Struct, frozen=True):
    """That a log proves something: its sampler is past its random phase, its pruner prunes."""

    suggested: int
    learned: int  # suggestions that would be others if all values had the other sign
    pruned: int


class Measured(msgspec.Struct, frozen=True):
    """All cells of one row, and for each number of jobs in flight what they prove."""

    cells: Mapping[Cell, Found]
    evidence: Mapping[int, Evidence]

    @property
    def red(self) -> set[Cell]:
        """The cells that are not bit-equal."""
        return {cell for cell, found in self.cells.items() if found.parted is not None}


def _of_pruner(name: str) -> Scenario:
    return samples.scenario(samples.RANDOM, samples.PRUNERS[name], seed=31, jobs=9, asks=samples.ABORT)


ROWS: Mapping[str, Callable[[], Scenario]] = {name: partial(samples.made, name) for name in samples.SAMPLERS} | {
    name: partial(_of_pruner, name) for name in samples.PRUNERS
}
GP = "gaussian process"  # the one row that needs torch; skipped without it
# Their suggestions repeat and are tried again: half as many jobs, a fifth of the time.
JOBS = {"sets, tpe, one by one": 6, "sets, a fixed value": 8}


def scenario(row: str, in_flight: int) -> Scenario:
    """Return the search of *row* with so many jobs at a time."""
    made = ROWS[row]()
    jobs = JOBS.get(row, made.search.limits.total_max_jobs)
    limits = msgspec.structs.replace(made.search.limits, num_concurrent_workers=in_flight, total_max_jobs=jobs)
    return msgspec.structs.replace(made, search=msgspec.structs.replace(made.search, limits=limits))


def names_in(named: ComponentConfig) -> Iterator[str]:
    """Yield the classes of *named* and of all that it wraps."""
    yield named.name
    for value in named.args.values():
        if isinstance(value, dict) and "name" in value:
            yield from names_in(ComponentConfig(value["name"], {k: v for k, v in value.items() if k != "name"}))


# ---------------------------------------------------------------- one row


def measure(row: str, folder: Path, elsewhere: Elsewhere, make: type[Controller] = Controller) -> Measured:
    """Come to all cells of *row*; controllers are of class *make*, and are decided again by the real one."""
    cells: dict[Cell, Found] = {}
    evidence: dict[int, Evidence] = {}
    for n in IN_FLIGHT:
        what, part = scenario(row, n), folder / str(n)
        part.mkdir()
        logs = {killed: part / ("killed.db" if killed else "alone.db") for killed in (False, True)}
        crashes = Crashes()
        finish(logs[False], what, crashes, make)
        _killed(logs[True], what, crashes.passed, random.Random(f"{row} {n}"), make)
        once_more = part / "elsewhere.db"
        elsewhere.run(row, n, once_more, make)
        rows = list(read(logs[False], verify=True).rows)
        decisions = sum(isinstance(r.event, Decision) for r in rows)
        cells[Cell(n, False, False)] = Found(decisions, parted(logs[False], once_more))
        cells[Cell(n, True, False)] = Found(decisions, parted(logs[False], logs[True]))
        for killed, log in logs.items():
            cells[Cell(n, killed, True)] = Found(*elsewhere.decide(log))
        evidence[n] = _evidence(rows)
    return Measured(cells, evidence)


def _killed(path: Path, what: Scenario, points: int, chance: random.Random, make: type[Controller]) -> None:
    """Run the search of *what* to its end, with controllers that die at random points on the way."""
    kills = int(crashed(path, what, chance.randint(points // 4, points // 2), make))
    for _ in range(KILLS - 1):
        kills += crashed(path, what, chance.randint(1, points // 3), make)
    assert kills >= KILLS - 1
    finish(path, what, make=make)


# ---------------------------------------------------------------- what a log proves


def _evidence(rows: Sequence[Recorded]) -> Evidence:
    asked = [r.event for r in rows if isinstance(r.event, TrialSuggested) and r.event.source == "sampler"]
    pruned = sum(isinstance(r.event, JobPruned) for r in rows)
    return Evidence(len(asked), sum(_learned(rows)), pruned)


def _learned(rows: Sequence[Recorded]) -> Iterator[bool]:
    """Yield for each of the sampler's suggestions whether it would be another if all values had the other sign."""
    asker: OptunaAdapter | None = None
    for state, question, row in samples.questions([msgspec.structs.replace(r, event=_mirrored(r.event)) for r in rows]):
        if isinstance(question, actions.Suggest) and isinstance(row.event, TrialSuggested):
            asker = asker or OptunaAdapter(state)
            if row.event.source == "sampler":
                (event,) = asker.answer(question)
                assert isinstance(event, TrialSuggested)
                yield event.params != row.event.params


def _mirrored(event: Event) -> Event:
    match event:
        case MetricObserved(values=values) | TrialFinished(values=tuple(values)):
            return msgspec.structs.replace(event, values=tuple(map(_other_sign, values)))
    return event


def _other_sign(value: Num) -> Num:
    return to_num(-float(value))
