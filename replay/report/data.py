"""What a report shows, as columns: each mark with the event that made it known.

A row is known at event n if its `seq` is at most n; of rows that follow each other, the last one known holds. So
one piece of data gives the search as of every event, and the page needs no rule of the search to play it back.
Times are microseconds since 1970, UTC. Numbers that JSON cannot carry are texts (`Num`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.search.spec import Num

FORMAT = 1  # of this data; page and data are made by one version

ParameterKind: TypeAlias = Literal["number", "log", "choice"]


class ShownObjective(msgspec.Struct, frozen=True):
    """An objective: `title/series`, and whether a larger value is better."""

    name: str
    maximize: bool


class ShownParameter(msgspec.Struct, frozen=True):
    """A parameter: its name, the shortest name that tells it from the others, and how its axis is drawn."""

    name: str
    short: str
    kind: ParameterKind
    extra: bool = False  # not of the space: some trial has it all the same


class TrialRows(msgspec.Struct):
    """The trials by number; `text` and `number` have a list for each parameter.

    `position` is where on an axis from 0 to 1 the parameter's value lies. A value that a trial does not have is None.
    """

    number: list[int] = []
    seq: list[int] = []
    source: list[str] = []
    imported: list[bool] = []
    text: list[list[str | None]] = []
    numbers: list[list[float | None]] = []
    position: list[list[float | None]] = []
    known: list[list[int]] = []  # of a study: the event from which on each parameter was known; else empty


class TrialVersions(msgspec.Struct):
    """A row each time that a trial's status or value changed; `values` has a list for each objective."""

    trial: list[int] = []
    seq: list[int] = []
    status: list[str] = []
    marked: list[bool] = []  # its value does not rest on all that it reported
    why: list[str] = []
    values: list[list[Num | None]] = []


class AttemptRows(msgspec.Struct):
    """The attempts in the order of their creation; a seq or time is None where the log does not have it."""

    trial: list[int] = []
    number: list[int] = []
    slot: list[int] = []
    seq: list[int] = []
    at: list[int] = []
    job_id: list[str | None] = []  # the task's page, where the jobs are tasks on a server with an address
    bound: list[int | None] = []  # seq
    ended: list[int | None] = []  # seq
    ended_at: list[int | None] = []
    charged: list[int | None] = []  # seq
    charge: list[int] = []
    late: list[int] = []
    compute: list[int] = []  # microseconds


class AttemptVersions(msgspec.Struct):
    """A row each time that the status of a job changed; `attempt` is the position in the attempts."""

    attempt: list[int] = []
    seq: list[int] = []
    status: list[str] = []


class CurveRows(msgspec.Struct):
    """A curve for each objective of each attempt that reported; `seq` has the event of each point.

    Points from position `cut` on are late.
    """

    attempt: list[int] = []
    objective: list[int] = []
    iterations: list[list[int]] = []
    values: list[list[Num]] = []
    seq: list[list[int]] = []
    cut: list[int | None] = []


class PruneRows(msgspec.Struct):
    """Where trials were pruned, and the value that each needed; None where no single value would have done."""

    trial: list[int] = []
    attempt: list[int] = []
    seq: list[int] = []
    iteration: list[int] = []
    value: list[Num] = []
    needed: list[Num | None] = []
    needed_text: list[str] = []
    why: list[str] = []


class Standing(msgspec.Struct):
    """A row each time that the state or the budget of the search changed."""

    seq: list[int] = []
    state: list[str] = []
    ending: list[str] = []
    waiting: list[int] = []
    used: list[int] = []
    reserved: list[int] = []
    limit: list[int | None] = []
    compute: list[int] = []  # microseconds


class IdleRows(msgspec.Struct):
    """Stretches in which a slot was free, and why; `seq` is the event that ended the stretch."""

    slot: list[int] = []
    begin: list[int] = []
    end: list[int] = []
    seq: list[int] = []
    why: list[str] = []


class ControllerRows(msgspec.Struct):
    """The controllers; `gap` is the time without one before it, in microseconds of wall time, 0 for the first."""

    seq: list[int] = []
    at: list[int] = []
    text: list[str] = []
    gap: list[int] = []


class ImportanceRows(msgspec.Struct):
    """How much each parameter mattered for an objective, from 0 to 1; or why this is not known."""

    objective: list[int] = []
    parameter: list[str] = []  # as the sampler knows it
    importance: list[float] = []
    method: str = ""
    why_not: str = ""


class EventRows(msgspec.Struct):
    """All events: when each was recorded, and its type as a position in `types`; `trial` is -1 where none is named."""

    types: list[str] = []
    at: list[int] = []  # microseconds after the event before it; of the first since 1970
    type: list[int] = []
    trial: list[int] = []


class AnsweredQuestion(msgspec.Struct, frozen=True):
    """A question that a reader of the report has, and its answers; no answer means none."""

    question: str
    answers: list[str]


# Of each trial by number the rows of its explanation: the event, what it is, and why.
Explained: TypeAlias = list[list[tuple[str, str, str]]]


class ReportData(msgspec.Struct, kw_only=True):
    """Everything that a report shows of one search, up to event `seq`."""

    format: int = FORMAT
    name: str
    search_id: str
    log: str
    seq: int
    head: str
    as_of: str
    goes_on: bool  # the log has later events, which are left out
    damage: list[str]
    tasks: bool  # the jobs are tasks on a server, so tables name them
    objectives: list[ShownObjective]
    parameters: list[ShownParameter]
    facts: list[tuple[str, str]]  # what was asked for: sampler, pruner, limits
    verdict: list[str]
    trouble: list[AnsweredQuestion]
    events: EventRows
    trials: TrialRows
    versions: TrialVersions
    attempts: AttemptRows
    attempt_versions: AttemptVersions
    curves: CurveRows
    prunes: PruneRows
    standing: Standing
    idle: IdleRows
    controllers: ControllerRows
    importance: ImportanceRows
    explained: Explained | None  # None: each is asked for when it is shown
