"""What a controller asks of a backend, and what the backend answers.

Each call is given all that it needs; a backend keeps no state that a restart
could lose. After a crash a controller may ask for an effect again, and the backend
must then find what was already done: by key (draft) or by job id (all others). A call
answers with one outcome for each item, in order; it never raises for a single job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, TypeVar

import msgspec

from eventhpo.core.fold import curve
from eventhpo.core.fold.clocks import BootClock
from eventhpo.core.fold.event_parts import BadLine, ExactValue, JobExtras, OtherSeries, Provenance, StoredTextKind
from eventhpo.core.search.spec import Objective, Scalar


class DraftRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Create the job of an intent; with `look`, first look for a job that has its key."""

    trial: int
    attempt: int
    key: str
    params: dict[str, Scalar]
    slot: int
    before: str | None  # job id of the attempt before this one
    look: bool  # the intent may have been carried out already: an earlier epoch, or an answer in doubt
    failures: int  # how often in a row this effect failed
    extras: JobExtras = JobExtras()  # what a caller wants of it in addition to its parameters


class BoundJob(msgspec.Struct, frozen=True, kw_only=True):
    """A bound job, as it is passed to `launch`, `stop` and `poll`."""

    trial: int
    attempt: int
    key: str
    job_id: str
    params: dict[str, Scalar]
    slot: int
    started: bool  # its start is in the log
    stopping: bool  # it was told to stop, or is about to be
    lost: bool  # it was given up as lost and is watched in case it comes back
    cursor: int  # how far its reports were read
    points: int  # how many objective points of it are in the log
    failures: int  # how often in a row this effect failed
    boot: str  # boot id of the machine when its intent was written
    queued: bool = False  # the log says that a queue has it
    extras: JobExtras = JobExtras()
    known: tuple[curve.Curve, ...] = ()  # the curves of its objectives as the log has them, not to be changed
    settled: str = ""  # why it is to stop, in words; empty if it goes on, or was over before its stop
    stops: int = 0  # how often it was told to stop, by the log


class ProvenanceText(msgspec.Struct, frozen=True):
    """A text that a provenance names by its digest."""

    kind: StoredTextKind
    sha256: str
    text: str


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """The intent's job exists."""

    job_id: str
    adopted: bool = False
    provenance: Provenance = Provenance()
    texts: tuple[ProvenanceText, ...] = ()  # that the provenance names by their digests


class Queued(msgspec.Struct, frozen=True):
    """A queue has the job."""


class Started(msgspec.Struct, frozen=True):
    """The job runs since `at` (microseconds of the backend's clock); `boot_clock` is the same moment."""

    at: int
    boot_clock: BootClock | None = None


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """The job was told to stop, or it was `over` already without a stop of ours; a poll reads its end."""

    over: bool = False


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The job is over. Times are microseconds of the backend's clock, None if it never started.

    `completed`: it ended well. `failed`: exit other than 0, or a signal.
    `stopped`: somebody told it to stop, and it did. `lost`: gone, and nobody saw how it ended.
    `cancelled`: it was ended before it started. `launch_failed`: it can never be
    started. `by_itself`: it ended well or failed before a stop reached it.
    """

    how: Literal["completed", "failed", "stopped", "lost", "cancelled", "launch_failed"]
    started_at: int | None = None
    finished_at: int | None = None
    code: int | None = None
    signal: int | None = None
    why: str = ""
    output: str | None = None  # path or address of what the job printed
    hyper_parameters: dict[str, str] = {}  # all that the job had, as `Section/name`, if the backend knows them
    exact: tuple[ExactValue, ...] = ()  # points of the curves that the backend knows in double precision
    started_boot_clock: BootClock | None = None
    finished_boot_clock: BootClock | None = None
    by_itself: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The effect did not take place; with `in_doubt`, it may have taken place."""

    error: str
    in_doubt: bool = False


class CurveUpdate(msgspec.Struct, frozen=True):
    """New points of one objective in the order reported, at least one."""

    title: str
    series: str
    iterations: tuple[int, ...]
    values: tuple[float, ...]


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What a poll read of one job: at most `POINTS` objective points; the next poll reads on.

    `to` is the new cursor. `ended` is set only after every report was read; until then
    `ending` says that the job is over (never of a lost job). `alive`: a job that was taken
    for lost runs after all. `runs_on`: a job that was told to stop runs, and the stop has
    no effect any more.
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
    refused: Refused | None = None  # the backend could not look at this job; all else is empty


class PollResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a poll saw; `clock` and `boot_clock` are those of the backend, read before anything else."""

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
    """Where jobs run."""

    shortest_wait: float  # seconds between two polls while something happens
    longest_wait: float  # seconds between two polls while nothing does

    def draft(self, drafts: Sequence[DraftRequest]) -> Sequence[DraftOutcome]:
        """Create each job without starting it; with `look`, adopt the job that has its key."""
        ...

    def launch(self, jobs: Sequence[BoundJob]) -> Sequence[LaunchOutcome]:
        """Start each bound job at most once, however often it is called."""
        ...

    def stop(self, jobs: Sequence[BoundJob]) -> Sequence[StopOutcome]:
        """Tell each job to stop, unless it is over; a job that has not started ends `cancelled` and never starts."""
        ...

    def cancel(self, drafts: Sequence[DraftRequest]) -> Sequence[CancelOutcome]:
        """Remove the job that an unbound intent may have created; it never starts."""
        ...

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        """Read what each job did after its cursor; the same cursors get the same answer, or more."""
        ...

    def close(self) -> None:
        """Release what this process holds; the jobs go on."""
        ...
