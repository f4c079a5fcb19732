"""Effects: an action's items to the backend, its outcomes to events. The only code that calls a backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from eventhpo.core.fold import deadlines
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.event_parts import EffectName, JobExtras
from eventhpo.core.fold.events import (
    EffectFailed,
    Event,
    InheritanceClaimed,
    JobBound,
    JobEnded,
    JobQueued,
    JobReturned,
    JobRunsOn,
    JobStarted,
    JobStopSent,
    MetricObserved,
    ReportsRead,
    TextStored,
)
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import to_num
from eventhpo.core.validation.redaction import without_passwords
from eventhpo.jobs import protocol
from eventhpo.jobs.protocol import Bound, Ended, JobBackend, JobUpdate, PollResult, Queued, Refused, Started, Stopping

Caused: TypeAlias = tuple[Event, int | None]  # an event and the seq of its cause


def perform(state: State, action: actions.Effect, jobs: JobBackend, clock: ClockReading) -> list[Caused]:
    """Carry out *action* and return its receipts, each with its intent as cause."""
    attempts = [state.attempt(trial, number) for trial, number in action.attempts]
    match action:
        case actions.Draft():
            outcomes: Sequence[object] = jobs.draft([draft_item(state, a, "draft") for a in attempts])
            effect: EffectName = "draft"
        case actions.Cancel():
            outcomes = jobs.cancel([draft_item(state, a, "cancel") for a in attempts])
            effect = "cancel"
        case actions.Launch():
            outcomes = jobs.launch([job_item(state, a, "launch") for a in attempts])
            effect = "launch"
        case actions.Stop():
            outcomes = jobs.stop([job_item(state, a, "stop") for a in attempts])
            effect = "stop"
    texts: list[Caused] = [(event, None) for event in _new_texts(state, outcomes)]
    return texts + [
        (receipt(attempt, effect, outcome, clock), _intent(attempt, effect))
        for attempt, outcome in zip(attempts, outcomes, strict=True)
    ]


def _new_texts(state: State, outcomes: Sequence[object]) -> list[TextStored]:
    """Return the texts that the provenance of new jobs names and that the log does not have."""
    texts = {text.sha256: text for outcome in outcomes if isinstance(outcome, Bound) for text in outcome.texts}
    new = (text for text in texts.values() if text.sha256 not in state.stored_texts)
    return [TextStored(kind=text.kind, sha256=text.sha256, text=text.text) for text in new]


def _intent(attempt: Attempt, effect: EffectName) -> int:
    return attempt.stop if effect in ("stop", "cancel") and attempt.stop is not None else attempt.seq


def draft_item(state: State, attempt: Attempt, effect: EffectName) -> protocol.DraftRequest:
    """Return what the backend is told of an intent."""
    trial = state.trials[attempt.trial]
    failure = attempt.failures.get(effect)
    before = trial.attempts[attempt.number - 1].job_id if attempt.number else None
    return protocol.DraftRequest(
        trial=attempt.trial,
        attempt=attempt.number,
        key=attempt.key,
        params=trial.params,
        slot=attempt.slot,
        before=before,
        look=attempt.epoch != state.epoch or (failure is not None and failure.in_doubt),
        failures=0 if failure is None else failure.count,
        extras=trial.extras or JobExtras(),
    )


def job_item(state: State, attempt: Attempt, effect: EffectName) -> protocol.BoundJob:
    """Return what the backend is told of a bound job."""
    assert attempt.job_id is not None
    failure = attempt.failures.get(effect)
    return protocol.BoundJob(
        trial=attempt.trial,
        attempt=attempt.number,
        key=attempt.key,
        job_id=attempt.job_id,
        params=state.trials[attempt.trial].params,
        slot=attempt.slot,
        started=attempt.started is not None,
        stopping=attempt.stop is not None,
        lost=attempt.ended is not None,
        cursor=attempt.cursor,
        points=attempt.reported,
        failures=0 if failure is None else failure.count,
        boot=state.boots.get(attempt.epoch, ""),
        queued=attempt.queued,
        extras=state.trials[attempt.trial].extras or JobExtras(),
        known=tuple(attempt.curves),
        settled=_settled(attempt),
        stops=attempt.stops,
    )


def _settled(attempt: Attempt) -> str:
    """Return what was settled of an attempt that is to stop; a prune names how many points it judged."""
    if attempt.stop is None or attempt.over:
        return ""
    return f"pruned {attempt.judged}" if attempt.fate == "pruned" else attempt.fate or "aborted"


def receipt(attempt: Attempt, effect: EffectName, outcome: object, clock: ClockReading) -> Event:
    """Return the event that an outcome is recorded as."""
    trial, number = attempt.trial, attempt.number
    match outcome:
        case Bound(job_id=job_id, provenance=provenance):
            return JobBound(trial=trial, attempt=number, job_id=job_id, provenance=provenance)
        case Queued():
            return JobQueued(trial=trial, attempt=number)
        case Started():
            return job_started(trial, number, outcome)
        case Stopping(over=over):
            return JobStopSent(trial=trial, attempt=number, clock=clock.wall, boot_clock=clock.boot, over=over)
        case Ended(how="launch_failed") if attempt.in_doubt:  # it may run unseen: watched, and never a second one
            return job_ended(trial, number, msgspec.structs.replace(outcome, how="lost"))
        case Ended():
            return job_ended(trial, number, outcome)
        case Refused(error=error, in_doubt=in_doubt):
            failure = attempt.failures.get(effect)
            return EffectFailed(
                effect=effect,
                trial=trial,
                attempt=number,
                count=1 if failure is None else failure.count + 1,
                error=without_passwords(error),
                in_doubt=in_doubt,
                clock=clock.wall,
                boot_clock=clock.boot,
            )
    raise TypeError(f"a backend answered {effect} with {outcome!r}")


def job_started(trial: int, attempt: int, started: Started) -> JobStarted:
    """Return the event of a start."""
    return JobStarted(trial=trial, attempt=attempt, started_at=started.at, started_boot_clock=started.boot_clock)


def job_ended(trial: int, attempt: int, ended: Ended) -> JobEnded:
    """Return the event of an end."""
    return JobEnded(trial=trial, attempt=attempt, **msgspec.structs.asdict(ended))


# ---------------------------------------------------------------- polls


def poll(state: State, action: actions.Poll, jobs: JobBackend) -> PollResult | Refused:
    """Ask the backend what the watched jobs did."""
    items = [job_item(state, state.attempt(trial, number), "poll") for trial, number in action.attempts]
    return jobs.poll(items, state.search.objectives)


def observations(state: State, polled: PollResult, clock: ClockReading) -> Iterator[Event]:
    """Yield the events of a poll, by trial number: start, claim, points, end of each job; or that it failed."""
    for update in sorted(polled.seen, key=lambda s: (s.trial, s.attempt)):
        attempt = state.attempt(update.trial, update.attempt)
        if update.refused is not None:
            yield receipt(attempt, "poll", update.refused, clock)
        else:
            yield from _of_one(attempt, update, state.course.time_of(clock))


def _of_one(attempt: Attempt, update: JobUpdate, now: int) -> Iterator[Event]:
    trial, number = attempt.trial, attempt.number
    if update.alive and attempt.ended is not None and not attempt.returned:
        yield JobReturned(trial=trial, attempt=number)
    if update.started is not None and attempt.started is None:
        yield job_started(trial, number, update.started)
    if update.inherits is not None and not attempt.reported:
        yield InheritanceClaimed(trial=trial, attempt=number, iteration=update.inherits)
    if attempt.ended is not None and not (attempt.returned or update.alive) and update.to == attempt.cursor:
        return  # lost, and nothing new of it: its end stands in the log already
    yield from _reports(attempt, update)
    if update.ended is not None:
        yield job_ended(trial, number, update.ended)
    elif update.runs_on and _to_be_told_again(attempt, now):
        yield JobRunsOn(trial=trial, attempt=number)


def _to_be_told_again(attempt: Attempt, now: int) -> bool:
    """Whether a stop was sent, and so long ago that it may be repeated."""
    if not (attempt.live and attempt.stop_sent):
        return False
    if attempt.told_at is None or now < attempt.told_at:  # or wall time was set back
        return True
    return now - attempt.told_at >= deadlines.back_off(attempt.stops)


def _reports(attempt: Attempt, update: JobUpdate) -> Iterator[Event]:
    trial, number = attempt.trial, attempt.number
    for index, curve in enumerate(update.curves):
        yield MetricObserved(
            trial=trial,
            attempt=number,
            title=curve.title,
            series=curve.series,
            iterations=curve.iterations,
            values=tuple(map(to_num, curve.values)),
            from_=attempt.cursor,
            to=update.to,
            others=() if index else update.others,
            bad=() if index else update.bad,
        )
    if not update.curves and (update.to != attempt.cursor or update.bad):
        yield ReportsRead(
            trial=trial, attempt=number, from_=attempt.cursor, to=update.to, others=update.others, bad=update.bad
        )
