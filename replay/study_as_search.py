"""A study's log as the rows of a search of jobs, for those who ask about curves and outcomes only.

Each attempt of a trial becomes a job: created and started when it was asked for, ended when it was told or lost.
Rows keep the seq of the row that they come from. What was decided about parameters is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from eventhpo.core.fold.event_parts import AttemptId, ImportedTrial, Verdict
from eventhpo.core.fold.events import (
    BudgetUpdated,
    Event,
    JobBound,
    JobCreated,
    JobEnded,
    JobPruned,
    JobsContinued,
    JobStarted,
    MetricObserved,
    Recorded,
    SearchCreated,
    TrialFinished,
    TrialsImported,
    TrialSuggested,
    trial_of,
)
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.study_events import (
    ParameterSuggested,
    PointJudged,
    StudyEvent,
    TrialAdded,
    TrialAsked,
    TrialLost,
    TrialTold,
)
from eventhpo.core.search.spec import ComponentConfig, Num, Scalar, Simulated, StudyJobs

_UNKNOWN = "unknown"  # the sampler and pruner of a study that was made through the storage alone


def as_search(rows: Sequence[Recorded]) -> Sequence[Recorded]:
    """Return *rows* as those of a search of jobs; a search's own rows come back as they are."""
    first = rows[0].event if rows else None
    if not isinstance(first, SearchCreated) or not isinstance(first.search.jobs, StudyJobs):
        return rows
    return list(_Translation(rows, first).rows())


class _Translation:
    def __init__(self, rows: Sequence[Recorded], first: SearchCreated) -> None:
        self._rows, self._first = rows, first
        known = first.search.pruner.name != _UNKNOWN and not first.search.pruner.is_foreign
        self._search = msgspec.structs.replace(
            first.search,
            jobs=Simulated(),
            pruner=first.search.pruner if known else ComponentConfig("NopPruner"),
        )
        self._state = begin(self._begun(rows[0]))
        self._params: defaultdict[int, dict[str, Scalar]] = defaultdict(dict)
        self._last: dict[AttemptId, int] = {}  # seq of each attempt's last point
        self._pruned: set[AttemptId] = set()
        self._seen: dict[int, int] = {}  # time of the newest row about each trial: when its process lived for sure
        for row in rows:
            self._look_ahead(row)

    def _look_ahead(self, row: Recorded) -> None:
        match row.event:
            case ParameterSuggested(trial=trial, parameter=parameter) if parameter is not None:
                self._params[trial][parameter.name] = parameter.value
            case PointJudged(trial=trial, attempt=attempt):
                self._last[trial, attempt] = row.seq
            case TrialTold(trial=trial, attempt=attempt, state="pruned"):
                self._pruned.add((trial, attempt))
            case TrialAdded(trial=trial, parameters=parameters):
                self._params[trial] |= {p.name: p.value for p in parameters}

    def _begun(self, row: Recorded) -> Recorded:
        return msgspec.structs.replace(row, event=msgspec.structs.replace(self._first, search=self._search))

    def rows(self) -> Iterator[Recorded]:
        yield self._begun(self._rows[0])
        for row in self._rows[1:]:
            if not isinstance(row.event, StudyEvent):
                self._state = evolve(self._state, row)
                yield row
                continue
            for make in self._events(row, row.event):
                event = make()  # on the state after the one before it
                if event is not None:
                    translated = msgspec.structs.replace(row, event=event)
                    self._state = evolve(self._state, translated)
                    yield translated
            if (trial := trial_of(row.event)) is not None:
                self._seen[trial] = row.at

    def _events(self, row: Recorded, event: StudyEvent) -> Iterator[Callable[[], Event | None]]:
        match event:
            case TrialAsked():
                yield lambda: self._suggested(event.trial)
                yield lambda: self._created(row, event)
                yield lambda: JobBound(trial=event.trial, attempt=event.attempt, job_id=str(event.trial_id))
                yield lambda: JobStarted(trial=event.trial, attempt=event.attempt, started_at=row.at)
            case TrialAdded(state="completed" | "pruned" | "failed", points=points) if points or event.imported:
                yield from self._as_job(row, event)
            case TrialAdded():
                yield lambda: self._added_trial(event)
                if event.state == "failed":
                    yield lambda: TrialFinished(trial=event.trial, state="failed", why="added so")
            case PointJudged(value=value) if value is not None:
                yield lambda: self._observed(event, value)
                yield lambda: self._judged(row, event)
            case TrialTold():
                yield lambda: self._ended(row, event.trial, event.attempt, event.state, event.why)
                yield lambda: self._charged(event.trial, event.attempt)
                yield lambda: TrialFinished(trial=event.trial, state=event.state, values=event.values, why=event.why)
            case TrialLost():
                yield lambda: self._ended(row, event.trial, event.attempt, "lost", event.why)
                yield lambda: self._charged(event.trial, event.attempt)

    def _as_job(self, row: Recorded, event: TrialAdded) -> Iterator[Callable[[], Event | None]]:
        """Yield what makes a finished trial that was not asked for a job of its own, one after the other."""
        trial, objective = event.trial, self._search.objectives[0]
        steps, values = tuple(step for step, _ in event.points), tuple(value for _, value in event.points)
        started = row.at if event.started is None else event.started
        ended = started if event.completed is None else event.completed
        name: dict[str, Any] = {"trial": trial, "attempt": 0}
        yield lambda: self._suggested(trial)
        yield lambda: JobCreated(**name, key=f"{self._first.search_id}:{event.trial_id}", slot=self._free_slot())
        yield lambda: JobBound(**name, job_id=str(event.trial_id))
        yield lambda: JobStarted(**name, started_at=started)
        if steps and len(self._search.objectives) == 1:
            yield lambda: MetricObserved(
                **name,
                title=objective.title,
                series=objective.series,
                iterations=steps,
                values=values,
                from_=0,
                to=len(steps),
            )
            yield lambda: self._whole_curve(trial, event.state)
        how: Any = {"completed": "completed", "pruned": "stopped", "failed": "failed"}[event.state]
        yield lambda: JobEnded(**name, how=how, started_at=started, finished_at=max(started, ended))
        yield lambda: self._charged(trial, 0)
        state: Any = event.state
        yield lambda: TrialFinished(trial=trial, state=state, values=event.values)

    def _whole_curve(self, trial: int, state: str) -> JobsContinued | JobPruned:
        curve = self._state.attempt(trial, 0).curves[0]
        judged, last = len(curve.iterations), curve.iterations[-1]
        if state == "pruned":
            return JobPruned(trial=trial, attempt=0, judged=judged, iteration=last)
        return JobsContinued(verdicts=(Verdict(trial=trial, attempt=0, judged=judged, iteration=last),))

    def _free_slot(self) -> int:
        used = {a.slot for trial in self._state.active.values() for a in trial.attempts if a.live}
        return next(slot for slot in range(len(used) + 1) if slot not in used)

    def _suggested(self, number: int) -> TrialSuggested | None:
        if number < len(self._state.trials):
            return None
        return TrialSuggested(trial=number, params=self._params[number])

    def _created(self, row: Recorded, event: TrialAsked) -> JobCreated:
        key = f"{self._first.search_id}:{event.trial_id}"
        return JobCreated(trial=event.trial, attempt=event.attempt, key=key, slot=self._free_slot())

    def _added_trial(self, event: TrialAdded) -> Event:
        if event.state not in ("completed", "pruned"):
            return TrialSuggested(trial=event.trial, params=self._params[event.trial])
        params = self._params[event.trial]
        imported = ImportedTrial(
            number=event.trial,
            params=params,
            point=params,
            state=event.state,
            values=event.values,
            iterations=tuple(step for step, _ in event.points),
            reported=tuple(value for _, value in event.points),
        )
        return TrialsImported(study=self._search.name, trials=(imported,))

    def _observed(self, event: PointJudged, value: Num) -> MetricObserved | None:
        if event.attempt < 0:
            return None
        objective, cursor = self._search.objectives[0], self._state.attempt(event.trial, event.attempt).cursor
        return MetricObserved(
            trial=event.trial,
            attempt=event.attempt,
            title=objective.title,
            series=objective.series,
            iterations=(event.step,),
            values=(value,),
            from_=cursor,
            to=cursor + 1,
        )

    def _judged(self, row: Recorded, event: PointJudged) -> JobsContinued | JobPruned | None:
        name = (event.trial, event.attempt)
        if event.attempt < 0:
            return None
        attempt = self._state.attempt(*name)
        judged = len(attempt.curves[0].iterations)
        if judged == attempt.judged:
            return None  # a step that did not rise is in no curve
        if name in self._pruned and self._last[name] == row.seq:
            return JobPruned(trial=event.trial, attempt=event.attempt, judged=judged, iteration=event.step)
        verdict = Verdict(trial=event.trial, attempt=event.attempt, judged=judged, iteration=event.step)
        return JobsContinued(verdicts=(verdict,))

    def _ended(self, row: Recorded, trial: int, number: int, how: str, why: str) -> JobEnded | None:
        if number < 0:
            return None
        started = self._state.attempt(trial, number).started_at
        ended = {"completed": "completed", "pruned": "stopped", "failed": "failed", "lost": "lost"}[how]
        return JobEnded(
            trial=trial,
            attempt=number,
            how=ended,  # type: ignore[arg-type]
            started_at=started,
            finished_at=self._seen.get(trial, row.at) if how == "lost" else row.at,
            why=why,
        )

    def _charged(self, trial: int, number: int) -> BudgetUpdated | None:
        if number < 0:
            return None
        attempt = self._state.attempt(trial, number)
        finished = attempt.finished
        took = 0 if finished is None or attempt.started_at is None else finished.wall - attempt.started_at
        points = len(attempt.curves[0].iterations)
        used = self._state.totals.charged + points
        reserved = max(0, self._state.totals.reservations - 1)
        return BudgetUpdated(
            trial=trial, attempt=number, iterations=points, late=0, compute_time=took, used=used, reserved=reserved
        )
