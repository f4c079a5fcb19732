"""Why a trial was suggested, launched, continued, pruned, retried, or failed: collected from its log.

The log is folded row by row. Each decision about the trial is computed again from the state before it; the explanation
holds the recorded decision and says where the computed one differs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    Event,
    JobCreated,
    JobEnded,
    JobPruned,
    JobRequested,
    JobReturned,
    JobRunsOn,
    JobsContinued,
    JobStopSent,
    Recorded,
    TrialCancelled,
    TrialFinished,
    TrialNoted,
    TrialsImported,
    TrialSuggested,
    trial_of,
)
from eventhpo.core.fold.projection import Projection, project
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.scheduler import rank
from eventhpo.errors import DamagedLog, Usage
from eventhpo.views import event_lines, formatting
from eventhpo.views.statuses import trial_status
from replay.decide.checked import Checked
from replay.decide.fingerprints import other_platform
from replay.explain import pruner_rules, steps, study_steps
from replay.explain.explanation import (
    AnyStep,
    Explanation,
    Happened,
    Imported,
    JudgedPoint,
    PersonsStep,
    Prune,
    Rank,
    Stretch,
    Suggestion,
    TooLate,
)
from replay.explain.sampler_facts import suggestion
from replay.explain.verdict_history import VerdictHistory, too_late
from replay.verified_rows import whole

# rows that name the effect on an attempt themselves
_SAY_THEMSELVES = (JobPruned, JobReturned, JobStopSent, JobRunsOn, JobEnded)


def explain(path: str | os.PathLike[str], trial: int, at: int | str | datetime | None = None) -> Explanation:
    """Return what happened to *trial* in the log at *path*, and why, up to event *at* (default: the last event).

    *at* is a seq or a time, as `rebuild` takes it.

    Raises:
        Usage: there is no such file, event or trial.
        DamagedLog: it is no log, is damaged, or lost its tail.
        Busy, StorageFailed: it cannot be read.
    """
    return of_rows(whole(path, at), trial)


def of_rows(rows: Iterable[Recorded], trial: int) -> Explanation:
    """Return the explanation of *trial* from the *rows* of a log; see `explain`.

    Raises:
        Usage: there is no such trial.
        DamagedLog: there is no row.
    """
    walk = _Walk()
    collector = _Collector(trial, walk)
    listed = list(rows)
    state = project(
        listed, walk, _Collecting(lambda state, row: (collector,) if trial in _concerned(state, row.event) else ())
    )
    if state.study is not None and trial < len(state.trials):
        collector.take_answers(study_steps.asked_again(listed, trial))
    return collector.explanation(state)


def of_all(rows: Iterable[Recorded], most: int | None = None) -> list[Explanation]:
    """Return the explanation of each trial in the *rows* of a log, by number: for each what `of_rows` returns.

    The log is folded once, and not once for each trial. With *most* only the first trials, so many, are explained.

    Raises:
        DamagedLog: there is no row.
    """
    walk = _Walk()
    collectors: dict[int, _Collector] = {}

    def concerned(state: State, row: Recorded) -> Sequence[_Collector]:
        trials = [trial for trial in _concerned(state, row.event) if most is None or trial < most]
        for trial in trials:
            collectors.setdefault(trial, _Collector(trial, walk))
        return [collectors[trial] for trial in trials]

    listed = list(rows)
    state = project(listed, walk, _Collecting(concerned))
    if state.study is not None:
        by_trial = study_steps.all_asked_again(listed)
        for number, collector in collectors.items():
            collector.take_answers(by_trial.get(number, {}))
    order = {number: place for place, number in enumerate(t.number for t in rank.top(state))}
    explained = (collectors.get(t.number) or _Collector(t.number, walk) for t in state.trials[:most])
    return [collector.explanation(state, order) for collector in explained]


def _concerned(state: State, event: Event) -> Iterable[int]:
    """Return the trials that *event* names, or those that it may change if it names none; *state* is before it."""
    if isinstance(event, JobsContinued):
        return sorted({verdict.trial for verdict in event.verdicts})
    trial = trial_of(event)
    if trial is not None:
        return (trial,)
    if isinstance(event, TrialsImported):
        return range(len(state.trials), len(state.trials) + len(event.trials))
    return list(state.active)


class _Collecting(Projection):
    """Shows each row to the collectors of the trials that it concerns."""

    def __init__(self, concerned: Callable[[State, Recorded], Sequence[_Collector]]) -> None:
        self._concerned = concerned
        self._marked: list[tuple[_Collector, list[steps.Mark]]] = []

    def before(self, state: State, row: Recorded) -> None:
        collectors = self._concerned(state, row)
        try:
            for collector in collectors:
                collector.before(state, row)
        except (TypeError, ValueError) as error:
            raise DamagedLog(
                f"event {row.seq}: what it rests on cannot be computed again, because the sampler's or pruner's "
                f"arguments do not fit: {error}"
            ) from error
        self._marked = [(collector, collector.marks(state)) for collector in collectors]

    def after(self, state: State, row: Recorded) -> None:
        for collector, marks in self._marked:
            collector.after(state, row, marks)


class _Walk(Projection):
    """What is kept on the way through a log for all trials together."""

    def __init__(self) -> None:
        self.verdict_history = VerdictHistory()
        self.asked_at: dict[str, int] = {}  # seq of each caller's request, by its name
        self.authors: dict[int, str] = {}  # who asked for what at an event and why, by seq
        self.recorder: Mapping[str, str] = {}  # fingerprint of the controller that wrote these rows

    def before(self, state: State, row: Recorded) -> None:
        """Keep what *row* says of the rows after it."""
        if not self.recorder:
            self.recorder = state.fingerprint  # of the first row
        if isinstance(row.event, ControllerStarted):
            self.recorder = row.event.fingerprint
        if author := event_lines.describe_author(row.event):
            self.authors[row.seq] = author
        if isinstance(row.event, JobRequested):
            self.asked_at[row.event.request] = row.seq


class _Collector:
    """Keeps what concerns one trial, row by row."""

    def __init__(self, trial: int, walk: _Walk) -> None:
        self.walk = walk
        self._trial = trial
        self._steps: list[AnyStep] = []
        self._decisions = 0
        self._suggested_by: Mapping[str, str] = {}  # fingerprint of the controller that suggested the trial

    def explanation(self, state: State, order: Mapping[int, int] | None = None) -> Explanation:
        """Return what was kept; *order* is the place of each trial that `top` lists, from 0, if it is known."""
        count = len(state.trials)
        if self._trial >= count:
            raise Usage(
                f"there is no trial {self._trial}: as of event {state.head.seq} the log has "
                f"{formatting.plural(count, 'trial')}{f', 0 to {count - 1}' if count > 1 else ', 0' if count else ''}"
            )
        trial = state.trials[self._trial]
        differs = [s.seq for s in self._steps if s.differs is not None]
        differs += [p.seq for s in self._steps for p in _points(s) if p.differs is not None]
        return Explanation(
            search=state.search.name,
            search_id=state.search_id,
            seq=state.head.seq,
            trial=self._trial,
            trials=count,
            status=trial_status(trial),
            params=formatting.ordered(state.search, trial.params),
            objectives=tuple(formatting.metric(o) for o in state.search.objectives),
            steps=tuple(self._steps),
            late=tuple(late for attempt in trial.attempts for late in steps.late(attempt)),
            rank=steps.ranked(state, trial) if order is None else _rank_in(order, trial),
            decisions=self._decisions,
            differs=tuple(sorted(set(differs))),
            notes=(*steps.notes(state, trial), *self._platform()),
        )

    def take_answers(self, checks: Mapping[int, Checked]) -> None:
        """Add to the steps of a study what its sampler and pruner, asked again, say today; *checks* are by seq."""
        self._steps = [study_steps.with_answer(step, checks.get(step.seq)) for step in self._steps]
        self._decisions = sum(check.skipped is None for check in checks.values())

    def _platform(self) -> list[str]:
        """Return a note where a suggestion differs and the log is of another platform, which may be why."""
        if not any(isinstance(s, Suggestion) and s.again == "differs" for s in self._steps):
            return []
        return other_platform(self._suggested_by)

    # ------------------------------------------------------------ on the state before a row

    def before(self, state: State, row: Recorded) -> None:
        """Add a step for *row* if it is a decision about the trial, with the numbers that it follows from."""
        if trial_of(row.event) == self._trial and (of_study := study_steps.step(state, row.seq, row.event)) is not None:
            self._decisions += of_study.word in ("judged", "pruned")
            self._steps.append(of_study)
        match row.event:
            case TrialSuggested(trial=self._trial) as event:
                self._suggested_by = self.walk.recorder
                asked_at = self._asked(state, event)
                asked_by = "" if asked_at is None else self.walk.authors.get(asked_at, "")
                self._decide(suggestion(state, row.seq, event, asked_at, asked_by, self.walk.recorder))
            case JobCreated(trial=self._trial) as event:
                self._decide(steps.launch(state, row.seq, event))
            case JobsContinued() | JobPruned() as event if _concerns(event, self._trial):
                self._verdicts(state, row.seq, event)
            case BudgetUpdated(trial=self._trial) as event:
                self._decide(steps.charge(state, row.seq, event))
            case TrialFinished(trial=self._trial) as event:
                self._decide(steps.finish(state, row.seq, event))

    def _asked(self, state: State, event: TrialSuggested) -> int | None:
        if event.source == "user" and state.waiting:
            return state.waiting[0].seq
        return None if event.request is None else self.walk.asked_at.get(event.request)

    def _decide(self, step: AnyStep) -> None:
        self._decisions += 1
        self._steps.append(step)

    def _verdicts(self, state: State, seq: int, event: JobsContinued | JobPruned) -> None:
        for point in self.walk.verdict_history.points(state, seq, event, self._trial):
            self._decisions += 1
            attempt = state.trials[self._trial].attempts[-1]
            match point.recorded:
                case "go on":
                    steps.stretch(self._steps, attempt.number, point)
                case "too late":
                    why = too_late(state, attempt, point.iteration) or "ended"
                    self._steps.append(TooLate(seq=seq, attempt=attempt.number, point=point, why=why))
                case "prune":
                    needed = None if point.found is None else pruner_rules.needed(point.found)
                    self._steps.append(Prune(seq=seq, attempt=attempt.number, point=point, needed=needed))

    # ------------------------------------------------------------ on the state after a row

    def marks(self, state: State) -> list[steps.Mark]:
        """Return what tells after a row whether it settled or stopped an attempt of the trial."""
        exists = self._trial < len(state.trials)
        return [steps.mark(a) for a in state.trials[self._trial].attempts] if exists else []

    def after(self, state: State, row: Recorded, marks: list[steps.Mark]) -> None:
        """Add steps for inputs, and for effects of *row* on the trial that its event does not name."""
        if self._trial >= len(state.trials):
            return
        if state.study is not None:  # its own events have their steps already
            if isinstance(row.event, TrialNoted | TrialCancelled) and row.event.trial == self._trial:
                self._persons_act(row.seq, row.event, in_study=True)
            return
        trial = state.trials[self._trial]
        if isinstance(row.event, TrialsImported) and trial.imported is not None and trial.seq == row.seq:
            self._steps.append(
                Imported(seq=row.seq, study=row.event.study, trial=trial.imported, source=row.event.source)
            )
        for attempt, before in zip(trial.attempts, marks, strict=False):
            if not isinstance(row.event, _SAY_THEMSELVES) and steps.mark(attempt) != before:
                self._steps.append(steps.settled(state, row, attempt, before, self.walk.authors))
        if trial_of(row.event) == self._trial:
            self._own(state, trial, row)

    def _persons_act(self, seq: int, event: TrialNoted | TrialCancelled, *, in_study: bool) -> None:
        said = steps.persons_act(event, in_study=in_study)
        author = self.walk.authors.get(seq, "")
        self._steps.append(PersonsStep(seq=seq, event=type(event).__name__, said=said, author=author))

    def _own(self, state: State, trial: Trial, row: Recorded) -> None:
        match row.event:
            case JobEnded() as event:
                self._steps.append(steps.end(state, row.seq, event))
            case TrialFinished():
                finish = self._steps[-1]
                self._steps[-1] = msgspec.structs.replace(finish, rank=steps.ranked(state, trial))
            case TrialNoted() | TrialCancelled() as event:
                self._persons_act(row.seq, event, in_study=False)
            case event:
                what_happened = steps.said(state, event) or steps.unused_begins(state, row)
                if what_happened is not None:
                    attempt: int = getattr(event, "attempt", 0)
                    self._steps.append(
                        Happened(seq=row.seq, event=type(event).__name__, attempt=attempt, said=what_happened)
                    )


def _rank_in(order: Mapping[int, int], trial: Trial) -> Rank | None:
    return Rank(order[trial.number] + 1, len(order)) if trial.number in order else None


def _concerns(event: JobsContinued | JobPruned, trial: int) -> bool:
    if isinstance(event, JobPruned):
        return event.trial == trial
    return any(verdict.trial == trial for verdict in event.verdicts)


def _points(step: AnyStep) -> tuple[JudgedPoint, ...]:
    match step:
        case Stretch(points=points):
            return points
        case TooLate(point=point) | Prune(point=point):
            return (point,)
    return ()
