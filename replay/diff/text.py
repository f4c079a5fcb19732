"""A comparison of two logs as lines: a fact a line, the verdict last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eventhpo.views import formatting
from replay.diff.inputs import InputDifference, Inputs, InputSide
from replay.diff.report import ByTrial, ComparedLog, Diff, Differs

MOST = 8  # lines of one kind; the JSON has more


def text(found: Diff) -> Iterator[str]:
    """Yield *found* as lines."""
    yield from _log("A", found.a)
    yield from _log("B", found.b)
    yield _fact("relation", _relation(found))
    yield from _differing("created", found.definitions)
    yield from _differing("platform", found.platforms)
    first = f"the first {formatting.plural(found.alike, 'decision')} of both" if found.alike else "no decision"
    yield _fact("alike", first)
    if found.parting is not None:
        yield _fact("A decides", formatting.line(found.parting.a.what))
        yield _fact("B decides", formatting.line(found.parting.b.what))
        if found.parting.a.what == found.parting.b.what:
            yield _fact("", "alike in six digits; --json has all of them")
    yield from _inputs(found.inputs, before=found.parting is not None)
    yield from _by_trial(found.by_trial)
    yield _fact("verdict", verdict(found))


def verdict(found: Diff) -> str:
    """Return in one line whether two logs part, and where."""
    if found.parting is not None:
        at = f"A at seq {found.parting.a.seq}, B at seq {found.parting.b.seq}"
        alike = f"behind {formatting.plural(found.alike, 'decision')} in common" if found.alike else "at once"
        order = "; no trial of both came out otherwise" if found.by_trial.alike else ""
        return f"they part {alike}, {at}: {found.explanation}{order}"
    if found.relation == "the same log":
        return "no decision differs: they are the same, row for row"
    return f"no decision differs in the {found.alike} that both have made"


def _fact(label: str, said: str) -> str:
    return f"{label:<9} {said}".rstrip()


def _log(side: str, log: ComparedLog) -> Iterator[str]:
    yield _fact(side, f"{log.path}: {formatting.line(log.name)} ({log.search_id}), {log.head.seq} rows")
    for fault in log.damage:
        yield _fact("damaged", f"{side}: {formatting.line(fault)}")


def _relation(found: Diff) -> str:
    if found.relation == "a fork":
        return f"a fork: the first {formatting.plural(found.common, 'row')} are the same, row {found.common + 1} is not"
    if found.relation == "two searches" and found.a.search_id == found.b.search_id:
        return "two logs of one search id that have no row in common"
    return found.relation


def _differing(label: str, found: Sequence[Differs]) -> Iterator[str]:
    for one in found[:MOST]:
        yield _fact(label, f"{one.key}: A {formatting.line(one.a)}, B {formatting.line(one.b)}")
    if len(found) > MOST:
        yield _fact("", f"and {len(found) - MOST} more keys")


def _inputs(found: Inputs, *, before: bool) -> Iterator[str]:
    where = "before that" if before else "as far as they go"
    alike = formatting.plural(found.alike, "input")
    if found.same:
        yield _fact("saw", f"the same {where}: {alike}")
        return
    what = "the same in another order" if found.order_only else "different things"
    yield _fact("saw", f"{what} {where}" + (f", behind {alike} in common" if found.alike else ""))
    yield _fact("A saw", _side(found.first[0]))
    yield _fact("B saw", _side(found.first[1]))
    for one in found.differences[:MOST]:
        yield _fact("differs", _difference(one))
    if found.different > MOST:
        yield _fact("", f"and {found.different - MOST} more inputs")


def _side(side: InputSide | None) -> str:
    return "nothing more" if side is None else f"{side.what} (seq {side.seq})"


def _difference(one: InputDifference) -> str:
    match one.how:
        case "value":
            return f"A saw {_side(one.a)}, B saw {_side(one.b)}"
        case "only A":
            return f"only A saw {_side(one.a)}"
        case "only B":
            return f"only B saw {_side(one.b)}"


def _by_trial(found: ByTrial) -> Iterator[str]:
    if found.first_other_parameters is None:
        ended = "; none of them came out otherwise" if found.alike else ""
        yield _fact("trials", f"the {found.both} that both have are of the same parameters{ended}")
    elif found.parameters is not None:
        a, b = (formatting.params(one) for one in found.parameters)
        if a == b:
            a, b = (
                formatting.line(", ".join(f"{name}={one[name]!r}" for name in sorted(one))) for one in found.parameters
            )
        yield _fact("trials", f"{found.first_other_parameters} is the first with other parameters: A {a}, B {b}")
    if found.outcomes is not None:
        a, b = found.outcomes
        first = f"{found.first_other_outcome} is the first that came out otherwise on the same parameters"
        yield _fact("", f"{first}: A {a}, B {b}")
