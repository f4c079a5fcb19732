"""What two searches saw, input by input, without what differs between any two searches.

Compared are points of the objective, how jobs ended, and what users asked for. Left
out are receipts (job ids, times of a start), other series, ticks, and who drove it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import events
from eventhpo.core.fold.events import Input, MetricObserved, Recorded
from eventhpo.views import event_lines, formatting
from replay.next_step import of

InputKey: TypeAlias = tuple[str, ...]
MOST = 20  # differences that are listed

_ASIDE = (
    events.SearchCreated,
    events.ControllerStarted,
    events.CommandMoved,
    events.OptimizerTaskSet,
    events.JobBound,
    events.JobQueued,
    events.JobStarted,
    events.JobStopSent,
    events.JobRunsOn,
    events.ReportsRead,
    events.ClockTicked,
)
# fields that say who, when or how exactly, and change no decision
_TIMES = ("clock", "started_at", "finished_at", "boot_clock", "started_boot_clock", "finished_boot_clock")
_WITHOUT = ("request", "why", "error", *_TIMES, "output", "code", "signal", "by_itself")


class ComparedInput(msgspec.Struct, frozen=True):
    """One thing that was seen: which thing, what of it is compared, and how it is told."""

    seq: int
    key: InputKey
    value: bytes
    text: str


class InputSide(msgspec.Struct, frozen=True):
    """An input of one log."""

    seq: int
    what: str


class InputDifference(msgspec.Struct, frozen=True):
    """An input that differs: another value, or seen by one only (the other side is None)."""

    how: Literal["value", "only A", "only B"]
    a: InputSide | None
    b: InputSide | None


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """How what two searches saw compares.

    `alike` inputs come first in both, in the same order; `first` are the first that
    are not the same, None for a side that had seen no more. `order_only`: both saw the
    same, in another order. `differences` are the first `MOST` of `different`.
    """

    alike: int
    same: bool
    order_only: bool
    first: tuple[InputSide | None, InputSide | None]
    different: int
    differences: list[InputDifference]


def compared(a: Sequence[Recorded], b: Sequence[Recorded]) -> Inputs:
    """Return how the inputs in *a* and *b* compare."""
    ours, theirs = list(seen(a)), list(seen(b))
    alike = _alike(ours, theirs)
    first = tuple(_side(one[alike]) if alike < len(one) else None for one in (ours, theirs))
    same = len(ours) == len(theirs) == alike
    differences = [] if same else list(_differences(ours[alike:], theirs[alike:]))
    return Inputs(
        alike=alike,
        same=same,
        order_only=not same and not differences,
        first=(first[0], first[1]),
        different=len(differences),
        differences=differences[:MOST],
    )


def _alike(a: Sequence[ComparedInput], b: Sequence[ComparedInput]) -> int:
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if (one.key, one.value) != (other.key, other.value):
            return place
    return min(len(a), len(b))


def _side(one: ComparedInput) -> InputSide:
    return InputSide(one.seq, one.text)


def _differences(a: Sequence[ComparedInput], b: Sequence[ComparedInput]) -> Iterator[InputDifference]:
    theirs = {one.key: one for one in b}
    ours = {one.key for one in a}
    for one in a:
        other = theirs.get(one.key)
        if other is None:
            yield InputDifference("only A", _side(one), None)
        elif other.value != one.value:
            yield InputDifference("value", _side(one), _side(other))
    yield from (InputDifference("only B", None, _side(one)) for one in b if one.key not in ours)


def seen(rows: Sequence[Recorded]) -> Iterator[ComparedInput]:
    """Yield what a search saw, in the order of its log; a point at a time."""
    times: Counter[InputKey] = Counter()
    for row in rows:
        if not isinstance(row.event, Input) or isinstance(row.event, _ASIDE):
            continue
        for which, value, text in _things(row.event):
            times[which] += 1
            yield ComparedInput(row.seq, (*which, str(times[which])), value, text)


def _things(event: Input) -> Iterator[tuple[InputKey, bytes, str]]:
    subject = str(getattr(event, "trial", "")), str(getattr(event, "attempt", ""))
    whose = of(getattr(event, "trial", None), getattr(event, "attempt", None))
    if isinstance(event, MetricObserved):
        name = f"{event.title}/{event.series}"
        for iteration, value in zip(event.iterations, event.values, strict=True):
            text = f"{formatting.line(name)} = {formatting.number(value)} at iteration {iteration}{whose}"
            yield (*subject, "point", name), msgspec.json.encode([iteration, value]), text
        return
    kind = type(event).__name__
    body = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _WITHOUT}
    said = formatting.line(event_lines.told(event))  # type: ignore[arg-type]
    yield (*subject, kind), msgspec.json.encode(body, order="deterministic"), f"{kind}{whose}{f': {said}' * bool(said)}"
