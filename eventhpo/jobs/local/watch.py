"""Look at started jobs: what they reported, whether they are over, and whether they are lost.

`exit.json` counts more than any lock: it is read first, and once more if a lock is free.
The reports are read last, so that an end never comes before a report.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import structs

from eventhpo.core.fold.clocks import ClockReading, elapsed
from eventhpo.core.search.spec import Objective
from eventhpo.jobs.local import times
from eventhpo.jobs.local.folder import AttemptFolder, Exit, Ticket, is_free
from eventhpo.jobs.local.host import boot_id
from eventhpo.jobs.local.kill_leftovers import LostAttempt, kill_leftovers
from eventhpo.jobs.local.reports import ReportBatch, read
from eventhpo.jobs.protocol import BoundJob, Ended, JobUpdate, Refused, Started

PROBE = 0.5  # seconds between two looks at a running job's lock: 10 ms for 1,000 jobs, so not in every poll
LEAK = 30.0  # seconds of killing its processes before an attempt ends although some are left
UNREADABLE = 5  # failed reads of its reports before a job that is over ends without the last of them
COPIED = "its folder is a copy: the job belongs to the search that it was copied from, and is left alone"
LATE = 15.0  # seconds after the grace period by which a runner that is not frozen has ended everything


@dataclass
class JobLook:
    """What this poll saw of one job."""

    job: BoundJob
    folder: AttemptFolder
    ticket: Ticket | None = None
    exit: Exit | None = None
    gone: str = ""  # why the attempt is taken for lost
    left: str | None = None  # after a sweep: what of it is left; None while that is unknown

    @property
    def over(self) -> bool:
        """Whether the reports are complete, as far as can be known."""
        return self.exit is not None or self.left is not None


@dataclass
class Sweeping:
    """The sweep of a lost attempt: when it began (monotonic clock), why, and whether it killed anything."""

    since: float
    why: str
    killed_any: bool = False


class Watch:
    """Looks at jobs; what it remembers between two polls only saves work."""

    def __init__(self, clocks: Callable[[], ClockReading]) -> None:
        self._clocks = clocks
        self._probed: dict[str, float] = {}
        self._sweeping: dict[str, Sweeping] = {}

    def seen(
        self, jobs: Sequence[tuple[BoundJob, AttemptFolder]], objectives: Sequence[Objective]
    ) -> tuple[JobUpdate, ...]:
        """Return what each job did after its cursor."""
        looks = [self._look_or_refuse(job, folder) for job, folder in jobs]
        self._sweep([look for look in looks if isinstance(look, JobLook) and look.gone])
        self._forget({job.job_id for job, _ in jobs})
        return tuple(self._tell_or_refuse(look, objectives) if isinstance(look, JobLook) else look for look in looks)

    def _forget(self, watched: set[str]) -> None:
        """Forget the jobs that are not in *watched*."""
        for job_id in self._probed.keys() - watched:
            del self._probed[job_id]
        for job_id in self._sweeping.keys() - watched:
            del self._sweeping[job_id]

    def _look_or_refuse(self, job: BoundJob, folder: AttemptFolder) -> JobLook | JobUpdate:
        try:
            return self._look(job, folder)
        except OSError as error:
            return refused(job, error)

    def _tell_or_refuse(self, look: JobLook, objectives: Sequence[Objective]) -> JobUpdate:
        try:
            return self._tell(look, objectives)
        except OSError as error:
            if look.exit is None or look.job.failures < UNREADABLE:
                return refused(look.job, error)
            ended = structs.replace(
                _by_exit(look, look.exit, self._clocks()), how="failed", why=f"its reports cannot be read: {error}"
            )
            return JobUpdate(trial=look.job.trial, attempt=look.job.attempt, to=look.job.cursor, ended=ended)

    def _look(self, job: BoundJob, folder: AttemptFolder) -> JobLook:
        look = JobLook(job, folder, exit=folder.exit())
        if look.exit is not None or not job.started:
            look.ticket = folder.ticket()
        if look.exit is None and _may_be_lost(look) and self._is_due(job):
            look.gone = _gone(look, self._clocks())
            look.exit = folder.exit()
            look.gone = "" if look.exit is not None else look.gone
            look.ticket = folder.ticket()
        return look

    def _is_due(self, job: BoundJob) -> bool:
        """Whether to look at the lock: in every poll if something is wrong, else every `PROBE` seconds."""
        now = time.monotonic()
        wrong = job.stopping or job.lost or job.job_id in self._sweeping
        if not wrong and now - self._probed.get(job.job_id, -PROBE) < PROBE:
            return False
        self._probed[job.job_id] = now
        return True

    def _sweep(self, looks: Sequence[JobLook]) -> None:
        """Kill what is left of each attempt that is gone, in one pass over all processes."""
        lost = [LostAttempt(look.job.key, look.folder, look.ticket) for look in looks if _of_this_boot(look)]
        killed = kill_leftovers(lost) if lost else {}
        for look in looks:
            state = self._sweeping.setdefault(look.job.job_id, Sweeping(time.monotonic(), look.gone))
            state.killed_any |= look.job.key in killed
            look.left = _left(look, killed, state)

    def _tell(self, look: JobLook, objectives: Sequence[Objective]) -> JobUpdate:
        job, ticket = look.job, look.ticket
        started = ticket is not None and ticket.never is None and not job.started and ticket.at > 0
        known = () if job.lost else job.known
        batch = read(look.folder.reports, job.cursor, objectives, fresh=job.points == 0, final=look.over, known=known)
        return JobUpdate(
            trial=job.trial,
            attempt=job.attempt,
            to=batch.to,
            started=Started(ticket.at, ticket.since_boot) if started and ticket is not None else None,
            curves=batch.curves,
            others=batch.others,
            bad=batch.bad,
            inherits=batch.inherits,
            ended=self._ended(look, batch),
            ending=look.over and batch.more and not job.lost,
            runs_on=_runs_on(look),
            alive=job.lost and self._is_alive(look),
            more=batch.more,
        )

    def _is_alive(self, look: JobLook) -> bool:
        """Whether a lost attempt still runs: a process holds a lock, or some process of it is left."""
        if look.exit is not None or (look.ticket is not None and look.ticket.never is not None):
            return False
        return not look.gone or look.left != ""

    def _ended(self, look: JobLook, batch: ReportBatch) -> Ended | None:
        never = never_started(look.folder, look.ticket)
        if never is not None or batch.more:
            return never
        if look.exit is not None:
            return _by_exit(look, look.exit, self._clocks())
        if look.left is None or (look.job.lost and look.left):
            return None
        return self._as_lost(look, look.left)

    def _as_lost(self, look: JobLook, left: str) -> Ended:
        """Return the end of a lost attempt: at its last sign of life, or now if processes of it were killed."""
        state = self._sweeping[look.job.job_id]
        began = times.began(look.ticket)
        now = self._clocks()
        end = now if state.killed_any else times.last_sign(look.folder, began, now) or now
        known = began is not None or look.job.started
        return Ended(
            how="lost",
            why=state.why + left,
            output=look.folder.printed(),
            **times.both(began, end if known else None),
        )


def refused(job: BoundJob, error: OSError) -> JobUpdate:
    """Return the update of a *job* that could not be looked at; the other jobs are not affected."""
    return JobUpdate(trial=job.trial, attempt=job.attempt, to=job.cursor, refused=Refused(error=f"{job.key}: {error}"))


def never_started(folder: AttemptFolder, ticket: Ticket | None) -> Ended | None:
    """Return the end of an attempt that was closed before it started; None for all others."""
    if ticket is None or ticket.never is None:
        return None
    output = folder.printed() if ticket.never == "launch_failed" else None
    return Ended(how=ticket.never, why=ticket.why, output=output)


def by_itself(end: Exit) -> bool:
    """Whether a job completed or failed without a stop."""
    return not end.stopped and _how(end) in ("completed", "failed")


def _runs_on(look: JobLook) -> bool:
    """Whether a job that was told to stop goes on because its stop file is gone."""
    return look.job.stopping and bool(look.job.settled) and not look.over and not look.folder.stop_file.exists()


def _may_be_lost(look: JobLook) -> bool:
    """Whether the attempt may have started, so that it can be lost."""
    if look.ticket is not None and look.ticket.never is not None:
        return False
    return look.ticket is not None or look.job.started or look.job.lost or look.job.stopping


def _gone(look: JobLook, now: ClockReading) -> str:
    """Return why the attempt is taken for lost; empty if its runner is alive and works."""
    if not look.folder.exists():
        return "its folder is gone"
    if is_free(look.folder.runner_lock):
        return _runner_gone(look)
    if look.job.stopping and _ignores_stop(look.folder, now):
        return "its runner did not act on the stop"
    return ""


def _runner_gone(look: JobLook) -> str:
    """Return why there is no runner; empty if `launch` or `stop` still decides whether one starts."""
    ticket = look.folder.ticket()
    if ticket is None and not (look.job.started or look.job.lost):
        return ""
    if ticket is not None and look.folder.is_copied(ticket):
        return COPIED
    if ticket is not None and ticket.boot != boot_id():
        return "the machine was restarted"
    return "its runner is gone"


def _ignores_stop(folder: AttemptFolder, now: ClockReading) -> bool:
    """Whether the stop is older than a runner needs to carry it out: a frozen runner never does."""
    ticket, asked = folder.ticket(), folder.stop_asked()
    if ticket is None or asked is None:
        return False
    return elapsed(asked.reading, now) > (ticket.grace + LATE) * 1e6


def _of_this_boot(look: JobLook) -> bool:
    return (look.job.boot if look.ticket is None else look.ticket.boot) == boot_id()


def _left(look: JobLook, killed: Mapping[str, tuple[int, ...]], state: Sweeping) -> str | None:
    """Describe what of the attempt is left: empty if nothing is, None if the next poll has to look again."""
    if not _of_this_boot(look) or (look.job.key not in killed and is_free(look.folder.job_lock)):
        return ""
    if time.monotonic() - state.since < LEAK:
        return None
    who = ", ".join(map(str, killed.get(look.job.key, ()))) or "somebody who holds job.lock"
    return f"; still there after {LEAK:g} s of ending it: {who}"


def _by_exit(look: JobLook, end: Exit, now: ClockReading) -> Ended:
    began, over = times.began(look.ticket), ClockReading(end.finished_at, end.since_boot)
    if _how(end) == "lost":  # exit.json could not be read, so it has no time of its own
        over = times.last_sign(look.folder, began, now) or over
    return Ended(
        how=_how(end),
        code=end.code,
        signal=end.signal,
        why=_why(end),
        output=look.folder.printed(),
        **times.both(began, over),
        by_itself=by_itself(end),
    )


def _how(end: Exit) -> Literal["completed", "stopped", "failed", "lost"]:
    """Return how a job ended; a job that exits with 0 after a stop has completed."""
    if end.code is None and end.signal is None:
        return "lost"
    if end.code == 0:
        return "completed"
    return "stopped" if end.stopped else "failed"


def _why(end: Exit) -> str:
    if end.why or end.code == 0:
        return end.why
    if end.signal is None:
        return f"exit {end.code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"killed by {known.get(end.signal, f'signal {end.signal}')}"
