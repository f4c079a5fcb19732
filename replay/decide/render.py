"""Reports as lines of text and as JSON: the same for the command, the API and the pytest plugin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import Event, Head, Recorded
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


def report_for_json(report: Report) -> ShownReport:
    """Return *report* in the shape in which it is written as JSON."""
    return ShownReport(
        path=report.path,
        search_id=report.search_id,
        name=report.name,
        head=report.head,
        decisions=report.decisions,
        undecided=list(report.undecided),
        rounded=[_equal(item) for item in report.rounded],
        divergences=[_parted(item) for item in report.divergences],
        fingerprint=report.fingerprint,
        damage=report.damage,
        notes=list(report.notes),
        verdict=report.verdict,
    )


def _parted(diverged: Divergence) -> ShownDivergence:
    return ShownDivergence(
        seq=diverged.seq,
        due=diverged.due,
        recorded=EventSide(type(diverged.recorded).__name__, diverged.recorded_cause, diverged.recorded),
        decided=None
        if diverged.decided is None
        else EventSide(type(diverged.decided).__name__, diverged.decided_cause, diverged.decided),
        failed=diverged.failed,
        first_field=first_field(diverged),
        inputs=[_saw(row) for row in diverged.inputs],
        fingerprint=diverged.fingerprint,
        rounds=list(diverged.rounds),
        near=diverged.near,
    )


def _equal(rounded: Rounded) -> Equal:
    return Equal(
        seq=rounded.seq,
        recorded=EventSide(type(rounded.recorded).__name__, rounded.cause, rounded.recorded),
        decided=EventSide(type(rounded.decided).__name__, rounded.cause, rounded.decided),
        distance=rounded.apart.distance,
        path=rounded.apart.path,
        rounds=list(rounded.because),
    )


def _saw(row: Recorded) -> Saw:
    return Saw(row.seq, formatting.rfc3339(row.at), type(row.event).__name__, row.cause, row.event)


def worst(verdicts: Sequence[ReplayVerdict]) -> ReplayVerdict:
    """Return the verdict over several logs: damaged before diverged before rounded before ok."""
    return max(verdicts, key=list(CODES).index)


# ---------------------------------------------------------------- as text


def render_report(report: Report) -> Iterator[str]:
    """Yield *report* as lines, a fact a line, its verdict last."""
    yield f"log          {report.path}"
    if report.name is not None:
        yield f"search       {formatting.line(report.name)} ({report.search_id})"
    yield f"head         {report.head.seq}:{report.head.hash}"
    if report.fingerprint is not None:
        yield f"fingerprint  {_fingerprint(report.fingerprint)}"
    if report.damage is None:
        yield f"decisions    {report.decisions} decided again, {len(report.undecided)} not"
    for why, count in sorted(Counter(item.why for item in report.undecided).items()):
        yield f"undecided    {count}: {formatting.line(why)}"
    yield from _rounded(report.rounded)
    for item in report.divergences:
        yield from render_divergence(item)
    yield from (f"note         {formatting.line(note)}" for note in report.notes)
    yield f"verdict      {report.verdict}: {_verdict(report)}"


def render_divergence(diverged: Divergence) -> Iterator[str]:
    """Yield one divergence as lines: both sides, where they first differ, what was seen, whose decision it was."""
    yield f"divergence   seq {diverged.seq}: {_what(diverged)}"
    yield f"  recorded   {_side(diverged.recorded, diverged.recorded_cause)}"
    if diverged.failed is not None:
        yield f"  decided    nothing, it failed: {formatting.line(diverged.failed)}"
    elif diverged.decided is None:
        yield "  decided    nothing"
    else:
        yield f"  decided    {_side(diverged.decided, diverged.decided_cause)}"
    if (field := first_field(diverged)) is not None:
        yield f"  differs    {field.path}: recorded {field.recorded}, decided {field.decided}"
    yield f"  saw        seq 1 to {diverged.seq - 1}; the nearest inputs:"
    yield from (f"  input      {event_lines.as_text(row).strip()}" for row in diverged.inputs[-_INPUTS:])
    here = "as here" if diverged.fingerprint is None else f"first difference in {_difference(diverged.fingerprint)}"
    yield f"  recorder   {here}"
    yield from _flipped(diverged)


def _rounded(decisions: Sequence[Rounded]) -> Iterator[str]:
    for decision in decisions[:_ROUNDED]:
        apart = decision.apart
        what = f"{type(decision.recorded).__name__}, furthest apart by {apart.distance:.1g} at {apart.path}"
        yield f"rounded      seq {decision.seq}: {formatting.line(what)}"
    if len(decisions) > _ROUNDED:
        yield f"rounded      {len(decisions) - _ROUNDED} more; --json lists them all"


def _flipped(diverged: Divergence) -> Iterator[str]:
    """Yield why a sampler's choice may have flipped elsewhere, and how near the candidates were."""
    if diverged.rounds and diverged.decided is not None:
        names = _names(diverged.rounds)
        yield f"  rounding   {names} may round otherwise than here; the two are not equal up to rounding"
    if diverged.near is not None:
        values = f"{diverged.near.recorded} of the recorded point, {diverged.near.decided} of the decided one"
        yield f"  near       TPE's acquisition function says {values}"


def _names(differences: Sequence[FingerprintDifference]) -> str:
    return ", ".join(difference.name for difference in differences)


def _what(diverged: Divergence) -> str:
    if isinstance(diverged.recorded, Decision):
        return f"another decision; due was {diverged.due}"
    if diverged.decided is not None or diverged.failed is not None:
        return f"a decision is missing; due was {diverged.due}"
    return f"nothing of the kind was due, but {diverged.due}"


def _side(event: Event, cause: int | None) -> str:
    # Escaped where it is no text for a terminal: a name in a log may hold anything.
    body = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in codec.encode(event))
    return f"{type(event).__name__} {body} (cause {cause})"


def _fingerprint(fingerprints: Fingerprints) -> str:
    if fingerprints.first is None:
        versions = (f"{name} {fingerprints.recorded[name]}" for name in ORDER[:4] if name in fingerprints.recorded)
        return f"as recorded: {', '.join(versions)}"
    others = [difference.name for difference in fingerprints.differences()[1:]]
    also = f"; also in {', '.join(others)}" if others else ""
    return f"not as recorded at seq {fingerprints.seq}, first in {_difference(fingerprints.first)}{also}"


def _difference(difference: FingerprintDifference) -> str:
    return f"{difference.name}: recorded {difference.recorded or 'none'}, here {difference.here or 'none'}"


def _verdict(report: Report) -> str:
    if report.damage is not None:
        return formatting.line(report.damage)
    if report.divergences:
        first = report.divergences[0].seq
        count = len(report.divergences)
        return f"at seq {first}" if count == 1 else f"at {count} places, first at seq {first}"
    counts = _equal_decisions(report)
    return f"{counts}; {len(report.undecided)} not decided again" if report.undecided else counts


def _equal_decisions(report: Report) -> str:
    decisions = formatting.plural(report.decisions, "decision")
    if not report.rounded:
        return f"{decisions}, all as recorded"
    same = report.decisions - len(report.rounded)
    because = dict.fromkeys(difference.name for rounded in report.rounded for difference in rounded.because)
    differ = ", ".join(name for name in ROUNDS if name in because)
    return f"{decisions}, {same} as recorded, {len(report.rounded)} equal up to rounding (other {differ})"


def describe_outcome(report: Report) -> str:
    """Return *report* in one line for `verify --decide`: its first divergence with both sides, or the counts."""
    if report.damage is not None:
        return report.damage
    if report.divergences:
        return _both_sides(report.divergences[0])
    reasons = sorted(Counter(undecided.why for undecided in report.undecided).items())
    return _equal_decisions(report) + "".join(f"; {count} not decided again ({why})" for why, count in reasons)


def _both_sides(diverged: Divergence) -> str:
    decided = "nothing" if diverged.decided is None else _side(diverged.decided, diverged.decided_cause)
    recorded = _side(diverged.recorded, diverged.recorded_cause)
    return f"seq {diverged.seq}: recorded {recorded}; decided {decided}; due was {diverged.due}"


def describe_verdicts(verdicts: Sequence[ReplayVerdict]) -> str:
    """Return the line of the verdict over several logs."""
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in CODES if verdicts.count(verdict))
    return f"verdict      {worst(verdicts)}: {formatting.plural(len(verdicts), 'log')}, {counts}"
