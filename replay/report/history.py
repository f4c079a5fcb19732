"""A search row by row, as the columns of a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventhpo.core.fold import budget
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.event_parts import AttemptId
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    Event,
    JobBound,
    JobCreated,
    JobEnded,
    JobPruned,
    JobsContinued,
    MetricObserved,
    Recorded,
    trial_of,
)
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.fold.study_events import ParameterSuggested, PointJudged, TrialLost, TrialTold
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import Num, to_num
from eventhpo.views import formatting, status, statuses, unused_reports
from replay.explain import pruner_rules
from replay.explain.pruner_rules.findings import AnyFinding
from replay.explain.study_verdicts import study_finding
from replay.explain.verdict_history import VerdictHistory
from replay.postmortem.report import Examination
from replay.postmortem.slots import Idle, idle_reason
from replay.report.data import (
    AttemptRows,
    AttemptVersions,
    CurveRows,
    EventRows,
    IdleRows,
    PruneRows,
    Standing,
    TrialVersions,
)


class History:
    """Collects the columns of a report, row by row."""

    def __init__(self, first: Recorded) -> None:
        self.examination = Examination(first)
        self.events = EventRows()
        self.versions = TrialVersions(values=[[] for _ in self.state.search.objectives])
        self.attempts = AttemptRows()
        self.attempt_versions = AttemptVersions()
        self.curves = CurveRows()
        self.prunes = PruneRows()
        self.standing = Standing()
        self.idle = IdleRows()
        self._asked_to_prune: dict[int, tuple[int, AnyFinding | None]] = {}  # newest step and finding, of a study
        self.parameters_known: dict[tuple[int, str], int] = {}  # seq by trial and name, in a study
        self._last_at = 0
        self._types: dict[str, int] = {}
        self._verdicts = VerdictHistory()
        self._newest: dict[int, tuple[str, bool, list[Num | None]]] = {}  # of each trial
        self._places: dict[AttemptId, int] = {}  # position of each attempt
        self._statuses: dict[int, str] = {}  # of each attempt
        self._curves: dict[tuple[int, int], int] = {}  # position of the curve of an attempt and an objective
        self._open_idle: dict[int, int] = {}  # position of the newest stretch of each slot
        self._note(first)
        self._stand(first)

    @property
    def state(self) -> State:
        """The state after the last row."""
        return self.examination.state

    def add(self, row: Recorded) -> None:
        """Take in *row*, the one after the last."""
        self._before(self.state, row)
        if isinstance(row.event, ParameterSuggested) and row.event.parameter is not None:
            self.parameters_known.setdefault((row.event.trial, row.event.parameter.name), row.seq)
        concerned = _concerned(self.state, row.event)
        trials = len(self.state.trials)
        self.examination.add(row)
        self._note(row)
        for number in (*concerned, *range(trials, len(self.state.trials))):
            self._look(self.state.trials[number], row)
        self._stand(row)

    # ------------------------------------------------------------ on the state before a row

    def _before(self, state: State, row: Recorded) -> None:
        self._free_slots(state, row)
        if isinstance(row.event, JobPruned):
            self._prune(state, row.seq, row.event)
        if isinstance(row.event, PointJudged) and row.event.prune:
            self._asked_to_prune[row.event.trial] = (row.event.step, study_finding(state, row.event))
        if isinstance(row.event, TrialTold) and row.event.state == "pruned":
            self._prune_in_study(state, row.seq, row.event)

    def _prune(self, state: State, seq: int, event: JobPruned) -> None:
        for point in self._verdicts.points(state, seq, event, event.trial):
            if point.recorded == "prune":
                found = point.found
                self.prunes.trial.append(event.trial)
                self.prunes.attempt.append(event.attempt)
                self.prunes.seq.append(seq)
                self.prunes.iteration.append(point.iteration)
                self.prunes.value.append(point.value)
                self.prunes.needed.append(None if found is None else pruner_rules.needed_value(found))
                self.prunes.needed_text.append((None if found is None else pruner_rules.needed(found)) or "")
                self.prunes.why.append("" if found is None else pruner_rules.words(found))

    def _prune_in_study(self, state: State, seq: int, event: TrialTold) -> None:
        """Note the last point of a trial whose objective raised TrialPruned, and what the pruner had found there."""
        points = {} if state.study is None else state.study.trials[event.trial].points
        if not points:
            return
        step = max(points)
        asked_at, found = self._asked_to_prune.get(event.trial, (None, None))
        asked = asked_at == step
        self.prunes.trial.append(event.trial)
        self.prunes.attempt.append(event.attempt)
        self.prunes.seq.append(seq)
        self.prunes.iteration.append(step)
        self.prunes.value.append(to_num(points[step]))
        found = found if asked and found is not None and found.prune else None
        self.prunes.needed.append(None if found is None else pruner_rules.needed_value(found))
        self.prunes.needed_text.append((None if found is None else pruner_rules.needed(found)) or "")
        why = "the pruner said so" if asked else "the objective raised TrialPruned"
        self.prunes.why.append(why if found is None else pruner_rules.words(found))

    def _free_slots(self, state: State, row: Recorded) -> None:
        """Add the time before *row* to the stretches of the slots that were free in it."""
        if state.epoch == 0 or row.at <= state.last_at or state.finished is not None:
            return
        busy = {a.slot for t in state.active.values() for a in t.attempts if a.live}
        free = [slot for slot in range(state.limits.num_concurrent_workers) if slot not in busy]
        if free:
            gap = isinstance(row.event, ControllerStarted)
            why: Idle = "no controller" if gap else idle_reason(state, row.event, returned=_came_back(state))
            for slot in free:
                self._idle(slot, state.last_at, row, why)

    def _idle(self, slot: int, begin: int, row: Recorded, why: str) -> None:
        place = self._open_idle.get(slot)
        idle = self.idle
        if place is not None and idle.end[place] == begin and idle.why[place] == why:
            idle.end[place], idle.seq[place] = row.at, row.seq
            return
        self._open_idle[slot] = len(idle.slot)
        idle.slot.append(slot)
        idle.begin.append(begin)
        idle.end.append(row.at)
        idle.seq.append(row.seq)
        idle.why.append(why)

    # ------------------------------------------------------------ on the state after a row

    def _note(self, row: Recorded) -> None:
        name = type(row.event).__name__
        if name not in self._types:
            self._types[name] = len(self._types)
            self.events.types.append(name)
        trial = trial_of(row.event)
        self.events.type.append(self._types[name])
        self.events.trial.append(-1 if trial is None else trial)
        self.events.at.append(row.at - self._last_at)
        self._last_at = row.at

    def _look(self, trial: Trial, row: Recorded) -> None:
        """Note what *row* changed in *trial*."""
        for attempt in trial.attempts:
            self._look_at_attempt(attempt, row)
        last = trial.last
        marked = last is not None and unused_reports.unused(self.state, last) is not None
        values = [None if v is None else to_num(v) for v in rank.values(self.state, trial)]
        version = (statuses.trial_status(trial), marked, values)
        if self._newest.get(trial.number) == version:
            return
        self._newest[trial.number] = version
        versions = self.versions
        versions.trial.append(trial.number)
        versions.seq.append(row.seq)
        versions.status.append(version[0])
        versions.marked.append(marked)
        versions.why.append("" if trial.finished is None else formatting.line(trial.finished.why))
        for column, value in zip(versions.values, values, strict=True):
            column.append(value)

    def _look_at_attempt(self, attempt: Attempt, row: Recorded) -> None:
        key = (attempt.trial, attempt.number)
        if key not in self._places:
            self._add_attempt(attempt, row)
        place = self._places[key]
        self._take(place, row)
        new = statuses.job_status(self.state, attempt)
        if self._statuses.get(place) != new:
            self._statuses[place] = new
            self.attempt_versions.attempt.append(place)
            self.attempt_versions.seq.append(row.seq)
            self.attempt_versions.status.append(new)
        for objective, curve in enumerate(attempt.curves):
            if curve.iterations:
                self._extend(place, objective, curve, row.seq)

    def _add_attempt(self, attempt: Attempt, row: Recorded) -> None:
        rows = self.attempts
        self._places[(attempt.trial, attempt.number)] = len(rows.trial)
        rows.trial.append(attempt.trial)
        rows.number.append(attempt.number)
        rows.slot.append(attempt.slot)
        rows.seq.append(row.seq)
        rows.at.append(row.at)
        rows.job_id.append(self._job_name(attempt.job_id))
        rows.bound.append(None if attempt.job_id is None else row.seq)
        for column in (rows.ended, rows.ended_at, rows.charged):
            column.append(None)
        for numbers in (rows.charge, rows.late, rows.compute):
            numbers.append(0)

    def _take(self, place: int, row: Recorded) -> None:
        """Note in the attempt at *place* what *row* says of it."""
        rows, event = self.attempts, row.event
        named = rows.trial[place], rows.number[place]
        if named != (getattr(event, "trial", None), getattr(event, "attempt", None)):
            return
        match event:
            case JobBound(job_id=job_id):
                rows.job_id[place], rows.bound[place] = self._job_name(job_id), row.seq
            case JobEnded() if rows.ended[place] is None:
                rows.ended[place], rows.ended_at[place] = row.seq, row.at
            case TrialTold() | TrialLost():  # of a study, which has no budget: what it reported, and its time
                attempt = self.state.attempt(*named)
                rows.ended[place] = rows.charged[place] = row.seq
                rows.ended_at[place] = row.at
                rows.charge[place] = attempt.reported
                rows.compute[place] = 0 if attempt.started is None else max(0, row.at - attempt.started.wall)
            case BudgetUpdated(iterations=iterations, late=late, compute_time=compute):
                rows.charged[place], rows.charge[place] = row.seq, iterations
                rows.late[place], rows.compute[place] = late, compute

    def _job_name(self, job_id: str | None) -> str | None:
        name = formatting.task(self.state.search, job_id) or job_id
        return None if name is None else formatting.line(name)

    def _extend(self, attempt: int, objective: int, curve: Curve, seq: int) -> None:
        rows = self.curves
        place = self._curves.get((attempt, objective))
        if place is None:
            place = self._curves[(attempt, objective)] = len(rows.attempt)
            rows.attempt.append(attempt)
            rows.objective.append(objective)
            for lists in (rows.iterations, rows.values, rows.seq):
                lists.append([])
            rows.cut.append(None)
        there = len(rows.seq[place])
        new = len(curve.iterations) - there
        rows.iterations[place] += curve.iterations[there:]
        rows.values[place] += map(to_num, curve.values[there:])
        rows.seq[place] += [seq] * new
        rows.cut[place] = curve.cut

    def _stand(self, row: Recorded) -> None:
        state, rows = self.state, self.standing
        ending = status.ending_of(state)
        now = (
            status.search_state(state, held=None),
            "" if ending is None else status.describe_ending(ending),
            len(state.waiting),
            state.totals.charged,
            budget.reserved(state),
            budget.limit(state),
            budget.compute_used(state) if _moves_time(row.event) or not rows.seq else rows.compute[-1],
        )
        columns: tuple[list[Any], ...] = (
            rows.state,
            rows.ending,
            rows.waiting,
            rows.used,
            rows.reserved,
            rows.limit,
            rows.compute,
        )
        if rows.seq and tuple(column[-1] for column in columns) == now:
            return
        rows.seq.append(row.seq)
        for column, value in zip(columns, now, strict=True):
            column.append(value)


def _came_back(state: State) -> bool:
    """Whether a lost job came back and is not over again."""
    return any(a.returned for t in state.active.values() for a in t.attempts)


def _moves_time(event: Event) -> bool:
    """Whether compute time may be another one after *event*: it has no part in points and verdicts."""
    return not isinstance(event, MetricObserved | JobsContinued | JobPruned | JobCreated)


def _concerned(state: State, event: Event) -> Iterable[int]:
    """Return the trials that *event* may change and that are there before it."""
    if isinstance(event, JobsContinued):
        return sorted({verdict.trial for verdict in event.verdicts})
    trial = trial_of(event)
    if trial is not None:
        return (trial,) if trial < len(state.trials) else ()
    return list(state.active)


def of_rows(rows: Iterable[Recorded]) -> History:
    """Return the history of the *rows* of a log, of which there is at least one."""
    remaining = iter(rows)
    history = History(next(remaining))
    for row in remaining:
        history.add(row)
    return history
