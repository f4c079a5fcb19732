"""The fold: what each event does to the state. Live, after a crash and in replay, this one path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from eventhpo.core import due, points
from eventhpo.core.curve import Curve, inherit
from eventhpo.core.ending import reached_by
from eventhpo.core.events import (
    BudgetUpdated,
    ClockTicked,
    ControllerStarted,
    EffectFailed,
    Event,
    Head,
    InheritanceClaimed,
    Input,
    JobBound,
    JobCreated,
    JobEnded,
    JobPruned,
    JobQueued,
    JobReturned,
    JobsContinued,
    JobStarted,
    JobStopSent,
    LimitsChanged,
    MetricObserved,
    OtherSeries,
    PointEnqueued,
    Recorded,
    ReportsRead,
    RequestRefused,
    SearchCreated,
    SearchEnding,
    SearchFinished,
    SearchReopened,
    StopAsked,
    TrialFinished,
    TrialSuggested,
    Verdict,
)
from eventhpo.core.state import Attempt, Failure, RunStop, State, Trial, Waiting
from eventhpo.errors import DamagedLog


def fold(rows: Iterable[Recorded], state: State | None = None) -> State:
    """Return what *rows* add up to, on top of *state* if one is given (it is used up).

    Raises:
        DamagedLog: there is no row, the first is no `SearchCreated`, or a row does
            not fit the state before it.
    """
    for row in rows:
        state = begin(row) if state is None else evolve(state, row)
    if state is None:
        raise DamagedLog("the log has no event")
    return state


def begin(row: Recorded) -> State:
    """Return the state of a search whose first row this is."""
    event = row.event
    if not isinstance(event, SearchCreated):
        raise DamagedLog(f"the first event is a {type(event).__name__}, not a SearchCreated")
    return State(
        search=event.search,
        search_id=event.search_id,
        policy=event.policy,
        fingerprint=event.fingerprint,
        limits=event.search.limits,
        created_at=row.at,
        last_at=row.at,
        head=Head(row.seq, row.hash),
        last_input=row.seq,
        steps=1,
        space_size=points.size(event.search),
    )


def evolve(state: State, row: Recorded) -> State:
    """Return the state after *row*; the state before it is used up."""
    event = row.event
    try:
        _FOLD[type(event)](state, row, event)
    except (LookupError, AssertionError, TypeError) as error:
        raise DamagedLog(
            f"event {row.seq} ({type(event).__name__}) does not fit the events before it: {error!r}"
        ) from error
    state.head = Head(row.seq, row.hash)
    state.last_at = row.at
    if isinstance(event, ControllerStarted):
        return state
    state.steps += 1
    if isinstance(event, Input):
        state.last_input = row.seq
        request = getattr(event, "request", None)
        if request is not None:
            state.requests.add(request)
    return state


# ---------------------------------------------------------------- the search and its controllers


def _created(state: State, row: Recorded, event: SearchCreated) -> None:
    raise LookupError("a search is created once")


def _controller(state: State, row: Recorded, event: ControllerStarted) -> None:
    state.epoch = row.epoch
    state.host, state.pid = event.host, event.pid
    state.boots[row.epoch] = event.boot
    if state.first_clock is None:
        state.first_clock = event.clock
    if state.run_stop is not None and state.run_stop.epoch < row.epoch:
        state.run_stop = None


def _limits(state: State, row: Recorded, event: LimitsChanged) -> None:
    state.limits = event.changes.on(state.limits)
    if state.ending is not None and state.ending.reason != "stop":
        state.ending = state.finished = state.reached = None


def _reopened(state: State, row: Recorded, event: SearchReopened) -> None:
    state.ending = state.finished = state.reached = state.stop_asked = None


def _stop_asked(state: State, row: Recorded, event: StopAsked) -> None:
    if event.scope == "search":
        state.stop_asked = state.stop_asked or row.seq
        return
    state.run_stop = RunStop(row.seq, row.epoch, event.jobs == "leave")
    if event.jobs == "abort":
        _abort_all(state, row.seq)


def _enqueued(state: State, row: Recorded, event: PointEnqueued) -> None:
    state.waiting.append(Waiting(row.seq, event.params))


def _refused(state: State, row: Recorded, event: RequestRefused) -> None:
    state.requests.add(event.request)


def _ending(state: State, row: Recorded, event: SearchEnding) -> None:
    state.ending = event
    if event.at_once:
        _abort_all(state, row.seq)


def _finished(state: State, row: Recorded, event: SearchFinished) -> None:
    state.finished = event
    state.active.clear()


def _abort_all(state: State, seq: int) -> None:
    for trial in state.active.values():
        for attempt in trial.attempts:
            if attempt.ended is None:
                _settle(attempt, "aborted", seq)


def _settle(attempt: Attempt, fate: Any, seq: int) -> None:
    """Have it stopped, and let *fate* be its outcome unless that is settled already."""
    if attempt.stop is None:
        attempt.stop = seq
    if attempt.fate is None:
        attempt.fate = fate
        attempt.closed = fate == "aborted"


# ---------------------------------------------------------------- trials and their jobs


def _suggested(state: State, row: Recorded, event: TrialSuggested) -> None:
    if event.trial != len(state.trials):
        raise LookupError(f"trial {event.trial} cannot follow {len(state.trials)} trials")
    point = event.params if event.point is None else event.point
    trial = Trial(
        number=event.trial, seq=row.seq, params=event.params, point=point, source=event.source, attrs=event.attrs
    )
    state.trials.append(trial)
    state.active[trial.number] = trial
    _take(state, trial)
    if event.source == "user":
        state.waiting.pop(0)
    state.study_attrs.update(event.study_attrs)


def _take(state: State, trial: Trial) -> None:
    key = state.point_key(trial.params)
    state.taken[key] = state.taken.get(key, 0) + 1
    if state.taken[key] == 1 and points.proposable(state.search, trial.params):
        state.totals.tried += 1


def _free(state: State, trial: Trial) -> None:
    key = state.point_key(trial.params)
    state.taken[key] -= 1
    if not state.taken[key]:
        del state.taken[key]
        if points.proposable(state.search, trial.params):
            state.totals.tried -= 1


def _job_created(state: State, row: Recorded, event: JobCreated) -> None:
    trial = state.trials[event.trial]
    if event.attempt != len(trial.attempts):
        raise LookupError(f"attempt {event.attempt} cannot follow {len(trial.attempts)} attempts")
    curves = [Curve() for _ in state.search.objectives]
    trial.attempts.append(
        Attempt(
            trial=event.trial,
            number=event.attempt,
            key=event.key,
            slot=event.slot,
            seq=row.seq,
            epoch=row.epoch,
            curves=curves,
        )
    )
    state.totals.jobs += 1
    state.totals.reservations += 1


def _bound(state: State, row: Recorded, event: JobBound) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.job_id = event.job_id
    attempt.provenance = event.provenance
    attempt.failures.pop("draft", None)
    script, now = event.provenance.script, event.provenance.script_hash
    if script is not None and now is not None:
        if state.scripts.setdefault(script, now) != now and script not in state.changed_scripts:
            state.changed_scripts.append(script)
        state.scripts[script] = now


def _queued(state: State, row: Recorded, event: JobQueued) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.queued = True
    attempt.failures.pop("launch", None)


def _started(state: State, row: Recorded, event: JobStarted) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.started_at = event.started_at
    attempt.failures.pop("launch", None)


def _stop_sent(state: State, row: Recorded, event: JobStopSent) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.stop_sent = True
    attempt.failures.pop("stop", None)


def _job_ended(state: State, row: Recorded, event: JobEnded) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    if attempt.ended is not None:
        attempt.returned, attempt.gone = False, True
        return
    attempt.ended = event
    attempt.failures.clear()
    if attempt.started_at is None:
        attempt.started_at = event.started_at
    if attempt.fate is None and event.how != "completed":
        attempt.closed = True


def _returned(state: State, row: Recorded, event: JobReturned) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.returned = True
    attempt.stop, attempt.stop_sent = row.seq, False


def _effect_failed(state: State, row: Recorded, event: EffectFailed) -> None:
    failure = Failure(
        count=event.count,
        since=event.clock,
        until=event.clock + due.back_off(event.count),
        error=event.error,
        in_doubt=event.in_doubt,
    )
    if event.trial is None or event.attempt is None:
        state.poll_failure = failure
        return
    attempt = state.attempt(event.trial, event.attempt)
    before = attempt.failures.get(event.effect)
    failure.in_doubt = event.in_doubt or (before is not None and before.in_doubt)  # until it succeeds
    attempt.failures[event.effect] = failure
    if event.in_doubt and event.effect == "launch":
        attempt.in_doubt = True


def _ticked(state: State, row: Recorded, event: ClockTicked) -> None:
    for item in list(due.dues(state)):
        if not due.reached(item, event.clock, event.jobs_clock):
            continue
        if item.failure is not None:
            item.failure.until = None
        if item.attempt is not None:
            _time_is_up(item.attempt, row.seq)
    state.clock, state.jobs_clock = event.clock, event.jobs_clock


def _time_is_up(attempt: Attempt, seq: int) -> None:
    _settle(attempt, "time", seq)
    if attempt.fate == "time":
        for curve in attempt.curves:
            curve.end_at(len(curve.iterations))


# ---------------------------------------------------------------- reports


def _observed(state: State, row: Recorded, event: MetricObserved) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    names = [(o.title, o.series) for o in state.search.objectives]
    curve = attempt.curves[names.index((event.title, event.series))]
    most = state.search.max_iteration_per_job
    for iteration in curve.add(zip(event.iterations, map(float, event.values), strict=True)):
        if most is not None and iteration >= most:
            _limit_reached(attempt, curve, row.seq, beyond=iteration > most)
    _reports(state, attempt, event)


def _limit_reached(attempt: Attempt, curve: Curve, seq: int, *, beyond: bool) -> None:
    if beyond:
        curve.end_at(len(curve.iterations) - 1)
    if attempt.ended is not None:
        return
    if attempt.fate is None:
        attempt.fate = "limit"
    if beyond:
        attempt.beyond = True
        attempt.stop = attempt.stop or seq


def _reports_read(state: State, row: Recorded, event: ReportsRead) -> None:
    _reports(state, state.attempt(event.trial, event.attempt), event)


def _reports(state: State, attempt: Attempt, event: MetricObserved | ReportsRead) -> None:
    attempt.cursor = event.to
    attempt.bad += len(event.bad)
    state.poll_failure = None
    for new in event.others:
        old = attempt.others.get((new.title, new.series), new)
        attempt.others[new.title, new.series] = OtherSeries(
            title=new.title,
            series=new.series,
            iteration=new.iteration,
            last=new.last,
            min=min(old.min, new.min, key=_low),
            max=max(old.max, new.max, key=_high),
        )


def _low(x: float | str) -> float:
    return float("inf") if x == "nan" else float(x)


def _high(x: float | str) -> float:
    return float("-inf") if x == "nan" else float(x)


def _inherits(state: State, row: Recorded, event: InheritanceClaimed) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    if not event.attempt or any(c.reported for c in attempt.curves):
        return
    before = state.attempt(event.trial, event.attempt - 1)
    attempt.curves = [inherit(curve, event.iteration) for curve in before.curves]
    attempt.judged = min(before.judged, len(attempt.curves[0].iterations))
    last = attempt.curves[0].iterations[attempt.judged - 1] if attempt.judged else None
    attempt.attrs = [a for a in before.attrs if last is not None and a.iteration <= last]
    attempt.inherited = attempt.highest or 0


# ---------------------------------------------------------------- decisions about curves


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


def _budget(state: State, row: Recorded, event: BudgetUpdated) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    attempt.charge, attempt.late = event.iterations, event.late
    state.totals.charged += event.iterations
    state.totals.compute += event.compute_time
    state.totals.reservations -= 1


def _trial_finished(state: State, row: Recorded, event: TrialFinished) -> None:
    trial = state.trials[event.trial]
    trial.finished = event
    totals = state.totals
    totals.trials[event.state] += 1
    if event.state == "aborted":
        _free(state, trial)
    if event.state == "completed" and event.values is not None:
        _completed(state, trial, [float(v) for v in event.values])
    state.reached = state.reached or reached_by(state, event)
    if not any(a.watched for a in trial.attempts):
        del state.active[event.trial]


def _completed(state: State, trial: Trial, values: list[float]) -> None:
    totals, objectives = state.totals, state.search.objectives
    if state.single:
        gain = totals.best is None or objectives[0].better(values[0], totals.best)
        totals.best = values[0] if gain else totals.best
        totals.since_best = 0 if gain else totals.since_best + 1
    pairs = zip(objectives, values, totals.worst or values, strict=True)
    totals.worst = [value if o.better(worst, value) else worst for o, value, worst in pairs]
    if state.single and trial.last is not None and trial.last.judged:
        step = trial.last.curves[0].iterations[trial.last.judged - 1]
        totals.longest = step if totals.longest is None else max(totals.longest, step)


_FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    SearchCreated: _created,
    ControllerStarted: _controller,
    LimitsChanged: _limits,
    SearchReopened: _reopened,
    PointEnqueued: _enqueued,
    StopAsked: _stop_asked,
    JobBound: _bound,
    JobQueued: _queued,
    JobStarted: _started,
    JobStopSent: _stop_sent,
    MetricObserved: _observed,
    ReportsRead: _reports_read,
    InheritanceClaimed: _inherits,
    JobEnded: _job_ended,
    JobReturned: _returned,
    EffectFailed: _effect_failed,
    ClockTicked: _ticked,
    TrialSuggested: _suggested,
    JobCreated: _job_created,
    JobsContinued: _continued,
    JobPruned: _pruned,
    BudgetUpdated: _budget,
    TrialFinished: _trial_finished,
    SearchEnding: _ending,
    SearchFinished: _finished,
    RequestRefused: _refused,
}
