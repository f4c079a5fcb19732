"""The steps of a trial other than its suggestion and its verdicts: launched, settled, ended, charged, finished."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from eventhpo.core.fold import budget
from eventhpo.core.fold.event_parts import Fate
from eventhpo.core.fold.events import (
    AbortRequested,
    BudgetUpdated,
    ClockTicked,
    EffectFailed,
    Event,
    InheritanceClaimed,
    JobAdopted,
    JobBound,
    JobCreated,
    JobEnded,
    JobQueued,
    JobReturned,
    JobRunsOn,
    JobStarted,
    JobStopSent,
    LaunchRequested,
    MetricObserved,
    Recorded,
    ReportsRead,
    SearchEnding,
    StopAsked,
    TrialCancelled,
    TrialFinished,
    TrialNoted,
)
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import outcome, rank
from eventhpo.core.scheduler.decide import attempts
from eventhpo.views import unused_reports
from eventhpo.views.formatting import plural
from eventhpo.views.statuses import job_status
from replay.explain.explanation import (
    AnyStep,
    BudgetAtLaunch,
    Charge,
    Finish,
    JobEndStep,
    JudgedPoint,
    Late,
    LaunchStep,
    OccupiedSlot,
    Rank,
    Retry,
    Settled,
    Stretch,
)
from replay.explain.sampler_facts import decided, difference

Mark: TypeAlias = tuple[int | None, Fate | None]  # what an attempt's fate and stop were before a row


def mark(attempt: Attempt) -> Mark:
    """Return what tells whether a row settles the attempt or has it stopped."""
    return attempt.stop, attempt.fate


# ---------------------------------------------------------------- decisions: on the state before


def launch(state: State, seq: int, event: JobCreated) -> LaunchStep:
    """Return the slot and the budget that an attempt got, and why there is one more."""
    trial = state.trials[event.trial]
    iterations = None
    if state.search.max_iteration_per_job is not None:
        iterations = BudgetAtLaunch(
            used=state.totals.charged,
            reserved=budget.reserved(state),
            reserves=budget.reservation(state),
            limit=budget.limit(state),
        )
    most = budget.most_trials(state)
    return LaunchStep(
        seq=seq,
        differs=difference(event, decided(state)),
        attempt=event.attempt,
        slot=event.slot,
        workers=state.limits.num_concurrent_workers,
        busy=tuple(OccupiedSlot(a.slot, a.trial, a.number) for a in attempts(state) if a.live),
        budget=iterations,
        trials=event.trial + 1 - state.imported,
        trials_limit=None if most is None else most.number,
        trials_limited_by=None if most is None else most.name,
        retry=_retry(state, trial) if trial.attempts else None,
    )


def _retry(state: State, trial: Trial) -> Retry:
    last = trial.attempts[-1]
    ends = [outcome.end_of(state, a) for a in trial.attempts if a.ended is not None]
    how = outcome.end_of(state, last)
    lost = how.outcome == "lost"
    return Retry(
        outcome=how.outcome,
        why=how.why,
        count=sum(end.outcome == how.outcome for end in ends),
        allowed=state.limits.max_lost_per_trial if lost else state.limits.max_failures_per_trial,
        limit="max_lost_per_trial" if lost else "max_failures_per_trial",
    )


def charge(state: State, seq: int, event: BudgetUpdated) -> Charge:
    """Return what an attempt cost."""
    attempt = state.attempt(event.trial, event.attempt)
    return Charge(
        seq=seq,
        differs=difference(event, decided(state)),
        attempt=event.attempt,
        iterations=event.iterations,
        late=event.late,
        inherited=attempt.inherited,
        compute_time=event.compute_time,
        least=event.iterations > max(0, (budget.charged_through(state, attempt) or 0) - attempt.inherited),
        used=event.used,
        reserved=event.reserved,
    )


def finish(state: State, seq: int, event: TrialFinished) -> Finish:
    """Return a trial's outcome; its rank is filled in after the row."""
    last = state.trials[event.trial].last
    nan = last is not None and event.state in ("completed", "failed") and _is_nan(state, last)
    return Finish(
        seq=seq,
        differs=difference(event, decided(state)),
        state=event.state,
        values=event.values,
        why=event.why,
        nan_policy=state.search.nan_policy if nan else None,
        rank=None,
        last=_retry(state, state.trials[event.trial]) if event.state == "failed" and last is not None else None,
    )


def _is_nan(state: State, attempt: Attempt) -> bool:
    """Whether the attempt completed with a value that is NaN."""
    if attempt.ended is None or outcome.end_of(state, attempt).outcome != "completed":
        return False
    return any(value is not None and math.isnan(value) for value in outcome.told_values(state, attempt))


def stretch(before: list[AnyStep], attempt: int, point: JudgedPoint) -> None:
    """Add a verdict to go on to *before*: to its last stretch if that is the last step, else as a new stretch."""
    last = before[-1] if before else None
    if not isinstance(last, Stretch) or last.attempt != attempt:
        before.append(Stretch(seq=point.seq, attempt=attempt, points=(point,), closest=_closest((point,))))
        return
    points = (*last.points, point)
    before[-1] = Stretch(seq=last.seq, attempt=attempt, points=points, closest=_closest(points))


def _closest(points: tuple[JudgedPoint, ...]) -> int | None:
    """Return which point came closest to a prune, None if none was compared with anything."""
    margins = {
        k: float(point.found.margin)
        for k, point in enumerate(points)
        if point.found is not None and point.found.margin is not None
    }
    return min(margins, key=lambda k: margins[k], default=None)


# ---------------------------------------------------------------- what came from outside: on the state after


def settled(state: State, row: Recorded, attempt: Attempt, before: Mark, authors: Mapping[int, str]) -> Settled:
    """Return what a row did to an attempt that still ran: settled its outcome, or had it stopped.

    *authors* says who asked for what at an event and why, by seq.
    """
    stop, fate = before
    return Settled(
        seq=row.seq,
        attempt=attempt.number,
        fate=attempt.fate if attempt.fate != fate else None,
        stopped=attempt.stop is not None and stop is None,
        event=type(row.event).__name__,
        why=_settled_by(state, row, authors),
    )


def _settled_by(state: State, row: Recorded, authors: Mapping[int, str]) -> str:
    author = authors.get(row.seq, "")
    match row.event:
        case MetricObserved() as event:
            reached = next(i for i in event.iterations if i >= _limit(state))
            return f"iteration {reached} reported, max_iteration_per_job = {_limit(state)}"
        case ClockTicked():
            return f"time_limit_per_job of {state.limits.time_limit_per_job:g} min was over"
        case AbortRequested(why=why):
            return f"the end of this job was asked for{_because(author, why)}"
        case TrialCancelled(why=why):
            return f"the trial was cancelled{_because(author, why)}"
        case StopAsked(scope=scope, why=why):
            return f"the {scope} was to be stopped{_because(author, why)}"
        case SearchEnding(reason="stop"):
            asked_at = state.stop_asked
            return f"the search ended at once (stop{_because(authors.get(asked_at or 0, ''), '')})"
        case SearchEnding(reason=reason, detail=detail):
            return f"the search ended at once ({reason}{f', {detail}' if detail else ''})"
    return type(row.event).__name__


def _because(author: str, why: str) -> str:
    """Return who asked and why, to follow a sentence; only why in logs that name nobody."""
    if author:
        return f" {author}"
    return f": {why}" if why else ""


def _limit(state: State) -> int:
    return state.search.max_iteration_per_job or 0


def end(state: State, seq: int, event: JobEnded) -> JobEndStep:
    """Return how a job was over."""
    attempt = state.attempt(event.trial, event.attempt)
    unjudged = attempt.curves[0].in_time - attempt.judged if state.single and attempt.closed else 0
    return JobEndStep(
        seq=seq,
        attempt=event.attempt,
        how=event.how,
        why=_before_a_stop(event.why) if event.by_itself and attempt.stop is not None else event.why,
        code=event.code,
        signal=event.signal,
        output=event.output,
        reported=sum(len(curve.iterations) for curve in attempt.curves),
        unjudged=unjudged,
        again=attempt.gone,
    )


def _before_a_stop(why: str) -> str:
    return "; ".join(part for part in (why, "before it heard of a stop") if part)


def said(state: State, event: Event) -> str | None:
    """Return in words what came from outside, None for what other steps say."""
    match event:
        case JobBound(job_id=job_id):
            return f"its job is {job_id}"
        case JobQueued():
            return "a queue took its job"
        case JobStarted():
            return "its job began"
        case JobStopSent(over=over):
            return (
                "its job was to be told to stop, and was over already: its own end counts"
                if over
                else "its job was told to stop"
            )
        case JobRunsOn():
            return "its job runs on although it was told to stop: it is told again"
        case JobReturned():
            return "taken for lost, it shows itself alive: it is stopped, and its points count no more"
        case LaunchRequested():
            return "its launch was asked for"
        case InheritanceClaimed(trial=trial, attempt=number, iteration=iteration):
            taken = state.attempt(trial, number).inherited
            return f"it goes on after iteration {iteration} of the attempt before; taken over through {taken}"
        case EffectFailed():
            return _failure(state, event)
        case JobAdopted():
            return _adopted(event)
    return None


def persons_act(event: TrialNoted | TrialCancelled, *, in_study: bool = False) -> str:
    """Return in words what a person did about a trial, of a search or *in_study*."""
    match event:
        case TrialNoted(text=text):
            return f"noted: {text}"
        case TrialCancelled() if in_study:
            return "cancelled: it is failed, and not asked for again"
        case TrialCancelled():
            return "cancelled: no job of it is started any more, and its point stays taken"


def unused_begins(state: State, row: Recorded) -> str | None:
    """Return what *row* has first of an attempt's faulty or ignored reports, None if nothing begins with it."""
    match row.event:
        case MetricObserved(trial=trial, attempt=number) | ReportsRead(trial=trial, attempt=number):
            return unused_reports.describe_beginning(state, state.attempt(trial, number), row.seq) or None
    return None


def _failure(state: State, event: EffectFailed) -> str:
    doubt = ", and nobody knows whether it took place" if event.in_doubt else ""
    again = "" if event.count == 1 else f" (failure {event.count} in a row)"
    return f"{event.effect} did not work{again}: {event.error}{doubt}; tried again after a while"


def _adopted(event: JobAdopted) -> str:
    points = sum(len(curve.iterations) for curve in event.curves)
    settled = "" if event.fate is None else f"; it had been told to stop ({_FATES[event.fate]})"
    return (
        f"job {event.job_id} is taken up again with {plural(points, 'point')}{settled}: the end of the log was lost, "
        "and with it why it was created and judged"
    )


_FATES: dict[Fate, str] = {
    "pruned": "pruned",
    "limit": "max_iteration_per_job",
    "time": "time_limit_per_job",
    "aborted": "aborted",
}


# ---------------------------------------------------------------- the whole


def ranked(state: State, trial: Trial) -> Rank | None:
    """Return the trial's place in `eventhpo top`, None if it is not listed there."""
    order = [t.number for t in rank.top(state)]
    return Rank(order.index(trial.number) + 1, len(order)) if trial.number in order else None


def late(attempt: Attempt) -> Iterator[Late]:
    """Yield the late points of an attempt, a curve at a time."""
    for curve in attempt.curves:
        behind = curve.iterations[curve.in_time :]
        if behind:
            yield Late(attempt.number, len(behind), behind[0], behind[-1])


def notes(state: State, trial: Trial) -> Iterator[str]:
    """Yield what else is to be known: how a trial without an outcome stands, what holds for the whole search."""
    if trial.finished is None:
        last = trial.last
        stands = "it has no job yet" if last is None else f"attempt {last.number} is {job_status(state, last)}"
        yield f"no outcome yet: {stands}"
    if trial.source == "adopted" and not trial.attempts:
        yield "nothing of it but its number is left: it was lost with the end of the log"
    for attempt in trial.attempts:
        unused = unused_reports.describe_unused(state, attempt)
        if unused:
            yield f"attempt {attempt.number}: {unused}"
    if not state.single:
        yield f"{plural(len(state.search.objectives), 'objective')}: nothing is pruned"
