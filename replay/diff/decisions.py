"""The first decision that differs between two logs, without what differs between any two searches.

Not compared: keys, ids of requests, causes, reasons in words, measured time,
iterations that came late, and what samplers and pruners wrote for themselves. Verdicts
to go on are compared point by point, because the cut of a curve into polls decides
nothing: such a verdict differs only from a prune of the same point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from eventhpo.core.fold import events
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import JobPruned, JobsContinued, Recorded
from eventhpo.core.fold.study_events import ParameterSuggested, PointJudged

PointId: TypeAlias = tuple[int, int, int]  # trial, attempt, position in the curve

_NOT_COMPARED: dict[type[Decision], tuple[str, ...]] = {  # fields by event
    events.TrialSuggested: ("request", "tries", "point", "attrs", "study_attrs"),
    events.RequestLapsed: ("request",),
    events.JobCreated: ("key",),
    events.JobPruned: ("attrs", "latched"),
    events.BudgetUpdated: ("late", "compute_time"),
    events.TrialFinished: ("why",),
    events.SearchEnding: ("detail",),
    events.SearchFinished: (),
    ParameterSuggested: ("relative", "written"),
    PointJudged: ("written", "latched"),
}


if unlisted := set(Decision.__subclasses__()) - _NOT_COMPARED.keys() - {JobsContinued}:
    raise TypeError(f"the comparison of logs does not know {sorted(kind.__name__ for kind in unlisted)}")


class ComparedDecision(msgspec.Struct, frozen=True):
    """A decision in its row, and the part of it that is compared."""

    row: Recorded
    core: bytes


class PointVerdict(msgspec.Struct, frozen=True):
    """The verdict on one point, and the row that gave it."""

    word: str
    row: Recorded


class FirstDifference(msgspec.Struct, frozen=True):
    """The two rows that hold the first decision that differs."""

    a: Recorded
    b: Recorded
    point: PointId | None = None  # set where they give different verdicts on one point


def compared_decisions(rows: Sequence[Recorded]) -> list[ComparedDecision]:
    """Return the decisions of a log in their order, without verdicts to go on."""
    return [
        ComparedDecision(row, core(row.event))
        for row in rows
        if isinstance(row.event, Decision) and not isinstance(row.event, JobsContinued)
    ]


def core(event: Decision) -> bytes:
    """Return the part of *event* that is compared, as JSON; equal bytes mean the same decision."""
    body = msgspec.to_builtins(event)
    for name in _NOT_COMPARED[type(event)]:
        body.pop(name, None)
    return msgspec.json.encode([type(event).__name__, body], order="deterministic")


def verdicts(rows: Sequence[Recorded]) -> dict[PointId, PointVerdict]:
    """Return the verdict on each judged point, in the order of judging."""
    by_point: dict[PointId, PointVerdict] = {}
    judged: dict[tuple[int, int], int] = {}
    for row in rows:
        for trial, attempt, upto, word in _judged(row):
            before = judged.get((trial, attempt), 0)
            for position in range(before + 1, upto):
                by_point[trial, attempt, position] = PointVerdict("go on", row)
            by_point[trial, attempt, upto] = PointVerdict(word, row)
            judged[trial, attempt] = max(before, upto)
    return by_point


def _judged(row: Recorded) -> Iterator[tuple[int, int, int, str]]:
    match row.event:
        case JobsContinued(verdicts=continued):
            for v in continued:
                yield v.trial, v.attempt, v.judged, "prune, too late" if v.too_late else "go on"
        case JobPruned(trial=trial, attempt=attempt, judged=upto):
            yield trial, attempt, upto, "prune"


def first_difference(a: Sequence[Recorded], b: Sequence[Recorded]) -> tuple[FirstDifference | None, int]:
    """Find the first decision that differs between the logs *a* and *b*.

    Returns the difference (None if all decisions that both logs have are equal) and the
    number of equal decisions before it. Verdicts to go on are not counted.
    """
    decisions_a, decisions_b = compared_decisions(a), compared_decisions(b)
    judged_a, judged_b = verdicts(a), verdicts(b)
    of_verdicts = _first_verdict_difference(judged_a, judged_b)
    for equal, (decision_a, decision_b) in enumerate(zip(decisions_a, decisions_b, strict=False)):
        if decision_a.core == decision_b.core:
            continue
        return _earlier(_opposed(decision_a.row, decision_b.row, judged_a, judged_b), of_verdicts), equal
    return of_verdicts, min(len(decisions_a), len(decisions_b))


def _first_verdict_difference(a: dict[PointId, PointVerdict], b: dict[PointId, PointVerdict]) -> FirstDifference | None:
    for point, verdict in a.items():
        other = b.get(point)
        if other is not None and other.word != verdict.word:
            return FirstDifference(verdict.row, other.row, point)
    return None


def _opposed(
    a: Recorded, b: Recorded, judged_a: dict[PointId, PointVerdict], judged_b: dict[PointId, PointVerdict]
) -> FirstDifference:
    """Oppose the rows *a* and *b*; a prune is opposed to the other log's verdict on the same point, if it has one."""
    for row, judged_by_other in ((a, judged_b), (b, judged_a)):
        if isinstance(row.event, JobPruned):
            point = row.event.trial, row.event.attempt, row.event.judged
            other = judged_by_other.get(point)
            if other is not None and other.word != "prune":
                return FirstDifference(a, other.row, point) if row is a else FirstDifference(other.row, b, point)
    return FirstDifference(a, b)


def _earlier(difference: FirstDifference, of_verdicts: FirstDifference | None) -> FirstDifference:
    """Return *of_verdicts* if it comes before *difference* in both logs, else *difference*."""
    if of_verdicts is not None and of_verdicts.a.seq < difference.a.seq and of_verdicts.b.seq < difference.b.seq:
        return of_verdicts
    return difference
