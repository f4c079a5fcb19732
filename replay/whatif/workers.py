"""The search with fewer workers: known only where the record, or at least its trials and curves, stay the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventhpo.core.fold.events import (
    AbortRequested,
    DrivenByHand,
    Event,
    JobPruned,
    JobsContinued,
    JobStarted,
    LimitsChanged,
    PointEnqueued,
    Recorded,
    SearchPaused,
    SearchReopened,
    SearchUnpaused,
    StopAsked,
    TrialCancelled,
    TrialSuggested,
)
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.projection import Projection, project
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.decide import attempts
from eventhpo.core.scheduler.ending import search_ending
from eventhpo.core.search.spec import Limits
from eventhpo.errors import Usage
from replay.whatif.answer import Row
from replay.whatif.cost import charge
from replay.whatif.rows import Record, recorded_row, unknown_row
from replay.whatif.rules import is_blind, looks_at_others

_OF_ORDER = ("patience", "target_value", "max_failed_trials")
_OF_TIME = ("time_limit_per_job", "compute_time_limit", "wall_time_limit")


def workers_row(record: Record, rows: Sequence[Recorded], workers: int) -> Row:
    """Return the row of a search with fewer *workers*: the record's own cells, or only unknown ones.

    Raises:
        Usage: *workers* is more than the record had, or less than 1.
    """
    has = record.state.limits.num_concurrent_workers
    if not 1 <= workers <= has:
        raise Usage(f"num_concurrent_workers {workers}: expected {_from_1(has)}, which the record had")
    rule = f"num_concurrent_workers={workers}"
    most, allowed = at_once(rows)
    if workers >= allowed or (most <= workers and not _ends_before(rows, workers)):
        return recorded_row(record, "workers", rule)
    why = depends_on_order(record.state, rows)
    if why is None:
        return recorded_row(record, "workers", rule)
    return unknown_row(record, "workers", rule, f"up to {most} jobs ran at a time, and {why}")


def at_once(rows: Iterable[Recorded]) -> tuple[int, int]:
    """Return the most jobs that held a slot at the same time, and the most that were allowed to."""
    workers = _WorkersInUse()
    project(rows, workers)
    return workers.most, workers.allowed


class _WorkersInUse(Projection):
    def __init__(self) -> None:
        self.most = self.allowed = 0

    def after(self, state: State, row: Recorded) -> None:
        self.most = max(self.most, sum(a.live for a in attempts(state)))
        self.allowed = max(self.allowed, state.limits.num_concurrent_workers)


def _ends_before(rows: Iterable[Recorded], workers: int) -> bool:
    """Whether fewer *workers* end the search by failures earlier: how many failures end it depends on the workers."""
    state: State | None = None
    for row in rows:
        state = begin(row) if state is None else state
        if row.seq == state.head.seq:
            continue
        if isinstance(row.event, TrialSuggested) and _ends(state, workers):
            return True
        evolve(state, row)
    return False


def _ends(state: State, workers: int) -> bool:
    limits: Limits = state.limits
    counts = state.totals.trials
    others = counts["completed"] + counts["pruned"]
    few = max(3, workers)
    lowered = few < max(3, limits.num_concurrent_workers)
    return lowered and not others and counts["failed"] >= few and search_ending(state) is None


def depends_on_order(state: State, rows: Iterable[Recorded]) -> str | None:
    """Return why trials or their ends may depend on how many jobs ran at a time, None if they do not."""
    search = state.search
    if not is_blind(search.sampler):
        return f"{search.sampler.name} uses the results of the trials before"
    if state.single and looks_at_others(search.pruner):
        return f"{search.pruner.name} compares with the results of other trials"
    for name in (*_OF_ORDER, *_OF_TIME):
        if getattr(state.limits, name) is not None:
            return f"{name} can end the search or a job, depending on order and time"
    return _by_events(rows) or _by_ends(state)


def _by_events(rows: Iterable[Recorded]) -> str | None:
    started = False
    for row in rows:
        started = started or isinstance(row.event, JobStarted)
        if isinstance(row.event, DrivenByHand):
            return "a caller requested its jobs itself"
        asked = (
            AbortRequested,
            LimitsChanged,
            PointEnqueued,
            SearchPaused,
            SearchReopened,
            SearchUnpaused,
            StopAsked,
            TrialCancelled,
        )
        if isinstance(row.event, JobPruned) or _too_late(row.event):
            return f"whether a prune comes in time depends on when the jobs are polled (event {row.seq})"
        if started and isinstance(row.event, asked):
            return f"somebody intervened while it ran ({type(row.event).__name__}, event {row.seq})"
    return None


def _too_late(event: Event) -> bool:
    return isinstance(event, JobsContinued) and any(verdict.too_late for verdict in event.verdicts)


def _by_ends(state: State) -> str | None:
    if state.finished is None:
        return "it is not finished"
    if state.totals.trials["failed"] or state.totals.trials["aborted"]:
        return "some of its trials failed or were aborted"
    if any(t.finished is not None and "NaN" in t.finished.why for t in state.trials):
        return "a NaN value was told to the sampler as the worst value so far"
    most = state.search.max_iteration_per_job
    if most is None or state.limits.total_max_jobs is None:
        return None
    if any(len(t.attempts) > 1 or any(charge(state, a) != most for a in t.attempts) for t in state.trials):
        return "jobs that end before max_iteration_per_job make room for others at that time"
    return None


def _from_1(most: int) -> str:
    return "1" if most == 1 else f"1 to {most}"
