"""WilcoxonPruner: a signed-rank test against the best completed trial."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from eventhpo.core.search.spec import to_num
from eventhpo.views.formatting import number, plural
from replay.explain.pruner_rules.findings import AgainstBest
from replay.explain.pruner_rules.pruner_view import PrunerView, TrialCurve


def find(rule: str, args: Mapping[str, Any], sight: PrunerView) -> AgainstBest:
    """Return the verdict of Optuna's `WilcoxonPruner.prune` and its numbers; p is SciPy's."""
    threshold, startup = args.get("p_threshold", 0.1), args.get("n_startup_steps", 2)
    own, best = sight.own, _best(sight)
    unusable = _unusable(own, best)
    pairs: list[float] = []
    p: float | None = None
    means: tuple[float | None, float | None] = (None, None)
    if unusable is None and best is not None:
        pairs = [own.points[i] - best.points[i] for i in sorted(own.points) if i in best.points]
        means = (_mean(own), _mean(best))
        if len(pairs) >= max(2, startup):
            p = _p(pairs, sight.maximize)
    # No worse on average than the best trial: Optuna does not prune, whatever the test says.
    safe = means[0] is not None and means[1] is not None and not sight.gap(means[0], means[1]) < 0
    return AgainstBest(
        rule=rule,
        prune=p is not None and p < threshold and not safe,
        iteration=own.last,
        margin=None if p is None or math.isnan(p) else p - threshold,
        maximize=sight.maximize,
        best_trial=None if best is None else best.trial,
        pairs=len(pairs),
        p=None if p is None or math.isnan(p) else p,
        threshold=threshold,
        startup_steps=startup,
        mean=None if means[0] is None else to_num(means[0]),
        best_mean=None if means[1] is None else to_num(means[1]),
        safe=safe,
        unusable=unusable,
    )


def _best(sight: PrunerView) -> TrialCurve | None:
    """Return the completed trial with the best value, the first of equals."""
    valued = [(c.value, c) for c in sight.completed() if c.value is not None]
    if not valued:
        return None
    best = max if sight.maximize else min
    return best(valued, key=lambda pair: pair[0])[1]


def _unusable(own: TrialCurve, best: TrialCurve | None) -> Literal["own", "best", "no best", "no curve"] | None:
    if not all(map(math.isfinite, own.points.values())):
        return "own"
    if best is None:
        return "no best"
    if not best.points:
        return "no curve"
    return None if all(map(math.isfinite, best.points.values())) else "best"


def _mean(curve: TrialCurve) -> float:
    return sum(curve.points.values()) / len(curve.points)


def _p(pairs: Sequence[float], maximize: bool) -> float:
    from scipy import stats  # noqa: PLC0415  no other rule needs it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few pairs: the approximation is Optuna's choice
        alternative = "less" if maximize else "greater"
        return float(stats.wilcoxon(list(pairs), alternative=alternative, zero_method="zsplit").pvalue)


def words(f: AgainstBest) -> str:
    """Return *f* in words."""
    match f.unusable:
        case "own":
            return f"{f.rule} never prunes a trial with NaN or infinity in its curve"
        case "no best":
            return f"{f.rule} compares with the best completed trial; there was none"
        case "no curve":
            return f"{f.rule} compares with the best completed trial; trial {f.best_trial} has no curve"
        case "best":
            return f"{f.rule} does not compare with trial {f.best_trial}, the best: its curve has NaN or infinity"
    if f.p is None:
        least = max(2, f.startup_steps)
        return (
            f"{f.rule} compares {least} iterations at least (n_startup_steps = {f.startup_steps}); "
            f"{f.pairs} in common with trial {f.best_trial}, the best"
        )
    means = f"mean {number(f.mean)} against its {number(f.best_mean)}"
    sure = "below" if f.p < f.threshold else "not below"
    text = (
        f"{f.rule}: worse than trial {f.best_trial}, the best, over {plural(f.pairs, 'iteration')} with "
        f"p = {f.p:.4g}, {sure} p_threshold {f.threshold:g}; {means}"
    )
    return f"{text}, which is no worse: never pruned" if f.safe and f.p < f.threshold else text


def needed(f: AgainstBest) -> str | None:
    """Return what would have let a pruned point go on."""
    if not f.prune:
        return None
    side = "more" if f.maximize else "less"
    return f"p of {f.threshold:g} or more, or a mean through iteration {f.iteration} of {number(f.best_mean)} or {side}"
