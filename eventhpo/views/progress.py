"""What a person who watches a run is told: a line for a decision, never one for a poll."""

from __future__ import annotations

from eventhpo.core import events, outcome
from eventhpo.core.events import Recorded
from eventhpo.core.state import State, Trial
from eventhpo.views import top, words


def told(row: Recorded, state: State) -> str | None:
    """Return the line for *row*, None for one that says nothing new to a person.

    *state* is that after the row's transaction. A suggestion and its job share a line,
    as a trial and its budget do; verdicts to go on come with every poll and have none.
    """
    match row.event:
        case events.JobCreated(trial=trial, attempt=attempt):
            return _started(state, state.trials[trial], attempt)
        case events.JobPruned(trial=trial, iteration=iteration, judged=judged):
            value = state.trials[trial].attempts[row.event.attempt].curves[0].values[judged - 1]
            metric = words.metric(state.search.objectives[0])
            return f"trial {trial} is pruned at iteration {iteration}: {metric} = {value:.6g}"
        case events.TrialFinished(trial=trial, state=how) if how != "pruned":
            return _finished(state, state.trials[trial], row.event)
        case events.SearchEnding(reason=reason, detail=detail, at_once=at_once):
            because = f"{reason}: {detail}" if detail else reason
            return f"the search ends ({because}){_what_runs(state, at_once)}"
        case _:
            return _from_outside(row.event)


def _from_outside(event: events.Event) -> str | None:
    match event:
        case events.EffectFailed(effect=effect, trial=trial, error=error, count=count):
            whose = "" if trial is None else f" of trial {trial}"
            return f"paused: {effect}{whose} failed ({words.plural(count, 'time')} in a row): {words.line(error)}"
        case events.PointEnqueued(params=params):
            return f"a point was enqueued: {words.params(params)}"
        case events.LimitsChanged(changes=changes):
            return f"new limits: {words.params(changes.given())}"
        case events.StopAsked(scope="search"):
            return "the search was asked to stop"
        case events.SearchReopened():
            return "the search was reopened"
        case events.RequestRefused(request=request, why=why):
            return f"request {request} was refused: {words.line(why)}"
        case events.TasksLeft(job_ids=job_ids):
            return f"left to another copy of this log, and never counted: {words.named_some(job_ids)}"
        case events.JobAdopted(trial=trial, attempt=attempt, job_id=job_id):
            return f"trial {trial}, attempt {attempt} is taken up again: task {job_id}"
        case events.JobReturned(trial=trial, attempt=attempt):
            return f"trial {trial}, attempt {attempt} was lost and is back; it is stopped"
    return None


def _started(state: State, trial: Trial, number: int) -> str:
    if number == 0:
        source = ", enqueued" if trial.source == "user" else ""
        return f"trial {trial.number} starts: {words.params(trial.params)} (slot {trial.attempts[0].slot}{source})"
    why = outcome.end_of(state, trial.attempts[number - 1]).why
    return f"trial {trial.number} starts again (attempt {number}) after: {words.line(why)}"


def _finished(state: State, trial: Trial, event: events.TrialFinished) -> str:
    why = f": {words.line(event.why)}" if event.why else ""
    if event.state != "completed":
        output = trial.last.ended.output if trial.last is not None and trial.last.ended is not None else None
        see = f"; output: {output}" if output and event.state == "failed" else ""
        return f"trial {trial.number} {event.state}{why}{see}"
    best = " (best so far)" if _is_best(state) else ""
    return f"trial {trial.number} completed: {top.value_text(state, trial)}{best}{why}"


def _what_runs(state: State, at_once: bool) -> str:
    """Return what becomes of the jobs that run, nothing if none does."""
    if not any(a.live for t in state.active.values() for a in t.attempts):
        return ""
    return "; running jobs are stopped" if at_once else "; running jobs may finish"


def _is_best(state: State) -> bool:
    """Whether the trial that just completed is the best completed one, at a price that does not grow."""
    return state.single and state.totals.since_best == 0 and state.totals.trials["completed"] > 0


def footer(state: State) -> str:
    """Return in one line how far the search is."""
    live = sum(a.live for t in state.active.values() for a in t.attempts)
    counts = state.totals.trials
    ended = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{words.plural(len(state.trials), 'trial')}, {live} running" + (f", {ended}" if ended else "")
