"""Rows of a log as lines: what a person who watches a run is told, and each event as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from eventhpo.core.fold import codec, event_parts, events
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import Act, Event, Recorded
from eventhpo.core.fold.state import Attempt, State, Trial, TrialImport
from eventhpo.core.scheduler import outcome
from eventhpo.core.search.gpus import as_written
from eventhpo.core.search.spec import to_num
from eventhpo.views import csv_text, formatting, imports, top, unused_reports

COLUMNS = ("seq", "at", "epoch", "cause", "type", "trial", "attempt", "text")
ENVELOPE = ("seq", "at", "epoch", "cause", "type", "v")

_encode = msgspec.json.Encoder().encode


def as_json(row: Recorded) -> str:
    """Return *row* as one line of JSON: the envelope, then the body's own fields as the log has them."""
    kind = type(row.event).__name__
    envelope = dict(
        zip(
            ENVELOPE,
            (row.seq, formatting.rfc3339(row.at), row.epoch, row.cause, kind, codec.VERSIONS[kind]),
            strict=True,
        )
    )
    return _encode(envelope | msgspec.to_builtins(row.event)).decode()


def as_csv(row: Recorded) -> str:
    """Return *row* as one item of CSV, with `COLUMNS`."""
    trial, attempt = events.subject_of(row.event)
    kind, at = type(row.event).__name__, formatting.rfc3339(row.at)
    return csv_text.line((row.seq, at, row.epoch, row.cause, kind, trial, attempt, describe_event(row.event)))


def as_text(row: Recorded) -> str:
    """Return *row* as one line: seq, time, type, whose it is, and what it says."""
    who = _who(row.event)
    description = formatting.line(describe_event(row.event))
    return (
        f"{row.seq:>6}  {formatting.rfc3339(row.at)}  {type(row.event).__name__:<18}  {who:<8}  {description}".rstrip()
    )


def concerns(event: Event, trial: int) -> bool:
    """Whether *event* says something of *trial*."""
    if isinstance(event, events.JobsContinued):
        return any(verdict.trial == trial for verdict in event.verdicts)
    return events.trial_of(event) == trial


def _who(event: Event) -> str:
    trial, attempt = events.subject_of(event)
    if trial is None:
        return ""
    return str(trial) if attempt is None else f"{trial}.{attempt}"


def describe_event(event: Event) -> str:
    """Return what *event* says in addition to its type, trial and attempt, as text; who asked for it comes last."""
    return "; ".join(filter(None, (describe_content(event), describe_author(event))))


def describe_author(event: Event) -> str:
    """Return who asked for *event* and why, as `by alice@gpu-7 (uid 1000): a typo in lr`; empty if nobody is named."""
    if not isinstance(event, Act) or not event.by:
        return ""
    uid = "" if event.uid is None else f" (uid {event.uid})"
    return f"by {event.by}{uid}{f': {event.why}' * bool(event.why)}"


def describe_content(event: Event) -> str:
    """Return what *event* says in addition to its type, trial and attempt, and who asked for it, as text."""
    match event:
        case events.SearchCreated(search=search):
            return f"{search.name}: {search.sampler.name}, {search.pruner.name}, seed {search.seed}"
        case events.ControllerStarted(host=host, pid=pid, took_over=took_over):
            return f"controller {pid} on {host}{', took over' if took_over else ''}"
        case events.TrialSuggested(params=params, source=source, tries=tries, not_again=not_again):
            return f"{formatting.params(params)} ({source}{f', {tries} tries' if tries > 1 else ''}){_once(not_again)}"
        case events.MetricObserved() | events.TrialsImported():
            return _taken_in(event)
        case events.JobsContinued(verdicts=verdicts, not_again=not_again):
            continued = ", ".join(f"{v.trial}.{v.attempt} at {v.iteration}{' (late)' * v.too_late}" for v in verdicts)
            return f"{continued}{_once(not_again)}"
        case events.JobPruned(iteration=iteration, judged=judged, not_again=not_again):
            return f"at iteration {iteration}, its point {judged}{_once(not_again)}"
        case events.BudgetUpdated(iterations=iterations, late=late, used=used, reserved=reserved):
            return f"{iterations} iterations, {late} late; {used} used, {reserved} reserved"
        case events.TrialFinished(state=state, values=values, why=why):
            return " ".join(filter(None, [state, ", ".join(map(formatting.number, values or ())), why]))
        case events.TrialNoted(text=text):
            return text
        case events.TextStored() | events.EndCommandRan() | events.TasksLeft():
            return _describe_note(event)
        case events.JobEnded(how=how, why=why):
            return f"{how}: {why}" if why and why != how else how
    return ", ".join(f"{name} {_describe_value(value)}" for name, value in _fields(event) if not _says_nothing(value))


def _describe_note(event: events.TextStored | events.EndCommandRan | events.TasksLeft) -> str:
    match event:
        case events.TextStored(kind=kind, sha256=digest, text=text):
            return f"{kind} {digest[:12]}: {formatting.plural(text.count(chr(10)), 'line')}"
        case events.EndCommandRan(command=command):
            return f"{command}: {describe_exit(event)}"
        case events.TasksLeft(job_ids=job_ids):
            return f"to another copy of this log: {formatting.named_some(job_ids)}"


def _taken_in(event: events.MetricObserved | events.TrialsImported) -> str:
    """Return how much came at once, and its newest value; not all of it."""
    if isinstance(event, events.MetricObserved):
        return _observed(event)
    (part,) = imports.joined([TrialImport.of_event(event)])
    return imports.describe_import(part)


def _observed(event: events.MetricObserved) -> str:
    """Return the newest point that counts as far as *event* alone can tell, and how many of it are out of order."""
    curve, count = Curve(), len(event.iterations)
    rising = len(list(curve.add(zip(event.iterations, map(float, event.values), strict=True))))
    fallen = f", {count - rising} out of order" if rising < count else ""
    several = f" ({count} points{fallen})" if count > 1 else ""
    value = formatting.number(to_num(curve.values[-1]))
    return f"{event.title}/{event.series} = {value} at iteration {curve.iterations[-1]}{several}"


def _once(not_again: event_parts.NotAgain) -> str:
    """Return that a decision cannot be decided again, and why."""
    return f" [not again: {not_again}]" if not_again else ""


def _fields(event: Event) -> list[tuple[str, Any]]:
    body = msgspec.to_builtins(event)
    left_out = {"trial", "attempt", "fingerprint"}
    if body.get("by"):  # `describe_author` says them
        left_out |= {"by", "uid", "why"} | (set() if isinstance(event, events.JobRequested) else {"request"})
    return [(name, value) for name, value in body.items() if name not in left_out]


def _says_nothing(value: object) -> bool:
    """Whether a field is left out; a number is said, 0 too."""
    return value is None or value is False or value in ((), [], {}, "")


def _describe_value(value: object) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


# ---------------------------------------------------------------- a run, for those who watch it


class Line(NamedTuple):
    """What a person who watches a run is told, and when it was recorded; *warns* of what went wrong or is lost."""

    text: str
    warns: bool = False
    at: int = 0  # microseconds since 1970


def lines(rows: Sequence[Recorded], state: State) -> Iterator[Line]:
    """Yield the lines for *rows*, which were committed together; *state* is that after them.

    A line for a decision, never one for a poll. A suggestion and its job share a line, as
    a trial and its budget do; verdicts to go on come with every poll and have none.
    """
    for row in _ends_last(rows):
        line = _line(row, state)
        if line is not None:
            yield line._replace(at=row.at)


def _ends_last(rows: Sequence[Recorded]) -> Iterator[Recorded]:
    """Yield *rows*, the beginning of a soft end after the starts that follow it: the last trial is a trial still."""
    ending: Recorded | None = None
    for row in rows:
        if ending is not None and not isinstance(row.event, events.JobCreated):
            yield ending
            ending = None
        if isinstance(row.event, events.SearchEnding) and not row.event.at_once:
            ending = row
        else:
            yield row
    if ending is not None:
        yield ending


def _line(row: Recorded, state: State) -> Line | None:
    match row.event:
        case events.JobCreated(trial=trial, attempt=attempt):
            return Line(_started(state, state.trials[trial], attempt), warns=attempt > 0)
        case events.JobPruned(trial=trial, iteration=iteration, judged=judged):
            value = state.trials[trial].attempts[row.event.attempt].curves[0].values[judged - 1]
            metric = formatting.metric(state.search.objectives[0])
            return Line(f"trial {trial} is pruned at iteration {iteration}: {metric} = {value:.6g}")
        case events.TrialFinished(trial=trial, state=how) if how != "pruned":
            return Line(_finished(state, state.trials[trial], row.event), warns=how == "failed")
        case events.SearchEnding(reason=reason, detail=detail, at_once=at_once):
            because = f"{reason}: {detail}" if detail else reason
            return Line(f"the search ends ({because}){_what_runs(state, at_once)}", warns=reason == "failures")
        case events.MetricObserved(trial=trial, attempt=attempt) | events.ReportsRead(trial=trial, attempt=attempt):
            return _unused(state, state.attempt(trial, attempt), row.seq)
    text = _from_outside(row.event)
    author = formatting.line(describe_author(row.event))
    return (
        None if text is None else Line(", ".join(filter(None, (text, author))), warns=isinstance(row.event, _WARNING))
    )


_WARNING = (events.EffectFailed, events.RequestRefused, events.JobReturned, events.TasksLeft)


def _unused(state: State, attempt: Attempt, seq: int) -> Line | None:
    """Return that reports of *attempt* are used for nothing, told once of each kind: where it begins."""
    beginning = unused_reports.describe_beginning(state, attempt, seq)
    return Line(f"trial {attempt.trial}: {beginning}", warns=True) if beginning else None


def _from_outside(event: Event) -> str | None:
    match event:
        case events.EffectFailed(effect=effect, trial=trial, error=error, count=count):
            whose = "" if trial is None else f" of trial {trial}"
            times = formatting.plural(count, "time")
            return f"paused: {effect}{whose} failed ({times} in a row): {formatting.line(error)}"
        case events.RequestRefused(request=request, why=why):
            return f"request {request} was refused: {formatting.line(why)}"
        case events.TasksLeft(job_ids=job_ids):
            return f"left to another copy of this log, and never counted: {formatting.named_some(job_ids)}"
        case events.JobAdopted(trial=trial, attempt=attempt, job_id=job_id):
            return f"trial {trial}, attempt {attempt} is taken up again: task {job_id}"
        case events.JobReturned(trial=trial, attempt=attempt):
            return f"trial {trial}, attempt {attempt} was lost and is back; it is stopped"
        case events.JobRunsOn(trial=trial, attempt=attempt):
            return f"trial {trial}, attempt {attempt} runs on although it was told to stop; it is told again"
    if isinstance(event, events.EndCommandRan):
        return f"the command for the end of the search {describe_exit(event)}"
    return _persons_act(event)


def describe_exit(event: events.EndCommandRan) -> str:
    """Return how the command for the end of a search exited: `exited with 0`."""
    if event.why:
        return f"did not run: {formatting.line(event.why)}"
    return f"exited with {event.code}" if event.signal is None else f"was ended by signal {event.signal}"


def _persons_act(event: Event) -> str | None:
    match event:
        case events.PointEnqueued(params=params):
            return f"a point was enqueued: {formatting.params(params)}"
        case events.LimitsChanged(changes=changes):
            return f"new limits: {formatting.params(changes.given())}"
        case events.GpusChanged(gpus=gpus):
            return f"new gpus: {as_written(gpus) if gpus else 'none'}"
        case events.StopAsked(scope="search"):
            return "the search was asked to stop"
        case events.SearchReopened():
            return "the search was reopened"
        case events.TrialCancelled(trial=trial):
            return f"trial {trial} was cancelled"
        case events.SearchPaused():
            return "the search was paused: nothing is started until it is unpaused"
        case events.SearchUnpaused():
            return "the search was unpaused"
        case events.EndCommandSet(command=command):
            return f"at the end of the search is run: {formatting.line(command or 'nothing')}"
        case events.TrialNoted(trial=trial, text=text):
            return f"note on trial {trial}: {formatting.line(text)}"
    return None


def _started(state: State, trial: Trial, number: int) -> str:
    if number == 0:
        source = ", enqueued" if trial.source == "user" else ""
        return f"trial {trial.number} starts: {formatting.params(trial.params)} (slot {trial.attempts[0].slot}{source})"
    why = outcome.end_of(state, trial.attempts[number - 1]).why
    return f"trial {trial.number} starts again (attempt {number}) after: {formatting.line(why)}"


def _finished(state: State, trial: Trial, event: events.TrialFinished) -> str:
    last = trial.last
    unused = "" if last is None else unused_reports.describe_unused(state, last, told=event.why)
    why = "".join(f": {formatting.line(text)}" for text in (event.why, unused) if text)
    if event.state != "completed":
        output = last.ended.output if last is not None and last.ended is not None else None
        see = f"; output: {output}" if output and event.state == "failed" else ""
        return f"trial {trial.number} {event.state}{why}{see}"
    best = " (best so far)" if trial.was_best else ""
    return f"trial {trial.number} completed: {top.describe_value(state, trial)}{best}{why}"


def _what_runs(state: State, at_once: bool) -> str:
    """Return what becomes of the jobs that run, nothing if none does."""
    if not any(a.live for t in state.active.values() for a in t.attempts):
        return ""
    return "; running jobs are stopped" if at_once else "; running jobs may finish"
