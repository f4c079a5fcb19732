"""What a search would do next: the next action of its state, and what that action waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from eventhpo.core.fold import deadlines
from eventhpo.core.fold.state import Attempt, Failure, State
from eventhpo.core.fold.study_state import StudyState
from eventhpo.core.scheduler import actions, ending
from eventhpo.core.scheduler.decide import judgeable, next_action
from eventhpo.views import event_lines, formatting

MOST = 6  # jobs that a line names


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """The next action.

    `action` is its name and `what` describes it; `waits` describes what it waits for, and
    `way_on` names the command that makes an ended run or search go on.
    """

    action: str
    what: str
    waits: list[str]
    way_on: str


# what a user can do to reopen a finished search, by the reason of its end
_REOPEN_WITH = {
    "budget": "eventhpo resume: a larger --total-max-jobs, or --max-trials, reopens it",
    "compute_time_limit": "eventhpo resume: a larger --compute-time-limit reopens it",
    "wall_time_limit": "eventhpo resume: a larger --wall-time-limit reopens it",
    "target_value": "eventhpo resume: another --target-value reopens it",
    "patience": "eventhpo resume: a larger --patience reopens it",
    "failures": "eventhpo resume: a larger --max-failed-trials reopens it, once the cause of the failures is mended",
    "space": "every point of the space has its trial; eventhpo enqueue: a point of your own, tried again, reopens it",
    "stop": "eventhpo resume: --reopen takes it up again",
}


def what_next(state: State) -> Next:
    """Return what the controller does next in *state*; if its run was ended, what the next controller would do."""
    if state.study is not None:
        return _of_study(state.study)
    ended = state.run_stop is not None and state.finished is None
    running = msgspec.structs.replace(state, run_stop=None) if ended else state
    action = next_action(running)
    return Next(
        action=type(action).__name__,
        what=describe_action(running, action),
        waits=_waits(running, action),
        way_on=_way_on(state, ended=ended),
    )


def _of_study(study: StudyState) -> Next:
    cut_off = next((trial.number for trial in study.trials if trial.state == "running" and trial.loop), None)
    trial = len(study.trials) if cut_off is None else cut_off
    again = "" if cut_off is None else " again, with the parameters that it has"
    return Next(
        action="Suggest",
        what=f"ask for trial {trial}{again}",
        waits=[],
        way_on="run the script that made the study again, or `eventhpo serve`",
    )


def _way_on(state: State, *, ended: bool) -> str:
    if state.finished is not None:
        limits = ending.to_raise(state) if state.finished.reason == "budget" else ()
        if limits:  # a budget ends by one limit or by both
            options = " and ".join(f"a larger --{name.replace('_', '-')}" for name in limits)
            return f"eventhpo resume: {options} reopens it"
        return _REOPEN_WITH[state.finished.reason]
    return "eventhpo resume: the run was ended, the search was not" if ended else ""


def describe_action(state: State, action: actions.Action) -> str:
    """Describe *action* in a phrase: `start the job of trial 7`."""
    match action:
        case actions.Decide(event=event):
            subject = of_attempt(getattr(event, "trial", None), getattr(event, "attempt", None))
            return f"record {type(event).__name__}{subject}: {formatting.line(event_lines.describe_event(event))}"
        case actions.Suggest():
            trial = len(state.trials)
            if state.waiting:
                return f"take the oldest enqueued point as trial {trial}"
            return f"ask {state.search.sampler.name} for trial {trial}"
        case actions.Judge():
            names = [(a.trial, a.number) for a in judgeable(state)]
            return f"ask {state.search.pruner.name} about the new points of {describe_jobs(names)}"
        case actions.Draft(attempts=names):
            return f"create {describe_jobs(names)}"
        case actions.Launch(attempts=names):
            return f"start {describe_jobs(names)}"
        case actions.Stop(attempts=names):
            return f"tell {describe_jobs(names)} to stop"
        case actions.Cancel(attempts=names):
            return f"remove {describe_jobs(names)}, never started"
        case actions.Poll(attempts=names):
            return f"look at what {describe_jobs(names)} did since"
        case actions.Wait() | actions.RunEndCommand() | actions.Rest():
            return _without_jobs(state, action)
        case _:
            assert_never(action)


def _without_jobs(state: State, action: actions.Wait | actions.RunEndCommand | actions.Rest) -> str:
    match action:
        case actions.Wait():
            return _PAUSED if state.paused is not None else "wait until something that failed may be tried again"
        case actions.RunEndCommand():
            command = "" if state.end_command is None else state.end_command.command or ""
            return f"run the command for the end of the search: {formatting.line(command)}"
        case actions.Rest(why=why):
            return _RESTS[why]


_PAUSED = "wait until the search is unpaused (eventhpo unpause)"

_RESTS = {
    "finished": "nothing: the search is over",
    "run stopped": "nothing: the run was ended",
    "by hand": "nothing until its caller asks for a job",
}


def of_attempt(trial: int | None, attempt: int | None) -> str:
    """Return ` of trial 3, attempt 1`, to follow a noun; empty without a trial."""
    if trial is None:
        return ""
    return f" of trial {trial}" + (f", attempt {attempt}" if attempt else "")


def describe_jobs(names: Sequence[tuple[int, int]]) -> str:
    """Describe jobs: `the job of trial 3`, or `the jobs of trials 3, 4 (attempt 1) and 5 more`."""
    shown = [f"{trial} (attempt {attempt})" if attempt else str(trial) for trial, attempt in names[:MOST]]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"the {'job of trial' if len(names) == 1 else 'jobs of trials'} {', '.join(shown)}{more}"


def _waits(state: State, action: actions.Action) -> list[str]:
    """Describe what *action*, or the action after it, waits for."""
    if not isinstance(action, actions.Poll | actions.Wait):
        return []
    waits = [_describe_retry(state, what, failure) for what, failure in _failures(state) if failure.until is not None]
    waits += [_describe_limit(attempt) for attempt in deadlines.limited(state)]
    return [*waits[:MOST], f"and {len(waits) - MOST} more"] if len(waits) > MOST else waits


def _failures(state: State) -> list[tuple[str, Failure]]:
    failures = [] if state.poll_failure is None else [("the look at all jobs", state.poll_failure)]
    for attempt in (a for t in state.active.values() for a in t.attempts):
        owner = of_attempt(attempt.trial, attempt.number)
        failures += [(f"{effect}{owner}", failure) for effect, failure in attempt.failures.items()]
    return failures


def _describe_retry(state: State, what: str, failure: Failure) -> str:
    assert failure.until is not None
    times = formatting.plural(failure.count, "failure")
    at = formatting.rfc3339(state.course.wall_of(failure.until))
    return f"{what}: again at {at}, after {times} in a row ({formatting.line(failure.error)})"


def _describe_limit(attempt: Attempt) -> str:
    return f"the end of time_limit_per_job{of_attempt(attempt.trial, attempt.number)}"
