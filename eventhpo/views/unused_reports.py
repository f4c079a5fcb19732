"""What a job reported and no value rests on: lines that are no reports, points out of order."""

from __future__ import annotations

import msgspec

from eventhpo.core.fold.curve import Ignored
from eventhpo.core.fold.event_parts import BadLine
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler.outcome import report_faults
from eventhpo.core.search.spec import Num, to_num
from eventhpo.views import formatting


class IgnoredPoint(msgspec.Struct, frozen=True):
    """A point that came out of order: `iteration` after the iteration `after`."""

    metric: str
    iteration: int
    value: Num
    after: int


class Fault(msgspec.Struct, frozen=True):
    """A line that is no report: its place, and why."""

    place: str
    why: str


class Unused(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what an attempt reported is used for nothing, and the first of each kind."""

    trial: int
    attempt: int
    faults: int
    first_fault: Fault | None
    ignored: int
    first_ignored: IgnoredPoint | None


def unused(state: State, attempt: Attempt) -> Unused | None:
    """Return what *attempt* reported for nothing; None if there is nothing of it."""
    if not (attempt.bad or attempt.ignored):
        return None
    return Unused(
        trial=attempt.trial,
        attempt=attempt.number,
        faults=attempt.bad,
        first_fault=None if attempt.first_bad is None else _fault(attempt.first_bad),
        ignored=attempt.ignored,
        first_ignored=_first_ignored(state, attempt),
    )


def _fault(bad: BadLine) -> Fault:
    return Fault(bad.place, bad.why)


def _first_ignored(state: State, attempt: Attempt) -> IgnoredPoint | None:
    for objective, curve in zip(state.search.objectives, attempt.curves, strict=True):
        if curve.first_ignored is not None:
            return _point(formatting.metric(objective), curve.first_ignored)
    return None


def _point(metric: str, ignored: Ignored) -> IgnoredPoint:
    return IgnoredPoint(metric, ignored.iteration, to_num(ignored.value), ignored.after)


def describe_faults(attempt: Attempt) -> str:
    """Return how many faults the reports of *attempt* have, and the first; empty if they have none."""
    return formatting.line(report_faults(attempt))


def describe_beginning(state: State, attempt: Attempt, seq: int) -> str:
    """Return what began with row *seq*: the first fault, the first ignored point; empty for any other row."""
    parts = (
        describe_first_fault(attempt) if attempt.bad_since == seq else "",
        describe_ignored(state, attempt) if attempt.ignored_since == seq else "",
    )
    return "; ".join(filter(None, parts))


def describe_first_fault(attempt: Attempt) -> str:
    """Return the first fault of the reports of *attempt*, which has one."""
    assert attempt.first_bad is not None
    return formatting.line(f"a fault in its reports, at {attempt.first_bad.place}: {attempt.first_bad.why}")


def describe_ignored(state: State, attempt: Attempt) -> str:
    """Return how many points of *attempt* are ignored, and the first; empty if none is."""
    first = _first_ignored(state, attempt)
    if first is None:
        return ""
    first_point = f"{formatting.line(first.metric)} = {formatting.number(first.value)} at iteration {first.iteration}"
    first_one = "" if attempt.ignored == 1 else "the first, "
    return (
        f"{formatting.plural(attempt.ignored, 'point')} ignored, because iterations must rise: "
        f"{first_one}{first_point}, came after iteration {first.after}"
    )


def describe_unused(state: State, attempt: Attempt, told: str = "") -> str:
    """Return the faults and the ignored points of *attempt* in one text, without the parts that *told* holds."""
    parts = [describe_faults(attempt), describe_ignored(state, attempt)]
    return "; ".join(part for part in parts if part and part not in told)
