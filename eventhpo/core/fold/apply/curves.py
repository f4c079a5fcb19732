"""What reports and verdicts do to the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eventhpo.core.fold.curve import Curve, inherit
from eventhpo.core.fold.event_parts import OtherSeries, Verdict
from eventhpo.core.fold.events import (
    Event,
    InheritanceClaimed,
    JobPruned,
    JobsContinued,
    MetricObserved,
    Recorded,
    ReportsRead,
)
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.search.spec import Num, to_num


def _observed(state: State, row: Recorded, event: MetricObserved) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    names = [(o.title, o.series) for o in state.search.objectives]
    curve = attempt.curves[names.index((event.title, event.series))]
    take_in(state, attempt, curve, zip(event.iterations, map(float, event.values), strict=True), row.seq)
    _reports(state, attempt, event, row.seq)


def take_in(state: State, attempt: Attempt, curve: Curve, points: Iterable[tuple[int, float]], seq: int) -> None:
    """Add reported *points* to *curve* of *attempt*, and see whether they reach the iteration limit."""
    most = state.search.max_iteration_per_job
    for iteration in curve.add(points):
        if most is not None and iteration >= most:
            _limit_reached(attempt, curve, seq, beyond=iteration > most)
    if attempt.ignored_since is None and curve.ignored:
        attempt.ignored_since = seq


def _limit_reached(attempt: Attempt, curve: Curve, seq: int, *, beyond: bool) -> None:
    if beyond:
        curve.end_at(len(curve.iterations) - 1)
    if attempt.ended is not None:
        return
    if attempt.fate is None:
        attempt.fate = "limit"
    if beyond:
        attempt.stop = attempt.stop or seq


def _reports_read(state: State, row: Recorded, event: ReportsRead) -> None:
    _reports(state, state.attempt(event.trial, event.attempt), event, row.seq)


def _reports(state: State, attempt: Attempt, event: MetricObserved | ReportsRead, seq: int) -> None:
    attempt.cursor = event.to
    attempt.bad += sum(bad.lines for bad in event.bad)
    if event.bad and attempt.first_bad is None:
        attempt.first_bad, attempt.bad_since = event.bad[0], seq
    state.poll_worked(attempt)
    for new in event.others:
        old = attempt.others.get((new.title, new.series))
        attempt.others[new.title, new.series] = new if old is None else _joined(old, new)


def _joined(old: OtherSeries, new: OtherSeries) -> OtherSeries:
    """Return what two polls read of one series, the older one first."""
    least = min(old, new, key=lambda series: _low(series.min))
    greatest = max(old, new, key=lambda series: _high(series.max))
    count, mean = _counted(old, new)
    return OtherSeries(
        title=new.title,
        series=new.series,
        iteration=new.iteration,
        last=new.last,
        min=least.min,
        max=greatest.max,
        min_iteration=least.min_iteration,
        max_iteration=greatest.max_iteration,
        first=old.first,
        first_iteration=old.first_iteration,
        count=count,
        mean=mean,
    )


def _counted(old: OtherSeries, new: OtherSeries) -> tuple[int | None, Num | None]:
    """Return how many points there are and their mean; None for what a row of an older version does not say."""
    if old.count is None or new.count is None or old.mean is None or new.mean is None:
        return None, None
    count = old.count + new.count
    return count, to_num((float(old.mean) * old.count + float(new.mean) * new.count) / count)


def _low(x: float | str) -> float:
    return float("inf") if x == "nan" else float(x)


def _high(x: float | str) -> float:
    return float("-inf") if x == "nan" else float(x)


def _predecessor(attempts: Sequence[Attempt]) -> Attempt:
    """Return the newest attempt that reported anything: one that died before it did has no checkpoint of its own."""
    return next((a for a in reversed(attempts) if a.reported or a.inherited), attempts[-1])


def _inherits(state: State, row: Recorded, event: InheritanceClaimed) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    state.poll_worked(attempt)
    if event.attempt and not any(c.reported for c in attempt.curves):
        take_over(state, attempt, event.iteration)


def take_over(state: State, attempt: Attempt, iteration: int) -> None:
    """Let *attempt* go on after *iteration* of the attempt before it."""
    before = _predecessor(state.trials[attempt.trial].attempts[: attempt.number])
    attempt.curves = [inherit(curve, iteration) for curve in before.curves]
    if attempt.fate is not None:  # settled before the claim was read
        attempt.end_curves()
    attempt.judged = min(before.judged, len(attempt.curves[0].iterations))
    last = attempt.curves[0].iterations[attempt.judged - 1] if attempt.judged else None
    attempt.attrs = [a for a in before.attrs if last is not None and a.iteration <= last]
    attempt.inherited = attempt.highest or 0


def _continued(state: State, row: Recorded, event: JobsContinued) -> None:
    for verdict in event.verdicts:
        _judge(state, verdict)
    _latch(state, event.latched)


def _pruned(state: State, row: Recorded, event: JobPruned) -> None:
    attempt = _judge(state, event)
    attempt.fate = "pruned"
    attempt.curves[0].end_at(event.judged)
    if attempt.stop is None and attempt.ended is None:
        attempt.stop = row.seq
    _latch(state, event.latched)


def _judge(state: State, verdict: Verdict | JobPruned) -> Attempt:
    attempt = state.attempt(verdict.trial, verdict.attempt)
    attempt.judged = verdict.judged
    attempt.attrs.extend(verdict.attrs)
    return attempt


def _latch(state: State, latched: int | None) -> None:
    if latched is not None:
        state.latched = latched


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    MetricObserved: _observed,
    ReportsRead: _reports_read,
    InheritanceClaimed: _inherits,
    JobsContinued: _continued,
    JobPruned: _pruned,
}
