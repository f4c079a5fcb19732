"""What a loaded search consists of: objectives, trials, attempts and curves."""

from __future__ import annotations

from datetime import datetime

import msgspec

from eventhpo.core.search.spec import Scalar
from eventhpo.views.statuses import JobStatus, TrialStatus


class LoadedObjective(msgspec.Struct, frozen=True):
    """An objective: `title/series`, and whether a larger value is better."""

    name: str
    maximize: bool


class LoadedCurve(msgspec.Struct, frozen=True):
    """What an attempt reported of one objective: a value for each iteration, and the event that each came with.

    Points from position `late_from` on came after the decision about the job, and count for nothing; None if none did.
    """

    objective: str
    iterations: tuple[int, ...]
    values: tuple[float, ...]
    seqs: tuple[int, ...]
    late_from: int | None


class LoadedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a trial. Times are UTC, None where the log does not have them.

    `iterations` is what the budget was charged, `compute_time` is in seconds.
    """

    trial: int
    attempt: int
    status: JobStatus
    slot: int
    key: str
    job_id: str | None
    seq: int  # of the event that decided to make it
    started: datetime | None
    ended: datetime | None
    iterations: int | None
    late: int
    compute_time: float
    code: int | None  # the exit code of its process
    signal: int | None
    why: str  # how it ended, as text
    output: str | None  # where its output lies
    curves: tuple[LoadedCurve, ...]


class LoadedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A point that was tried. `params` have their own types, `values` has a value for each objective.

    A value is None where nothing was reported. `rank` is its place in `eventhpo top`, from 1; None for failed, aborted
    and imported trials, which have none.
    """

    number: int
    status: TrialStatus
    rank: int | None
    params: dict[str, Scalar]
    values: tuple[float | None, ...]
    why: str
    source: str
    imported: bool
    imported_from: str | None  # the file or study that it was imported from
    seq: int  # of the event that suggested it
    suggested: datetime
    finished_seq: int | None
    finished: datetime | None
    attempts: tuple[LoadedAttempt, ...]
    curve: LoadedCurve | None  # of its last attempt, of the first objective; None without an attempt

    @property
    def value(self) -> float | None:
        """The value of the first objective."""
        return self.values[0]
