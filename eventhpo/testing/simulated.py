"""Jobs and a clock that are functions of the log, for whole searches in a test.

All that was done to the jobs is in a ledger, a file, so that it outlives a controller
that is killed. What a job reports is a script: a function of its trial, attempt and
parameters.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.clocks import BootClock, ClockReading
from eventhpo.core.fold.event_parts import BadLine, OtherSeries
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import Objective, Scalar, to_num
from eventhpo.jobs import protocol
from eventhpo.jobs.protocol import (
    Bound,
    BoundJob,
    CurveUpdate,
    DraftRequest,
    Ended,
    JobUpdate,
    PollResult,
    Queued,
    Refused,
    Started,
    Stopping,
)

SECOND = 1_000_000
START = 1_800_000_000 * SECOND  # where simulated time begins


How: TypeAlias = Literal["completed", "failed", "lost", "stopped"]
SetBy: TypeAlias = Callable[[int], int]  # by steps of the log: microseconds by which the wall clock was set


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt does.

    `points` are (iteration, value) of the first objective, or (iteration, value,
    index of the objective). It ends by itself after its last point, as `how` says,
    unless it `hangs`; told to stop, it still reports `overrun` points.
    """

    points: tuple[tuple[int, float] | tuple[int, float, int], ...] = ()
    how: How = "completed"
    hangs: bool = False
    ends_apart: bool = False  # its end comes one poll after its last point
    overrun: int = 0
    deaf: int = 0  # how many stops it goes on after, as a task does that an agent starts in that moment
    queued: bool = False  # a queue has it first; its start is seen by the next poll
    resumes_from: int | None = None
    refusals: dict[str, int] = {}  # how often an effect fails before it works
    in_doubt: bool = False  # a refused effect took place all the same
    launch_fails_at: int | None = None  # cannot be launched for good after so many refusals
    returns: tuple[tuple[int, float], ...] = ()  # lost, it comes back and reports these
    others: tuple[str, ...] = ()  # series other than the objective, reported with each point
    bad_at: tuple[int, ...] = ()  # positions after which a line cannot be read


Scripts: TypeAlias = Callable[[int, int, dict[str, Scalar]], Script]  # of trial, attempt, parameters
CutPoint: TypeAlias = Callable[[int, int, int], int]  # of trial, attempt, cursor: points in the next poll


class Deed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the ledger: something that was done to a job."""

    what: Literal["draft", "launch", "stop", "cancel"]
    key: str
    trial: int
    attempt: int
    job_id: str = ""
    cursor: int = 0


class Ledger:
    """What was done, in order, in a file that outlives every process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0  # bytes of the file that were read
        self._deeds: list[Deed] = []
        self._drafts = 0
        self._of_job: defaultdict[str, list[Deed]] = defaultdict(list)
        self._of_key: defaultdict[str, list[Deed]] = defaultdict(list)

    def add(self, deed: Deed) -> None:
        """Append *deed*."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(fd, msgspec.json.encode(deed) + b"\n")
        finally:
            os.close(fd)

    def deeds(self) -> Sequence[Deed]:
        """Return all deeds so far."""
        self._read()
        return self._deeds

    def deeds_of(self, job_id: str) -> Sequence[Deed]:
        """Return all that was done to a job so far."""
        self._read()
        return self._of_job.get(job_id, ())

    def drafts(self) -> int:
        """Return how many jobs were drafted so far."""
        self._read()
        return self._drafts

    def find(self, what: str, *, key: str | None = None, job_id: str | None = None) -> Deed | None:
        """Return the first such deed, None if there is none."""
        self._read()
        if job_id is not None:
            deeds: Sequence[Deed] = self._of_job.get(job_id, ())
        else:
            deeds = self._deeds if key is None else self._of_key.get(key, ())
        return next((deed for deed in deeds if deed.what == what and key in (None, deed.key)), None)

    def _read(self) -> None:
        """Read what was appended since the last call, by this process or another."""
        if not self._path.exists() or self._path.stat().st_size == self._size:
            return
        with self._path.open("rb") as file:
            file.seek(self._size)
            appended = file.read()
        self._size += len(appended)
        for line in appended.splitlines():
            deed = msgspec.json.decode(line, type=Deed)
            self._deeds.append(deed)
            self._drafts += deed.what == "draft"
            self._of_job[deed.job_id].append(deed)
            self._of_key[deed.key].append(deed)


class SimulatedClock:
    """Time as a function of the log: a second for each row, starts of controllers aside.

    Where nothing happens any more it moves on to what is due next. With *set_by* the
    machine has a boot clock too, and its wall clock shows, once the log has so many
    steps, so many microseconds more than it would if nobody had set it.
    """

    def __init__(self, set_by: SetBy | None = None) -> None:
        self._set_by = set_by
        self._state: State | None = None
        self._steps = -1
        self._waits = 0
        self._skipped = 0
        self._newest: ClockReading | None = None
        self._base = 0, 0  # the newest reading of the boot clock in the log, and the steps to there

    def attach(self, state: State) -> None:
        """Follow the log of *state*."""
        self._state = state

    def follow(self, rows: Sequence[Recorded]) -> None:
        """Go on from where the log with these *rows* has its boot clock."""
        state: State | None = None
        for row in rows:
            state = fold([row], state)
            self.attach(state)
            self.now()

    def now(self) -> int:
        """Return the time."""
        since = self._since_boot()
        return START + since + (self._set_by(self._steps) if self._set_by is not None else 0)

    def read(self) -> ClockReading:
        """Return the time, and the boot clock if there is one."""
        return ClockReading(self.now(), None if self._set_by is None else BootClock("boot", self._since_boot()))

    def _since_boot(self) -> int:
        steps = 0 if self._state is None else self._state.steps
        if steps != self._steps:
            self._steps, self._waits, self._skipped = steps, 0, 0
        newest = None if self._state is None else self._state.course.newest
        if newest is not None and newest.boot is not None and newest is not self._newest:
            self._newest, self._base = newest, (newest.boot.at, steps)
        at, since = self._base
        return at + (steps - since) * SECOND + self._skipped

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        """Move on by *due* if this is the second wait in a row in which nothing happened.

        Raises:
            RuntimeError: nothing will ever happen.
        """
        self.now()
        self._waits += 1
        if meanwhile() or self._waits == 1:
            return
        if due is None:
            raise RuntimeError("the simulated jobs do nothing any more, and nothing is due")
        self._skipped += max(0, due)

    def wake(self) -> None:
        """Nothing waits for real."""


class SimulatedJobs:
    """A backend whose jobs exist only in a ledger and a script."""

    shortest_wait = 0.01
    longest_wait = 1.0

    def __init__(
        self,
        ledger: Path,
        scripts: Scripts,
        clock: SimulatedClock,
        *,
        cut: CutPoint = lambda trial, attempt, cursor: 2,
        point: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.ledger = Ledger(ledger)
        self._scripts = scripts
        self._clock = clock
        self._cut = cut
        self._point = point  # called before and after each call's effect on one job

    def draft(self, drafts: Sequence[DraftRequest]) -> list[protocol.DraftOutcome]:
        """Create each job, or adopt the one with its key if it is to be looked for."""
        return [self._guarded("draft", item, self._draft) for item in drafts]

    def launch(self, jobs: Sequence[BoundJob]) -> list[protocol.LaunchOutcome]:
        """Start each job, once, and none that was stopped or cancelled before."""
        return [self._guarded("launch", item, self._launch) for item in jobs]

    def stop(self, jobs: Sequence[BoundJob]) -> list[protocol.StopOutcome]:
        """Stop each job; its end is read by a poll, unless it never started."""
        return [self._guarded("stop", item, self._stop) for item in jobs]

    def cancel(self, drafts: Sequence[DraftRequest]) -> list[protocol.CancelOutcome]:
        """Remove what the intents created."""
        return [self._guarded("cancel", item, self._cancel) for item in drafts]

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult:
        """Return the next points of each job after its cursor."""
        self._point("before poll")
        seen = [self._seen(job, objectives) for job in jobs]
        self._point("after poll")
        now = self._clock.read()
        return PollResult(clock=now.wall, seen=tuple(s for s in seen if s is not None), boot_clock=now.boot)

    def close(self) -> None:
        """Nothing is held."""

    # ------------------------------------------------------------ effects

    def _guarded(self, what: Literal["draft", "launch", "stop", "cancel"], item, effect):  # type: ignore[no-untyped-def]
        script = self._scripts(item.trial, item.attempt, item.params)
        refused = item.failures < script.refusals.get(what, 0)
        self._point(f"before {what}")
        outcome = effect(item, script) if not refused or script.in_doubt else None
        self._point(f"after {what}")
        if what == "launch" and script.launch_fails_at is not None and item.failures >= script.launch_fails_at:
            return Ended(how="launch_failed", why="it cannot be started")
        return Refused(error=f"{what} refused by the script", in_doubt=script.in_doubt) if refused else outcome

    def _draft(self, item: DraftRequest, script: Script) -> protocol.DraftOutcome:
        draft = self.ledger.find("draft", key=item.key) if item.look else None
        if draft is not None:
            return Bound(job_id=draft.job_id, adopted=True)
        job_id = f"sim-{self.ledger.drafts()}"
        self._do("draft", item, job_id)
        return Bound(job_id=job_id)

    def _launch(self, item: BoundJob, script: Script) -> protocol.LaunchOutcome:
        if self.ledger.find("launch", job_id=item.job_id) is None:
            if any(self.ledger.find(what, job_id=item.job_id) for what in ("stop", "cancel")):
                return Ended(how="cancelled")
            self._do("launch", item, item.job_id)
        return Queued() if script.queued else self._started()

    def _stop(self, item: BoundJob, script: Script) -> protocol.StopOutcome:
        if item.stops < script.deaf and self.ledger.find("launch", job_id=item.job_id) is not None:
            return Stopping()
        stops = [d for d in self.ledger.deeds_of(item.job_id) if d.what == "stop"]
        if not stops and self._is_over(item, script):
            return Stopping(over=True)
        if not stops or (item.lost and stops[-1].cursor != item.cursor):
            self._do("stop", item, item.job_id, item.cursor)
        if self.ledger.find("launch", job_id=item.job_id) is None:
            return Ended(how="cancelled")
        return Stopping()

    def _is_over(self, item: BoundJob, script: Script) -> bool:
        """Whether it has ended by itself, and only its end is left to be told."""
        launched = self.ledger.find("launch", job_id=item.job_id) is not None
        ends = not script.hangs and script.how in ("completed", "failed") and bool(script.points)
        return launched and ends and not item.lost and item.cursor == len(script.points)

    def _cancel(self, item: DraftRequest, script: Script) -> protocol.CancelOutcome:
        draft = self.ledger.find("draft", key=item.key)
        if draft is not None:
            self._do("cancel", item, draft.job_id)
        return Ended(how="cancelled")

    def _do(
        self,
        what: Literal["draft", "launch", "stop", "cancel"],
        item: DraftRequest | BoundJob,
        job_id: str,
        cursor: int = 0,
    ) -> None:
        self.ledger.add(Deed(what, item.key, item.trial, item.attempt, job_id, cursor))

    # ------------------------------------------------------------ polls

    def _seen(self, job: BoundJob, objectives: Sequence[Objective]) -> JobUpdate | None:
        if self.ledger.find("launch", job_id=job.job_id) is None:
            return None
        script = self._scripts(job.trial, job.attempt, job.params)
        if job.failures < script.refusals.get("poll", 0) and job.cursor:
            refused = Refused(error="poll refused by the script")
            return JobUpdate(trial=job.trial, attempt=job.attempt, to=job.cursor, refused=refused)
        if job.lost:
            return self._seen_lost(job, script, objectives)
        stop = self.ledger.find("stop", job_id=job.job_id)
        last = len(script.points) if stop is None else min(len(script.points), stop.cursor + script.overrun)
        to = min(last, job.cursor + max(1, self._cut(job.trial, job.attempt, job.cursor)))
        at_end = to == last and (to == job.cursor or not script.ends_apart)
        ended = self._end(script, natural=last == len(script.points), stopped=stop is not None) if at_end else None
        if to == job.cursor and ended is None and job.started and not job.stops:
            return None
        return JobUpdate(
            trial=job.trial,
            attempt=job.attempt,
            to=to,
            started=None if job.started else self._started(),
            curves=_curves(script.points[job.cursor : to], objectives),
            others=_others(script, job.cursor, to),
            bad=tuple(BadLine(f"line {n}", "no number") for n in script.bad_at if job.cursor <= n < to),
            inherits=script.resumes_from if job.cursor == 0 else None,
            ended=ended,
            runs_on=ended is None and 0 < job.stops <= script.deaf,
        )

    def _end(self, script: Script, *, natural: bool, stopped: bool) -> Ended | None:
        if natural and not script.hangs:
            return self._ended(script.how, "" if script.how == "completed" else f"it {script.how}")
        return self._ended("stopped") if stopped else None

    def _started(self) -> Started:
        now = self._clock.read()
        return Started(now.wall, now.boot)

    def _ended(self, how: How, why: str = "") -> Ended:
        now = self._clock.read()
        return Ended(how=how, finished_at=now.wall, finished_boot_clock=now.boot, why=why)

    def _seen_lost(self, job: BoundJob, script: Script, objectives: Sequence[Objective]) -> JobUpdate | None:
        """A job that was lost comes back with more points, and ends once it is stopped again."""
        if not script.returns:
            return None
        before = len(script.points)
        stops = [d for d in self.ledger.deeds_of(job.job_id) if d.what == "stop"]
        ended = self._ended("stopped") if stops else None
        if job.cursor >= before + len(script.returns) and ended is None:
            return None
        new = script.returns[job.cursor - before :]
        return JobUpdate(
            trial=job.trial,
            attempt=job.attempt,
            to=before + len(script.returns),
            curves=_curves(new, objectives),
            alive=True,
            ended=ended,
        )


def _curves(
    points: Sequence[tuple[int, float] | tuple[int, float, int]], objectives: Sequence[Objective]
) -> tuple[CurveUpdate, ...]:
    curves = []
    for index, objective in enumerate(objectives):
        own_points = [p for p in points if (p[2] if len(p) == 3 else 0) == index]
        if own_points:
            curves.append(
                CurveUpdate(
                    objective.title,
                    objective.series,
                    tuple(p[0] for p in own_points),
                    tuple(float(p[1]) for p in own_points),
                )
            )
    return tuple(curves)


def _others(script: Script, start: int, to: int) -> tuple[OtherSeries, ...]:
    numbers = [float(n) for n in range(start, to)]
    if not numbers:
        return ()
    low, high, last = to_num(numbers[0]), to_num(numbers[-1]), to_num(numbers[-1])
    return tuple(OtherSeries("other", name, to - 1, last, low, high) for name in script.others)
