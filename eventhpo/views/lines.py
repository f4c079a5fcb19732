"""An event as one line of text, and as one JSON object."""

from __future__ import annotations

from typing import Any

import msgspec

from eventhpo.core import codec, events
from eventhpo.core.events import Event, Recorded
from eventhpo.views import words

ENVELOPE = ("seq", "at", "epoch", "cause", "type", "v")

_encode = msgspec.json.Encoder().encode


def as_json(row: Recorded) -> str:
    """Return *row* as one line of JSON: the envelope, then the body's own fields as the log has them."""
    kind = type(row.event).__name__
    envelope = dict(
        zip(ENVELOPE, (row.seq, words.rfc3339(row.at), row.epoch, row.cause, kind, codec.VERSIONS[kind]), strict=True)
    )
    return _encode(envelope | msgspec.to_builtins(row.event)).decode()


def as_text(row: Recorded) -> str:
    """Return *row* as one line: seq, time, type, whose it is, and what it says."""
    who = _who(row.event)
    said = words.line(told(row.event))
    return f"{row.seq:>6}  {words.rfc3339(row.at)}  {type(row.event).__name__:<18}  {who:<8}  {said}".rstrip()


def concerns(event: Event, trial: int) -> bool:
    """Whether *event* says something of *trial*."""
    if isinstance(event, events.JobsContinued):
        return any(verdict.trial == trial for verdict in event.verdicts)
    return getattr(event, "trial", None) == trial


def _who(event: Event) -> str:
    trial, attempt = getattr(event, "trial", None), getattr(event, "attempt", None)
    if trial is None:
        return ""
    return str(trial) if attempt is None else f"{trial}.{attempt}"


def told(event: Event) -> str:
    """Return in words what *event* says beside its type, trial and attempt."""
    match event:
        case events.SearchCreated(search=search):
            return f"{search.name}: {search.sampler.name}, {search.pruner.name}, seed {search.seed}"
        case events.ControllerStarted(host=host, pid=pid, took_over=took_over):
            return f"controller {pid} on {host}{', took over' if took_over else ''}"
        case events.TrialSuggested(params=params, source=source, tries=tries, not_again=not_again):
            return f"{words.params(params)} ({source}{f', {tries} tries' if tries > 1 else ''}){_once(not_again)}"
        case events.MetricObserved(title=title, series=series, iterations=iterations, values=values):
            several = f" ({len(values)} points)" if len(values) > 1 else ""
            return f"{title}/{series} = {words.number(values[-1])} at iteration {iterations[-1]}{several}"
        case events.JobsContinued(verdicts=verdicts, not_again=not_again):
            found = ", ".join(f"{v.trial}.{v.attempt} at {v.iteration}{' (late)' * v.too_late}" for v in verdicts)
            return f"{found}{_once(not_again)}"
        case events.JobPruned(iteration=iteration, judged=judged, not_again=not_again):
            return f"at iteration {iteration}, its point {judged}{_once(not_again)}"
        case events.BudgetUpdated(iterations=iterations, late=late, used=used, reserved=reserved):
            return f"{iterations} iterations, {late} late; {used} used, {reserved} reserved"
        case events.TrialFinished(state=state, values=values, why=why):
            return " ".join(filter(None, [state, ", ".join(map(words.number, values or ())), why]))
        case events.TasksLeft(job_ids=job_ids):
            return f"to another copy of this log: {words.named_some(job_ids)}"
        case events.JobEnded(how=how, why=why):
            return f"{how}: {why}" if why and why != how else how
    return ", ".join(f"{name} {_brief(value)}" for name, value in _fields(event) if value not in (None, (), "", False))


def _once(not_again: events.NotAgain) -> str:
    """Return that a decision cannot be decided again, and why."""
    return f" [not again: {not_again}]" if not_again else ""


def _fields(event: Event) -> list[tuple[str, Any]]:
    body = msgspec.to_builtins(event)
    return [(name, value) for name, value in body.items() if name not in ("trial", "attempt", "fingerprint")]


def _brief(value: object) -> str:
    return value if isinstance(value, str) else _encode(value).decode()
