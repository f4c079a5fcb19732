"""Real jobs on a machine whose wall clock is set: in the controller's process, in the runner's, in both.

A wall clock is the machine's, and no test may set it. What a set clock leaves is real
here: the controller's backend is handed clocks whose wall time is off, and where it was the
runner's, the times that it wrote, its own format kept, are as such a clock would have had them.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.controller.clock import SystemClock
from eventhpo.controller.controller import opened
from eventhpo.controller.host import this_machine
from eventhpo.core.fold.clocks import ClockReading, elapsed
from eventhpo.core.fold.events import JobStarted, Recorded
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import MINUTE
from eventhpo.jobs.local import watch
from eventhpo.jobs.local.host import read_clocks
from eventhpo.jobs.local.local_jobs import LocalBackend
from eventhpo.jobs.protocol import BoundJob, Ended
from eventhpo.log.create import create
from eventhpo.testing.searches import created, search
from tests.jobs.harness import FOREVER, Place, changed, kill, look
from tests.waiting import eventually

HOUR = 3600 * 1_000_000
STEPS = [HOUR, -HOUR]


def off_by(microseconds: int) -> Callable[[], ClockReading]:
    """Return this machine's clocks as they are once the wall clock was set by so much."""

    def clocks() -> ClockReading:
        now = read_clocks()
        return msgspec.structs.replace(now, wall=now.wall + microseconds)

    return clocks


def backend(place: Place, by: int) -> LocalBackend:
    """Return the backend of a controller whose wall clock is off."""
    return LocalBackend(
        place.command, str(place.folder), place.jobs_folder, grace=place.grace, start=place.start, clocks=off_by(by)
    )


def rewrite(file: Path, field: str, by: int) -> None:
    """Have *file* say a wall time as a clock had it that was off."""
    text, found = re.subn(rf'"{field}": (\d+)', lambda m: f'"{field}": {int(m[1]) + by}', file.read_text())
    assert found == 1, text
    file.write_text(text)


def without_boot_clock(file: Path) -> None:
    """Have *file* be one of an earlier version."""
    text, found = re.subn(r', "boot_clock": \d+', "", file.read_text())
    assert found == 1, text
    file.write_text(text)


def ran(ended: Ended) -> int:
    """Return the microseconds that a job ran."""
    assert ended.started_at is not None
    assert ended.finished_at is not None
    return elapsed(
        ClockReading(ended.started_at, ended.started_boot_clock),
        ClockReading(ended.finished_at, ended.finished_boot_clock),
    )


def test_the_runner_writes_both_clocks_of_the_start_and_of_the_end(place: Place) -> None:
    before = read_clocks()
    place.script("")
    job = place.started()
    place.ended(job)
    after = read_clocks()
    ticket, end = place.ticket(job), place.attempt(job).exit()
    assert end is not None
    moments = [before.boot, ticket.since_boot, end.since_boot, after.boot]
    assert {moment.boot for moment in moments if moment is not None} == {job.boot}
    assert [m.at for m in moments if m is not None] == sorted(m.at for m in moments if m is not None)
    assert len([m for m in moments if m is not None]) == 4


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("whose", ["before the start", "between start and end"])
def test_a_job_ran_as_long_as_it_ran_when_the_runners_clock_is_set(place: Place, whose: str, step: int) -> None:
    place.script("")
    before = read_clocks()
    job = place.started()
    eventually(lambda: place.attempt(job).exit() is not None, "exit.json")
    if whose == "before the start":
        rewrite(place.attempt(job).ticket_file, "at", step)
    rewrite(place.attempt(job).exit_file, "finished_at", step)
    assert 0 < ran(place.ended(job)) <= elapsed(before, read_clocks())


@pytest.mark.parametrize("step", STEPS)
def test_a_poll_tells_the_boot_clock_whatever_the_controllers_wall_clock_says(place: Place, step: int) -> None:
    place.script(FOREVER)
    job = changed(place.started(), started=False)
    polled = backend(place, step).poll([job], [])
    start = polled.seen[0].started  # type: ignore[union-attr]
    assert start is not None
    now = ClockReading(polled.clock, polled.boot_clock)  # type: ignore[union-attr]
    assert (
        0 <= elapsed(ClockReading(start.at, start.boot_clock), now) <= elapsed(place_start(place, job), read_clocks())
    )


def place_start(place: Place, job: BoundJob) -> ClockReading:
    ticket = place.ticket(job)
    return ClockReading(ticket.at, ticket.since_boot)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before its last sign", "behind its last sign"])
def test_a_lost_job_ran_until_its_last_sign_by_whichever_clock_that_was_written(
    place: Place, when: str, step: int
) -> None:
    """Set between start and loss: a file's time is as the clock was then, or as it is now."""
    place.script("from pathlib import Path\nPath('ready').write_text('yes')\n" + FOREVER)
    job = place.started()
    place.says("ready")
    folder, ticket = place.attempt(job), place.ticket(job)
    kill(ticket.pid, signal.SIGSTOP)
    kill(ticket.runner)
    kill(ticket.pid)
    eventually(lambda: look_is_lost(place, job), "the loss")
    if when == "before its last sign":
        for path in (folder.output, folder.ticket_file):
            set_time(path, step)
    ended = place.ended(job, backend(place, step))
    assert ended.how == "lost"
    assert 0 <= ran(ended) <= elapsed(place_start(place, job), read_clocks())


def look_is_lost(place: Place, job: BoundJob) -> bool:
    ended = look(place.backend(), job).ended
    return ended is not None and ended.how == "lost"


def set_time(path: Path, by: int) -> None:
    """Have *path* be written by a clock that was off."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + by * 1000))


@pytest.mark.parametrize("step", STEPS)
def test_the_grace_period_of_a_stop_lasts_as_long_as_it_says(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A runner that is frozen never sees a stop, which shows once the grace period is over, and not before."""
    monkeypatch.setattr(watch, "LATE", 600.0)
    place.script(FOREVER)
    job = place.started()
    kill(place.ticket(job).runner, signal.SIGSTOP)
    job = place.stop(job)
    assert look(backend(place, step), job).ended is None
    monkeypatch.setattr(watch, "LATE", 0.0)
    place_grace(place, job, 0.0)
    assert place.ended(job, backend(place, step)).why == "its runner did not act on the stop"


def place_grace(place: Place, job: BoundJob, seconds: float) -> None:
    file = place.attempt(job).ticket_file
    file.write_text(re.sub(r'"grace": [\d.]+', f'"grace": {seconds}', file.read_text()))


def test_a_stop_that_an_earlier_version_left_is_as_old_as_its_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LATE", 600.0)
    place.script(FOREVER)
    job = place.started()
    kill(place.ticket(job).runner, signal.SIGSTOP)
    place.attempt(job).stop_file.touch()
    job = changed(job, stopping=True)
    assert look(place.backend(), job).ended is None
    assert place.ended(job, backend(place, HOUR)).why == "its runner did not act on the stop"


def test_an_attempt_of_an_earlier_version_is_timed_by_its_wall_times(place: Place) -> None:
    place.script("")
    job = place.started()
    eventually(lambda: place.attempt(job).exit() is not None, "exit.json")
    without_boot_clock(place.attempt(job).ticket_file)
    rewrite(place.attempt(job).exit_file, "finished_at", HOUR)
    assert ran(place.ended(job)) > HOUR


# ---------------------------------------------------------------- a whole search


class SetClock(SystemClock):
    """The controller's clock, whose wall time is off once *off* says so; the third wait behind that lets jobs end."""

    def __init__(self, go: Path, step: int) -> None:
        super().__init__()
        self.go, self.step, self.off, self.waits = go, step, 0, 0

    def now(self) -> int:
        return super().now() + self.off

    def set(self, rows: Sequence[Recorded], state: State) -> None:
        if any(isinstance(row.event, JobStarted) for row in rows):
            self.off = self.step

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        super().wait(seconds, due, meanwhile)
        self.waits += self.off != 0
        if self.waits == 3:
            self.go.touch()


REPORTS_AND_WAITS = """
import select
from pathlib import Path
from eventhpo import job
while not Path("go").exists():
    select.select((), (), (), 0.01)
job.report_scalar("validation", "loss", 0.5, 1)
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_search_whose_clock_is_set_between_start_and_end_reaches_no_limit_that_it_has_not_reached(
    place: Place, step: int, tmp_path: Path
) -> None:
    place.script(REPORTS_AND_WAITS)
    path = tmp_path / "search.db"
    limits = {"time_limit_per_job": 20.0, "compute_time_limit": 40.0, "wall_time_limit": 30.0}
    create(path, created(search(total_max_jobs=1, **limits)), SystemClock().now())  # type: ignore[arg-type]
    clock = SetClock(place.folder / "go", step)

    def jobs_for(state: State) -> LocalBackend:
        return LocalBackend(
            place.command,
            str(place.folder),
            place.jobs_folder,
            clocks=lambda: msgspec.structs.replace(read_clocks(), wall=clock.now()),
        )

    with opened(path, jobs_for, clock, this_machine(), tell=clock.set) as controller:
        controller.run()
        state = controller.state
    assert clock.waits >= 3
    assert state.finished is not None
    assert (state.finished.reason, state.totals.trials["completed"]) == ("budget", 1)
    assert 0 < state.totals.compute < 20 * MINUTE
