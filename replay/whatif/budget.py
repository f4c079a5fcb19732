"""The search under a smaller budget: the beginning of the record, and the ends of the jobs that run by then."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.events import (
    BudgetUpdated,
    JobAdopted,
    JobCreated,
    LimitsChanged,
    Recorded,
    RequestLapsed,
    SearchCreated,
    TrialSuggested,
)
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import Usage
from replay.whatif.answer import Row, Searched
from replay.whatif.counterfactual import Counterfactual, FirstUnmadeSuggestion
from replay.whatif.rows import Record, compared, totals, trial_rows, unknown_row


class SmallerBudget(Counterfactual):
    """The search of a log as if `total_max_jobs` had been lower from its beginning.

    Up to the first suggestion that no longer fits, it is the record. The jobs that run at that time end as they did in
    the record. If they give back enough reserved iterations for one more job, `first_unmade` says so.
    """

    def __init__(self, rows: Sequence[Recorded], pruner: ComponentConfig, total_max_jobs: int) -> None:
        self.ended: int | None = None  # seq of the first suggestion of the record that does not fit
        super().__init__([_lowered(row, total_max_jobs) for row in rows], pruner)

    def _take(self, row: Recorded) -> None:
        event = row.event
        if isinstance(event, TrialSuggested) and not self._fits(row):
            if event.request is not None:
                self._evolve(row, RequestLapsed(request=event.request, why="no budget is left"))
            return
        if isinstance(event, JobAdopted) and event.trial >= len(self.state.trials) and self.ended is not None:
            return
        if isinstance(event, JobCreated) and event.attempt and not budget.fits(self.state):
            return  # a retry for which there is no room
        super()._take(row)
        if isinstance(event, BudgetUpdated) and self.ended is not None and self.first_unmade is None:
            self._look_for_room(row)

    def _fits(self, row: Recorded) -> bool:
        if self.ended is None:
            match next_action(self.state):
                case actions.Suggest() | actions.Decide(event=TrialSuggested()):
                    return True
            self.ended = row.seq
        return False

    def _look_for_room(self, row: Recorded) -> None:
        if budget.fits(self.state) and budget.trials_left(self.state):
            why = "jobs that end early leave room for another job, which the record does not have at that time"
            self.first_unmade = FirstUnmadeSuggestion(row.seq, len(self.state.trials), why)
            self._has_extra_jobs = True

    def _describe_unknown(self) -> str | None:
        extra = None if self.first_unmade is None else "a job that the record does not have at that time"
        return super()._describe_unknown() or extra

    def _is_another(self) -> bool:
        return self.ended is not None


def _lowered(row: Recorded, jobs: int) -> Recorded:
    event = row.event
    if isinstance(event, SearchCreated):
        limits = msgspec.structs.replace(event.search.limits, total_max_jobs=jobs)
        search = msgspec.structs.replace(event.search, limits=limits)
        return msgspec.structs.replace(row, event=msgspec.structs.replace(event, search=search))
    if isinstance(event, LimitsChanged):
        changes = msgspec.structs.replace(event.changes, total_max_jobs=msgspec.UNSET)
        return msgspec.structs.replace(row, event=msgspec.structs.replace(event, changes=changes))
    return row


def budget_row(record: Record, rows: Sequence[Recorded], total_max_jobs: int) -> Row:
    """Return the row of a search with the smaller budget *total_max_jobs*.

    Raises:
        Usage: *total_max_jobs* is larger than the record's budget, or less than 1.
    """
    recorded_limit = record.state.limits.total_max_jobs
    if total_max_jobs < 1 or (recorded_limit is not None and total_max_jobs > recorded_limit):
        most = "at least 1" if recorded_limit is None else f"from 1 to {recorded_limit}, which the record had"
        raise Usage(f"total_max_jobs {total_max_jobs}: expected {most}; what a larger budget would find is not known")
    rule, pruner = f"total_max_jobs={total_max_jobs}", record.state.search.pruner
    if pruner.is_foreign:
        why = f"{pruner.name} is not one of Optuna's pruners, and it cannot be asked from the log alone"
        return unknown_row(record, "budget", rule, why)
    smaller = SmallerBudget(rows, pruner, total_max_jobs)
    each_trial = trial_rows(record, smaller)
    started = [row for row in each_trial if row.started]
    unknown = [row for row in started if not row.known]
    why = "some of its trials are unknown" if unknown else ""
    if smaller.first_unmade is not None:
        why = smaller.first_unmade.why
    search = Searched(
        known=not why,
        trials=len(started),
        seq=None if smaller.first_unmade is None else smaller.first_unmade.seq,
        why=why,
        totals=totals(row for row in started if row.known),
        room=None,
    )
    return compared("budget", rule, record, smaller, search=search)
