"""What a job that is taken up again does to the state, although the log lost the rows that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventhpo.core.fold.apply.curves import take_in, take_over
from eventhpo.core.fold.apply.jobs import settle
from eventhpo.core.fold.apply.trials import take
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import Event, JobAdopted, JobEnded, Recorded, TasksLeft, TrialFinished
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.search import points

LOST = "lost with the end of the log"


def _adopted(state: State, row: Recorded, event: JobAdopted) -> None:
    while len(state.trials) < event.trial:
        _forgotten(state, row.seq)
    if event.trial == len(state.trials):
        _trial(state, row.seq, event)
    trial = state.trials[event.trial]
    while len(trial.attempts) < event.attempt:
        _gone(state, row, trial)
    if event.attempt != len(trial.attempts):
        raise LookupError(f"attempt {event.attempt} cannot follow {len(trial.attempts)} attempts")
    before = trial.last
    if before is not None and before.ended is None:  # there is a retry, so it had ended
        before.ended = JobEnded(trial=trial.number, attempt=before.number, how="lost", why=LOST)
        before.end_curves()
    attempt = _attempt(state, row, event)
    trial.attempts.append(attempt)
    state.totals.jobs += 1
    state.totals.reservations += 1
    _settled(attempt, event, row.seq)


def _forgotten(state: State, seq: int) -> None:
    """Keep the number of a trial of which nothing is left."""
    number = len(state.trials)
    trial = Trial(number=number, seq=seq, params={}, point={}, source="adopted", attrs={})
    trial.finished = TrialFinished(trial=number, state="aborted", why=LOST)
    state.trials.append(trial)
    state.totals.trials["aborted"] += 1


def _trial(state: State, seq: int, event: JobAdopted) -> None:
    point = points.known(state.search.space, event.params)
    trial = Trial(number=event.trial, seq=seq, params=event.params, point=point, source="adopted", attrs={})
    _answered(state, trial)
    state.trials.append(trial)
    state.active[trial.number] = trial
    take(state, trial)


def _answered(state: State, trial: Trial) -> None:
    """Take off what was asked for and is this trial, as far as that can be told: it must not run twice."""
    if state.by_hand and state.asked:
        trial.request = state.asked.pop(0).request
    for waiting in state.waiting:
        if all(name in trial.params and trial.params[name] == value for name, value in waiting.params.items()):
            state.waiting.remove(waiting)
            return


def _gone(state: State, row: Recorded, trial: Trial) -> None:
    """Keep the number of an attempt of which nothing is left; it charged what nobody knows."""
    attempt = _blank(state, row, trial.number, len(trial.attempts))
    attempt.ended = JobEnded(trial=trial.number, attempt=attempt.number, how="lost", why=LOST)
    attempt.gone, attempt.closed, attempt.charge = True, True, 0
    trial.attempts.append(attempt)
    state.totals.jobs += 1


def _blank(state: State, row: Recorded, trial: int, number: int, key: str = "", slot: int = 0) -> Attempt:
    curves = [Curve() for _ in state.search.objectives]
    return Attempt(trial=trial, number=number, key=key, slot=slot, seq=row.seq, epoch=row.epoch, curves=curves)


def _attempt(state: State, row: Recorded, event: JobAdopted) -> Attempt:
    attempt = _blank(state, row, event.trial, event.attempt, event.key, event.slot)
    attempt.job_id = event.job_id
    attempt.queued = attempt.released = event.launched
    if event.inherits is not None and event.attempt:
        take_over(state, attempt, event.inherits)
    names = [(o.title, o.series) for o in state.search.objectives]
    for adopted in event.curves:
        curve = attempt.curves[names.index((adopted.title, adopted.series))]
        take_in(state, attempt, curve, zip(adopted.iterations, map(float, adopted.values), strict=True), row.seq)
        attempt.cursor += len(adopted.iterations)
    if event.to is not None:
        attempt.cursor = event.to
    return attempt


def _settled(attempt: Attempt, event: JobAdopted, seq: int) -> None:
    """Let what had been settled of the attempt be so again; it was told to stop already."""
    match event.fate:
        case None:
            return
        case "pruned":
            attempt.fate, attempt.stop = "pruned", attempt.stop or seq
            attempt.judged = min(event.judged, len(attempt.curves[0].iterations))
            attempt.curves[0].end_at(attempt.judged)
        case _:
            attempt.fate = None
            settle(attempt, event.fate, seq)
    attempt.stop_sent = True


def _left(state: State, row: Recorded, event: TasksLeft) -> None:
    state.left.update(event.keys)


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {JobAdopted: _adopted, TasksLeft: _left}
