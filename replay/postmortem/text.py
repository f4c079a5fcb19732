"""A post-mortem as lines: a fact a line, what matters most first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eventhpo.core.fold.state import State
from eventhpo.views import budget_use, formatting, top
from eventhpo.views.formatting import duration, plural, rfc3339
from replay.next_step import Next, named, of
from replay.postmortem.controllers import Epoch, Gap
from replay.postmortem.ending import SearchEnd
from replay.postmortem.jobs import Failures, Trouble
from replay.postmortem.progress import Progress
from replay.postmortem.report import Postmortem
from replay.postmortem.slots import Slots
from replay.postmortem.spending import Cost, Spending

MOST = 8  # lines of one kind; the JSON has them all


def text(found: Postmortem, state: State) -> Iterator[str]:
    """Yield *found* as lines, a fact a line; what is damaged stands in front."""
    for fault in found.damage:
        yield _fact("damaged", formatting.line(fault))
    if found.end.how == "cut off":
        yield _fact("", f"all below is about the verified part, {plural(found.head.seq, 'row')}")
    yield _fact("search", f"{formatting.line(found.name)} ({found.search_id})")
    lasting = duration(max(0, found.ended - found.began))
    yield _fact("log", f"{plural(found.head.seq, 'row')}, {rfc3339(found.began)} to {rfc3339(found.ended)}, {lasting}")
    yield from _ending(found.end)
    yield from _several(_controllers(found.controllers))
    yield _fact("trials", _counts(found.trials))
    yield _fact("jobs", _counts(found.jobs))
    yield from _trouble(found.trouble, state)
    yield from _spending(found.spending)
    yield from _slots(found.slots)
    yield from _costs(found.spending)
    if found.winner is not None:
        yield _fact("winner", top.summary(state, state.trials[found.winner.trial]))
    yield from _progress(found.progress, state)
    yield from _next(found.next)


def _fact(label: str, said: str) -> str:
    return f"{label:<11} {said}".rstrip()


def _several(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the first and the last of many lines, and how many are left out in between."""
    half = MOST // 2
    out = len(lines) - MOST
    for place, (label, said) in enumerate(lines):
        if out > 0 and half <= place < half + out:
            if place == half:
                yield _fact("", f"... {plural(out, 'more line')} of this kind (--json has all) ...")
            continue
        yield _fact(label, said)


def _counts(counts: Mapping[str, int]) -> str:
    parts = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    total = sum(counts.values())
    return f"{total}: {parts}" if parts else str(total)


# ---------------------------------------------------------------- end and controllers


def _ending(end: SearchEnd) -> Iterator[str]:
    yield _fact("ended", end.what)
    yield _fact("", f"behind {end.behind}" + (f"; what came next was to {end.before}" if end.before else ""))
    for fact in end.evidence:
        yield _fact("evidence", fact)
    for fact in end.unknown:
        yield _fact("not known", fact)


def _controllers(epochs: Sequence[Epoch]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for place, one in enumerate(epochs):
        lines.append(("controller", _life(one, epochs[place + 1] if place + 1 < len(epochs) else None)))
        if one.gap is not None:
            lines.append(("gap", _gap(one.gap)))
    return lines


def _life(one: Epoch, following: Epoch | None) -> str:
    lasting = duration(max(0, one.ended - one.began))
    took = ", took the log over" if one.took_over else ""
    up = f"; took up {plural(len(one.took_up), 'job')}" if one.took_up else ""
    return f"epoch {one.epoch}: {one.pid} on {one.host}, seq {one.first} to {one.last}, {lasting}{took}{up}; " + (
        _left(one, following)
    )


def _left(one: Epoch, following: Epoch | None) -> str:
    why = f": {formatting.line(one.why)}" if one.why else ""
    match one.how:
        case "request":
            return "only wrote what a user asked for"
        case "lease lost":
            return f"lost its lease behind {one.last_event}{why}"
        case "record stops":
            if following is None:
                return "its record just stops"
            between = f"between {one.last_event}, and seq {following.first}, the next ControllerStarted"
            return f"its record stops {between}; what came next was to {one.came_next}"
        case "by hand":
            return "rested, driven by hand"
        case "holds the log":
            return "holds the log now"
        case "goes on":
            return "goes on behind that"
        case "cut off":
            return f"how it went on is lost with the rows behind {one.last_event}"
        case "finished" | "stopped" | "interrupted":
            return f"ended well, {one.how}{why}"


def _gap(gap: Gap) -> str:
    if gap.microseconds < 0:
        time = f"nobody knows how long (the later one's clock was {duration(-gap.microseconds)} behind)"
    else:
        time = duration(gap.microseconds)
    unwatched = f", {plural(gap.unwatched, 'job')} unwatched" if gap.unwatched else ""
    boot = {True: ", the machine was restarted meanwhile", False: "", None: f", then on another host, {gap.host}"}
    lost = ""
    if gap.prunes_lost:
        lost = f"; {plural(gap.prunes_lost, 'job')} ended in it, too early for a prune that the pruner asked for"
    return f"{time} without a controller{unwatched}{boot[gap.rebooted]}{lost}"


# ---------------------------------------------------------------- jobs and effects


def _trouble(found: Trouble, state: State) -> Iterator[str]:
    lost = [
        ("lost", f"the job{of(one.trial, one.attempt)}: {formatting.line(one.why)}{'; it came back' * one.back}")
        for one in found.lost
    ]
    retried = [
        (
            "retried",
            f"trial {one.trial}, attempt {one.attempt}, behind one that was {one.after}: {formatting.line(one.why)}",
        )
        for one in found.retried
    ]
    yield from _several(lost)
    yield from _several(retried)
    if found.bound_later:
        yield _fact("adopted", f"{named(found.bound_later)}, made or found by a later controller than the one meant it")
    for one in found.failures:
        yield _fact("failing", _failing(one))


def _failing(one: Failures) -> str:
    whose = f" of {plural(one.jobs, 'job')}" if one.jobs else ""
    doubt = f", {one.in_doubt} in doubt" if one.in_doubt else ""
    row = f"at most {one.in_a_row} in a row over {duration(one.lasting)}, waits up to {duration(one.back_off)}"
    still = "; it has not worked since" if one.going_on else ""
    times = plural(one.count, "time")
    return f"{one.effect}{whose} failed {times}{doubt}, {row}; last: {formatting.line(one.error)}{still}"


# ---------------------------------------------------------------- budget and slots


def _spending(found: Spending) -> Iterator[str]:
    yield from budget_use.text(found.spent)
    if found.late:
        parts = ", ".join(f"{iterations} behind {ended}" for ended, iterations in found.late.items())
        yield f"  {'':<10} {'':>6} of these {parts}"
    if found.held:
        yield f"  {'held':<10} {found.held:>6} iterations reserved by jobs that are not settled"
    limit = found.spent.limit
    if limit is not None and limit > found.spent.used + found.held:
        yield f"  {'unused':<10} {limit - found.spent.used - found.held:>6} iterations"
    if found.repeats.trials:
        trials = plural(len(found.repeats.trials), "trial")
        yield f"  {'repeats':<10} {found.repeats.iterations:>6} iterations of {trials} whose point an earlier trial has"


def _slots(found: Slots) -> Iterator[str]:
    if not found.total:
        return
    yield f"slots: {duration(found.total)} of slot time, from the first controller to the last row"
    parts = [(f"held, {use}", time) for use, time in found.held.items()]
    parts += [(f"idle, {why}", time) for why, time in found.idle.items()]
    shown = [part for part in parts if part[1] >= found.total / 200]  # what is not 0 % in whole numbers
    for what, time in sorted(shown, key=lambda part: -part[1]):
        yield f"  {what:<35} {100 * time / found.total:4.0f} %  {duration(time)}"
    if found.beyond:
        yield f"  {'more jobs than slots':<35} {100 * found.beyond / found.total:4.0f} %  {duration(found.beyond)}"


def _costs(found: Spending) -> Iterator[str]:
    if found.costliest:
        if found.slowest:
            yield _fact("slowest", "; ".join(_cost(one) for one in found.slowest))
        yield _fact("costliest", "; ".join(_cost(one) for one in found.costliest))


def _cost(one: Cost) -> str:
    time = [] if one.compute_time is None else [duration(one.compute_time)]
    attempts = [plural(one.attempts, "attempt")] if one.attempts > 1 else []
    return f"trial {one.trial} ({', '.join([*time, plural(one.iterations, 'iteration'), one.status, *attempts])})"


# ---------------------------------------------------------------- progress and what comes next


def _progress(found: Progress | None, state: State) -> Iterator[str]:
    if found is None:
        yield _fact("improving", "not asked: with several objectives there is no one best")
        return
    if not found.gains:
        yield _fact("improving", "never: no trial has completed with a value")
        return
    last, metric = found.gains[-1], formatting.metric(state.search.objectives[0])
    place = f"the {_nth(last.completed)} of {found.completed} to complete"
    where = f"{place}, at {last.iterations} of {found.iterations} iterations"
    yield _fact("improving", f"last with trial {last.trial}, {metric} = {formatting.number(last.value)}: {where}")
    if found.since:
        yield _fact("", f"{plural(found.since, 'trial')} completed since without a gain")
    yield _fact("", _last_third(found))


def _last_third(found: Progress) -> str:
    where = f"in the last third of the iterations used (behind {found.third})"
    if not found.in_last_third:
        return f"nothing gained {where}"
    before = "none" if found.before is None else formatting.number(found.before)
    return f"{where} the best went from {before} to {formatting.number(found.gains[-1].value)}"


def _nth(n: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{n}{'th' if n % 100 in (11, 12, 13) else ends.get(n % 10, 'th')}"


def _next(found: Next) -> Iterator[str]:
    yield _fact("next", found.what)
    for wait in found.waits:
        yield _fact("", f"waits for {wait}")
    if found.way_on:
        yield _fact("", found.way_on)
