"""Asks the pruner about every point of every curve, in order, once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import msgspec
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from eventhpo.core.fold.event_parts import Attr, NotAgain, Verdict
from eventhpo.core.fold.events import JobPruned, JobsContinued
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler.decide import judgeable
from eventhpo.errors import Usage
from eventhpo.optuna_adapter import attributes
from eventhpo.optuna_adapter.auto_resource import is_auto, latched_resource
from eventhpo.optuna_adapter.component_factory import build_pruner
from eventhpo.optuna_adapter.seeds import derived_seed
from eventhpo.optuna_adapter.sorted_pruners import SortedPruners
from eventhpo.optuna_adapter.state_view import StateView, show_point
from eventhpo.optuna_adapter.user_class_record import rederivable
from eventhpo.optuna_adapter.user_classes import not_there

Written: TypeAlias = tuple[str, Any]  # an attribute's name and value

# Verdicts of one answer. A signal waits for it: at 22 ms each, MedianPruner's on a curve of 50,000 points, for 2 s.
BATCH = 100
_SAMPLER = optuna.samplers.RandomSampler(seed=0)  # a Study wants one; a verdict never asks it
_PRUNER = optuna.pruners.NopPruner()  # likewise: the pruner is asked directly


class PrunerAnswer(NamedTuple):
    """The answer of the pruner to one point."""

    verdict: Verdict
    prune: bool
    not_again: NotAgain


def judge(
    state: State, view: StateView, own: BasePruner | None = None, kept: SortedPruners | None = None
) -> tuple[JobsContinued | JobPruned, ...]:
    """Return the verdicts that are due, up to the next prune, the last point, or `BATCH` of them.

    Go-on verdicts come as one `JobsContinued`, followed by the `JobPruned`, if there is
    one. *own* is the pruner of a user's own class. If the search has such a pruner and
    *own* is missing, a search that is being stopped goes on to its end without asking it.
    *kept* has the rules of Optuna's pruners on sorted columns; without it, Optuna's own
    pruners are asked, which give the same answers and take longer.

    Raises:
        Usage: *own* is missing, and the search is not being stopped.
    """
    return _Questions(state, view, own, kept).answers()


class _Questions:
    """One run of questions; at each question the pruner sees the answers before it."""

    def __init__(self, state: State, view: StateView, own: BasePruner | None, kept: SortedPruners | None) -> None:
        view.refresh()
        if kept is not None:
            kept.refresh()
            kept.rule(state.latched)  # it takes in the past now, and not at the first point
        self._state, self._view, self._own, self._kept = state, view, own, kept
        self._study = optuna.Study(state.search.name, view, sampler=_SAMPLER, pruner=_PRUNER)
        self._latched = state.latched
        self._newly: int | None = None
        self._pruner: BasePruner | None = None
        self._on: list[Verdict] = []
        self._on_not_again: NotAgain = msgspec.UNSET

    def answers(self) -> tuple[JobsContinued | JobPruned, ...]:
        every = (answer for attempt in judgeable(self._state) for answer in self._curve(attempt))
        for answer in islice(every, BATCH):
            if answer.prune:
                return self._with_prune(answer)
            self._keep(answer.verdict)
            self._on_not_again = self._on_not_again or answer.not_again
        return self._go_on()

    def _curve(self, attempt: Attempt) -> Iterator[PrunerAnswer]:
        """Yield an answer for each point without a verdict."""
        curve = attempt.curves[0]
        self._view.open_curve(attempt.trial)
        for position in range(attempt.judged, curve.in_time):
            frozen = self._view.get_trial(attempt.trial)
            show_point(self._state, attempt, frozen, position)
            iteration = curve.iterations[position]
            prune, not_again = (
                self._ask(attempt, frozen, position) if self._asked(iteration) else (False, msgspec.UNSET)
            )
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
            yield PrunerAnswer(verdict, prune and not late, not_again)

    def _asked(self, iteration: int) -> bool:
        least = self._state.search.min_iteration_per_job
        return least is None or iteration >= least

    def _ask(self, attempt: Attempt, frozen: FrozenTrial, position: int) -> tuple[bool, NotAgain]:
        if self._state.search.pruner.is_foreign:
            return self._ask_own(attempt, frozen, position)
        self._latch()
        rule = None if self._kept is None else self._kept.rule(self._latched)
        if rule is not None:
            return rule.prune(frozen, attempt.number), msgspec.UNSET
        if self._pruner is None:
            self._pruner = build_pruner(self._state.search.pruner, latched=self._latched)
        return bool(self._pruner.prune(self._study, frozen)), msgspec.UNSET

    def _ask_own(self, attempt: Attempt, frozen: FrozenTrial, position: int) -> tuple[bool, NotAgain]:
        """Ask two copies of a user's own pruner; the answer of the first counts, with what it wrote."""
        search = self._state.search
        if self._own is None:
            if self._state.stop_asked is None and self._state.ending is None:
                raise not_there("pruner", search.pruner)
            return False, "not asked"

        def decide(pruner: BasePruner) -> tuple[bool, list[Written]]:
            shown = self._view.show_again(attempt.trial, frozen)
            return bool(pruner.prune(self._study, shown)), self._written(attempt.trial)

        seed = derived_seed(search.seed, f"judge {attempt.trial}.{attempt.number}", position, 0)
        (prune, written), alike = rederivable(self._own, seed, decide)
        self._view.show_again(attempt.trial, frozen)
        for name, value in written:
            self._view.set_trial_system_attr(attempt.trial, name, value)
        return prune, msgspec.UNSET if alike else "answers differ"

    def _written(self, trial: int) -> list[Written]:
        """Return what was written while one point was judged.

        Raises:
            Usage: The pruner wrote on the study or on another trial, which no verdict records.
        """
        others = [name for number, name, _ in self._view.written if number != trial]
        if others := [*others, *self._view.written_study]:
            what = f"wrote {', '.join(others)} on the study or on another trial"
            raise Usage(
                f"the pruner {self._state.search.pruner.name} {what}: it may write only on the trial that it judges"
            )
        return [(name, value) for _, name, value in self._view.written]

    def _latch(self) -> None:
        """Fix what "auto" means at the first question after a trial with reports has completed."""
        longest = self._state.totals.longest
        named = self._state.search.pruner
        if self._latched is None and longest is not None and is_auto(named):
            self._latched = self._newly = latched_resource(named, longest)

    def _keep(self, verdict: Verdict) -> None:
        """Append a go-on verdict; consecutive points of one curve become one entry."""
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
        if not self._on:
            return ()
        return (JobsContinued(verdicts=tuple(self._on), latched=self._newly, not_again=self._on_not_again),)

    def _with_prune(self, answer: PrunerAnswer) -> tuple[JobsContinued | JobPruned, ...]:
        return (*self._go_on(), _pruned(answer, None if self._on else self._newly))


def _too_late(state: State, attempt: Attempt, iteration: int) -> bool:
    """Whether a prune changes nothing: the job has ended, or this is the point at the limit."""
    most = state.search.max_iteration_per_job
    return attempt.ended is not None or (most is not None and iteration >= most)


def _pruned(answer: PrunerAnswer, latched: int | None) -> JobPruned:
    verdict = answer.verdict
    return JobPruned(
        trial=verdict.trial,
        attempt=verdict.attempt,
        judged=verdict.judged,
        iteration=verdict.iteration,
        attrs=verdict.attrs,
        latched=latched,
        not_again=answer.not_again,
    )
