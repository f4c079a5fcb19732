"""The events of a search: one closed union, each type in exactly one of six families (`event_families`).

Numbers that JSON cannot carry are `spec.Num`; times are integer microseconds of the clock that the
field names. A `..boot_clock` is the same moment by a clock that nobody can set; None where there is
none, as in logs from before it was recorded. `event_parts` has the structs that stand in fields.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from eventhpo.core.fold.clocks import BootClock
from eventhpo.core.fold.event_families import (
    Decision,
    Input,
    Note,
    Observation,
    PersonsRequest,
    Receipt,
    RunSetting,
    Tick,
    UserInput,
)
from eventhpo.core.fold.event_parts import (
    AdoptedCurve,
    AttemptId,
    Attr,
    BadLine,
    EarlierLog,
    EffectName,
    ExactValue,
    Fate,
    ImportedTrial,
    JobExtras,
    NotAgain,
    NotImported,
    OtherSeries,
    Provenance,
    StoredTextKind,
    TrialState,
    Verdict,
)
from eventhpo.core.fold.study_events import (
    AttributeSet,
    LateCall,
    ParameterSuggested,
    PointJudged,
    TrialAdded,
    TrialAsked,
    TrialLost,
    TrialTold,
)
from eventhpo.core.search.gpus import Gpus
from eventhpo.core.search.spec import LimitChanges, Num, Scalar, Search

# ---------------------------------------------------------------- inputs: what users ask for


class SearchCreated(UserInput, frozen=True, kw_only=True):
    """The first event: the search, and with what it is decided."""

    search_id: str
    search: Search
    policy: int
    fingerprint: dict[str, str]


class ControllerStarted(UserInput, frozen=True, kw_only=True):
    """A controller holds the lease from here on; it opens an epoch and decides nothing."""

    host: str
    pid: int
    boot: str
    clock: int
    fingerprint: dict[str, str]
    took_over: bool = False
    boot_clock: BootClock | None = None


class LimitsChanged(PersonsRequest, frozen=True, kw_only=True):
    """Somebody set new limits; a finished search goes on with them."""

    changes: LimitChanges
    request: str | None = None


class SearchReopened(PersonsRequest, frozen=True, kw_only=True):
    """A search that was stopped, or had tried all points of its space, goes on."""

    request: str | None = None


class PointEnqueued(PersonsRequest, frozen=True, kw_only=True):
    """A point of somebody's own, tried before the sampler's; what it leaves out is sampled."""

    params: dict[str, Scalar]
    request: str | None = None


class JobRequested(UserInput, frozen=True, kw_only=True):
    """A caller asks for one job: of the next suggestion, or of `params`."""

    request: str
    params: dict[str, Scalar] | None = None
    extras: JobExtras = JobExtras()


class LaunchRequested(UserInput, frozen=True, kw_only=True):
    """A caller asks that a job which was made by hand be launched."""

    trial: int
    attempt: int


class AbortRequested(UserInput, frozen=True, kw_only=True):
    """A person or a caller ends one job; its trial's end says `why`."""

    trial: int
    attempt: int


class DrivenByHand(UserInput, frozen=True, kw_only=True):
    """From here on a suggestion is due only after a request; or, `by_hand` false, as the loop has it."""

    by_hand: bool = True


class CommandMoved(RunSetting, frozen=True, kw_only=True):
    """The command of the jobs runs in `folder` from here on; the log lies in `home` now."""

    folder: str
    home: str


class GpusChanged(RunSetting, frozen=True, kw_only=True):
    """Jobs get these devices from here on, an entry for each worker slot; none: the search names no devices."""

    gpus: Gpus


class OptimizerTaskSet(RunSetting, frozen=True, kw_only=True):
    """The task under which jobs are made from here on."""

    task_id: str
    name: str = ""


class TrialsImported(PersonsRequest, frozen=True, kw_only=True):
    """Finished trials of another search or study; the sampler sees them, no budget is charged.

    `log` says from which log they come, `left_out` how many of its trials were not imported, and why.
    """

    study: str
    trials: tuple[ImportedTrial, ...]
    log: EarlierLog | None = None
    left_out: tuple[NotImported, ...] = ()

    @property
    def source(self) -> str:
        """Where they come from: the name of a log's file, or of a study."""
        return self.study if self.log is None else self.log.file


class StopAsked(PersonsRequest, frozen=True, kw_only=True):
    """End the search, or only this run; `jobs` says what becomes of those that run."""

    scope: Literal["search", "run"]
    jobs: Literal["abort", "leave"] = "abort"
    request: str | None = None


class TrialCancelled(PersonsRequest, frozen=True, kw_only=True):
    """A person ends one trial: its job is stopped, it is not tried again, and its point stays taken.

    In a study the trial is failed, and not asked for again.
    """

    trial: int
    request: str | None = None


class SearchPaused(PersonsRequest, frozen=True, kw_only=True):
    """From here on nothing is suggested, retried or started; jobs that run are watched and judged."""

    request: str | None = None


class SearchUnpaused(PersonsRequest, frozen=True, kw_only=True):
    """A paused search goes on."""

    request: str | None = None


class EndCommandSet(RunSetting, frozen=True, kw_only=True):
    """When the search has finished, `command` is run by a shell in `folder`; None: nothing is run."""

    command: str | None
    folder: str
    request: str | None = None


# ---------------------------------------------------------------- inputs: receipts, observations, ticks


class JobBound(Receipt, frozen=True, kw_only=True):
    """The intent has its job: receipt of a draft."""

    trial: int
    attempt: int
    job_id: str
    provenance: Provenance = Provenance()


class JobQueued(Receipt, frozen=True, kw_only=True):
    """The job was handed to a queue: receipt of a launch."""

    trial: int
    attempt: int


class JobStarted(Receipt, frozen=True, kw_only=True):
    """The job runs since `started_at` (the jobs' clock)."""

    trial: int
    attempt: int
    started_at: int
    started_boot_clock: BootClock | None = None


class JobStopSent(Receipt, frozen=True, kw_only=True, omit_defaults=True):
    """The job was told to stop at `clock` (ours), or was found `over` already: receipt of a stop."""

    trial: int
    attempt: int
    clock: int = 0
    over: bool = False
    boot_clock: BootClock | None = None


class JobRunsOn(Observation, frozen=True, kw_only=True):
    """A poll saw the job go on although it was told to stop: the stop is repeated."""

    trial: int
    attempt: int


class MetricObserved(Observation, frozen=True, kw_only=True, rename={"from_": "from"}):
    """New points of one objective of one attempt, in the order reported."""

    trial: int
    attempt: int
    title: str
    series: str
    iterations: tuple[int, ...]
    values: tuple[Num, ...]
    from_: int
    to: int
    others: tuple[OtherSeries, ...] = ()
    bad: tuple[BadLine, ...] = ()


class ReportsRead(Observation, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Reports without a point of the objective."""

    trial: int
    attempt: int
    from_: int
    to: int
    others: tuple[OtherSeries, ...] = ()
    bad: tuple[BadLine, ...] = ()


class InheritanceClaimed(Observation, frozen=True, kw_only=True):
    """A retry says, before its first point, that it goes on after `iteration` of its predecessor."""

    trial: int
    attempt: int
    iteration: int


class JobEnded(Observation, frozen=True, kw_only=True):
    """The attempt is over (or lost), and how; times are the jobs' clock.

    `by_itself`: it ended before it heard of a stop, if it was told to at all.
    """

    trial: int
    attempt: int
    how: Literal["completed", "failed", "stopped", "lost", "cancelled", "launch_failed"]
    started_at: int | None = None
    finished_at: int | None = None
    code: int | None = None
    signal: int | None = None
    why: str = ""
    output: str | None = None
    hyper_parameters: dict[str, str] = msgspec.field(default_factory=dict)
    exact: tuple[ExactValue, ...] = ()
    started_boot_clock: BootClock | None = None
    finished_boot_clock: BootClock | None = None
    by_itself: bool = False


class JobAdopted(Observation, frozen=True, kw_only=True):
    """A job of this search that the log no longer knew, its tail lost, is taken up again.

    `fate` is what had been settled when it was told to stop, a prune at its `judged`-th point;
    `inherits` the iteration of its predecessor after which it says to go on; `to` how far its
    reports were read for `curves`, where that is no number of points.
    """

    trial: int
    attempt: int
    key: str
    job_id: str
    params: dict[str, Scalar]
    slot: int
    launched: bool
    curves: tuple[AdoptedCurve, ...] = ()
    inherits: int | None = None
    fate: Fate | None = None
    judged: int = 0
    to: int | None = None


class JobReturned(Observation, frozen=True, kw_only=True):
    """An attempt that was lost shows itself alive."""

    trial: int
    attempt: int


class EffectFailed(Observation, frozen=True, kw_only=True):
    """An effect did not take place, or nobody knows (`in_doubt`); its `count`-th failure since it last worked."""

    effect: EffectName
    count: int
    error: str
    clock: int
    trial: int | None = None
    attempt: int | None = None
    in_doubt: bool = False
    boot_clock: BootClock | None = None


class ClockTicked(Tick, frozen=True, kw_only=True):
    """Something was due by one of the two clocks: ours and the jobs'."""

    clock: int
    jobs_clock: int
    boot_clock: BootClock | None = None
    jobs_boot_clock: BootClock | None = None


# ---------------------------------------------------------------- decisions


class TrialSuggested(Decision, frozen=True, kw_only=True):
    """A new trial; `params` is what its job gets, `point` what the sampler knows it by if that differs."""

    trial: int
    params: dict[str, Scalar]
    source: Literal["sampler", "user", "caller"] = "sampler"
    request: str | None = None
    tries: int = 1
    enumerated: bool = False
    duplicate: bool = False
    point: dict[str, Scalar] | None = None
    attrs: dict[str, Any] = msgspec.field(default_factory=dict)
    study_attrs: dict[str, Any] = msgspec.field(default_factory=dict)
    not_again: NotAgain = msgspec.UNSET


class RequestLapsed(Decision, frozen=True, kw_only=True):
    """A caller's request for a job comes to nothing, and why."""

    request: str
    why: str


class JobCreated(Decision, frozen=True, kw_only=True):
    """The intent to run an attempt, found again by `key`; it holds a slot and a reservation."""

    trial: int
    attempt: int
    key: str
    slot: int


class JobsContinued(Decision, frozen=True, kw_only=True):
    """Go-on verdicts in the order of judging, up to the next prune or the last point."""

    verdicts: tuple[Verdict, ...]
    latched: int | None = None
    not_again: NotAgain = msgspec.UNSET


class JobPruned(Decision, frozen=True, kw_only=True):
    """The attempt is pruned at its `judged`-th point."""

    trial: int
    attempt: int
    judged: int
    iteration: int
    attrs: tuple[Attr, ...] = ()
    latched: int | None = None
    not_again: NotAgain = msgspec.UNSET


class BudgetUpdated(Decision, frozen=True, kw_only=True):
    """An attempt's charge is frozen; `used` and `reserved` are the search's, in iterations."""

    trial: int
    attempt: int
    iterations: int
    late: int
    compute_time: int
    used: int
    reserved: int


class TrialFinished(Decision, frozen=True, kw_only=True):
    """The trial has its outcome; `values` is what the sampler is told."""

    trial: int
    state: TrialState
    values: tuple[Num, ...] | None = None
    why: str = ""


EndReason: TypeAlias = Literal[
    "stop", "compute_time_limit", "wall_time_limit", "failures", "target_value", "patience", "budget", "space"
]


class SearchEnding(Decision, frozen=True, kw_only=True):
    """No new trial from here on; `at_once` also ends what runs."""

    reason: EndReason
    at_once: bool
    detail: str = ""


class SearchFinished(Decision, frozen=True, kw_only=True):
    """Nothing is left to do."""

    state: Literal["finished", "stopped"]
    reason: EndReason


# ---------------------------------------------------------------- notes


class RequestRefused(Note, frozen=True, kw_only=True):
    """A request from outside could not be taken; it says why."""

    request: str
    why: str


class TrialNoted(Note, frozen=True, kw_only=True):
    """What a person wrote down about a trial; `by`, `why` and `uid` as in a user input."""

    trial: int
    text: str
    by: str = ""
    why: str = ""
    uid: int | None = None
    request: str | None = None


class EndCommandRan(Note, frozen=True, kw_only=True):
    """The command for the end of the search ran and exited so, or could not be started, and why."""

    command: str
    code: int | None = None
    signal: int | None = None
    why: str = ""


class TextStored(Note, frozen=True, kw_only=True):
    """A text that a provenance names by its digest; each text is in the log once.

    `packages`: the packages of the jobs' interpreter, a line each. `data`: the declared files, a line each with
    SHA-256, size in bytes and name. `diff`: what the git tree changes of its commit, as git shows it.
    """

    kind: StoredTextKind
    sha256: str
    text: str


class TasksLeft(Note, frozen=True, kw_only=True):
    """Tasks that another copy of this log made: that copy went on too, and they are no jobs of this one."""

    keys: tuple[str, ...]
    job_ids: tuple[str, ...]


Event: TypeAlias = (
    SearchCreated
    | ControllerStarted
    | LimitsChanged
    | SearchReopened
    | PointEnqueued
    | JobRequested
    | LaunchRequested
    | AbortRequested
    | DrivenByHand
    | CommandMoved
    | GpusChanged
    | OptimizerTaskSet
    | TrialsImported
    | StopAsked
    | TrialCancelled
    | SearchPaused
    | SearchUnpaused
    | EndCommandSet
    | JobBound
    | JobQueued
    | JobStarted
    | JobStopSent
    | JobRunsOn
    | MetricObserved
    | ReportsRead
    | InheritanceClaimed
    | JobEnded
    | JobAdopted
    | JobReturned
    | EffectFailed
    | ClockTicked
    | TrialSuggested
    | RequestLapsed
    | JobCreated
    | JobsContinued
    | JobPruned
    | BudgetUpdated
    | TrialFinished
    | SearchEnding
    | SearchFinished
    | RequestRefused
    | TrialNoted
    | TextStored
    | EndCommandRan
    | TasksLeft
    | TrialAsked
    | ParameterSuggested
    | PointJudged
    | TrialTold
    | TrialLost
    | TrialAdded
    | AttributeSet
    | LateCall
)


Act: TypeAlias = UserInput | TrialNoted  # what a person or a script did, and its author


def subject_of(event: Event | Input | None) -> tuple[int | None, int | None]:
    """Return the trial and the number of the attempt that *event* names, None for each that it does not name."""
    return getattr(event, "trial", None), getattr(event, "attempt", None)


def trial_of(event: Event | None) -> int | None:
    """Return the trial that *event* names, None if it names none."""
    return subject_of(event)[0]


def attempt_of(event: Event | None) -> AttemptId | None:
    """Return the attempt that *event* names by trial and number, None if it names none."""
    trial, number = subject_of(event)
    return None if trial is None or number is None else (trial, number)


def request_of(event: Event) -> str | None:
    """Return the id of the request that *event* answers or records, None if it has none."""
    return getattr(event, "request", None)


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a log ends: its last `seq` and that row's hash (32 hex digits)."""

    seq: int
    hash: str


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event as a row of the log; `at` is microseconds since 1970, UTC, for people."""

    seq: int
    at: int
    epoch: int
    cause: int | None
    event: Event
    hash: str
