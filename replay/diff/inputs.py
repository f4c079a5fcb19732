"""The inputs of two searches compared, without what differs between any two searches.

Compared are the points of the objectives, the ends of jobs and the requests of users.
Not compared are receipts (job ids, start times), other series, ticks and controllers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import event_families, events
from eventhpo.core.fold.event_families import Input
from eventhpo.core.fold.events import MetricObserved, Recorded
from eventhpo.views import event_lines, formatting
from replay.next_step import of_attempt

InputKey: TypeAlias = tuple[str, ...]
MOST = 20  # differences that are listed

_NOT_COMPARED = (
    events.SearchCreated,
    events.ControllerStarted,
    event_families.RunSetting,
    event_families.Receipt,
    event_families.Tick,
    events.JobRunsOn,
    events.ReportsRead,
)
# fields that change no decision: who, when, and the details of an end
_TIMES = ("clock", "started_at", "finished_at", "boot_clock", "started_boot_clock", "finished_boot_clock")
_IGNORED_FIELDS = ("request", "by", "why", "uid", "error", *_TIMES, "output", "code", "signal", "by_itself")


class ComparedInput(msgspec.Struct, frozen=True):
    """One input: what it is about, the part of it that is compared, and a phrase that describes it."""

    seq: int
    key: InputKey
    value: bytes
    text: str


class InputSide(msgspec.Struct, frozen=True):
    """A row of one log: its seq, and a phrase that describes it."""

    seq: int
    what: str


class InputDifference(msgspec.Struct, frozen=True):
    """An input that differs: its value differs, or only one log has it (then the other side is None)."""

    how: Literal["value", "only A", "only B"]
    a: InputSide | None
    b: InputSide | None


class InputComparison(msgspec.Struct, frozen=True, kw_only=True):
    """How the inputs of two searches compare.

    Both begin with `alike` equal inputs in the same order. `first` is the next input of
    each, None where a log has no more. `order_only`: both have the same inputs, in
    another order. `differences` lists the first `MOST` of the `different` inputs.
    """

    alike: int
    same: bool
    order_only: bool
    first: tuple[InputSide | None, InputSide | None]
    different: int
    differences: list[InputDifference]


def compare_inputs(a: Sequence[Recorded], b: Sequence[Recorded]) -> InputComparison:
    """Compare the inputs in the rows *a* and *b*."""
    inputs_a, inputs_b = list(compared_inputs(a)), list(compared_inputs(b))
    alike = _count_alike(inputs_a, inputs_b)
    same = len(inputs_a) == len(inputs_b) == alike
    differences = [] if same else list(_differences(inputs_a[alike:], inputs_b[alike:]))
    return InputComparison(
        alike=alike,
        same=same,
        order_only=not same and not differences,
        first=(_side_at(inputs_a, alike), _side_at(inputs_b, alike)),
        different=len(differences),
        differences=differences[:MOST],
    )


def _count_alike(a: Sequence[ComparedInput], b: Sequence[ComparedInput]) -> int:
    for place, (input_a, input_b) in enumerate(zip(a, b, strict=False)):
        if (input_a.key, input_a.value) != (input_b.key, input_b.value):
            return place
    return min(len(a), len(b))


def _side(compared: ComparedInput) -> InputSide:
    return InputSide(compared.seq, compared.text)


def _side_at(inputs: Sequence[ComparedInput], place: int) -> InputSide | None:
    return _side(inputs[place]) if place < len(inputs) else None


def _differences(a: Sequence[ComparedInput], b: Sequence[ComparedInput]) -> Iterator[InputDifference]:
    by_key_b = {input_b.key: input_b for input_b in b}
    keys_a = {input_a.key for input_a in a}
    for input_a in a:
        input_b = by_key_b.get(input_a.key)
        if input_b is None:
            yield InputDifference("only A", _side(input_a), None)
        elif input_b.value != input_a.value:
            yield InputDifference("value", _side(input_a), _side(input_b))
    yield from (InputDifference("only B", None, _side(input_b)) for input_b in b if input_b.key not in keys_a)


def compared_inputs(rows: Sequence[Recorded]) -> Iterator[ComparedInput]:
    """Yield the inputs of a search that are compared, in the order of its log; each point of a curve by itself."""
    times: Counter[InputKey] = Counter()
    for row in rows:
        if not isinstance(row.event, Input) or isinstance(row.event, _NOT_COMPARED):
            continue
        for key, value, text in _split(row.event):
            times[key] += 1
            yield ComparedInput(row.seq, (*key, str(times[key])), value, text)


def _split(event: Input) -> Iterator[tuple[InputKey, bytes, str]]:
    """Yield the key, the compared part and the description of each input in *event*."""
    subject = str(getattr(event, "trial", "")), str(getattr(event, "attempt", ""))
    owner = of_attempt(getattr(event, "trial", None), getattr(event, "attempt", None))
    if isinstance(event, MetricObserved):
        name = f"{event.title}/{event.series}"
        for iteration, value in zip(event.iterations, event.values, strict=True):
            text = f"{formatting.line(name)} = {formatting.number(value)} at iteration {iteration}{owner}"
            yield (*subject, "point", name), msgspec.json.encode([iteration, value]), text
        return
    kind = type(event).__name__
    body = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _IGNORED_FIELDS}
    details = formatting.line(event_lines.describe_event(event))  # type: ignore[arg-type]
    yield (
        (*subject, kind),
        msgspec.json.encode(body, order="deterministic"),
        f"{kind}{owner}{f': {details}' * bool(details)}",
    )
