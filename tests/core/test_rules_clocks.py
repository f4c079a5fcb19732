"""The machine's wall clock is set while a search runs: no duration follows it; a boot's own clock counts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold import budget
from eventhpo.core.fold.clocks import BootClock, ClockReading, Course, elapsed
from eventhpo.core.fold.events import BudgetUpdated, ClockTicked, ControllerStarted, EffectFailed, Event, JobStarted
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import MINUTE, Search
from eventhpo.log.reader import read
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import SECOND, SetBy
from tests.core.rules import Hand, Log, ended, line, observed
from tests.crash.scenarios import SCENARIOS, back_and_forth

HOUR = 60.0  # minutes


def at(wall: int, boot: int | None = None, which: str = "one") -> ClockReading:
    return ClockReading(wall, None if boot is None else BootClock(which, boot))


# ---------------------------------------------------------------- how much time passed


@pytest.mark.parametrize("wall", [0, 5, 3600, -3600])
def test_within_one_boot_only_the_boot_clock_counts(wall: int) -> None:
    assert elapsed(at(100, 40), at(100 + wall, 47)) == 7


def test_between_boots_wall_time_counts_and_is_never_negative() -> None:
    assert elapsed(at(100, 40), at(160, 3, "two")) == 60
    assert elapsed(at(100, 40), at(90, 3, "two")) == 0
    assert elapsed(at(100), at(90, 3)) == 0


def test_without_a_boot_clock_wall_time_counts_as_it_always_did() -> None:
    assert elapsed(at(100), at(160)) == 60
    assert elapsed(at(100), at(90)) == -10
    course = Course().after(at(100)).after(at(160)).after(at(90))
    assert (course.time, course.time_of(at(95))) == (90, 95)


def test_our_time_keeps_what_passed_before_a_reboot_and_goes_on_by_the_new_boots_clock() -> None:
    course = Course().after(at(1000, 10)).after(at(5000, 30))  # 20 passed, and the clock was set forward
    assert course.time == 1020
    course = course.after(at(5007, 2, "two"))  # 7 between the boots
    assert course.time == 1027
    assert course.time_of(at(9, 5, "two")) == 1030
    assert course.wall_of(1030) == 5010


# ---------------------------------------------------------------- rules, with a hand on both clocks


class Machine(Hand):
    """A search on one machine, whose wall clock a test sets at will."""

    def __init__(self, what: Search, *inputs: Event) -> None:
        self.boot, self.off = "one", 0
        self.since = 5 * 3600 * SECOND  # of the boot
        self.wall_at_boot = 1_700_000_000 * SECOND
        super().__init__(what, *inputs)

    def reading(self) -> ClockReading:
        return ClockReading(self.wall_at_boot + self.since + self.off, BootClock(self.boot, self.since))

    def set_by(self, minutes: float) -> None:
        """Set the wall clock."""
        self.off += round(minutes * MINUTE)

    def passes(self, minutes: float) -> None:
        """Let time pass."""
        self.since += round(minutes * MINUTE)

    def reboot(self, minutes: float) -> None:
        """Restart the machine, which takes so long."""
        self.wall_at_boot += self.since + round(minutes * MINUTE)
        self.since, self.boot = 0, self.boot + "+"

    def start(self) -> None:
        now = self.reading()
        event = ControllerStarted(
            host="here", pid=1, boot=self.boot, clock=now.wall, fingerprint={}, boot_clock=now.boot
        )
        self._fold(self._row(event, None, (self.rows[-1].epoch if self.rows else 0) + 1))

    def tick(self) -> Event:
        now = self.reading()
        return ClockTicked(clock=now.wall, jobs_clock=now.wall, boot_clock=now.boot, jobs_boot_clock=now.boot)

    def _receipt(self, effect: str, trial: int, attempt: int) -> Event:
        if effect == "launch" and ("launch", trial, attempt) not in self.answers:
            return self.begun(trial, attempt)
        return super()._receipt(effect, trial, attempt)

    def begun(self, trial: int, attempt: int = 0) -> Event:
        now = self.reading()
        return JobStarted(trial=trial, attempt=attempt, started_at=now.wall, started_boot_clock=now.boot)

    def over(self, trial: int, how: str = "completed") -> Event:
        now = self.reading()
        return msgspec.structs.replace(
            ended(trial, how=how, finished_at=now.wall),  # type: ignore[type-var]
            finished_boot_clock=now.boot,
        )

    def failed_poll(self) -> Event:
        now = self.reading()
        return EffectFailed(effect="poll", count=1, error="gone", clock=now.wall, boot_clock=now.boot)


STEPS = [HOUR, -HOUR, 24 * 365 * HOUR, -24 * 365 * HOUR]


@pytest.mark.parametrize("step", STEPS)
def test_a_jobs_time_limit_is_reached_when_it_has_run_that_long(step: float) -> None:
    machine = Machine(search(time_limit_per_job=10.0))
    machine.set_by(step)
    machine.passes(9.9)
    assert machine.poll(machine.tick()) == []
    machine.set_by(-2 * step)
    machine.passes(0.1)
    assert machine.poll(machine.tick()) == ["Stop 0.0"]
    machine.log()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before the start", "while it runs", "after the end"])
def test_compute_time_is_what_the_job_ran_whenever_the_clock_is_set(when: str, step: float) -> None:
    machine = Machine(search(max_iteration_per_job=4, compute_time_limit=30.0))
    if when == "before the start":
        machine.set_by(step)
    machine.poll(observed(0, 0, line(0.5)), machine.over(0))
    machine.passes(1.0)
    if when == "while it runs":
        machine.set_by(step)
    machine.passes(1.0)
    over = machine.over(1)
    if when == "after the end":
        machine.set_by(step)
    machine.poll(observed(1, 0, line(0.5)), over)
    assert machine.log().of(BudgetUpdated, 1)[0].compute_time == 2 * MINUTE
    assert budget.compute_used(machine.state) == 2 * MINUTE
    assert machine.state.ending is None


@pytest.mark.parametrize("step", STEPS)
def test_the_compute_limit_adds_up_what_jobs_ran(step: float) -> None:
    machine = Machine(search(num_concurrent_workers=2, compute_time_limit=4.0))
    machine.passes(1.0)
    machine.set_by(step)
    assert machine.poll(machine.tick()) == []
    machine.passes(0.9)
    assert machine.poll(machine.tick()) == []
    machine.passes(0.1)
    assert machine.poll(machine.tick()) == ["SearchEnding compute_time_limit", "Stop 0.0 1.0"]
    machine.log()


@pytest.mark.parametrize("step", STEPS)
def test_the_wall_time_limit_is_time_that_passed(step: float) -> None:
    machine = Machine(search(wall_time_limit=10.0))
    machine.set_by(step)
    machine.passes(4.0)
    assert machine.poll(machine.tick()) == []
    machine.set_by(step)
    machine.passes(5.0)  # nobody is at work
    machine.start()
    assert machine.carry_on() == []
    machine.passes(1.0)
    assert machine.poll(machine.tick()) == ["SearchEnding wall_time_limit", "Stop 0.0"]
    assert budget.wall_used(machine.state) == 10 * MINUTE
    machine.log()


def test_wall_time_keeps_what_passed_before_a_reboot() -> None:
    machine = Machine(search(wall_time_limit=10.0))
    machine.set_by(HOUR)
    machine.passes(4.0)
    machine.poll(machine.tick())
    machine.reboot(5.0)
    machine.start()
    machine.poll(machine.over(0, "lost"), machine.tick())
    assert budget.wall_used(machine.state) == 9 * MINUTE
    machine.set_by(-3 * HOUR)
    machine.passes(1.0)
    assert machine.poll(machine.tick())[0] == "SearchEnding wall_time_limit"


def test_a_clock_that_is_set_back_over_a_reboot_makes_no_time_pass_and_holds_nothing_up() -> None:
    machine = Machine(search(wall_time_limit=60.0))
    machine.passes(4.0)
    machine.poll(machine.failed_poll(), machine.tick())
    machine.set_by(-24 * HOUR)  # the machine has no clock that a battery keeps
    machine.reboot(1.0)
    machine.start()
    assert isinstance(machine.action(), actions.Wait)
    machine.passes(1 / 60)
    machine.poll(machine.tick())
    assert isinstance(machine.action(), actions.Poll)
    assert budget.wall_used(machine.state) == 4 * MINUTE + SECOND


@pytest.mark.parametrize("step", STEPS)
def test_a_back_off_lasts_as_long_as_it_says(step: float) -> None:
    machine = Machine(search())
    machine.poll(machine.failed_poll())
    machine.set_by(step)
    machine.passes(0.9 / 60)
    machine.poll(machine.tick())
    assert isinstance(machine.action(), actions.Wait)
    machine.passes(0.1 / 60)
    machine.poll(machine.tick())
    assert isinstance(machine.action(), actions.Poll)


def test_an_attempt_that_an_earlier_version_started_is_timed_by_wall_time() -> None:
    machine = Machine(search(time_limit_per_job=10.0))
    machine.poll(observed(0, 0, line(0.5)), machine.over(0), then=False)
    now = machine.reading()
    machine.answers["launch", 1, 0] = JobStarted(trial=1, attempt=0, started_at=now.wall)
    machine.carry_on()
    machine.passes(1.0)
    machine.set_by(9.0)
    assert machine.poll(machine.tick()) == ["Stop 1.0"]


# ---------------------------------------------------------------- whole searches whose clock is set


def still(steps: int) -> int:
    return 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_search_decides_alike_however_the_wall_clock_is_set(name: str, tmp_path: Path) -> None:
    def decided(path: Path, set_by: SetBy) -> list[Event]:
        return [_without_walls(row.event) for row in logged(path, name, set_by).rows]

    assert decided(tmp_path / "set.db", back_and_forth) == decided(tmp_path / "still.db", still)


def logged(path: Path, name: str, set_by: SetBy) -> Log:
    found = SCENARIOS[name]()
    simulate(path, found.search, found.scripts, cut=found.cut, inputs=found.inputs, asks=found.asks, set_by=set_by)
    return Log(read(path, verify=True).rows)


def _without_walls(event: Event) -> Event:
    """Return *event* without what people read of its time, and without its key, which names rows by their hash."""
    changes = {name: 0 for name in ("clock", "jobs_clock", "started_at", "finished_at") if hasattr(event, name)}
    changes |= {"key": ""} if hasattr(event, "key") else {}
    return msgspec.structs.replace(event, **changes)
