"""An explanation as lines for people: the event's seq, one word for what it is, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from eventhpo.views.formatting import duration, line, number, params, plural
from replay.explain import pruner_rules, suggestion_facts
from replay.explain.explanation import (
    AnyStep,
    Charge,
    Explanation,
    Finish,
    Happened,
    Imported,
    JobEndStep,
    JudgedPoint,
    Late,
    LaunchStep,
    OccupiedSlot,
    PersonsStep,
    Prune,
    Rank,
    Retry,
    Settled,
    Stretch,
    StudyStep,
    Suggestion,
    TooLate,
)
from replay.explain.suggestion_facts import Fact

_MOST = 30  # events that the last line lists


def text(explanation: Explanation, *, all_verdicts: bool = False) -> Iterator[str]:
    """Yield *explanation* as lines; with *all_verdicts* each verdict to go on has its own line."""
    yield headline(explanation)
    yield f"{'event':>6}  {'what':<9}  why"
    for seq, word, rest in table(explanation, all_verdicts=all_verdicts):
        yield f"{seq:>6}  {word:<9}  {rest}"


def headline(explanation: Explanation) -> str:
    """Return the trial, its status and its parameters in a line."""
    given = params(explanation.params)
    return _printable(
        f'trial {explanation.trial} of "{explanation.search}": {explanation.status}{f"  {given}" if given else ""}'
    )


def table(explanation: Explanation, *, all_verdicts: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield *explanation* as rows of texts: the event's seq (empty for what holds at the end), what it is, and why."""
    for step in explanation.steps:
        for seq, word, rest in _lines(step, explanation, all_verdicts=all_verdicts):
            yield str(seq), word, _printable(rest)
    for late in explanation.late:
        yield "", "late", _printable(_late(late))
    for note in explanation.notes:
        yield "", "note", _printable(note)
    if explanation.rank is not None:
        yield "", "rank", _printable(f"{_rank(explanation.rank)} as of event {explanation.seq}")
    yield "", "checked", _printable(_checked(explanation))


def _printable(text: str) -> str:
    # What a job or a server said may hold a terminal's escape sequences.
    return "".join(c if c.isprintable() else " " for c in text)


def _checked(explanation: Explanation) -> str:
    if not explanation.decisions:
        return "nothing was decided about it"
    count = plural(explanation.decisions, "decision")
    if not explanation.differs:
        rounded = any(isinstance(step, Suggestion) and step.again == "rounded" for step in explanation.steps)
        return f"{count} computed again, each as recorded{', its point up to rounding' if rounded else ''}"
    where = ", ".join(map(str, explanation.differs[:_MOST]))
    return f"{count} computed again; these numbers do not come to what is recorded at event {where}"


def _lines(step: AnyStep, explanation: Explanation, *, all_verdicts: bool) -> Iterator[tuple[int, str, str]]:
    if isinstance(step, Stretch):
        yield from _stretch(step, all_verdicts=all_verdicts)
    else:
        for word, rest in _facts(step, explanation):
            yield step.seq, word, rest
    if step.differs is not None:
        yield step.seq, "DIFFERS", step.differs


def _facts(step: AnyStep, explanation: Explanation) -> Iterator[Fact]:
    match step:
        case Suggestion():
            yield from suggestion_facts.facts(step, explanation.params)
        case Imported():
            yield "imported", _imported(step)
        case LaunchStep():
            yield from _launched(step)
        case Happened() | PersonsStep() | StudyStep():
            yield _from_outside(step)
        case Stretch():
            return  # one line may stand for many events
        case TooLate():
            yield from _too_late(step)
        case Prune():
            yield from _pruned(step)
        case Settled():
            yield _settled(step)
        case JobEndStep():
            yield from _ended(step)
        case Charge():
            yield "charged", _charged(step)
        case Finish():
            yield "finished", _finished(step, explanation)
        case _:
            assert_never(step)


def _from_outside(step: Happened | PersonsStep | StudyStep) -> Fact:
    if isinstance(step, PersonsStep):
        return "person", "; ".join(filter(None, (step.said, step.author)))  # whole: a note may be a page
    word = step.word if isinstance(step, StudyStep) else "job"
    return word, line(step.said) if step.attempt < 0 else f"attempt {step.attempt}: {line(step.said)}"


# ---------------------------------------------------------------- what its jobs did


def _imported(step: Imported) -> str:
    trial = step.trial
    values = "" if trial.values is None else f" with {', '.join(map(number, trial.values))}"
    points = plural(len(trial.iterations), "point")
    return f"from {line(step.source) or 'another study'}, its trial {trial.number}: {trial.state}{values}, {points}"


def _launched(step: LaunchStep) -> Iterator[Fact]:
    if step.retry is not None:
        yield "retried", _retried(step.attempt, step.retry)
    busy = ", ".join(_busy(occupied) for occupied in sorted(step.busy, key=lambda occupied: occupied.slot))
    workers = f"num_concurrent_workers = {step.workers}"
    taken = f"taken: {busy}" if busy else "none was taken"
    yield "launched", f"attempt {step.attempt} in slot {step.slot}, the lowest that was free ({workers}; {taken})"
    yield "budget", _budget(step)


def _busy(occupied: OccupiedSlot) -> str:
    return (
        f"slot {occupied.slot} by trial {occupied.trial}{f', attempt {occupied.attempt}' if occupied.attempt else ''}"
    )


def _retried(attempt: int, retry: Retry) -> str:
    ended = "was lost" if retry.outcome == "lost" else "failed"
    times = plural(retry.count, "time")
    why = line(retry.why)
    because = f" ({why})" if why and why != retry.outcome else ""
    return f"attempt {attempt - 1} {ended}{because}: {times} so far, {retry.limit} = {retry.allowed} allows another"


def _budget(step: LaunchStep) -> str:
    b = step.budget
    most = "" if step.trials_limit is None else f" of {step.trials_limit} ({step.trials_limited_by})"
    if b is None:
        return f"trial number {step.trials}{most}; iterations are not counted"
    number = f"; trial number {step.trials}{most}" if most else ""
    before = f"before: {b.used} used, {b.reserved} reserved"
    if b.limit is None:
        return f"{before}; it reserves {b.reserves}; there is no limit{number}"
    left = b.limit - b.used - b.reserved
    return f"{before}, {left} free of {b.limit}; it reserves {b.reserves}; after: {left - b.reserves} free{number}"


def _settled(step: Settled) -> Fact:
    stopped = "; its job is to be stopped" if step.stopped else ""
    match step.fate:
        case "limit":
            return "settled", f"attempt {step.attempt} completes: {step.why}{stopped}"
        case "time" | "aborted":
            return "settled", f"attempt {step.attempt} ends here: {line(step.why)}{stopped}"
    return "stopping", f"attempt {step.attempt}: {line(step.why)}{stopped}"


def _ended(step: JobEndStep) -> Iterator[Fact]:
    how = "ended a second time" if step.again else step.how.replace("_", " ")
    code = "" if step.code is None else f", exit code {step.code}"
    signal = "" if step.signal is None else f", signal {step.signal}"
    why = line(step.why)
    because = f" ({why})" if why and why != step.how else ""
    unjudged = f", {step.unjudged} without a verdict for good" if step.unjudged else ""
    yield "ended", f"attempt {step.attempt}: {how}{code}{signal}{because}; {plural(step.reported, 'point')}{unjudged}"
    if step.output is not None and step.how not in ("completed", "cancelled"):
        yield "output", step.output


def _charged(step: Charge) -> str:
    inherited = f" after the {step.inherited} that it took over" if step.inherited else ""
    late = f", {step.late} late not charged" if step.late else ""
    least = " (what a job costs at least)" if step.least else ""
    return (
        f"attempt {step.attempt}: {plural(step.iterations, 'iteration')}{least}{inherited}{late}, "
        f"{duration(step.compute_time)}; after: {step.used} used, {step.reserved} reserved"
    )


def _finished(step: Finish, explanation: Explanation) -> str:
    values = ", ".join(f"{o} = {number(v)}" for o, v in zip(explanation.objectives, step.values or (), strict=False))
    parts = [step.state + (f" with {values}" if values else "")]
    if step.why:
        parts.append(line(step.why))
    if step.nan_policy is not None and "nan_policy" not in step.why:
        parts.append(f"nan_policy = {step.nan_policy}")
    if step.last is not None:
        parts.append(_not_retried(step.last))
    if step.rank is not None:
        parts.append(_rank(step.rank))
    return "; ".join(parts)


def _not_retried(last: Retry) -> str:
    match last.outcome:
        case "failed" | "lost":
            spent = f"{last.outcome} {plural(last.count, 'time')}, {last.limit} = {last.allowed}"
            return f"not retried: {spent}" if last.count > last.allowed else f"not retried ({spent})"
    return "not retried: only a job that failed or was lost is"


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


def _why(point: JudgedPoint) -> str:
    if point.found is None:
        return f"the pruner is not asked below min_iteration_per_job (value {number(point.value)})"
    return pruner_rules.words(point.found)


def _differing(points: Iterable[JudgedPoint]) -> Iterator[tuple[int, str, str]]:
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
