"""The decisions of two logs side by side, without what differs between any two searches.

Left out of the comparison: keys, ids of requests, causes, reasons in words, measured
time, iterations that came late, and what samplers and pruners wrote for themselves.
A verdict to go on is compared point by point, since how a curve is cut into polls is
no decision: it differs from a prune of the same point, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from eventhpo.core.fold import events
from eventhpo.core.fold.events import Decision, JobPruned, JobsContinued, Recorded

PointId: TypeAlias = tuple[int, int, int]  # trial, attempt, position in the curve

_APART: dict[type[Decision], tuple[str, ...]] = {  # fields that are not compared
    events.TrialSuggested: ("request", "tries", "point", "attrs", "study_attrs"),
    events.RequestLapsed: ("request",),
    events.JobCreated: ("key",),
    events.JobPruned: ("attrs", "latched"),
    events.BudgetUpdated: ("late", "compute_time"),
    events.TrialFinished: ("why",),
    events.SearchEnding: ("detail",),
    events.SearchFinished: (),
}


class Made(msgspec.Struct, frozen=True):
    """A decision in its row, and what of it is compared."""

    row: Recorded
    core: bytes


class PointVerdict(msgspec.Struct, frozen=True):
    """What was said of one point, and by which row."""

    word: str
    row: Recorded


class FirstDifference(msgspec.Struct, frozen=True):
    """The rows in which two logs first decide otherwise."""

    a: Recorded
    b: Recorded
    point: PointId | None = None  # the point that they judge otherwise


def made(rows: Sequence[Recorded]) -> list[Made]:
    """Return the decisions of a log in their order, verdicts to go on aside."""
    return [
        Made(row, core(row.event))
        for row in rows
        if isinstance(row.event, Decision) and not isinstance(row.event, JobsContinued)
    ]


def core(event: Decision) -> bytes:
    """Return what of *event* is compared: two are the same decision if this is equal to the bit."""
    body = msgspec.to_builtins(event)
    for name in _APART[type(event)]:
        body.pop(name, None)
    return msgspec.json.encode([type(event).__name__, body], order="deterministic")


def verdicts(rows: Sequence[Recorded]) -> dict[PointId, PointVerdict]:
    """Return what was said of each point of each attempt, in the order of judging."""
    found: dict[PointId, PointVerdict] = {}
    judged: dict[tuple[int, int], int] = {}
    for row in rows:
        for trial, attempt, upto, word in _judged(row):
            before = judged.get((trial, attempt), 0)
            for position in range(before + 1, upto):
                found[trial, attempt, position] = PointVerdict("go on", row)
            found[trial, attempt, upto] = PointVerdict(word, row)
            judged[trial, attempt] = max(before, upto)
    return found


def _judged(row: Recorded) -> Iterator[tuple[int, int, int, str]]:
    match row.event:
        case JobsContinued(verdicts=found):
            for v in found:
                yield v.trial, v.attempt, v.judged, "prune, too late" if v.too_late else "go on"
        case JobPruned(trial=trial, attempt=attempt, judged=upto):
            yield trial, attempt, upto, "prune"


def first_difference(a: Sequence[Recorded], b: Sequence[Recorded]) -> tuple[FirstDifference | None, int]:
    """Return where two logs first decide otherwise, None if they do not as far as both go; and the alike before."""
    ours, theirs = made(a), made(b)
    judged_a, judged_b = verdicts(a), verdicts(b)
    otherwise = _judged_otherwise(judged_a, judged_b)
    for alike, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one.core == other.core:
            continue
        return _earlier(_across(one.row, other.row, judged_a, judged_b), otherwise), alike
    return otherwise, min(len(ours), len(theirs))


def _judged_otherwise(a: dict[PointId, PointVerdict], b: dict[PointId, PointVerdict]) -> FirstDifference | None:
    for point, verdict in a.items():
        other = b.get(point)
        if other is not None and other.word != verdict.word:
            return FirstDifference(verdict.row, other.row, point)
    return None


def _across(
    a: Recorded, b: Recorded, judged_a: dict[PointId, PointVerdict], judged_b: dict[PointId, PointVerdict]
) -> FirstDifference:
    """Return what stands against each other: a prune against the verdict on the same point, if there is one."""
    for row, there in ((a, judged_b), (b, judged_a)):
        if isinstance(row.event, JobPruned):
            point = row.event.trial, row.event.attempt, row.event.judged
            other = there.get(point)
            if other is not None and other.word != "prune":
                return FirstDifference(a, other.row, point) if row is a else FirstDifference(other.row, b, point)
    return FirstDifference(a, b)


def _earlier(found: FirstDifference, otherwise: FirstDifference | None) -> FirstDifference:
    """Return *otherwise* if it stands before *found* on both sides."""
    if otherwise is not None and otherwise.a.seq < found.a.seq and otherwise.b.seq < found.b.seq:
        return otherwise
    return found
