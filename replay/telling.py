"""An explanation as lines for people: the event's seq, one word for what it is, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_never

from eventhpo.core.spec import Scalar
from eventhpo.views.words import duration, line, number, params, plural, scalar
from replay import rules
from replay.explained import (
    AnyStep,
    Charge,
    End,
    Explanation,
    Finish,
    Happened,
    Imported,
    Late,
    Launch,
    Point,
    Prune,
    Rank,
    Retry,
    Settled,
    Stretch,
    Suggestion,
    TooLate,
)

_MOST = 30  # numbers of trials that a line lists

Fact = tuple[str, str]  # a word for what it is, and the rest of the line


def text(found: Explanation, *, all_verdicts: bool = False) -> Iterator[str]:
    """Yield *found* as lines; with *all_verdicts* each verdict to go on has one of its own."""
    given = params(found.params)
    yield _printable(f'trial {found.trial} of "{found.search}": {found.status}{f"  {given}" if given else ""}')
    yield f"{'event':>6}  {'what':<9}  why"
    for step in found.steps:
        for seq, word, rest in _lines(step, found, all_verdicts=all_verdicts):
            yield _line(str(seq), word, rest)
    for late in found.late:
        yield _line("", "late", _late(late))
    for note in found.notes:
        yield _line("", "note", note)
    if found.rank is not None:
        yield _line("", "rank", f"{_rank(found.rank)} as of event {found.seq}")
    yield _line("", "checked", _checked(found))


def _line(seq: str, word: str, rest: str) -> str:
    return _printable(f"{seq:>6}  {word:<9}  {rest}")


def _printable(shown: str) -> str:
    # What a job or a server said may hold a terminal's escape sequences.
    return "".join(c if c.isprintable() else " " for c in shown)


def _checked(found: Explanation) -> str:
    count = plural(found.decisions, "decision")
    if not found.differs:
        return f"{count} computed again, each as recorded"
    where = ", ".join(map(str, found.differs[:_MOST]))
    return f"{count} computed again; these numbers do not come to what is recorded at event {where}"


def _lines(step: AnyStep, found: Explanation, *, all_verdicts: bool) -> Iterator[tuple[int, str, str]]:
    if isinstance(step, Stretch):
        yield from _stretch(step, all_verdicts=all_verdicts)
    else:
        for word, rest in _facts(step, found):
            yield step.seq, word, rest
    if step.differs is not None:
        yield step.seq, "DIFFERS", step.differs


def _facts(step: AnyStep, found: Explanation) -> Iterator[Fact]:
    match step:
        case Suggestion():
            yield from _suggested(step, found)
        case Imported():
            yield "imported", _imported(step)
        case Launch():
            yield from _launched(step)
        case Happened(attempt=attempt, said=said):
            yield "job", f"attempt {attempt}: {line(said)}"
        case Stretch():
            return  # one line may stand for many events
        case TooLate():
            yield from _too_late(step)
        case Prune():
            yield from _pruned(step)
        case Settled():
            yield _settled(step)
        case End():
            yield from _ended(step)
        case Charge():
            yield "charged", _charged(step)
        case Finish():
            yield "finished", _finished(step, found)
        case _:
            assert_never(step)


# ---------------------------------------------------------------- where the point comes from


def _suggested(s: Suggestion, found: Explanation) -> Iterator[Fact]:
    rest = [name for name in found.params if name not in (s.given or ())]
    yield "suggested", _source(s, rest)
    tries = _tries(s)
    if tries:
        yield "tries", tries
    if s.duplicate_of and s.source != "sampler":
        yield "duplicate", f"trial {_numbers(s.duplicate_of)} holds the same point, which a {s.source} may try again"
    yield "saw", _seen(s)
    if s.source == "sampler" or (s.source == "user" and rest):
        yield from _drawn(s)
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
    match s.source:
        case "sampler":
            requested = "" if s.asked_at is None else f", as a caller requested at event {s.asked_at}"
            return f"by {sampler}{requested}"
        case "user":
            drawn = (
                f"; {', '.join(rest)} {'was' if len(rest) == 1 else 'were'} left to {sampler}"
                if rest
                else ", all of it"
            )
            return f"a point that a user enqueued (event {s.asked_at}){drawn}"
        case "caller":
            return f"a caller's own parameters, requested at event {s.asked_at}; no sampler was asked"
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
    shown: Scalar = value
    return scalar(shown)


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
    return ", ".join(
        f"{len(numbers)} {state}{f' ({_numbers(numbers)})' if numbers else ''}" for numbers, state in parts
    )


def _start_up(s: Suggestion) -> str:
    assert s.start_up is not None
    up = s.start_up
    there = f"{up.there} {up.counts}, {up.argument} = {up.needed}"
    if up.in_it:
        return f"one of the first, which {up.by} draws by chance ({there})"
    return f"over ({there}), so {s.sampler} looked at them"


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
    shown = [str(r[0]) if len(r) == 1 else f"{r[0]}{', ' if len(r) == 2 else '-'}{r[-1]}" for r in ranges]
    cut = f", and {plural(len(shown) - _MOST, 'more range')}" if len(shown) > _MOST else ""
    return ", ".join(shown[:_MOST]) + cut if shown else "none"


def _imported(step: Imported) -> str:
    trial = step.trial
    told = "" if trial.values is None else f" with {', '.join(map(number, trial.values))}"
    points = plural(len(trial.iterations), "point")
    return f"from {line(step.study) or 'another study'}, its trial {trial.number}: {trial.state}{told}, {points}"


# ---------------------------------------------------------------- what its jobs did


def _launched(step: Launch) -> Iterator[Fact]:
    if step.retry is not None:
        yield "retried", _retried(step.attempt, step.retry)
    busy = ", ".join(f"{b.slot} by {b.trial}.{b.attempt}" for b in sorted(step.busy, key=lambda b: b.slot))
    workers = f"num_concurrent_workers = {step.workers}"
    taken = f"taken: {busy}" if busy else "none was taken"
    yield "launched", f"attempt {step.attempt} in slot {step.slot}, the lowest that was free ({workers}; {taken})"
    yield "budget", _budget(step)


def _retried(attempt: int, retry: Retry) -> str:
    ended = "was lost" if retry.outcome == "lost" else "failed"
    times = plural(retry.count, "time")
    why = line(retry.why)
    because = f" ({why})" if why and why != retry.outcome else ""
    return f"attempt {attempt - 1} {ended}{because}: {times} so far, {retry.limit} = {retry.allowed} allows another"


def _budget(step: Launch) -> str:
    b = step.budget
    if b is None:
        most = "" if step.trials_limit is None else f" of {step.trials_limit} (total_max_jobs)"
        return f"trial number {step.trials}{most}; iterations are not counted"
    before = f"before: {b.used} used, {b.reserved} reserved"
    if b.limit is None:
        return f"{before}; it reserves {b.reserves}; there is no limit"
    left = b.limit - b.used - b.reserved
    return f"{before}, {left} free of {b.limit}; it reserves {b.reserves}; after: {left - b.reserves} free"


def _settled(step: Settled) -> Fact:
    stopped = "; its job is to be stopped" if step.stopped else ""
    match step.fate:
        case "limit":
            return "settled", f"attempt {step.attempt} completes: {step.why}{stopped}"
        case "time" | "aborted":
            return "settled", f"attempt {step.attempt} ends here: {line(step.why)}{stopped}"
    return "stopping", f"attempt {step.attempt}: {line(step.why)}{stopped}"


def _ended(step: End) -> Iterator[Fact]:
    how = "ended a second time" if step.again else step.how.replace("_", " ")
    code = "" if step.code is None else f", exit code {step.code}"
    signal = "" if step.signal is None else f", signal {step.signal}"
    why = line(step.why)
    because = f" ({why})" if why and why != step.how else ""
    unjudged = f", {step.unjudged} without a verdict for good" if step.unjudged else ""
    yield "ended", f"attempt {step.attempt}: {how}{code}{signal}{because}; {plural(step.points, 'point')}{unjudged}"
    if step.output is not None and step.how not in ("completed", "cancelled"):
        yield "output", step.output


def _charged(step: Charge) -> str:
    inherited = f" behind the {step.inherited} that it took over" if step.inherited else ""
    late = f", {step.late} late not charged" if step.late else ""
    return (
        f"attempt {step.attempt}: {plural(step.iterations, 'iteration')}{inherited}{late}, "
        f"{duration(step.compute_time)}; after: {step.used} used, {step.reserved} reserved"
    )


def _finished(step: Finish, found: Explanation) -> str:
    told = ", ".join(f"{o} = {number(v)}" for o, v in zip(found.objectives, step.values or (), strict=False))
    parts = [step.state + (f" with {told}" if told else "")]
    if step.why:
        parts.append(line(step.why))
    if step.nan_policy is not None and "nan_policy" not in step.why:
        parts.append(f"nan_policy = {step.nan_policy}")
    if step.rank is not None:
        parts.append(_rank(step.rank))
    return "; ".join(parts)


def _rank(rank: Rank) -> str:
    return f"rank {rank.place} of {rank.of} in eventhpo top"


def _late(late: Late) -> str:
    iterations = f"iteration {late.first}" if late.first == late.last else f"iterations {late.first} to {late.last}"
    return (
        f"attempt {late.attempt}: {plural(late.points, 'point')} at {iterations}: recorded and ranked, "
        "never seen by sampler, pruner or budget"
    )


# ---------------------------------------------------------------- verdicts


def _stretch(step: Stretch, *, all_verdicts: bool) -> Iterator[tuple[int, str, str]]:
    if all_verdicts:
        for point in step.points:
            yield point.seq, "went on", f"at iteration {point.iteration}, point {point.position}: {_why(point)}"
            yield from _differing([point])
        return
    last = step.points[-1]
    count = plural(len(step.points), "verdict")
    through = f" to {last.seq}" if last.seq != step.seq else ""
    yield step.seq, "went on", f"to iteration {last.iteration} ({count}, event {step.seq}{through}): {_closest(step)}"
    yield from _differing(step.points)


def _closest(step: Stretch) -> str:
    if step.closest is None:
        return _why(step.points[-1])
    point = step.points[step.closest]
    margin = None if point.found is None else point.found.margin
    if len(step.points) == 1:
        return f"{_why(point)}; margin {number(margin)}"
    return f"closest to a prune at iteration {point.iteration}, margin {number(margin)}: {_why(point)}"


def _why(point: Point) -> str:
    if point.found is None:
        return f"the pruner is not asked below min_iteration_per_job (value {number(point.value)})"
    return rules.words(point.found)


def _differing(points: Iterable[Point]) -> Iterator[tuple[int, str, str]]:
    for point in points:
        if point.differs is not None:
            yield point.seq, "DIFFERS", f"at iteration {point.iteration}: {point.differs}"


def _too_late(step: TooLate) -> Iterator[Fact]:
    why = {"ended": "its job had ended before", "limit": "it stands at max_iteration_per_job"}[step.why]
    yield "too late", f"at iteration {step.point.iteration}, a prune that changes nothing, {why}: {_why(step.point)}"
    for _, word, rest in _differing([step.point]):
        yield word, rest


def _pruned(step: Prune) -> Iterator[Fact]:
    yield "pruned", f"at iteration {step.point.iteration}, point {step.point.position}: {_why(step.point)}"
    if step.needed is not None:
        yield "to go on", f"it needed {step.needed}"
    for _, word, rest in _differing([step.point]):
        yield word, rest
