"""What the events of a search add up to: the one state that every rule reads.

`evolve` builds it event by event. Work per event does not grow with the number of
finished trials: what needs all of them (rank, the sampler's view) is asked for
when it is needed, and totals are kept as they change.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from eventhpo.core.fold.clocks import ClockReading, Course
from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.event_parts import (
    TRIAL_STATES,
    Attr,
    BadLine,
    EarlierLog,
    EffectName,
    Fate,
    ImportedTrial,
    JobExtras,
    NotImported,
    OtherSeries,
    Provenance,
    TrialState,
)
from eventhpo.core.fold.events import (
    EndCommandSet,
    Head,
    JobEnded,
    JobRequested,
    OptimizerTaskSet,
    SearchEnding,
    SearchFinished,
    SearchPaused,
    TrialFinished,
    TrialsImported,
)
from eventhpo.core.fold.study_state import StudyState
from eventhpo.core.search.space import PointKey, key_of
from eventhpo.core.search.spec import Limits, Scalar, Search


class Failure(msgspec.Struct, gc=False):
    """An effect that failed `count` times in a row; blocked until a tick reaches `until` (our time)."""

    count: int
    since: int
    until: int | None
    error: str
    in_doubt: bool


class Attempt(msgspec.Struct, gc=False):
    """One job of a trial, from its intent to its end."""

    trial: int
    number: int
    key: str
    slot: int
    seq: int  # of its intent
    epoch: int  # of its intent
    curves: list[Curve]  # one for each objective
    job_id: str | None = None
    provenance: Provenance | None = None
    queued: bool = False
    started: ClockReading | None = None  # the jobs' clocks
    cursor: int = 0
    judged: int = 0  # points of the curve that have a verdict, or came before verdicts begin
    attrs: list[Attr] = []  # what the pruner wrote
    others: dict[tuple[str, str], OtherSeries] = {}
    bad: int = 0  # lines of its reports that could not be read
    first_bad: BadLine | None = None
    bad_since: int | None = None  # seq of the row that has the first of them
    ignored_since: int | None = None  # seq of the row that has the first point that no curve took
    fate: Fate | None = None  # settled before its end
    fate_why: str = ""  # in the words of the person or caller who asked for it
    closed: bool = False  # its unjudged points stay unjudged
    stop: int | None = None  # seq of what wants it stopped
    stop_sent: bool = False  # and not seen to go on since
    stops: int = 0  # how often it was told to stop
    told_at: int | None = None  # our time when it was told last; None in logs of before that was recorded
    over: bool = False  # it was found over when it was to be told: its own end counts
    released: bool = False  # made by hand, and its launch was asked for
    failures: dict[EffectName, Failure] = {}
    in_doubt: bool = False  # a launch of it may have taken place unseen
    inherited: int = 0  # last iteration that it took over from its predecessor
    ended: JobEnded | None = None
    charge: int | None = None  # iterations, frozen by BudgetUpdated
    late: int = 0
    returned: bool = False  # lost, then seen alive, not over again yet
    gone: bool = False  # lost, then over a second time: not watched any more

    @property
    def live(self) -> bool:
        """Whether it may be running: it holds a slot."""
        return self.ended is None or self.returned

    @property
    def watched(self) -> bool:
        """Whether a poll looks at it: bound, and running or lost and perhaps to come back."""
        if self.job_id is None or self.gone:
            return False
        return self.ended is None or self.ended.how == "lost"

    @property
    def started_at(self) -> int | None:
        """When it started, by the wall clock of the jobs."""
        return None if self.started is None else self.started.wall

    @property
    def finished(self) -> ClockReading | None:
        """When it ended, by the jobs' clocks."""
        if self.ended is None or self.ended.finished_at is None:
            return None
        return ClockReading(self.ended.finished_at, self.ended.finished_boot_clock)

    @property
    def launched(self) -> bool:
        """Whether a queue or a machine has it."""
        return self.queued or self.started is not None

    @property
    def highest(self) -> int | None:
        """The highest iteration of any objective, late points included."""
        return max((c.highest for c in self.curves if c.highest is not None), default=None)

    @property
    def reported(self) -> int:
        """How many objective points of it are in the log."""
        return sum(c.reported for c in self.curves)

    @property
    def ignored(self) -> int:
        """How many points of it no curve took, although they say something else."""
        return sum(c.ignored for c in self.curves)

    def end_curves(self) -> None:
        """Make all that it reports from here on late; an earlier cut stays."""
        for curve in self.curves:
            curve.end_at(len(curve.iterations))


class Trial(msgspec.Struct, gc=False):
    """A point of the space and all that was tried with it."""

    number: int
    seq: int
    params: dict[str, Scalar]
    point: dict[str, Scalar]  # as the sampler knows it
    source: Literal["sampler", "user", "caller", "imported", "adopted"]
    attrs: dict[str, Any]  # what the sampler wrote
    attempts: list[Attempt] = []
    finished: TrialFinished | None = None
    cancelled: int | None = None  # seq of the person's act that ended it
    cancel_why: str = ""  # who cancelled it and why, as text
    request: str | None = None  # of the caller who asked for it
    extras: JobExtras | None = None  # what that caller wants of its job
    imported: ImportedTrial | None = None
    was_best: bool = False  # better than all trials that had completed before it, single objective

    @property
    def last(self) -> Attempt | None:
        """Its newest attempt."""
        return self.attempts[-1] if self.attempts else None


class TrialImport(msgspec.Struct, frozen=True):
    """One event's trials of another search or study: `source` is the name of the log's file or of the study."""

    source: str
    study: str
    log: EarlierLog | None  # None: an Optuna study that was no log
    trials: int
    left_out: tuple[NotImported, ...]

    @classmethod
    def of_event(cls, event: TrialsImported) -> TrialImport:
        """Return what *event* says, without its trials."""
        return cls(event.source, event.study, event.log, len(event.trials), event.left_out)


class EnqueuedPoint(msgspec.Struct, frozen=True):
    """A point that somebody enqueued and that is no trial yet."""

    seq: int
    params: dict[str, Scalar]


class Reached(msgspec.Struct, frozen=True):
    """A reason to end that was found when a trial finished, and its numbers in words."""

    reason: Literal["target_value", "patience", "failures"]
    detail: str


class RunStop(msgspec.Struct, frozen=True):
    """This run is to end; the search is not."""

    seq: int
    epoch: int
    leave: bool


class RunningTotals(msgspec.Struct):
    """Counts and sums that rules read, kept as they change."""

    charged: int = 0  # iterations, frozen
    compute: int = 0  # microseconds of ended attempts
    reservations: int = 0  # attempts that hold one
    jobs: int = 0  # JobCreated so far
    trials: dict[TrialState, int] = msgspec.field(default_factory=lambda: dict.fromkeys(TRIAL_STATES, 0))
    best: float | None = None  # told value, single objective
    since_best: int = 0  # completed trials since it was found
    worst: list[float] = []  # told values of completed trials, by objective
    longest: int | None = None  # last step of the longest completed curve
    tried: int = 0  # different points that are taken, of those that the sampler can propose


class State(msgspec.Struct):
    """The state of a search as of its last event."""

    search: Search
    search_id: str
    policy: int
    fingerprint: dict[str, str]
    limits: Limits
    created_at: int
    head: Head = GENESIS
    steps: int = 0  # rows so far, starts of controllers aside
    last_at: int = 0
    epoch: int = 0
    unattended: int = 0  # microseconds between controllers, by the wall clock
    boots: dict[int, str] = {}  # boot id by epoch
    host: str = ""  # of the newest controller
    pid: int = 0  # of the newest controller
    last_input: int = 0  # seq of the newest input that is no start of a controller
    course: Course = Course()  # of our time, to the newest reading
    first_clock: int | None = None  # our time at the first ControllerStarted
    clock: int = 0  # our time at the last tick
    jobs_clock: ClockReading = ClockReading(0)  # of the jobs, at the last tick
    trials: list[Trial] = []
    active: dict[int, Trial] = {}  # unfinished, or with an attempt to be watched
    taken: dict[PointKey, int] = {}  # how many trials hold a point
    waiting: list[EnqueuedPoint] = []
    by_hand: bool = False
    asked: list[JobRequested] = []  # callers' requests for a job that were not answered yet
    lapsed: dict[str, str] = {}  # why the newest requests came to nothing
    imported: int = 0
    imported_study: str | None = None  # the name of the study that they come from
    imports: dict[int, TrialImport] = {}  # by the seq of their event
    optimizer_task: OptimizerTaskSet | None = None
    study_attrs: dict[str, Any] = {}
    latched: int | None = None
    totals: RunningTotals = msgspec.field(default_factory=RunningTotals)
    poll_failure: Failure | None = None
    stop_asked: int | None = None  # seq of a StopAsked(search)
    run_stop: RunStop | None = None
    paused: int | None = None  # seq of the SearchPaused that holds
    pause: SearchPaused | None = None
    reached: Reached | None = None  # looked at when a trial finishes
    ending: SearchEnding | None = None
    finished: SearchFinished | None = None
    end_command: EndCommandSet | None = None  # what is run when the search has finished
    end_command_ran: bool = False  # since it finished last
    requests: set[str] = set()
    left: set[str] = set()  # keys of tasks that another copy of the log made
    scripts: dict[str, str] = {}  # newest hash by script
    stored_texts: dict[str, str] = {}  # lists of files and packages by digest; empty for what is only known to be there
    kept_characters: int = 0  # of these texts
    changed_scripts: list[str] = []  # that were not the same for all attempts
    job_names: tuple[str, ...] = ()  # all that a job may get, in the order of the space
    study: StudyState | None = None  # of an Optuna study; None in a search of jobs
    space_size: int | None = None  # points that the sampler can propose, if they can be counted

    @property
    def single(self) -> bool:
        """Whether there is one objective, so that there are verdicts."""
        return len(self.search.objectives) == 1

    @property
    def end_command_due(self) -> bool:
        """Whether the search has finished and its command for the end has not run since."""
        return self.finished is not None and self.end_command is not None and not self.end_command_ran

    def source_of(self, trial: Trial) -> str | None:
        """Return the file or study that *trial* was imported from, None for a trial of this search."""
        imported = self.imports.get(trial.seq)
        return None if imported is None else imported.source

    def attempt(self, trial: int, number: int) -> Attempt:
        """Return an attempt by its numbers."""
        return self.trials[trial].attempts[number]

    def poll_worked(self, attempt: Attempt) -> None:
        """Count the failures of polls anew: this one read something of *attempt*."""
        self.poll_failure = None
        attempt.failures.pop("poll", None)

    def let_go(self, trial: int) -> None:
        """Keep *trial* no longer among the active ones if it is finished and no attempt of it is watched."""
        candidate = self.trials[trial]
        if candidate.finished is not None and not any(a.watched for a in candidate.attempts):
            self.active.pop(trial, None)

    def point_key(self, params: dict[str, Scalar]) -> PointKey:
        """Return what makes two points the same: what their jobs get, in the order of the space."""
        return key_of(self.job_names, params)
