"""What Optuna's own pruners say of recorded curves, fed to an in-memory study by hand.

Nothing of `replay` takes part, nor of the fold: curves, retries and charges are worked
out here from the events alone, in the order in which the log has its verdicts.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.events import (
    BudgetUpdated,
    InheritanceClaimed,
    JobCreated,
    JobEnded,
    JobPruned,
    JobsContinued,
    MetricObserved,
    Recorded,
    SearchCreated,
    TrialFinished,
    TrialSuggested,
)

ALONE = {"NopPruner", "ThresholdPruner"}


class Storage(InMemoryStorage):
    """Of equal best trials the first by number counts, as in the base class."""

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)


@dataclass
class Job:
    points: list[tuple[int, float]] = field(default_factory=list)
    judged: int = 0
    inherited: int = 0
    written: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    ended: bool = False
    charge: int = 0


@dataclass
class Told:
    """What is to be found of one trial."""

    pruned_at: int | None = None
    gone_on: bool = False
    rests: bool = False
    pruned_attempt: int | None = None
    over: bool = False  # went on, to an end that no record has


class ByHand:
    """One pruner of Optuna's, alive for the whole search, fed with the curves of a log."""

    def __init__(
        self,
        rows: Sequence[Recorded],
        pruner: optuna.pruners.BasePruner,
        *,
        alone: bool,
        chance: random.Random | None = None,
    ) -> None:
        """Feed *pruner*; with *chance* trials that go on behind the record's prune do so, somehow."""
        first = rows[0].event
        assert isinstance(first, SearchCreated)
        self.search = first.search
        self.alone = alone
        self.chance = chance
        self.storage = Storage()
        maximize = self.search.objectives[0].sign.startswith("max")
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        self.storage.create_new_study([direction], self.search.name)
        sampler = optuna.samplers.RandomSampler(seed=1)
        self.study = optuna.Study(self.search.name, self.storage, sampler=sampler, pruner=pruner)
        self.jobs: dict[tuple[int, int], Job] = {}
        self.told: dict[int, Told] = {}
        self.worst: float | None = None
        self.prunes = {(r.event.trial, r.event.attempt): r.event for r in rows if isinstance(r.event, JobPruned)}
        for row in rows[1:]:
            self._feed(row.event)

    def _feed(self, event: object) -> None:
        match event:
            case TrialSuggested(trial=trial):
                self.storage.create_new_trial(0, optuna.trial.create_trial(state=TrialState.RUNNING))
                self.told[trial] = Told()
            case JobCreated(trial=trial, attempt=attempt):
                self._created(trial, attempt)
            case MetricObserved():
                self._observed(event)
            case InheritanceClaimed():
                self._inherits(event)
            case JobsContinued(verdicts=verdicts):
                for verdict in verdicts:
                    self._judge(verdict.trial, verdict.attempt, verdict.judged)
            case JobPruned(trial=trial, attempt=attempt, judged=judged):
                self._judge(trial, attempt, judged)
            case JobEnded(trial=trial, attempt=attempt):
                self.jobs[trial, attempt].ended = True
            case BudgetUpdated(trial=trial, attempt=attempt, iterations=iterations):
                self.jobs[trial, attempt].charge = iterations
            case TrialFinished():
                self._finished(event)

    def _created(self, trial: int, attempt: int) -> None:
        self.jobs[trial, attempt] = Job()
        if attempt and self.told[trial].pruned_at is None:
            self._put(trial, {}, {})

    def _put(self, trial: int, curve: dict[int, float], attrs: dict[str, Any]) -> None:
        frozen = copy.copy(self.storage.get_trial(trial))
        frozen.intermediate_values, frozen._system_attrs = curve, attrs
        self.storage._set_trial(trial, frozen)

    def _observed(self, event: MetricObserved) -> None:
        job = self.jobs[event.trial, event.attempt]
        for iteration, value in zip(event.iterations, event.values, strict=True):
            if not job.points or iteration > job.points[-1][0]:
                job.points.append((iteration, float(value)))

    def _inherits(self, event: InheritanceClaimed) -> None:
        job = self.jobs[event.trial, event.attempt]
        told = self.told[event.trial]
        if not event.attempt or job.points or told.pruned_at is not None:
            return
        earlier = [self.jobs[event.trial, n] for n in range(event.attempt)]
        before = next((j for j in reversed(earlier) if j.points), earlier[-1])
        job.points = [p for p in before.points if p[0] <= event.iteration]
        job.judged = min(before.judged, len(job.points))
        job.inherited = job.points[-1][0] if job.points else 0
        last = job.points[job.judged - 1][0] if job.judged else -1
        job.written = [(i, w) for i, w in before.written if i <= last]
        curve = {job.points[n][0]: self._worth(job, n) for n in range(job.judged)}
        self._put(event.trial, curve, {k: v for _, w in job.written for k, v in w.items()})

    def _worth(self, job: Job, position: int) -> float:
        values = [v for _, v in job.points[: position + 1]]
        sign = self.search.objectives[0].sign
        if not sign.endswith("_global"):
            return values[-1]
        numbers = [v for v in values if not math.isnan(v)]
        return (max if sign.startswith("max") else min)(numbers) if numbers else math.nan

    def _judge(self, number: int, attempt: int, judged: int) -> None:
        told, job = self.told[number], self.jobs[number, attempt]
        for position in range(job.judged, judged):
            self._go_on()
            if told.pruned_at is not None:
                return
            self._point(number, attempt, position)

    def _point(self, number: int, attempt: int, position: int) -> None:
        told, job = self.told[number], self.jobs[number, attempt]
        trial = optuna.trial.Trial(self.study, number)
        iteration = job.points[position][0]
        trial.report(self._worth(job, position), iteration)
        job.judged = position + 1
        before = dict(self.storage.get_trial(number).system_attrs)
        least, most = self.search.min_iteration_per_job, self.search.max_iteration_per_job
        asked = least is None or iteration >= least
        if asked and not self.alone and any(t.gone_on for t in self.told.values()):
            told.rests = True
        prune = asked and trial.should_prune()
        now = self.storage.get_trial(number).system_attrs
        job.written.append((iteration, {k: v for k, v in now.items() if k not in before}))
        if prune and not job.ended and (most is None or iteration < most):
            told.pruned_at, told.pruned_attempt = iteration, attempt
            self.storage.set_trial_state_values(number, TrialState.PRUNED)
            return
        recorded = self.prunes.get((number, attempt))
        told.gone_on = recorded is not None and recorded.judged == position + 1

    def _go_on(self) -> None:
        """Have trials that go on report something that no record has."""
        if self.chance is None:
            return
        for number, told in self.told.items():
            if told.gone_on and not told.over and self.chance.random() < 0.4:
                self._invent(number, told, self.chance)

    def _invent(self, number: int, told: Told, chance: random.Random) -> None:
        trial = optuna.trial.Trial(self.study, number)
        last = self.storage.get_trial(number).last_step
        assert last is not None
        iteration, value = last + chance.randint(1, 2), chance.choice((-1e6, 1e6, chance.random(), math.nan))
        trial.report(value, iteration)
        if trial.should_prune():
            told.over = True
            self.storage.set_trial_state_values(number, TrialState.PRUNED)
        elif not math.isnan(value) and (iteration >= 8 or chance.random() < 0.4):
            told.over = True
            self.storage.set_trial_state_values(number, TrialState.COMPLETE, [value])

    def _finished(self, event: TrialFinished) -> None:
        told = self.told[event.trial]
        if told.pruned_at is not None or told.gone_on:
            return
        if event.state != "completed" or event.values is None:
            self.storage.set_trial_state_values(event.trial, TrialState.FAIL)
            return
        value: float | None = float(event.values[0])
        if "NaN" in event.why:
            value = self.worst
        if value is None:
            self.storage.set_trial_state_values(event.trial, TrialState.FAIL)
            return
        worse = min if self.search.objectives[0].sign.startswith("max") else max
        self.worst = value if self.worst is None else worse(self.worst, value)
        self.storage.set_trial_state_values(event.trial, TrialState.COMPLETE, [value])

    # ------------------------------------------------------------ what it comes to

    def charges(self, trial: int) -> tuple[int, int]:
        """Return what the jobs of *trial* are charged in the log, and what they are charged here."""
        told = self.told[trial]
        jobs = {attempt: job for (t, attempt), job in self.jobs.items() if t == trial}
        recorded = sum(job.charge for job in jobs.values())
        if told.pruned_attempt is None:
            return recorded, recorded
        assert told.pruned_at is not None
        earlier = sum(job.charge for attempt, job in jobs.items() if attempt < told.pruned_attempt)
        return recorded, earlier + max(1, told.pruned_at - jobs[told.pruned_attempt].inherited)
