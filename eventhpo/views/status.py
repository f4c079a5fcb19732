"""Where a search stands, as one object and as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.event_parts import EffectName
from eventhpo.core.fold.events import Head
from eventhpo.core.fold.state import Attempt, Failure, State
from eventhpo.core.scheduler import rank
from eventhpo.views import formatting, same_code, top, unused_reports
from eventhpo.views import statuses as jobs
from eventhpo.views.as_of import AsOf
from eventhpo.views.imports import ImportedFrom, describe_import, imported_from
from eventhpo.views.live_view import budget_bars, time_left
from eventhpo.views.same_code import CodeChange
from eventhpo.views.statuses import RunningJob
from eventhpo.views.top import RankedTrial
from eventhpo.views.unused_reports import Unused

SearchState: TypeAlias = Literal["running", "interrupted", "idle", "finished", "stopped", "unfinished"]
FAILURES = 5  # of the newest failed trials, and jobs with faulty reports: enough to see a pattern


class IterationBudget(msgspec.Struct, frozen=True):
    """Iterations charged, held in reserve, and allowed in all (None: not limited)."""

    used: int
    reserved: int
    limit: int | None


class ComputeMinutes(msgspec.Struct, frozen=True):
    """Compute time in minutes, running jobs up to the last tick; nothing is ever reserved."""

    used: float
    reserved: float
    limit: float | None


class Count(msgspec.Struct, frozen=True):
    """Trials suggested, and how many may be (None: not limited by number)."""

    used: int
    limit: int | None


class Budget(msgspec.Struct, frozen=True):
    """What was used of what the search may use."""

    iterations: IterationBudget
    compute_time: ComputeMinutes
    trials: Count


class Ending(msgspec.Struct, frozen=True):
    """Why no new trial begins any more; `at_once` also ends what runs."""

    reason: str
    detail: str
    at_once: bool


class Paused(msgspec.Struct, frozen=True):
    """An effect that failed `count` times in a row and waits before it is tried again."""

    effect: EffectName
    trial: int | None
    attempt: int | None
    count: int
    error: str


class Pause(msgspec.Struct, frozen=True):
    """Since which event nothing is started, who asked for it, and why."""

    seq: int
    by: str
    why: str


class FailedTrial(msgspec.Struct, frozen=True):
    """A trial that failed, why, and where the output of its last job is."""

    trial: int
    why: str
    output: str | None


class LogHolder(msgspec.Struct, frozen=True):
    """The controller that holds the log; `epoch` is None while it opens the log."""

    host: str
    pid: int
    epoch: int | None


class SearchProgress(msgspec.Struct, frozen=True):
    """Since when a search exists, how long (seconds), and how much of its nearest limit is used.

    `percent` is None without a limit, `left` (seconds, at the pace so far) also of a search that is over.
    """

    since: str
    elapsed: float
    percent: float | None
    left: float | None


class Unattended(msgspec.Struct, frozen=True):
    """Of a search that nobody runs: how many jobs have a living process (None: not known here), and what comes next."""

    processes: int | None
    next: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where a search stands."""

    search_id: str
    name: str
    state: SearchState
    ending: Ending | None
    jobs_created: int
    jobs: dict[str, int]
    trials: dict[str, int]
    imports: list[ImportedFrom]  # from earlier logs and studies
    waiting: int  # enqueued points that are no trial yet
    budget: Budget
    best: RankedTrial | None
    running: list[RunningJob]
    paused: list[Paused]
    pause: Pause | None  # by a person; None if the search is not paused
    failed: list[FailedTrial]
    unused: list[Unused]  # of the newest jobs with reports that no value rests on
    scripts_changed: list[str]
    code_changes: list[CodeChange]
    head: Head
    controller: LogHolder | None
    as_of: AsOf | None
    progress: SearchProgress
    unattended: Unattended | None  # None if a controller holds the log, or the search is over
    notes: list[str]


def status(
    state: State,
    controller: LogHolder | None,
    notes: Sequence[str] = (),
    *,
    as_of: AsOf | None = None,
    now: int | None = None,
    unattended: Unattended | None = None,
) -> Status:
    """Return where the search of *state* stands if *controller* holds its log; *notes* and *unattended* are passed on.

    *now* is the time of a search that runs, in microseconds since 1970; by default its last event's.

    With *as_of* the state is an earlier one, and who holds the log today says nothing of it.
    """
    return Status(
        search_id=state.search_id,
        name=state.search.name,
        state=search_state(state, held=None if as_of else controller is not None),
        ending=ending_of(state),
        jobs_created=state.totals.jobs,
        jobs=jobs.job_counts(state),
        trials=jobs.trial_counts(state),
        imports=imported_from(state),
        waiting=len(state.waiting),
        budget=_budget(state),
        best=top.best(state),
        running=jobs.running(state),
        paused=list(_paused(state)),
        pause=_pause_of(state),
        failed=_failed(state),
        unused=_unused(state),
        scripts_changed=list(state.changed_scripts),
        code_changes=same_code.code_changes(state),
        head=state.head,
        controller=controller,
        as_of=as_of,
        progress=_progress(state, now),
        unattended=unattended,
        notes=list(notes),
    )


def _progress(state: State, now: int | None) -> SearchProgress:
    bars = list(budget_bars(state))
    elapsed = max(0, max(now or 0, state.last_at) - state.created_at)
    left = None if state.finished is not None else time_left(bars, elapsed - state.unattended)
    percent = max((round(100 * bar.share, 1) for bar in bars), default=None)
    seconds_left = None if left is None else left / 1e6
    return SearchProgress(formatting.rfc3339(state.created_at), elapsed / 1e6, percent, seconds_left)


def search_state(state: State, *, held: bool | None) -> SearchState:
    """Return the state of a search in one word: what its log says, then whether somebody holds it (None: unknown).

    A study has no end of its own: it is idle if nobody holds it and no trial runs.
    """
    if state.finished is not None:
        return state.finished.state
    if held is None:
        return "unfinished"
    if held:
        return "running"
    return "interrupted" if state.study is None or state.study.running else "idle"


def ending_of(state: State) -> Ending | None:
    """Return why the search ends, None as long as it does not."""
    if state.ending is None:
        return None
    return Ending(state.ending.reason, state.ending.detail, state.ending.at_once)


def _budget(state: State) -> Budget:
    limits = state.limits
    most = budget.most_trials(state)
    return Budget(
        iterations=IterationBudget(state.totals.charged, budget.reserved(state), budget.limit(state)),
        compute_time=ComputeMinutes(formatting.in_minutes(budget.compute_used(state)), 0.0, limits.compute_time_limit),
        trials=Count(len(state.trials) - state.imported, None if most is None else most.number),
    )


def _paused(state: State) -> Iterator[Paused]:
    if state.poll_failure is not None and state.poll_failure.until is not None:
        yield _pause("poll", None, state.poll_failure)
    for attempt in (a for t in state.active.values() for a in t.attempts):
        for effect, failure in attempt.failures.items():
            if failure.until is not None:
                yield _pause(effect, attempt, failure)


def _pause_of(state: State) -> Pause | None:
    if state.paused is None or state.pause is None or state.finished is not None:
        return None
    return Pause(state.paused, state.pause.by, state.pause.why)


def _pause(effect: EffectName, attempt: Attempt | None, failure: Failure) -> Paused:
    trial, number = (None, None) if attempt is None else (attempt.trial, attempt.number)
    return Paused(effect, trial, number, failure.count, failure.error)


def _failed(state: State) -> list[FailedTrial]:
    failed_trials = [t for t in state.trials if t.finished is not None and t.finished.state == "failed"]
    return [
        FailedTrial(t.number, t.finished.why if t.finished else "", None if t.last is None else output(t.last))
        for t in failed_trials[-FAILURES:]
    ]


def _unused(state: State) -> list[Unused]:
    """Return the newest attempts with reports that are used for nothing, oldest first."""
    newest = (unused_reports.unused(state, a) for t in reversed(state.trials) for a in reversed(t.attempts))
    return list(islice(filter(None, newest), FAILURES))[::-1]


def output(attempt: Attempt) -> str | None:
    """Return where the output of a job that is over lies."""
    return None if attempt.ended is None else attempt.ended.output


# ---------------------------------------------------------------- as text


def render_status(state: State, status: Status) -> list[str]:
    """Return *status* as lines, a fact a line."""
    return list(_lines(state, status))


def _lines(state: State, status: Status) -> Iterator[str]:
    yield f"search      {formatting.line(status.name)} ({status.search_id})"
    if status.as_of is not None:
        yield f"as of       event {status.as_of.seq}, {status.as_of.at}"
    yield f"state       {_state(status)}"
    if status.unattended is not None:
        yield from _unattended_lines(status.unattended)
    if status.pause is not None:
        yield f"paused      {describe_pause(status.pause)}"
    if status.ending is not None:
        yield f"ending      {describe_ending(status.ending)}"
    yield f"trials      {_counts(status.trials, len(state.trials))}"
    yield from (f"imported    {describe_import(part)}" for part in status.imports)
    yield f"jobs        {_counts(status.jobs, status.jobs_created)}"
    if status.waiting:
        yield f"waiting     {formatting.plural(status.waiting, 'enqueued point')}"
    if state.study is None:
        yield from _budget_lines(status.budget)
    yield f"time        {_time(status.progress)}"
    yield f"best        {_best(state, status.best)}"
    if (completed := _best_completed(state, status.best)) is not None:
        yield f"completed   {completed}"
    yield from (_running_line(state, job) for job in status.running)
    yield from (_paused_line(paused) for paused in status.paused)
    yield from (_failed_line(failed) for failed in status.failed)
    for unused in status.unused:
        yield from _unused_lines(state, state.attempt(unused.trial, unused.attempt))
    for script in status.scripts_changed:
        yield f"changed     {formatting.line(script)} was not the same for all jobs"
    if status.code_changes:
        latest = same_code.describe_change(status.code_changes[-1])
        yield f"code        {formatting.plural(len(status.code_changes), 'change')} while it ran, the last {latest}"
    yield f"head        {status.head.seq}:{status.head.hash}"
    yield from (f"note        {formatting.line(note)}" for note in status.notes)


def _state(status: Status) -> str:
    if status.controller is None:
        return status.state
    who = status.controller
    epoch = "starting" if who.epoch is None else f"epoch {who.epoch}"
    return f"{status.state}: held by controller {who.pid} on {who.host} ({epoch})"


def _unattended_lines(unattended: Unattended) -> Iterator[str]:
    if unattended.processes is not None:
        lives = "lives" if unattended.processes == 1 else "live"
        yield f"processes   {formatting.plural(unattended.processes, 'job')} still {lives}"
    yield f"next        {unattended.next}"


def _time(progress: SearchProgress) -> str:
    elapsed = formatting.duration(round(progress.elapsed * 1e6))
    percent = "" if progress.percent is None else f", {progress.percent:g} % of the nearest limit"
    left = (
        "" if progress.left is None else f", about {formatting.duration(round(progress.left * 1e6))} left at this pace"
    )
    return f"since {progress.since}, {elapsed}{percent}{left}"


def describe_pause(pause: Pause) -> str:
    """Return since when a search is paused, by whom and why."""
    by = f" by {formatting.line(pause.by)}" if pause.by else ""
    why = f": {formatting.line(pause.why)}" if pause.why else ""
    return f"since event {pause.seq}{by}{why}; nothing is started until `eventhpo unpause`"


def describe_ending(ending: Ending) -> str:
    """Return why a search ends."""
    return f"{ending.reason}: {formatting.line(ending.detail)}" if ending.detail else ending.reason


def _counts(counts: dict[str, int], total: int) -> str:
    parts = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{total}: {parts}" if parts else str(total)


def _budget_lines(budget: Budget) -> Iterator[str]:
    iterations = budget.iterations
    of = "no limit" if iterations.limit is None else f"of {iterations.limit}"
    yield f"iterations  {iterations.used} used, {iterations.reserved} reserved, {of}"
    if budget.trials.limit is not None:
        yield f"left        {max(0, budget.trials.limit - budget.trials.used)} of {budget.trials.limit} trials"
    time = budget.compute_time
    of = "no limit" if time.limit is None else f"of {time.limit:g}"
    yield f"compute     {time.used:.2f} minutes used, {of}"


def _best(state: State, best: RankedTrial | None) -> str:
    if best is None:
        return "no trial yet"
    trial = state.trials[best.trial]
    if not state.single and (front := top.describe_front(state, rank.top(state))) is not None:
        return front
    where = formatting.task(state.search, None if trial.last is None else trial.last.job_id)
    return top.describe_trial(state, trial) + (f"  task {where}" if where else "")


def _best_completed(state: State, best: RankedTrial | None) -> str | None:
    """Return the best completed trial where the best of all is another one, as one that was pruned."""
    completed = next(iter(rank.top(state, 1, only_completed=True)), None) if state.single else None
    if best is None or completed is None or completed.number == best.trial:
        return None
    status = jobs.trial_status(state.trials[best.trial])
    return f"{top.describe_trial(state, completed)}  (trial {best.trial} is {status})"


def _running_line(state: State, job: RunningJob) -> str:
    values = job.value if isinstance(job.value, list) else [job.value]
    last_values = ", ".join(
        f"{formatting.metric(o)} = {formatting.number(v)}" for o, v in zip(state.search.objectives, values, strict=True)
    )
    at = "no report yet" if job.iteration is None else f"iteration {job.iteration}, {last_values}"
    where = formatting.task(state.search, job.task_id)
    task = f"; task {where}" if where else ""
    return f"{job.status:<11} trial {job.trial}, attempt {job.attempt}, slot {job.slot}: {at}{task}"


def _paused_line(paused: Paused) -> str:
    where = "" if paused.trial is None else f" of trial {paused.trial}"
    return f"paused      {paused.effect}{where} failed {paused.count} times in a row: {formatting.line(paused.error)}"


def _failed_line(failed: FailedTrial) -> str:
    see = "" if failed.output is None else f"; output: {failed.output}"
    return f"failed      trial {failed.trial}: {formatting.line(failed.why)}{see}"


def _unused_lines(state: State, attempt: Attempt) -> Iterator[str]:
    which = f"trial {attempt.trial}" + (f", attempt {attempt.number}" if attempt.number else "")
    if attempt.bad:
        yield f"faults      {which}: {unused_reports.describe_faults(attempt)}"
    if attempt.ignored:
        yield f"ignored     {which}: {unused_reports.describe_ignored(state, attempt)}"
