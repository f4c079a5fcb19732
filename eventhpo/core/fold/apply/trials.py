"""What becomes of trials: suggested, given a job, charged, finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import BudgetUpdated, Event, JobCreated, Recorded, TrialFinished, TrialSuggested
from eventhpo.core.fold.state import Attempt, Reached, State, Trial
from eventhpo.core.search import points
from eventhpo.core.search.space import is_whole


def _suggested(state: State, row: Recorded, event: TrialSuggested) -> None:
    if event.trial != len(state.trials):
        raise LookupError(f"trial {event.trial} cannot follow {len(state.trials)} trials")
    point = event.params if event.point is None else event.point
    trial = Trial(
        number=event.trial,
        seq=row.seq,
        params=event.params,
        point=point,
        source=event.source,
        attrs=event.attrs,
        request=event.request,
    )
    state.trials.append(trial)
    state.active[trial.number] = trial
    take(state, trial)
    if event.source == "user":
        state.waiting.pop(0)
    if event.request is not None:
        request = state.asked.pop(0)
        assert request.request == event.request
        trial.extras = request.extras
    state.study_attrs.update(event.study_attrs)


def take(state: State, trial: Trial) -> None:
    """Have *trial* hold its point, so that another one there is a duplicate."""
    key = state.point_key(trial.params)
    state.taken[key] = state.taken.get(key, 0) + 1
    if state.taken[key] == 1 and _counts(state, trial):
        state.totals.tried += 1


def _counts(state: State, trial: Trial) -> bool:
    """Whether the point is one of those that the sampler can propose."""
    return is_whole(state.search.space, trial.point) and points.proposable(state.search, trial.params)


def _free(state: State, trial: Trial) -> None:
    key = state.point_key(trial.params)
    state.taken[key] -= 1
    if not state.taken[key]:
        del state.taken[key]
        if _counts(state, trial):
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
    if event.state == "aborted" and trial.cancelled is None:  # the point of a cancelled trial stays taken
        _free(state, trial)
    if event.state == "completed" and event.values is not None:
        _completed(state, trial, [float(v) for v in event.values])
    state.reached = state.reached or _reached_by(state, event)
    state.let_go(event.trial)


def _completed(state: State, trial: Trial, values: list[float]) -> None:
    totals, objectives = state.totals, state.search.objectives
    if state.single:
        gain = totals.best is None or objectives[0].better(values[0], totals.best)
        trial.was_best = gain
        totals.best = values[0] if gain else totals.best
        totals.since_best = 0 if gain else totals.since_best + 1
    pairs = zip(objectives, values, totals.worst or values, strict=True)
    totals.worst = [value if o.better(worst, value) else worst for o, value, worst in pairs]
    if state.single and trial.last is not None and trial.last.judged:
        step = trial.last.curves[0].iterations[trial.last.judged - 1]
        totals.longest = step if totals.longest is None else max(totals.longest, step)


def _reached_by(state: State, event: TrialFinished) -> Reached | None:
    """Return the reason to end the search that *event* gives, if any."""
    if event.state == "failed":
        return _all_failed(state)
    if event.state != "completed" or event.values is None or not state.single:
        return None
    return _target(state, float(event.values[0])) or _patience(state)


def _target(state: State, value: float) -> Reached | None:
    target, objective = state.limits.target_value, state.search.objectives[0]
    if target is None or not (value >= target if objective.maximize else value <= target):
        return None
    return Reached("target_value", f"{value:g} reaches {target:g}")


def _patience(state: State) -> Reached | None:
    patience = state.limits.patience
    if patience is None or state.totals.since_best < patience:
        return None
    return Reached("patience", f"no gain in {state.totals.since_best} completed trials")


def _all_failed(state: State) -> Reached | None:
    counts = state.totals.trials
    others = counts["completed"] + counts["pruned"]
    if not others and counts["failed"] >= max(3, state.limits.num_concurrent_workers):
        return Reached("failures", f"the first {counts['failed']} trials all failed")
    return None


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    TrialSuggested: _suggested,
    JobCreated: _job_created,
    BudgetUpdated: _budget,
    TrialFinished: _trial_finished,
}
