"""What the events of an Optuna study do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import Event, JobEnded, Recorded, TrialFinished
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.fold.study_events import (
    AttributeSet,
    LateCall,
    ParameterSuggested,
    PointJudged,
    StudyParameter,
    TrialAdded,
    TrialAsked,
    TrialLost,
    TrialTold,
    WrittenAttribute,
)
from eventhpo.core.fold.study_state import Attribute, AttributeWriter, StudyState, StudyTrial


def _study(state: State) -> StudyState:
    if state.study is None:
        raise LookupError("this log is a search of jobs, not a study")
    return state.study


def _asked(state: State, row: Recorded, event: TrialAsked) -> None:
    study = _study(state)
    if event.trial == len(study.trials):
        if event.trial_id < study.next_id:
            raise LookupError(f"trial id {event.trial_id} was used before")
        _append(state, row, StudyTrial(number=event.trial, trial_id=event.trial_id, state="running"), "sampler")
    own = study.trials[event.trial]
    if own.trial_id != event.trial_id:
        raise LookupError(f"trial {event.trial} has the id {own.trial_id}, not {event.trial_id}")
    if event.attempt != own.attempt + 1 or own.finished:
        raise LookupError(f"attempt {event.attempt} of trial {event.trial} cannot be asked for now")
    own.trial_id, own.attempt, own.state = event.trial_id, event.attempt, "running"
    own.loop, own.worker, own.lease, own.epoch = event.loop, event.worker, event.lease, row.epoch
    own.started, own.local_times = row.at, False
    own.seen = row.at
    _named(study, event.trial_id, event.trial, event.attempt)
    trial = state.trials[event.trial]
    attempt = Attempt(
        trial=event.trial,
        number=event.attempt,
        key=f"{state.search_id}:{event.trial_id}",
        slot=_free_slot(state),
        seq=row.seq,
        epoch=row.epoch,
        curves=[Curve() for _ in state.search.objectives],
        job_id=str(event.trial_id),
        started=ClockReading(row.at),
    )
    trial.attempts.append(attempt)
    state.active[event.trial] = trial
    state.totals.jobs += 1
    own.changes += 1


def _append(state: State, row: Recorded, own: StudyTrial, source: Any) -> None:
    _study(state).trials.append(own)
    state.trials.append(Trial(number=own.number, seq=row.seq, params={}, point={}, source=source, attrs={}))


def _named(study: StudyState, trial_id: int, trial: int, attempt: int) -> None:
    study.ids[trial_id] = trial, attempt
    study.next_id = max(study.next_id, trial_id + 1)


def _free_slot(state: State) -> int:
    used = {attempt.slot for trial in state.active.values() for attempt in trial.attempts if attempt.live}
    return next(slot for slot in range(len(used) + 1) if slot not in used)


def _unfinished(state: State, trial: int, attempt: int) -> StudyTrial:
    own = _study(state).trials[trial]
    if own.finished or own.attempt != attempt:
        raise LookupError(f"attempt {attempt} of trial {trial} is over")
    own.changes += 1
    return own


def _suggested(state: State, row: Recorded, event: ParameterSuggested) -> None:
    own = _unfinished(state, event.trial, event.attempt)
    own.seen = row.at
    if event.relative is not None:
        own.relative = event.relative
    _take(state, own, [] if event.parameter is None else [event.parameter])
    _write(_study(state), own, event.written, "sampler")


def _take(state: State, own: StudyTrial, parameters: Iterable[StudyParameter]) -> None:
    trial = state.trials[own.number]
    for parameter in parameters:
        own.parameters[parameter.name] = parameter
        trial.params[parameter.name] = trial.point[parameter.name] = parameter.value


def _write(study: StudyState, own: StudyTrial, written: Iterable[WrittenAttribute], writer: AttributeWriter) -> None:
    for attribute in written:
        if attribute.on_study:
            study.system_attrs[attribute.name] = attribute.value
        else:
            own.system_attrs[attribute.name] = Attribute(attribute.value, writer)


def _judged(state: State, row: Recorded, event: PointJudged) -> None:
    own, study = _unfinished(state, event.trial, event.attempt), _study(state)
    own.seen = row.at
    if event.latched is not None:
        study.latched = event.latched
    if event.value is not None:
        own.points[event.step] = float(event.value)
        attempt = state.trials[event.trial].last
        if attempt is not None:  # a trial that waits, or runs by its template, has none
            attempt.cursor += 1
            attempt.judged += len(list(attempt.curves[0].add([(event.step, float(event.value))])))
    if event.prune is not None:
        own.verdicts[event.step] = event.prune
    _write(study, own, event.written, "pruner")


def _told(state: State, row: Recorded, event: TrialTold) -> None:
    own, study = _study(state).trials[event.trial], _study(state)
    if own.finished or own.attempt != event.attempt:
        raise LookupError(f"attempt {event.attempt} of trial {event.trial} is over")
    own.changes += 1
    own.state = event.state
    own.values = None if event.values is None else tuple(float(value) for value in event.values)
    if not own.local_times or own.completed is None:
        own.completed = row.at
    _write(study, own, event.written, "tell")
    study.stopped = study.stopped or event.stop
    if event.state == "completed" and own.points:
        study.longest = max(study.longest or 0, *own.points)
    trial = state.trials[event.trial]
    if trial.last is not None:
        how: Any = {"completed": "completed", "pruned": "stopped", "failed": "failed"}[event.state]
        trial.last.fate = "pruned" if event.state == "pruned" else trial.last.fate
        _end(trial.last, row.at, how, event.why)
    _finish(state, row, TrialFinished(trial=event.trial, state=event.state, values=event.values, why=event.why))


def _end(attempt: Attempt, at: int, how: Any, why: str) -> None:
    started = None if attempt.started is None else attempt.started.wall
    attempt.ended = JobEnded(
        trial=attempt.trial, attempt=attempt.number, how=how, started_at=started, finished_at=at, why=why
    )
    attempt.gone = how == "lost"
    attempt.charge = attempt.reported  # a study has no budget: what it costs are its reports


def _finish(state: State, row: Recorded, finished: TrialFinished) -> None:
    trial, totals = state.trials[finished.trial], state.totals
    trial.finished = finished
    totals.trials[finished.state] += 1
    state.active.pop(finished.trial, None)
    if finished.state != "completed" or finished.values is None:
        return
    values = [float(value) for value in finished.values]
    if state.single:
        trial.was_best = totals.best is None or state.search.objectives[0].better(values[0], totals.best)
        totals.best = values[0] if trial.was_best else totals.best
        totals.since_best = 0 if trial.was_best else totals.since_best + 1


def cancel_in_study(state: State, row: Recorded, trial: Trial) -> None:
    """End a trial of a study that a person cancelled: it is failed, and is not asked for again."""
    own = _study(state).trials[trial.number]
    own.changes += 1
    own.state, own.completed = "failed", row.at if own.completed is None else own.completed
    if trial.last is not None and trial.last.ended is None:
        _end(trial.last, row.at, "failed", trial.cancel_why)
    _finish(state, row, TrialFinished(trial=trial.number, state="failed", why=trial.cancel_why))


def _lost(state: State, row: Recorded, event: TrialLost) -> None:
    """What belongs to the trial stays: its parameters, and what the sampler wrote. What the attempt did goes.

    It ended when its process was last seen with it: the row may come days after that.
    """
    own = _unfinished(state, event.trial, event.attempt)
    if own.state != "running" or event.trial_id < _study(state).next_id:
        raise LookupError(f"trial {event.trial} does not run, or its new id {event.trial_id} was used before")
    own.trial_id = event.trial_id
    _named(_study(state), event.trial_id, event.trial, event.attempt + 1)
    own.state, own.points, own.verdicts, own.started = "waiting", {}, {}, None
    own.user_attrs = {name: a for name, a in own.user_attrs.items() if a.writer == "template"}
    own.system_attrs = {name: a for name, a in own.system_attrs.items() if a.writer in ("sampler", "template")}
    _end(state.attempt(event.trial, event.attempt), min(row.at, own.seen), "lost", event.why)
    state.active.pop(event.trial, None)


def _added(state: State, row: Recorded, event: TrialAdded) -> None:
    study = _study(state)
    if event.trial != len(study.trials) or event.trial_id < study.next_id:
        raise LookupError(f"trial {event.trial} with id {event.trial_id} cannot follow {len(study.trials)} trials")
    own = StudyTrial(
        number=event.trial,
        trial_id=event.trial_id,
        state=event.state,
        epoch=row.epoch,
        points={step: float(value) for step, value in event.points},
        values=None if event.values is None else tuple(float(value) for value in event.values),
        user_attrs={name: Attribute(value, "template") for name, value in event.user_attrs},
        system_attrs={name: Attribute(value, "template") for name, value in event.system_attrs},
        started=event.started,
        completed=event.completed,
        local_times=True,
        imported=event.imported,
    )
    _append(state, row, own, "imported" if event.imported else "user")
    _named(study, event.trial_id, event.trial, -1)
    _take(state, own, event.parameters)
    state.imported += event.imported
    if own.points:
        study.longest = max(study.longest or 0, *own.points) if event.state == "completed" else study.longest
    if own.finished:
        finished: Any = event.state
        _finish(state, row, TrialFinished(trial=event.trial, state=finished, values=event.values))


def _attribute(state: State, row: Recorded, event: AttributeSet) -> None:
    study = _study(state)
    if event.trial is None:
        (study.system_attrs if event.system else study.user_attrs)[event.name] = event.value
        return
    own = study.trials[event.trial]
    attributes = own.system_attrs if event.system else own.user_attrs
    attributes[event.name] = Attribute(event.value, "user")
    own.changes += 1


def _note(state: State, row: Recorded, event: LateCall) -> None:
    """A note changes nothing."""


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    TrialAsked: _asked,
    ParameterSuggested: _suggested,
    PointJudged: _judged,
    TrialTold: _told,
    TrialLost: _lost,
    TrialAdded: _added,
    AttributeSet: _attribute,
    LateCall: _note,
}
