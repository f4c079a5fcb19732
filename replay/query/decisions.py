"""Each recorded decision as one row; a pruner's verdicts with the reason, and with how near the other verdict was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import BudgetUpdated, JobPruned, JobsContinued, Recorded, subject_of
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_events import PointJudged
from eventhpo.core.search.spec import Num
from eventhpo.errors import DamagedLog
from eventhpo.views import event_lines
from replay.explain import pruner_rules
from replay.explain.explanation import JudgedPoint
from replay.explain.pruner_rules.findings import AnyFinding
from replay.explain.study_verdicts import study_finding
from replay.explain.verdict_history import VerdictHistory

RecordedAnswer: TypeAlias = Literal["go on", "prune", "too late"]
MOST_COMPARED = 2_000  # trials: with more of them only prunes have reasons, because each looks at all other trials
NOT_COMPARED = f"not compared again: there are more than {MOST_COMPARED} trials"


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of event `seq`; an event with several verdicts has several, counted by `place` from 0.

    `verdict` is None for decisions of the scheduler and the sampler. Of a verdict, `value` is what was judged at
    `iteration`, `needed` the value that would have let a pruned trial go on, `margin` how far the verdict was from
    being a prune, in the unit of what was compared, negative where it was one. A number is None where there is none.
    """

    seq: int
    place: int
    at: int  # microseconds since 1970
    type: str
    trial: int | None = None
    attempt: int | None = None
    verdict: RecordedAnswer | None = None
    iteration: int | None = None
    value: Num | None = None
    needed: Num | None = None
    margin: Num | None = None
    reason: str


class DecisionReader:
    """Reads decisions row by row. Budget rows are no part of it: the table `budget` has them."""

    def __init__(self) -> None:
        self._verdicts = VerdictHistory()

    def decisions(self, state: State, row: Recorded) -> list[DecisionRow]:
        """Return the decisions of *row*, in their order; *state* is the one before it.

        Raises:
            DamagedLog: the pruner's arguments do not fit, so that no verdict can be computed again.
        """
        event = row.event
        if not isinstance(event, Decision) or isinstance(event, BudgetUpdated):
            return []
        try:
            match event:
                case JobsContinued() | JobPruned():
                    return list(self._of_search(state, row, event))
                case PointJudged():
                    return [] if event.prune is None else [_of_study(state, row, event)]
        except (TypeError, ValueError) as error:
            raise DamagedLog(f"event {row.seq}: its verdict cannot be computed again: {error}") from error
        trial, attempt = subject_of(event)
        kind, reason = type(event).__name__, event_lines.describe_event(event)
        return [DecisionRow(seq=row.seq, place=0, at=row.at, type=kind, trial=trial, attempt=attempt, reason=reason)]

    def _of_search(self, state: State, row: Recorded, event: JobsContinued | JobPruned) -> Iterator[DecisionRow]:
        place = 0
        compares = isinstance(event, JobPruned) or len(state.trials) <= MOST_COMPARED
        verdicts = event.verdicts if isinstance(event, JobsContinued) else (event,)
        for trial, attempt in dict.fromkeys((v.trial, v.attempt) for v in verdicts):
            points = self._verdicts.points(state, row.seq, event, trial) if compares else ()
            for point in points:
                yield _of_point(row, place, trial, attempt, point)
                place += 1
        if not compares and isinstance(event, JobsContinued):
            for place, verdict in enumerate(event.verdicts):
                answer: RecordedAnswer = "too late" if verdict.too_late else "go on"
                yield DecisionRow(
                    seq=row.seq,
                    place=place,
                    at=row.at,
                    type=type(event).__name__,
                    trial=verdict.trial,
                    attempt=verdict.attempt,
                    verdict=answer,
                    iteration=verdict.iteration,
                    reason=NOT_COMPARED,
                )


def _of_point(row: Recorded, place: int, trial: int, attempt: int, point: JudgedPoint) -> DecisionRow:
    return DecisionRow(
        seq=row.seq,
        place=place,
        at=row.at,
        type=type(row.event).__name__,
        trial=trial,
        attempt=attempt,
        verdict=point.recorded,
        iteration=point.iteration,
        value=point.value,
        needed=None if point.found is None else pruner_rules.needed_value(point.found),
        margin=None if point.found is None else point.found.margin,
        reason=_reason(point.found, point.differs),
    )


def _of_study(state: State, row: Recorded, event: PointJudged) -> DecisionRow:
    compares = event.prune or len(state.trials) <= MOST_COMPARED
    found = study_finding(state, event) if compares else None
    own = None if state.study is None else state.study.trials[event.trial].points.get(event.step)
    return DecisionRow(
        seq=row.seq,
        place=0,
        at=row.at,
        type=type(event).__name__,
        trial=event.trial,
        attempt=event.attempt,
        verdict="prune" if event.prune else "go on",
        iteration=event.step,
        value=own if event.value is None else event.value,
        needed=None if found is None else pruner_rules.needed_value(found),
        margin=None if found is None else found.margin,
        reason=_reason_in_study(found, compares=compares),
    )


def _reason_in_study(found: AnyFinding | None, *, compares: bool) -> str:
    if not compares:
        return NOT_COMPARED
    return (
        "the study's pruner belongs to its script: its rule is not known"
        if found is None
        else pruner_rules.words(found)
    )


def _reason(found: AnyFinding | None, differs: str | None) -> str:
    if differs is not None:
        return f"DIFFERS: {differs}"
    return "the pruner was not asked: before min_iteration_per_job" if found is None else pruner_rules.words(found)


def decisions_of(rows: Iterable[Recorded], after: int = 0) -> Iterator[DecisionRow]:
    """Yield the decisions of the *rows* of a log that come after event *after*, in their order.

    Raises:
        DamagedLog: a verdict cannot be computed again.
    """
    reader = DecisionReader()
    state: State | None = None
    for row in rows:
        if state is None:
            state = begin(row)
            continue
        if row.seq > after:
            yield from reader.decisions(state, row)
        state = evolve(state, row)
