"""The lines of `eventhpo diff`: one fact per line, the verdict last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eventhpo.views import formatting
from replay.diff.inputs import InputComparison, InputDifference, InputSide
from replay.diff.report import ComparedLog, Diff, DifferingKey, TrialComparison

MOST = 8  # lines of one kind; --json has more


def render_diff(diff: Diff) -> Iterator[str]:
    """Yield the lines of *diff*."""
    yield from _log("A", diff.a)
    yield from _log("B", diff.b)
    yield _fact("relation", _relation(diff))
    yield from _differing("created", diff.definitions)
    yield from _differing("platform", diff.platforms)
    yield from _differing("code", diff.code)
    first = f"the first {formatting.plural(diff.alike, 'decision')} of both" if diff.alike else "no decision"
    yield _fact("alike", first)
    if diff.parting is not None:
        yield _fact("A decides", formatting.line(diff.parting.a.what))
        yield _fact("B decides", formatting.line(diff.parting.b.what))
        if diff.parting.a.what == diff.parting.b.what:
            yield _fact("", "alike in six digits; --json has all of them")
    yield from _inputs(diff.inputs, before=diff.parting is not None)
    yield from _trials(diff.by_trial)
    yield _fact("verdict", describe_verdict(diff))


def describe_verdict(diff: Diff) -> str:
    """Describe in one line whether the decisions of two logs differ, and where first."""
    if diff.parting is not None:
        at = f"A at seq {diff.parting.a.seq}, B at seq {diff.parting.b.seq}"
        alike = f"after {formatting.plural(diff.alike, 'decision')} in common" if diff.alike else "at once"
        order = "; the trials that both have are the same" if diff.by_trial.alike else ""
        return f"they part {alike}, {at}: {diff.explanation}{order}"
    if diff.relation == "the same log":
        return "no decision differs: they are the same, row for row"
    return f"no decision differs in the {diff.alike} that both have made"


def _fact(label: str, fact: str) -> str:
    return f"{label:<9} {fact}".rstrip()


def _log(side: str, log: ComparedLog) -> Iterator[str]:
    yield _fact(side, f"{log.path}: {formatting.line(log.name)} ({log.search_id}), {log.head.seq} rows")
    for fault in log.damage:
        yield _fact("damaged", f"{side}: {formatting.line(fault)}")


def _relation(diff: Diff) -> str:
    if diff.relation == "a fork":
        return f"a fork: the first {formatting.plural(diff.common, 'row')} are the same, row {diff.common + 1} is not"
    if diff.relation == "two searches" and diff.a.search_id == diff.b.search_id:
        return "two logs of one search id that have no row in common"
    return diff.relation


def _differing(label: str, keys: Sequence[DifferingKey]) -> Iterator[str]:
    for differing in keys[:MOST]:
        yield _fact(label, f"{differing.key}: A {formatting.line(differing.a)}, B {formatting.line(differing.b)}")
    if len(keys) > MOST:
        yield _fact("", f"and {len(keys) - MOST} more keys")


def _inputs(inputs: InputComparison, *, before: bool) -> Iterator[str]:
    where = "before that" if before else "as far as they go"
    alike = formatting.plural(inputs.alike, "input")
    if inputs.same:
        yield _fact("saw", f"the same {where}: {alike}")
        return
    what = "the same in another order" if inputs.order_only else "different things"
    yield _fact("saw", f"{what} {where}" + (f", after {alike} in common" if inputs.alike else ""))
    yield _fact("A saw", _describe_side(inputs.first[0]))
    yield _fact("B saw", _describe_side(inputs.first[1]))
    for difference in inputs.differences[:MOST]:
        yield _fact("differs", _describe_difference(difference))
    if inputs.different > MOST:
        yield _fact("", f"and {inputs.different - MOST} more inputs")


def _describe_side(side: InputSide | None) -> str:
    return "nothing more" if side is None else f"{side.what} (seq {side.seq})"


def _describe_difference(difference: InputDifference) -> str:
    match difference.how:
        case "value":
            return f"A saw {_describe_side(difference.a)}, B saw {_describe_side(difference.b)}"
        case "only A":
            return f"only A saw {_describe_side(difference.a)}"
        case "only B":
            return f"only B saw {_describe_side(difference.b)}"


def _trials(trials: TrialComparison) -> Iterator[str]:
    if trials.first_other_parameters is None:
        ended = "; no outcome differs" if trials.alike else ""
        yield _fact("trials", f"the {trials.both} that both have are equal in parameters{ended}")
    elif trials.parameters is not None:
        a, b = map(formatting.params, trials.parameters)
        if a == b:  # alike in six digits
            a, b = map(_all_digits, trials.parameters)
        yield _fact("trials", f"{trials.first_other_parameters} is the first with other parameters: A {a}, B {b}")
    if trials.outcomes is not None:
        a, b = trials.outcomes
        first = f"{trials.first_other_outcome} is the first with another outcome on the same parameters"
        yield _fact("", f"{first}: A {a}, B {b}")


def _all_digits(params: Mapping[str, object]) -> str:
    return formatting.line(", ".join(f"{name}={params[name]!r}" for name in sorted(params)))
