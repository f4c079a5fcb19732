"""A pruner on the recorded curves in shuffled orders: how much of its result comes from the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import (
    BudgetUpdated,
    Event,
    JobCreated,
    JobEnded,
    JobPruned,
    JobsContinued,
    JobStarted,
    MetricObserved,
    Recorded,
    SearchCreated,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.search.spec import ComponentConfig, to_num
from eventhpo.optuna_adapter.seeds import derived_seed
from replay.whatif.answer import Spread
from replay.whatif.cost import charge, is_study
from replay.whatif.counterfactual import Counterfactual
from replay.whatif.rows import Record, loss, number


def spread(record: Record, first: Recorded, pruner: ComponentConfig, count: int) -> Spread:
    """Return what *pruner* saves and costs in *count* shuffled orders of the record's finished curves.

    In each order the curves run one after another. *first* is the first row of the log.
    """
    trials = [t for t in record.tried if _whole(t)]
    shuffled = [_Order(record, first, pruner, order(record.state, trials, k)) for k in range(count)]
    known = [shuffle for shuffle in shuffled if shuffle.known]
    killed = [shuffle for shuffle in known if shuffle.killed]
    costs = [shuffle.cost for shuffle in killed]
    return Spread(
        orders=count,
        known=len(known),
        why="" if len(known) == count else "in the others a trial goes on where the record pruned it",
        seed=record.state.search.seed,
        of=sum(_length(record.state, t) for t in trials),
        iterations_saved=_three([shuffle.saved for shuffle in known]),
        pruned=_three([shuffle.pruned for shuffle in known]),
        killed=len(killed),
        worst_cost=None if None in costs else number(max((c for c in costs if c is not None), default=0.0)),
    )


def order(state: State, trials: Sequence[Trial], k: int) -> list[Trial]:
    """Return *trials* in the *k*-th shuffled order, which follows from the search's seed and *k* alone."""
    return sorted(trials, key=lambda t: derived_seed(state.search.seed, f"what-if order {k}", t.number, 0))


def _whole(trial: Trial) -> bool:
    """Whether the curve of *trial* ended by itself or by a prune, and has a judged point."""
    over = trial.finished is not None and trial.finished.state != "aborted"
    return over and trial.last is not None and trial.last.judged > 0


def _length(state: State, trial: Trial) -> int:
    """Return the iterations that the judged points of the last attempt cost if it inherited no point."""
    assert trial.last is not None
    if is_study(state):
        return trial.last.judged
    last, most = trial.last.curves[0].iterations[trial.last.judged - 1], state.search.max_iteration_per_job
    return max(1, last if most is None else min(last, most))


def _three(values: Sequence[int]) -> tuple[int, float, int] | None:
    return (min(values), float(median(values)), max(values)) if values else None


class _Order:
    """One order: whether all of it is known, and what it saves and costs."""

    def __init__(self, record: Record, first: Recorded, pruner: ComponentConfig, trials: Sequence[Trial]) -> None:
        counterfactual = Counterfactual(list(_rows(first, trials)), pruner)
        self.known = not counterfactual.unknown
        self.pruned = len(counterfactual.cuts)
        self.saved = 0
        for trial, here in zip(trials, counterfactual.state.trials, strict=True):
            if here.last is not None and self.known:
                self.saved += _length(record.state, trial) - charge(counterfactual.state, here.last)
        cut = {trials[k].number for k in counterfactual.cuts}
        winner = record.winner
        self.killed = winner is not None and winner.number in cut
        left = [t for t in record.completed if t.number not in cut and t in trials]
        self.cost = loss(record, winner, left[0]) if winner is not None and left else None


def _rows(first: Recorded, trials: Sequence[Trial]) -> Iterator[Recorded]:
    """Yield a log in which *trials* run one after another, each point judged before the next job begins."""
    assert isinstance(first.event, SearchCreated)
    yield first
    seq = first.seq
    for k, trial in enumerate(trials):
        for event in _events(first.event, k, trial):
            seq += 1
            yield Recorded(seq=seq, at=first.at, epoch=0, cause=None, event=event, hash=first.hash)


def _events(created: SearchCreated, k: int, trial: Trial) -> Iterator[Event]:
    attempt, objective = trial.last, created.search.objectives[0]
    assert attempt is not None
    assert trial.finished is not None
    curve: Curve = attempt.curves[0]
    judged, pruned = attempt.judged, attempt.fate == "pruned"
    yield TrialSuggested(trial=k, params=trial.params, point=trial.point, source="caller", attrs={})
    yield JobCreated(trial=k, attempt=0, key=attempt.key, slot=0)
    yield JobStarted(trial=k, attempt=0, started_at=0)
    yield MetricObserved(
        trial=k,
        attempt=0,
        title=objective.title,
        series=objective.series,
        iterations=tuple(curve.iterations[:judged]),
        values=tuple(map(to_num, curve.values[:judged])),
        from_=0,
        to=judged,
    )
    if pruned:
        yield JobPruned(trial=k, attempt=0, judged=judged, iteration=curve.iterations[judged - 1])
    else:
        yield JobsContinued(verdicts=())
    yield JobEnded(trial=k, attempt=0, how="completed" if trial.finished.state == "completed" else "failed")
    yield BudgetUpdated(trial=k, attempt=0, iterations=0, late=0, compute_time=0, used=0, reserved=0)
    yield TrialFinished(trial=k, state=trial.finished.state)
