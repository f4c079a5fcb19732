"""Verdicts: every point of every curve, in order, once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import optuna
from optuna.pruners import BasePruner

from eventhpo.asking import attributes
from eventhpo.asking.named import build_pruner, is_auto, latched_resource
from eventhpo.asking.view import StateView, show_point
from eventhpo.core.decide import judgeable
from eventhpo.core.events import Attr, JobPruned, JobsContinued, Verdict
from eventhpo.core.state import Attempt, State

# Verdicts of one answer. A signal waits for it: at 22 ms each, MedianPruner's on a curve of 50,000 points, for 2 s.
BATCH = 100
_SAMPLER = optuna.samplers.RandomSampler(seed=0)  # a Study wants one; a verdict never asks it
_PRUNER = optuna.pruners.NopPruner()  # likewise: the pruner is asked directly


def judge(state: State, view: StateView) -> tuple[JobsContinued | JobPruned, ...]:
    """Return the verdicts that are due, up to the next prune, the last point, or `BATCH` of them.

    Go-on verdicts come as one `JobsContinued`, then the `JobPruned` that ended the
    run of them, if one did.
    """
    return _Questions(state, view).answers()


class _Questions:
    """One run of questions; the pruner sees each answer when it is asked the next."""

    def __init__(self, state: State, view: StateView) -> None:
        view.refresh()
        self._state, self._view = state, view
        self._study = optuna.Study(state.search.name, view, sampler=_SAMPLER, pruner=_PRUNER)
        self._latched = state.latched
        self._newly: int | None = None
        self._pruner: BasePruner | None = None
        self._on: list[Verdict] = []

    def answers(self) -> tuple[JobsContinued | JobPruned, ...]:
        every = (answer for attempt in judgeable(self._state) for answer in self._curve(attempt))
        for verdict, prune in islice(every, BATCH):
            if prune:
                return self._with_prune(verdict)
            self._keep(verdict)
        return self._go_on()

    def _curve(self, attempt: Attempt) -> Iterator[tuple[Verdict, bool]]:
        """Yield a verdict for each point without one, and whether it prunes."""
        curve = attempt.curves[0]
        self._view.open_curve(attempt.trial)
        for position in range(attempt.judged, curve.in_time):
            frozen = self._view.get_trial(attempt.trial)
            show_point(self._state, attempt, frozen, position)
            iteration = curve.iterations[position]
            prune = self._asked(iteration) and self._ask(frozen)
            late = prune and _too_late(self._state, attempt, iteration)
            written = tuple(Attr(iteration, n, attributes.value_to_log(v)) for _, n, v in self._view.written)
            self._view.written.clear()
            verdict = Verdict(
                trial=attempt.trial,
                attempt=attempt.number,
                judged=position + 1,
                iteration=iteration,
                attrs=written,
                too_late=late,
            )
            yield verdict, prune and not late

    def _asked(self, iteration: int) -> bool:
        least = self._state.search.min_iteration_per_job
        return least is None or iteration >= least

    def _ask(self, frozen: optuna.trial.FrozenTrial) -> bool:
        self._latch()
        if self._pruner is None:
            self._pruner = build_pruner(self._state.search.pruner, latched=self._latched)
        return bool(self._pruner.prune(self._study, frozen))

    def _latch(self) -> None:
        """Fix what "auto" means at the first question that a completed curve stands behind."""
        longest = self._state.totals.longest
        named = self._state.search.pruner
        if self._latched is None and longest is not None and is_auto(named):
            self._latched = self._newly = latched_resource(named, longest)

    def _keep(self, verdict: Verdict) -> None:
        """Put a go-on verdict behind the others; points of one curve in a row are one entry."""
        last = self._on[-1] if self._on else None
        if last is not None and last.trial == verdict.trial and not last.too_late:
            self._on.pop()
            attrs = last.attrs + verdict.attrs
            verdict = Verdict(
                trial=verdict.trial,
                attempt=verdict.attempt,
                judged=verdict.judged,
                iteration=verdict.iteration,
                attrs=attrs,
                too_late=verdict.too_late,
            )
        self._on.append(verdict)

    def _go_on(self) -> tuple[JobsContinued | JobPruned, ...]:
        return (JobsContinued(verdicts=tuple(self._on), latched=self._newly),) if self._on else ()

    def _with_prune(self, verdict: Verdict) -> tuple[JobsContinued | JobPruned, ...]:
        return (*self._go_on(), _pruned(verdict, None if self._on else self._newly))


def _too_late(state: State, attempt: Attempt, iteration: int) -> bool:
    """Whether a prune changes nothing: the job has ended, or this is the point at the limit."""
    most = state.search.max_iteration_per_job
    return attempt.ended is not None or (most is not None and iteration >= most)


def _pruned(verdict: Verdict, latched: int | None) -> JobPruned:
    return JobPruned(
        trial=verdict.trial,
        attempt=verdict.attempt,
        judged=verdict.judged,
        iteration=verdict.iteration,
        attrs=verdict.attrs,
        latched=latched,
    )
