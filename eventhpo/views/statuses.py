"""In which state jobs and trials are, in one word each."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import outcome
from eventhpo.core.search.spec import Num, to_num
from eventhpo.views import formatting

JobStatus: TypeAlias = Literal[
    "created", "bound", "queued", "running", "stopping", "completed", "pruned", "failed", "lost", "aborted"
]
TrialStatus: TypeAlias = Literal["running", "completed", "pruned", "failed", "aborted"]
JOB_STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
TRIAL_STATUSES: tuple[TrialStatus, ...] = get_args(TrialStatus)


class RunningJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is not over: where it is, and what it reported last of each objective.

    `iteration` and `value` are None before its first report; `value` is a list where
    there are several objectives.
    """

    trial: int
    attempt: int
    status: JobStatus
    task_id: str | None
    slot: int
    iteration: int | None
    value: Num | list[Num | None] | None
    link: str | None = None  # the task's page on its server


def job_status(state: State, attempt: Attempt) -> JobStatus:
    """Return what has become of a job; each has exactly one status."""
    if attempt.ended is not None:
        return _ended(state, attempt)
    if attempt.stop is not None:
        return "stopping"
    if attempt.started_at is not None:
        return "running"
    if attempt.queued:
        return "queued"
    return "created" if attempt.job_id is None else "bound"


def _ended(state: State, attempt: Attempt) -> JobStatus:
    if state.study is not None:  # its objective gave the outcome; there was no job
        finished = state.trials[attempt.trial].finished
        lost = attempt.ended is not None and attempt.ended.how == "lost"
        return "lost" if lost or finished is None else finished.state
    end = outcome.end_of(state, attempt).outcome
    return "failed" if end == "no value" else end


def trial_status(trial: Trial) -> TrialStatus:
    """Return a trial's outcome, "running" as long as it has none."""
    return "running" if trial.finished is None else trial.finished.state


def job_counts(state: State) -> dict[str, int]:
    """Return how many jobs have each status; the counts add up to all jobs that were created."""
    counts: dict[str, int] = dict.fromkeys(JOB_STATUSES, 0)
    for trial in state.trials:
        for attempt in trial.attempts:
            counts[job_status(state, attempt)] += 1
    return counts


def trial_counts(state: State) -> dict[str, int]:
    """Return how many trials of this search have each status, and how many were imported from another study."""
    counts: dict[str, int] = dict.fromkeys((*TRIAL_STATUSES, "imported"), 0)
    for trial in state.trials:
        counts[trial_status(trial) if trial.imported is None else "imported"] += 1
    return counts


def running(state: State) -> list[RunningJob]:
    """Return the jobs that are not over, by trial number."""
    live = (a for t in state.active.values() for a in t.attempts if a.live)
    return [_running(state, attempt) for attempt in live]


def _running(state: State, attempt: Attempt) -> RunningJob:
    last = [to_num(c.values[-1]) if c.values else None for c in attempt.curves]
    return RunningJob(
        trial=attempt.trial,
        attempt=attempt.number,
        status="running" if attempt.returned else job_status(state, attempt),
        task_id=attempt.job_id,
        slot=attempt.slot,
        iteration=attempt.highest,
        value=last[0] if state.single else last,
        link=formatting.link(state.search, attempt.job_id),
    )


def footer(state: State) -> str:
    """Return in one line how far the search is."""
    paused = ", paused" if state.paused is not None and state.finished is None else ""
    live = sum(a.live for t in state.active.values() for a in t.attempts)
    counts = state.totals.trials
    ended = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    own_trials = formatting.plural(len(state.trials) - state.imported, "trial")
    imported = f", {state.imported} imported" if state.imported else ""
    return f"{own_trials}, {live} running" + (f", {ended}" if ended else "") + imported + paused
