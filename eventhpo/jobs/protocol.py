"""The door to jobs: what a controller asks of a place where jobs run.

Every call is handed all that it needs; a door keeps no state that a restart
could lose. Each effect may be asked again after a crash and must then find what
was done: by key (draft) or by job id (all others). A call answers with one
outcome for each item, in order; it never raises for a single job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, TypeVar

import msgspec

from eventhpo.core.fold import curve
from eventhpo.core.fold.clocks import BootClock
from eventhpo.core.fold.events import BadLine, ExactValue, JobExtras, OtherSeries, Provenance
from eventhpo.core.search.spec import Objective, Scalar


class DraftRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Create the job of an intent, or (`look`) first look for one with its key."""

    trial: int
    attempt: int
    key: str
    params: dict[str, Scalar]
    slot: int
    before: str | None  # job id of the attempt before this one
    look: bool  # the intent may have been carried out already: an earlier epoch, or an answer in doubt
    failures: int  # how often in a row this effect failed
    extras: JobExtras = JobExtras()  # what a caller wants of it beside its parameters


class BoundJob(msgspec.Struct, frozen=True, kw_only=True):
    """A bound job, as `launch`, `stop` and `poll` are told of it."""

    trial: int
    attempt: int
    key: str
    job_id: str
    params: dict[str, Scalar]
    slot: int
    started: bool  # its start is in the log
    stopping: bool  # it was told to stop, or is to be
    lost: bool  # it was given up as lost and is watched in case it comes back
    cursor: int  # how far its reports were read
    points: int  # how many objective points of it are in the log
    failures: int  # how often in a row this effect failed
    boot: str  # boot id of the machine when its intent was written
    queued: bool = False  # that a queue has it is in the log
    extras: JobExtras = JobExtras()
    known: tuple[curve.Curve, ...] = ()  # its objectives' points as the log has them, to be read only
    settled: str = ""  # why it is to stop, as a person reads it; empty if it is not, or was over when it was told
    stops: int = 0  # how often it was told to stop, as the log has it


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """The intent's job exists."""

    job_id: str
    adopted: bool = False
    provenance: Provenance = Provenance()


class Queued(msgspec.Struct, frozen=True):
    """A queue has the job."""


class Started(msgspec.Struct, frozen=True):
    """The job runs, since `at` (microseconds of the door's clock), and by its boot clock if it has one."""

    at: int
    boot_clock: BootClock | None = None


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """The job was told to stop, or is `over` already and not because of a stop of ours; its end is read by a poll."""

    over: bool = False


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The job is over. Times in microseconds of the door's clock, None if it never started.

    `completed`: it ended well. `failed`: exit other than 0, or a signal.
    `stopped`: told to stop by somebody, and it did. `lost`: gone without a trace.
    `cancelled`: it was ended before it started. `launch_failed`: it cannot be
    started, for good. `by_itself`: it ended well or failed before it heard of a stop.
    """

    how: Literal["completed", "failed", "stopped", "lost", "cancelled", "launch_failed"]
    started_at: int | None = None
    finished_at: int | None = None
    code: int | None = None
    signal: int | None = None
    why: str = ""
    output: str | None = None  # path or address of what the job printed
    hyper_parameters: dict[str, str] = {}  # all that the job had, as `Section/name`, where a door knows them
    exact: tuple[ExactValue, ...] = ()  # points of the curves that a door knows in double precision, too
    started_boot_clock: BootClock | None = None
    finished_boot_clock: BootClock | None = None
    by_itself: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The effect did not take place, or (`in_doubt`) nobody can know."""

    error: str
    in_doubt: bool = False


class CurveUpdate(msgspec.Struct, frozen=True):
    """New points of one objective in the order reported, at least one."""

    title: str
    series: str
    iterations: tuple[int, ...]
    values: tuple[float, ...]


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What a poll read of one job: at most `POINTS` objective points, the rest in the next poll.

    `ended` is given only when every report was read (`to` is their end); until then
    `ending` says that there is an end to be told, of a job that is not lost. `alive` is for a job that was lost: it
    shows itself running. `runs_on` is for one that is to stop: it goes on, and a stop that
    it was told of has no effect any more.
    """

    trial: int
    attempt: int
    to: int
    started: Started | None = None
    curves: tuple[CurveUpdate, ...] = ()
    others: tuple[OtherSeries, ...] = ()
    bad: tuple[BadLine, ...] = ()
    inherits: int | None = None
    ended: Ended | None = None
    alive: bool = False
    ending: bool = False
    runs_on: bool = False
    more: bool = False  # there is more to read at once
    refused: Refused | None = None  # this job could not be looked at; nothing else of it is told


class PollResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a poll saw; `clock`, and `boot_clock` if there is one, are the door's own, read before anything else."""

    clock: int
    seen: tuple[JobUpdate, ...]
    boot_clock: BootClock | None = None


POINTS = 10_000  # of a job in a poll: 313 kB as one event

DraftOutcome: TypeAlias = Bound | Ended | Refused
LaunchOutcome: TypeAlias = Queued | Started | Ended | Refused
StopOutcome: TypeAlias = Stopping | Ended | Refused
CancelOutcome: TypeAlias = Ended | Refused

Item = TypeVar("Item", DraftRequest, BoundJob)  # what an effect is asked for
Outcome = TypeVar("Outcome")  # what it answers for one item


class JobBackend(Protocol):
    """A place where jobs run."""

    shortest_wait: float  # seconds between two polls while something happens
    longest_wait: float  # seconds between two polls while nothing does

    def draft(self, drafts: Sequence[DraftRequest]) -> Sequence[DraftOutcome]:
        """Create each job without starting it; with `look`, adopt the one that its key names."""
        ...

    def launch(self, jobs: Sequence[BoundJob]) -> Sequence[LaunchOutcome]:
        """Start each bound job at most once, however often this is asked."""
        ...

    def stop(self, jobs: Sequence[BoundJob]) -> Sequence[StopOutcome]:
        """Tell each bound job to stop, unless it is over; one that never started ends `cancelled`, and never will."""
        ...

    def cancel(self, drafts: Sequence[DraftRequest]) -> Sequence[CancelOutcome]:
        """Remove what an unbound intent may have created; it never starts."""
        ...

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        """Read what each job did behind its cursor; the same cursors get the same answer, or more of it."""
        ...

    def close(self) -> None:
        """Let go of what this process holds; the jobs go on."""
        ...
