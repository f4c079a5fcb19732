"""A controller that is killed at any point and started again comes to the log of one that was left alone."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventhpo.controller.controller import Controller
from eventhpo.core.fold.events import Event, JobPruned, JobsContinued
from eventhpo.core.fold.evolve import evolve
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import Search
from eventhpo.log.reader import read
from eventhpo.testing.crashes import CRASHED, Crashes
from eventhpo.testing.searches import simulate
from replay.decide.check_prefixes import check_prefixes
from tests.core.random_searches import cuts, scripts, searches, steps
from tests.crash.normal import deeds, difference, normal_log
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.memory import MEMORY


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def finish(
    path: Path, scenario: Scenario, crashes: Crashes | None = None, make: type[Controller] = Controller
) -> State:
    """Start controllers on the log until the search is over."""
    for _ in range(9):
        state = simulate(
            path,
            scenario.search,
            scenario.scripts,
            cut=scenario.cut,
            inputs=scenario.inputs,
            asks=scenario.asks,
            crashes=crashes,
            make=make,
            set_by=scenario.set_by,
        )
        if state.finished is not None:
            return state
    raise AssertionError("the search does not end")


def crashed(path: Path, scenario: Scenario, at: int, make: type[Controller] = Controller) -> bool:
    """Run a controller in a child that ends at its *at*-th point; whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            finish(path, scenario, Crashes(at), make)
        except BaseException:  # noqa: BLE001 - a child must not return into pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, CRASHED), f"the child ended with {status}"
    return status == CRASHED


def left_alone(folder: Path, scenario: Scenario, make: type[Controller] = Controller) -> tuple[Path, int]:
    """Return the log of a search that nobody disturbed, and how many points it passed."""
    path = folder / "alone.db"
    crashes = Crashes()
    finish(path, scenario, crashes, make)
    return path, crashes.passed


def parted(alone: Path, path: Path) -> str | None:
    """Return where two searches differ, in their logs or in what they did to the world."""
    logs = difference(normal_log(alone), normal_log(path))
    if logs is not None:
        return logs
    mine, other = deeds(alone), deeds(path)
    return None if mine == other else f"ledgers: {mine} and {other}"


def sweep(folder: Path, scenario: Scenario, make: type[Controller] = Controller) -> Iterator[tuple[int, str]]:
    """Crash at each point and yield those after which the search differs, and how."""
    alone, points = left_alone(folder, scenario, make)
    for at in range(1, points + 1):
        part = folder / str(at)
        part.mkdir()
        path = part / "search.db"
        assert crashed(path, scenario, at, make)
        if path.exists():
            found = None
            try:
                finish(path, scenario, make=make)
                found = parted(alone, path)
            except Exception as error:
                if make is Controller:
                    raise
                found = repr(error)
            if found is not None:
                yield at, found
        shutil.rmtree(part)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_search_killed_at_any_point_ends_as_if_it_had_been_left_alone(name: str, folder: Path) -> None:
    assert list(sweep(folder, SCENARIOS[name]())) == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_and_three_kills_in_a_row_change_nothing(name: str, folder: Path) -> None:
    scenario = SCENARIOS[name]()
    alone, points = left_alone(folder, scenario)
    chance = random.Random(name)
    for turn in range(8):
        path = folder / f"{turn}.db"
        for _ in range(2 + turn % 2):
            crashed(path, scenario, chance.randint(1, max(2, points // 2)))
        finish(path, scenario)
        assert parted(alone, path) is None


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_of_these_logs_is_decided_again_alike(name: str, folder: Path) -> None:
    scenario = SCENARIOS[name]()
    alone, points = left_alone(folder, scenario)
    torn = folder / "torn.db"
    for at in (points // 3, points // 2):
        crashed(torn, scenario, max(1, at))
    finish(torn, scenario)
    for path in (alone, torn):
        checks = list(check_prefixes(read(path, verify=True).rows))
        assert [c.divergence for c in checks if c.divergence] == []
        assert any(c.decision for c in checks)


# ---------------------------------------------------------------- controls: the sweep must see these


class EffectsFirst(Controller):
    """Performs an effect before its intent is committed."""

    def _perform(self, action: actions.Effect) -> None:
        commit, self.commit = self.commit, lambda: None  # type: ignore[method-assign]
        try:
            super()._perform(action)
        finally:
            self.commit = commit  # type: ignore[method-assign]


class Drained(Controller):
    """Takes a stage's jobs as a list and works it off between polls, from memory and not from the state."""

    def _perform(self, action: actions.Effect) -> None:
        first, self.rest = action.attempts[:1], list(action.attempts[1:])
        super()._perform(type(action)(first))

    def _look(self, action: actions.Poll | actions.Wait) -> None:
        super()._look(action)

    def run(self) -> actions.Rest:
        self.rest: list[tuple[int, int]] = []
        return super().run()

    def do(self, action: actions.Action) -> None:
        if isinstance(action, actions.Draft | actions.Launch) and self.rest:
            watched = actions.Poll(tuple(n for n in _bound(self.state)))
            if watched.attempts:
                self.rest = []
                super().do(watched)
                return
        super().do(action)


def _bound(state: State) -> list[tuple[int, int]]:
    return [(a.trial, a.number) for t in state.active.values() for a in t.attempts if a.watched]


class RungsLost(Controller):
    """Keeps what a pruner wrote in memory and leaves it out of the log."""

    def record(self, event: Event, cause: int | None) -> None:
        row = self._log.record(_bare(event), cause, self._clock.now())
        self.state = evolve(self.state, msgspec.structs.replace(row, event=event))
        self._untold.append(row)


def _bare(event: Event) -> Event:
    if isinstance(event, JobPruned):
        return msgspec.structs.replace(event, attrs=())
    if isinstance(event, JobsContinued):
        verdicts = tuple(msgspec.structs.replace(v, attrs=()) for v in event.verdicts)
        return msgspec.structs.replace(event, verdicts=verdicts)
    return event


@pytest.mark.parametrize("control", [EffectsFirst, Drained, RungsLost])
def test_the_sweep_sees_a_controller_that_is_wrong(control: type[Controller], folder: Path) -> None:
    scenario = SCENARIOS["rungs, limit and late points"]()
    assert next(sweep(folder, scenario, control), None) is not None


# ---------------------------------------------------------------- searches drawn at random


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(searches(), st.integers(0, 2**16), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_a_search_drawn_at_random_and_killed_at_random_ends_as_if_it_had_been_left_alone(
    what: Search, seed: int, moments: list[float]
) -> None:
    scenario = Scenario(what, scripts(seed), cuts(seed), set_by=steps(seed))
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        alone, points = left_alone(Path(name), scenario)
        path = Path(name) / "killed.db"
        for moment in moments:
            crashed(path, scenario, 1 + int(moment * points))
        finish(path, scenario)
        assert parted(alone, path) is None
        assert [c.divergence for c in check_prefixes(read(path).rows) if c.divergence] == []
