"""A suggestion in words: by whom, what it saw, and the sampler's own rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, assert_never

from eventhpo.core.search.spec import Scalar
from eventhpo.views.formatting import line, plural, scalar
from replay.explain.explanation import Suggestion

MOST = 30  # ranges of trials that a line lists

Fact: TypeAlias = tuple[str, str]  # a word for what it is, and the rest of the line


def facts(s: Suggestion, params: Mapping[str, Scalar]) -> Iterator[Fact]:
    """Yield what there is to say of where a trial's point *params* comes from."""
    rest = [name for name in params if name not in (s.given or ())]
    yield "suggested", _source(s, rest)
    tries = _tries(s)
    if tries:
        yield "tries", tries
    if s.duplicate_of and s.source != "sampler":
        yield "duplicate", f"trial {_numbers(s.duplicate_of)} holds the same point, which a {s.source} may try again"
    if s.source != "caller":
        yield "saw", _seen(s)
    if s.source == "sampler" or (s.source == "user" and rest):
        yield from _drawn(s)
    if s.apart is not None:
        apart = f"{s.apart.distance:.1g} apart at {s.apart.path}"
        yield "note", f"equal up to rounding to what the sampler says here: {apart}"
    if s.again == "not asked":
        yield "note", f"the sampler was not asked again: {s.not_asked_because}"


def _drawn(s: Suggestion) -> Iterator[Fact]:
    if s.seed == s.search_seed:
        yield "seed", f"{s.seed}, the search's own in every trial"
    elif s.seed is not None:
        yield "seed", f"{s.seed}, drawn from the search's {s.search_seed} for this trial and try {s.tries}"
    if s.start_up is not None:
        yield "start-up", _start_up(s)
    if s.split is not None:
        yield "split", _split(s)
    for note in s.notes:
        yield "sampler", note


def _source(s: Suggestion, rest: Sequence[str]) -> str:
    sampler = f"{s.sampler}{_arguments(s.arguments)}"
    by = f", {line(s.asked_by)}" if s.asked_by else ""
    match s.source:
        case "sampler":
            requested = "" if s.asked_at is None else f", as a caller requested at event {s.asked_at}{by}"
            return f"by {sampler}{requested}"
        case "user":
            drawn = (
                f"; {', '.join(rest)} {'was' if len(rest) == 1 else 'were'} left to {sampler}"
                if rest
                else ", all of it"
            )
            return f"a point that a user enqueued (event {s.asked_at}{by}){drawn}"
        case "caller":
            return f"a caller's own parameters, requested at event {s.asked_at}{by}; no sampler was asked"
        case _:
            assert_never(s.source)


def _arguments(arguments: dict[str, Any]) -> str:
    """Return arguments as Python would have them, nested parts by name."""
    if not arguments:
        return ""
    return f"({', '.join(f'{name}={_argument(value)}' for name, value in sorted(arguments.items()))})"


def _argument(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:
        return f"{value['name']}{_arguments({k: v for k, v in value.items() if k != 'name'})}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_argument(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_argument, value))}]"
    plain: Scalar = value
    return scalar(plain)


def _tries(s: Suggestion) -> str | None:
    same = f"trial {_numbers(s.duplicate_of)}"
    if s.enumerated:
        return (
            f"{s.tries}: each gave a point that another trial holds, at the cost of no job; "
            f"of {plural(s.points_left or 0, 'point')} that none holds, the seed picked this one"
        )
    if s.duplicate_of and s.source == "sampler":
        return f"{s.tries}: each gave a point that another trial holds, so that of {same} is tried again"
    if s.tries > 1 and s.source == "user":
        return f"{s.tries}: what was drawn at first did not fit the point"
    if s.tries > 1:
        return f"{s.tries}: {plural(s.tries - 1, 'point')} before it belonged to other trials, at the cost of no job"
    return None


def _seen(s: Suggestion) -> str:
    parts = [
        (numbers, state)
        for state in ("completed", "pruned", "failed", "running")
        if (numbers := getattr(s.seen, state)) or state == "running"
    ]
    if not any(numbers for numbers, _ in parts):
        return "no other trial"
    return ", ".join(
        f"{len(numbers)} {state}{f' ({_numbers(numbers)})' if numbers else ''}" for numbers, state in parts
    )


def _start_up(s: Suggestion) -> str:
    assert s.start_up is not None
    up = s.start_up
    counted = f"{up.there} {up.counts}, {up.argument} = {up.needed}"
    if up.in_it:
        return f"one of the first, which {up.by} draws by chance ({counted})"
    return f"over ({counted}), so {s.sampler} looked at them"


def _split(s: Suggestion) -> str:
    assert s.split is not None
    split = s.split
    running = f", of them still running {_numbers(split.running)} (constant_liar)" if split.running else ""
    better, worse = _numbers(split.better), _numbers(split.worse)
    return f"{len(split.better)} better ({better}), {len(split.worse)} worse ({worse}){running}"


def _numbers(trials: Sequence[int]) -> str:
    """Return numbers as text, neighbours as a range: 0-3, 5."""
    ranges: list[list[int]] = []
    for trial in sorted(trials):
        if ranges and trial == ranges[-1][-1] + 1:
            ranges[-1].append(trial)
        else:
            ranges.append([trial])
    listed = [str(r[0]) if len(r) == 1 else f"{r[0]}{', ' if len(r) == 2 else '-'}{r[-1]}" for r in ranges]
    cut = f", and {plural(len(listed) - MOST, 'more range')}" if len(listed) > MOST else ""
    return ", ".join(listed[:MOST]) + cut if listed else "none"
