"""What `explain` returns: the steps of a trial in the order of the log, each with the numbers that it follows from.

`differs` says in words how a step, computed again from the events before it, differs from the record. It is None if
they are equal, or if it cannot be computed again.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from eventhpo.core.fold.event_parts import Fate, ImportedTrial
from eventhpo.core.scheduler.outcome import AttemptOutcome
from eventhpo.core.search.spec import Num, Scalar
from eventhpo.views.statuses import TrialStatus
from replay.decide.rounding import Apart
from replay.explain.pruner_rules.findings import AnyFinding


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="step"):
    """One thing that happened to the trial, at row `seq` of the log."""

    seq: int
    differs: str | None = None


class SeenTrials(msgspec.Struct, frozen=True):
    """The trials that a sampler saw, by number, as they stood."""

    completed: tuple[int, ...]
    pruned: tuple[int, ...]
    failed: tuple[int, ...]  # aborted ones too
    running: tuple[int, ...]


class StartUp(msgspec.Struct, frozen=True):
    """The sampler's own start-up rule: it draws by `by` until `needed` trials of these states are there."""

    argument: str
    needed: int
    there: int
    counts: str  # which trials count, in words
    by: str  # what draws until then
    in_it: bool


class Split(msgspec.Struct, frozen=True):
    """How TPE split the trials that it saw: it prefers points likely among `better` and not among `worse`."""

    better: tuple[int, ...]
    worse: tuple[int, ...]  # running ones too, if they count
    running: tuple[int, ...]  # those of `worse` that were still running (constant_liar)
    constant_liar: bool


class Suggestion(Step, frozen=True, kw_only=True, tag="suggested"):
    """Where the trial's point comes from, and what was seen when it was chosen."""

    source: Literal["sampler", "user", "caller"]
    sampler: str
    arguments: dict[str, Any]
    search_seed: int
    seed: int | None  # of this very try; None where the sampler was not asked
    tries: int
    enumerated: bool
    duplicate_of: tuple[int, ...]
    points_left: int | None  # of a finite space, before this one
    seen: SeenTrials
    start_up: StartUp | None
    split: Split | None
    notes: tuple[str, ...]  # what else the sampler went by
    asked_at: int | None  # seq of the point or request of a user or caller
    asked_by: str  # who enqueued the point and why, as text; empty where nobody is named
    given: tuple[str, ...] | None  # names that a user's point fixed; None for a sampler's own
    again: Literal["same", "rounded", "differs", "not asked"]  # rounded: the same but for rounding, elsewhere recorded
    not_asked_because: str | None = None
    apart: Apart | None = None  # of a rounded one: how far, at most


class Imported(Step, frozen=True, kw_only=True, tag="imported"):
    """The trial was finished elsewhere."""

    study: str
    trial: ImportedTrial
    source: str  # the name of the log's file, or of a study that was no log


class Retry(msgspec.Struct, frozen=True):
    """Why there is another attempt, or none: how the last one ended, how often, and how many retries are allowed."""

    outcome: AttemptOutcome
    why: str
    count: int
    allowed: int
    limit: str


class BudgetAtLaunch(msgspec.Struct, frozen=True):
    """The budget when a job was created: `used` and `reserved` before it, and what it reserves."""

    used: int
    reserved: int
    reserves: int
    limit: int | None


class OccupiedSlot(msgspec.Struct, frozen=True):
    """A slot that was taken, and by whom."""

    slot: int
    trial: int
    attempt: int


class LaunchStep(Step, frozen=True, kw_only=True, tag="launched"):
    """The decision to run an attempt."""

    attempt: int
    slot: int
    workers: int
    busy: tuple[OccupiedSlot, ...]
    budget: BudgetAtLaunch | None  # None where iterations are not counted
    trials: int  # which one it is, counted from 1, imported ones aside
    trials_limit: int | None  # where trials are what is limited
    trials_limited_by: str | None  # the name of that limit
    retry: Retry | None


class Happened(Step, frozen=True, kw_only=True, tag="happened"):
    """Something that came from outside, in words."""

    event: str
    attempt: int
    said: str


class StudyStep(Step, frozen=True, kw_only=True, tag="study"):
    """What happened to a trial of an Optuna study, in words; `attempt` is -1 before it was first asked for."""

    word: str
    attempt: int
    said: str


class PersonsStep(Step, frozen=True, kw_only=True, tag="by a person"):
    """What a person did about the trial: `author` says who and why, empty where nobody is named."""

    event: str
    said: str
    author: str


class JudgedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the curve and the verdict on it."""

    seq: int
    position: int  # in the curve, 1 is the first
    iteration: int
    value: Num  # as the pruner sees it: the best so far for max_global and min_global
    recorded: Literal["go on", "prune", "too late"]
    asked: bool  # whether the pruner was asked: not below min_iteration_per_job
    found: AnyFinding | None
    differs: str | None


class Stretch(Step, frozen=True, kw_only=True, tag="went on"):
    """Verdicts to go on, one after the other; `closest` is the point that came closest to a prune."""

    attempt: int
    points: tuple[JudgedPoint, ...]
    closest: int | None  # index into `points`


class TooLate(Step, frozen=True, kw_only=True, tag="too late"):
    """The pruner said prune, and it changed nothing."""

    attempt: int
    point: JudgedPoint
    why: Literal["ended", "limit"]


class Prune(Step, frozen=True, kw_only=True, tag="pruned"):
    """The verdict that ended the attempt."""

    attempt: int
    point: JudgedPoint
    needed: str | None


class Settled(Step, frozen=True, kw_only=True, tag="settled"):
    """What decided the attempt's outcome before its job was over, or had it stopped."""

    attempt: int
    fate: Fate | None
    stopped: bool
    event: str
    why: str


class JobEndStep(Step, frozen=True, kw_only=True, tag="ended"):
    """The job is over, and how; of the points that it `reported` `unjudged` are without a verdict."""

    attempt: int
    how: str
    why: str
    code: int | None
    signal: int | None
    output: str | None
    reported: int
    unjudged: int
    again: bool  # a lost one, over a second time


class Charge(Step, frozen=True, kw_only=True, tag="charged"):
    """What the attempt cost, in iterations; `used` and `reserved` are those of the search after it."""

    attempt: int
    iterations: int
    late: int
    inherited: int
    compute_time: int
    least: bool  # it reported less than the one iteration that a started job costs at least
    used: int
    reserved: int


class Rank(msgspec.Struct, frozen=True):
    """The place among the trials that `eventhpo top` lists."""

    place: int
    of: int


class Finish(Step, frozen=True, kw_only=True, tag="finished"):
    """The trial's outcome and what the sampler is told."""

    state: Literal["completed", "pruned", "failed", "aborted"]
    values: tuple[Num, ...] | None
    why: str
    nan_policy: Literal["fail", "worst"] | None  # where its value was NaN
    last: Retry | None  # how the last attempt of a failed trial ended, and why there is no other
    rank: Rank | None


class Late(msgspec.Struct, frozen=True):
    """Points of an attempt that are recorded and shown, and that sampler, pruner and budget never see."""

    attempt: int
    points: int
    first: int
    last: int


AnyStep: TypeAlias = (
    Suggestion
    | Imported
    | LaunchStep
    | StudyStep
    | Happened
    | PersonsStep
    | Stretch
    | TooLate
    | Prune
    | Settled
    | JobEndStep
    | Charge
    | Finish
)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that happened to one trial, and why, as of row `seq`."""

    search: str
    search_id: str
    seq: int
    trial: int
    trials: int
    status: TrialStatus
    params: dict[str, Scalar]
    objectives: tuple[str, ...]
    steps: tuple[AnyStep, ...]
    late: tuple[Late, ...]
    rank: Rank | None  # as of `seq`
    decisions: int  # recorded decisions and verdicts that were computed again
    differs: tuple[int, ...]  # rows where the numbers do not come to what is recorded
    notes: tuple[str, ...]
