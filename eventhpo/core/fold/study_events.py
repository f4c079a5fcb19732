"""The events of an Optuna study on the log, where a search of jobs has none that mean the same.

The objective runs in the process that asks: there is no job, and the space is what the objective
suggests. A trial keeps its number; each time it is asked for, it gets a new attempt and a new id.
Values that a user may choose freely (attributes) are JSON text, so that their keys keep their order.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.event_families import Decision, Note, Observation, UserInput
from eventhpo.core.search.spec import Num, Scalar

StudyTrialState: TypeAlias = Literal["waiting", "running", "completed", "pruned", "failed"]


class WrittenAttribute(msgspec.Struct, frozen=True, array_like=True):
    """An attribute that a sampler or pruner wrote: `value` is JSON text; on the trial, or `on_study`."""

    name: str
    value: str
    on_study: bool = False


class StudyParameter(msgspec.Struct, frozen=True, array_like=True):
    """A parameter of a study: the value as the objective has it, as Optuna stores it, and its distribution.

    `value` is text where the choice is no JSON scalar. `distribution` is Optuna's JSON text.
    """

    name: str
    value: Scalar
    internal: Num
    distribution: str


class TrialAsked(Observation, frozen=True, kw_only=True):
    """Somebody asks for a trial and gets this attempt of it: a new trial, or one that waits.

    `loop`: asked in `Study.optimize`, so it is asked for again if its process is gone.
    `worker` is a process that asked through `eventhpo serve`, `lease` the seconds that it may be silent.
    """

    trial: int
    attempt: int
    trial_id: int
    loop: bool = False
    worker: str = ""
    lease: float | None = None


class ParameterSuggested(Decision, frozen=True, kw_only=True):
    """The trial has a parameter; the row's cause is the last event that the sampler saw.

    `relative` is all that the sampler answered for the trial as a whole, if it was asked for
    this row, in its order. `written` is what it wrote while it answered. A row without a
    `parameter` has only those: the answer went to another process.
    """

    trial: int
    attempt: int
    parameter: StudyParameter | None
    source: Literal["relative", "independent", "fixed", "single", "unknown"]
    relative: tuple[StudyParameter, ...] | None = None
    written: tuple[WrittenAttribute, ...] = ()


class PointJudged(Decision, frozen=True, kw_only=True):
    """The objective reported `value` at `step`; `prune` is the pruner's answer, None if it was not asked.

    `value` is None where the point stands in an earlier row. `latched` is what an "auto" resource
    of the pruner means from here on.
    """

    trial: int
    attempt: int
    step: int
    value: Num | None
    prune: bool | None = None
    written: tuple[WrittenAttribute, ...] = ()
    latched: int | None = None


class TrialTold(Observation, frozen=True, kw_only=True):
    """The trial is over. `stop`: its sampler has nothing left to suggest and ends the study."""

    trial: int
    attempt: int
    state: Literal["completed", "pruned", "failed"]
    values: tuple[Num, ...] | None = None
    why: str = ""
    written: tuple[WrittenAttribute, ...] = ()
    stop: bool = False


class TrialLost(Observation, frozen=True, kw_only=True):
    """The process that ran this attempt is gone; the trial waits under a new id to be asked for again."""

    trial: int
    attempt: int
    trial_id: int
    why: str


class TrialAdded(UserInput, frozen=True, kw_only=True):
    """A trial that was not asked for: enqueued, added, or imported from another study.

    `points` are (step, value) in the order reported, attributes (name, JSON text). Times are
    microseconds since 1970 of the local clock, as Optuna has them.
    """

    trial: int
    trial_id: int
    state: StudyTrialState
    parameters: tuple[StudyParameter, ...] = ()
    values: tuple[Num, ...] | None = None
    points: tuple[tuple[int, Num], ...] = ()
    user_attrs: tuple[tuple[str, str], ...] = ()
    system_attrs: tuple[tuple[str, str], ...] = ()
    started: int | None = None
    completed: int | None = None
    imported: bool = False


class AttributeSet(Observation, frozen=True, kw_only=True):
    """An attribute of a trial, or of the study if `trial` is None; `value` is JSON text."""

    trial: int | None = None
    attempt: int | None = None
    system: bool = False
    name: str
    value: str


class LateCall(Note, frozen=True, kw_only=True):
    """A call for an attempt that was lost came after that; it changed nothing."""

    trial: int
    attempt: int
    trial_id: int
    call: str
    detail: str = ""


StudyEvent: TypeAlias = (
    TrialAsked | ParameterSuggested | PointJudged | TrialTold | TrialLost | TrialAdded | AttributeSet | LateCall
)
