"""Reports as lines of text and as JSON: the same for the command, the API and the pytest plugin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import Decision, Event, Head, Recorded
from eventhpo.errors import DamagedLog
from eventhpo.views import event_lines, formatting
from replay.decide.divergence import Divergence, Field, first_field
from replay.decide.fingerprints import ORDER, FingerprintDifference, Fingerprints
from replay.decide.nearness import Near
from replay.decide.report import ReplayVerdict, Report, Undecided
from replay.decide.rounding import ROUNDS, Rounded

CODES: dict[ReplayVerdict, int] = {"ok": 0, "rounded": 0, "diverged": 1, "damaged": DamagedLog.code}
_INPUTS = 10  # of a divergence that text shows: a screen, with both sides
_ROUNDED = 20  # decisions that text lists as equal up to rounding; JSON has all


class EventSide(msgspec.Struct, frozen=True):
    """An event with its type and its cause."""

    type: str
    cause: int | None
    body: Event


class Saw(msgspec.Struct, frozen=True):
    """An input that a decision saw."""

    seq: int
    at: str
    type: str
    cause: int | None
    body: Event


class ShownDivergence(msgspec.Struct, frozen=True, kw_only=True):
    """A divergence with both sides; `first_field` and `fingerprint` are null where nothing differs.

    `rounds` is all by which floats may round otherwise, `near` how a sampler saw both sides, if that can be known.
    """

    seq: int
    due: str
    recorded: EventSide
    decided: EventSide | None
    failed: str | None
    first_field: Field | None
    inputs: list[Saw]
    fingerprint: FingerprintDifference | None
    rounds: list[FingerprintDifference]
    near: Near | None


class Equal(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is equal up to rounding: both sides, and how far they are apart, in which field and why."""

    seq: int
    recorded: EventSide
    decided: EventSide
    distance: float
    path: str
    rounds: list[FingerprintDifference]


class ShownReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report as JSON."""

    path: str
    search_id: str | None
    name: str | None
    head: Head
    decisions: int
    undecided: list[Undecided]
    rounded: list[Equal]
    divergences: list[ShownDivergence]
    fingerprint: Fingerprints | None
    damage: str | None
    notes: list[str]
    verdict: ReplayVerdict


class AllShown(msgspec.Struct, frozen=True):
    """The reports of all logs, and the worst of their verdicts."""

    logs: list[ShownReport]
    verdict: ReplayVerdict


def shown(report: Report) -> ShownReport:
    """Return *report* as JSON has it."""
    return ShownReport(
        path=report.path,
        search_id=report.search_id,
        name=report.name,
        head=report.head,
        decisions=report.decisions,
        undecided=list(report.undecided),
        rounded=[_equal(one) for one in report.rounded],
        divergences=[_parted(one) for one in report.divergences],
        fingerprint=report.fingerprint,
        damage=report.damage,
        notes=list(report.notes),
        verdict=report.verdict,
    )


def _parted(one: Divergence) -> ShownDivergence:
    return ShownDivergence(
        seq=one.seq,
        due=one.due,
        recorded=EventSide(type(one.recorded).__name__, one.recorded_cause, one.recorded),
        decided=None if one.decided is None else EventSide(type(one.decided).__name__, one.decided_cause, one.decided),
        failed=one.failed,
        first_field=first_field(one),
        inputs=[_saw(row) for row in one.inputs],
        fingerprint=one.fingerprint,
        rounds=list(one.rounds),
        near=one.near,
    )


def _equal(one: Rounded) -> Equal:
    return Equal(
        seq=one.seq,
        recorded=EventSide(type(one.recorded).__name__, one.cause, one.recorded),
        decided=EventSide(type(one.decided).__name__, one.cause, one.decided),
        distance=one.apart.distance,
        path=one.apart.path,
        rounds=list(one.because),
    )


def _saw(row: Recorded) -> Saw:
    return Saw(row.seq, formatting.rfc3339(row.at), type(row.event).__name__, row.cause, row.event)


def worst(verdicts: Sequence[ReplayVerdict]) -> ReplayVerdict:
    """Return the verdict over several logs: damaged before diverged before rounded before ok."""
    return max(verdicts, key=list(CODES).index)


# ---------------------------------------------------------------- as text


def text(report: Report) -> Iterator[str]:
    """Yield *report* as lines, a fact a line, its verdict last."""
    yield f"log          {report.path}"
    if report.name is not None:
        yield f"search       {formatting.line(report.name)} ({report.search_id})"
    yield f"head         {report.head.seq}:{report.head.hash}"
    if report.fingerprint is not None:
        yield f"fingerprint  {_fingerprint(report.fingerprint)}"
    if report.damage is None:
        yield f"decisions    {report.decisions} decided again, {len(report.undecided)} not"
    for why, count in sorted(Counter(one.why for one in report.undecided).items()):
        yield f"undecided    {count}: {formatting.line(why)}"
    yield from _rounded(report.rounded)
    for one in report.divergences:
        yield from divergence(one)
    yield from (f"note         {formatting.line(note)}" for note in report.notes)
    yield f"verdict      {report.verdict}: {_verdict(report)}"


def divergence(one: Divergence) -> Iterator[str]:
    """Yield one divergence as lines: both sides, where they first differ, what was seen, whose decision it was."""
    yield f"divergence   seq {one.seq}: {_what(one)}"
    yield f"  recorded   {_side(one.recorded, one.recorded_cause)}"
    if one.failed is not None:
        yield f"  decided    nothing, it failed: {formatting.line(one.failed)}"
    elif one.decided is None:
        yield "  decided    nothing"
    else:
        yield f"  decided    {_side(one.decided, one.decided_cause)}"
    if (field := first_field(one)) is not None:
        yield f"  differs    {field.path}: recorded {field.recorded}, decided {field.decided}"
    yield f"  saw        seq 1 to {one.seq - 1}; the nearest inputs:"
    yield from (f"  input      {event_lines.as_text(row).strip()}" for row in one.inputs[-_INPUTS:])
    here = "as here" if one.fingerprint is None else f"first difference in {_difference(one.fingerprint)}"
    yield f"  recorder   {here}"
    yield from _flipped(one)


def _rounded(found: Sequence[Rounded]) -> Iterator[str]:
    for one in found[:_ROUNDED]:
        what = f"{type(one.recorded).__name__}, furthest apart by {one.apart.distance:.1g} at {one.apart.path}"
        yield f"rounded      seq {one.seq}: {formatting.line(what)}"
    if len(found) > _ROUNDED:
        yield f"rounded      {len(found) - _ROUNDED} more; --json lists them all"


def _flipped(one: Divergence) -> Iterator[str]:
    """Yield why a sampler's choice may have flipped elsewhere, and how near the candidates were."""
    if one.rounds and one.decided is not None:
        yield f"  rounding   {_names(one.rounds)} may round otherwise than here; the two are not equal up to rounding"
    if one.near is not None:
        said = f"{one.near.recorded} of the recorded point, {one.near.decided} of the decided one"
        yield f"  near       TPE's acquisition function says {said}"


def _names(found: Sequence[FingerprintDifference]) -> str:
    return ", ".join(one.name for one in found)


def _what(one: Divergence) -> str:
    if isinstance(one.recorded, Decision):
        return f"another decision; due was {one.due}"
    if one.decided is not None or one.failed is not None:
        return f"a decision is missing; due was {one.due}"
    return f"nothing of the kind was due, but {one.due}"


def _side(event: Event, cause: int | None) -> str:
    # Escaped where it is no text for a terminal: a name in a log may hold anything.
    body = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in codec.encode(event))
    return f"{type(event).__name__} {body} (cause {cause})"


def _fingerprint(found: Fingerprints) -> str:
    if found.first is None:
        versions = (f"{name} {found.recorded[name]}" for name in ORDER[:4] if name in found.recorded)
        return f"as recorded: {', '.join(versions)}"
    others = [one.name for one in found.differences()[1:]]
    also = f"; also in {', '.join(others)}" if others else ""
    return f"not as recorded at seq {found.seq}, first in {_difference(found.first)}{also}"


def _difference(one: FingerprintDifference) -> str:
    return f"{one.name}: recorded {one.recorded or 'none'}, here {one.here or 'none'}"


def _verdict(report: Report) -> str:
    if report.damage is not None:
        return formatting.line(report.damage)
    if report.divergences:
        first = report.divergences[0].seq
        count = len(report.divergences)
        return f"at seq {first}" if count == 1 else f"at {count} places, first at seq {first}"
    said = _equal_decisions(report)
    return f"{said}; {len(report.undecided)} not decided again" if report.undecided else said


def _equal_decisions(report: Report) -> str:
    decisions = formatting.plural(report.decisions, "decision")
    if not report.rounded:
        return f"{decisions}, all as recorded"
    same = report.decisions - len(report.rounded)
    because = dict.fromkeys(one.name for found in report.rounded for one in found.because)
    differ = ", ".join(name for name in ROUNDS if name in because)
    return f"{decisions}, {same} as recorded, {len(report.rounded)} equal up to rounding (other {differ})"


def describe_outcome(report: Report) -> str:
    """Return *report* in one line for `verify --decide`: its first divergence with both sides, or the counts."""
    if report.damage is not None:
        return report.damage
    if report.divergences:
        return _both_sides(report.divergences[0])
    reasons = sorted(Counter(one.why for one in report.undecided).items())
    return _equal_decisions(report) + "".join(f"; {count} not decided again ({why})" for why, count in reasons)


def _both_sides(one: Divergence) -> str:
    decided = "nothing" if one.decided is None else _side(one.decided, one.decided_cause)
    return f"seq {one.seq}: recorded {_side(one.recorded, one.recorded_cause)}; decided {decided}; due was {one.due}"


def over_all(verdicts: Sequence[ReplayVerdict]) -> str:
    """Return the line of the verdict over several logs."""
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in CODES if verdicts.count(one))
    return f"verdict      {worst(verdicts)}: {formatting.plural(len(verdicts), 'log')}, {counts}"
