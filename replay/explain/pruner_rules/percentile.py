"""MedianPruner and PercentilePruner: the best value so far against the completed trials at that iteration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from eventhpo.core.search.spec import to_num
from eventhpo.views.formatting import number, plural
from replay.explain.pruner_rules.findings import AgainstOthers, Waits
from replay.explain.pruner_rules.pruner_view import PrunerView, due_since


def find(rule: str, args: Mapping[str, Any], sight: PrunerView) -> AgainstOthers:
    """Return the verdict of Optuna's `PercentilePruner.prune` and its numbers (the median is percentile 50)."""
    startup, warmup = args.get("n_startup_trials", 5), args.get("n_warmup_steps", 0)
    interval, least = args.get("interval_steps", 1), args.get("n_min_trials", 1)
    percentile = float(args.get("percentile", 50.0))
    own, completed = sight.own, sight.completed()
    step = own.last
    there = [curve.points[step] for curve in completed if step in curve.points]
    best, cut = sight.best(own.points.values()), _cut(sight, there, percentile)
    since, first = due_since(own, warmup, interval)
    waits = _waits(len(completed), startup, step, warmup, first=first)
    prune, margin = False, None
    if waits is None and math.isnan(best):
        prune = True
    elif waits is None and len(there) < least:
        waits = "too few"
    elif waits is None and math.isnan(cut):
        waits = "no best"
    elif waits is None:
        margin = sight.gap(best, cut)
        prune = best < cut if sight.maximize else best > cut
    return AgainstOthers(
        rule=rule,
        prune=prune,
        iteration=step,
        margin=None if margin is None else to_num(margin),
        maximize=sight.maximize,
        best=to_num(best),
        cut=None if math.isnan(cut) else to_num(cut),
        percentile=percentile,
        completed=len(completed),
        compared=len(there),
        waits=waits,
        since=since,
        startup_trials=startup,
        warmup_steps=warmup,
        interval_steps=interval,
        min_trials=least,
    )


def _waits(completed: int, startup: int, step: int, warmup: int, *, first: bool) -> Waits | None:
    if completed == 0 or completed < startup:
        return "start-up"
    if step < warmup:
        return "warm-up"
    return None if first else "between"


def _cut(sight: PrunerView, there: list[float], percentile: float) -> float:
    if not there:
        return math.nan
    import numpy as np  # noqa: PLC0415  only where a cut is asked for

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN, or infinities: NaN is the answer
        at = 100 - percentile if sight.maximize else percentile
        return float(np.nanpercentile(np.array(there, dtype=float), at))


def words(f: AgainstOthers) -> str:
    """Return *f* in words."""
    match f.waits:
        case "start-up":
            needed = max(1, f.startup_trials)
            return (
                f"{f.rule} prunes nothing before {plural(needed, 'completed trial')} "
                f"(n_startup_trials = {f.startup_trials}); there {_there(f.completed)}"
            )
        case "warm-up":
            return f"{f.rule} prunes nothing before iteration {f.warmup_steps} (n_warmup_steps)"
        case "between":
            return (
                f"{f.rule} had its look since iteration {f.since}, the next is due at {f.since + f.interval_steps} "
                f"(interval_steps = {f.interval_steps})"
            )
        case "too few":
            return (
                f"{f.rule} compares with {plural(f.min_trials, 'completed trial')} at least (n_min_trials); "
                f"of {f.completed} there {_there(f.compared)} with a value at iteration {f.iteration}"
            )
        case "no best":
            return f"{f.rule}: none of {f.compared} completed trials has a number at iteration {f.iteration}"
    if f.margin is None:
        return f"{f.rule}: no value through iteration {f.iteration} is a number, all are NaN"
    return (
        f"{f.rule}: best value so far {number(f.best)} at iteration {f.iteration} is {_relation(f)} {_cut_words(f)} "
        f"of {plural(f.compared, 'completed trial')} at that iteration; {_asked(f)}"
    )


def _relation(f: AgainstOthers) -> str:
    if f.best == f.cut:
        return "equal to"
    return "above" if f.maximize != f.prune else "below"


def _cut_words(f: AgainstOthers) -> str:
    if f.rule == "MedianPruner":
        return f"the median {number(f.cut)}"
    return f"{number(f.cut)}, where the best {f.percentile:g} % end,"


def _asked(f: AgainstOthers) -> str:
    if f.interval_steps > 1:
        return f"asked once every {f.interval_steps} iterations from {f.warmup_steps} on"
    if f.warmup_steps > 0:
        return f"asked since warm-up ended at {f.warmup_steps}"
    return f"asked at each iteration since {plural(max(1, f.startup_trials), 'trial')} completed"


def _there(count: int) -> str:
    return "was none" if count == 0 else f"{'was' if count == 1 else 'were'} {count}"


def needed(f: AgainstOthers) -> str | None:
    """Return what would have let a pruned point go on."""
    if not f.prune:
        return None
    if f.margin is None:
        return "any number in the place of NaN would have been compared with the others"
    return f"{number(f.cut)} or {'more' if f.maximize else 'less'} at any iteration up to {f.iteration}"
