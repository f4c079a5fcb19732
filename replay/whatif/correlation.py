"""How well the ranks of trials at a cut predict their final ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from eventhpo.core.fold.curve import meaning
from eventhpo.core.fold.state import State, Trial
from replay.whatif.answer import AtIteration, Correlation

FEWEST = 3  # two trials always correlate perfectly


def at_cuts(state: State, iterations: Iterable[int]) -> Correlation:
    """Return the rank correlation at each of *iterations*, one entry for each cut, and the mean over the cuts.

    It is taken over the completed trials of *state* whose curve reaches the iteration, between the value of each trial
    at the cut and its final value. Cuts where it is not defined do not count.
    """
    cuts = sorted(iterations)
    finals = [(t, float(t.finished.values[0])) for t in state.trials if _final(t) and t.finished and t.finished.values]
    at = tuple(_at(state, finals, iteration, len(list(same))) for iteration, same in groupby(cuts))
    defined = [(cut.value, cut.cuts) for cut in at if cut.value is not None]
    count = sum(n for _, n in defined)
    if count:
        return Correlation(value=sum(v * n for v, n in defined) / count, cuts=count, why="", at=at)
    why = f"fewer than {FEWEST} completed trials reach a cut, or their values are equal" if cuts else "nothing is cut"
    return Correlation(value=None, cuts=0, why=why, at=at)


def _final(trial: Trial) -> bool:
    return trial.source != "imported" and trial.finished is not None and trial.finished.state == "completed"


def _at(state: State, finals: Sequence[tuple[Trial, float]], iteration: int, cuts: int) -> AtIteration:
    pairs = []
    for trial, final in finals:
        then = _value_at(state, trial, iteration)
        if then is not None and not math.isnan(then) and not math.isnan(final):  # NaN has no rank
            pairs.append((then, final))
    value = spearman([a for a, _ in pairs], [b for _, b in pairs])
    return AtIteration(iteration=iteration, cuts=cuts, trials=len(pairs), value=value)


def _value_at(state: State, trial: Trial, iteration: int) -> float | None:
    """Return the value of *trial* at *iteration*, None if its curve does not reach that iteration."""
    if trial.last is None:
        return None
    curve = trial.last.curves[0]
    values = [value for i, value in zip(curve.iterations, curve.values, strict=True) if i <= iteration]
    reached = curve.highest is not None and curve.highest >= iteration
    return meaning(state.search.objectives[0], values) if reached else None


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of two lists of numbers; equal numbers share the mean of their ranks.

    Returns None for fewer than three pairs, or if all values of one list are equal.
    """
    if len(a) < FEWEST:
        return None
    x, y = ranks(a), ranks(b)
    middle = (len(a) + 1) / 2
    xx, yy = sum((r - middle) ** 2 for r in x), sum((r - middle) ** 2 for r in y)
    if not xx or not yy:
        return None
    xy = sum((r - middle) * (s - middle) for r, s in zip(x, y, strict=True))
    return max(-1.0, min(1.0, float(xy / (xx * yy) ** 0.5)))


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    mean_ranks = [0.0] * len(values)
    place = 0
    for _, same in groupby(order, key=lambda k: values[k]):
        group = list(same)
        for k in group:
            mean_ranks[k] = place + (len(group) + 1) / 2
        place += len(group)
    return mean_ranks
