"""ThresholdPruner: the newest value against a lower and an upper bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from eventhpo.core.search.spec import Num, to_num
from eventhpo.views.formatting import number
from replay.explain.pruner_rules.findings import AgainstBounds
from replay.explain.pruner_rules.pruner_view import PrunerView, due_since


def find(rule: str, args: Mapping[str, Any], sight: PrunerView) -> AgainstBounds:
    """Return the verdict of Optuna's `ThresholdPruner.prune` and its numbers."""
    warmup, interval = args.get("n_warmup_steps", 0), args.get("interval_steps", 1)
    lower, upper = _bound(args.get("lower"), -math.inf), _bound(args.get("upper"), math.inf)
    step = sight.own.last
    value = sight.own.points[step]
    since, first = due_since(sight.own, warmup, interval)
    waits: Literal["warm-up", "between"] | None = "warm-up" if step < warmup else None if first else "between"
    prune = waits is None and (math.isnan(value) or value < lower or value > upper)
    margin = None if waits is not None or math.isnan(value) else min(value - lower, upper - value)
    return AgainstBounds(
        rule=rule,
        prune=prune,
        iteration=step,
        margin=None if margin is None or math.isnan(margin) else to_num(margin),
        value=to_num(value),
        lower=to_num(lower),
        upper=to_num(upper),
        waits=waits,
        since=since,
        warmup_steps=warmup,
        interval_steps=interval,
    )


def _bound(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def words(f: AgainstBounds) -> str:
    """Return *f* in words."""
    if f.waits == "warm-up":
        return f"{f.rule} prunes nothing before iteration {f.warmup_steps} (n_warmup_steps)"
    if f.waits == "between":
        return (
            f"{f.rule} had its look since iteration {f.since}, the next is due at {f.since + f.interval_steps} "
            f"(interval_steps = {f.interval_steps})"
        )
    if f.value == "nan":
        return f"{f.rule}: the value at iteration {f.iteration} is NaN"
    if not f.prune:
        return f"{f.rule}: value {number(f.value)} at iteration {f.iteration} is {_inside(f)}"
    below = float(f.value) < float(f.lower)
    side = f"below the lower bound {number(f.lower)}" if below else f"above the upper bound {number(f.upper)}"
    return f"{f.rule}: value {number(f.value)} at iteration {f.iteration} is {side}"


def _inside(f: AgainstBounds) -> str:
    bounds = []
    if f.lower != "-inf":
        bounds.append(f"not below {number(f.lower)}")
    if f.upper != "inf":
        bounds.append(f"not above {number(f.upper)}")
    return " and ".join(bounds) or "free"


def needed(f: AgainstBounds) -> str | None:
    """Return what would have let a pruned point go on."""
    return f"a value {_inside(f)} at iteration {f.iteration}" if f.prune else None


def bound(f: AgainstBounds) -> Num:
    """Return the bound that a pruned number lies outside of."""
    return f.lower if float(f.value) < float(f.lower) else f.upper
