"""PatientPruner: nothing is pruned as long as a trial gains; then the wrapped pruner decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eventhpo.core.search.spec import Num, to_num
from eventhpo.views.formatting import number, plural
from replay.explain.pruner_rules.findings import AnyFinding, Patience
from replay.explain.pruner_rules.pruner_view import PrunerView


def find(rule: str, args: Mapping[str, Any], sight: PrunerView, inner: AnyFinding | None) -> Patience:
    """Return the verdict of Optuna's `PatientPruner.prune` and its numbers; *inner* is what the wrapped one finds."""
    patience, delta = args["patience"], float(args.get("min_delta", 0.0))
    own = sight.own
    values = [own.points[i] for i in sorted(own.points)]
    waits = len(values) <= patience + 1
    before = lately = gap = None
    lost = False
    if not waits:
        before, lately = sight.best(values[: -patience - 1]), sight.best(values[-patience - 1 :])
        lost = before + delta < lately if not sight.maximize else before - delta > lately
        gap = sight.gap(lately, before) + delta
    return Patience(
        rule=rule,
        prune=lost and (inner is None or inner.prune),
        iteration=own.last,
        margin=_margin(gap, inner, lost=lost),
        maximize=sight.maximize,
        points=len(values),
        patience=patience,
        min_delta=delta,
        before=None if before is None else to_num(before),
        lately=None if lately is None else to_num(lately),
        waits=waits,
        lost=lost,
        inner=inner if lost else None,
    )


def _margin(gap: float | None, inner: AnyFinding | None, *, lost: bool) -> Num | None:
    if lost and inner is not None:
        return inner.margin
    return None if gap is None or math.isnan(gap) else to_num(gap)


def words(f: Patience, inner: str | None) -> str:
    """Return *f* in words; *inner* is what the wrapped pruner found, in words."""
    if f.waits:
        return f"{f.rule} waits for {plural(f.patience + 2, 'point')} (patience = {f.patience}); there were {f.points}"
    lately = f"{_newest(f, 'best of the newest')} {number(f.lately)}"
    before = f"best before them {number(f.before)}{f' (min_delta = {f.min_delta:g})' if f.min_delta else ''}"
    if not f.lost:
        return f"{f.rule}: {lately} against the {before}, so patience is not lost at iteration {f.iteration}"
    asked = f", and so {inner}" if inner is not None else ""
    return f"{f.rule}: {lately} is worse than the {before}: patience is lost at iteration {f.iteration}{asked}"


def _newest(f: Patience, several: str) -> str:
    if f.patience:
        return f"{several} {f.patience + 1} points"
    return "newest value" if several.startswith("best") else "in the newest"


def needed(f: Patience, inner: str | None) -> str | None:
    """Return what would have let a pruned point go on."""
    if not f.prune or f.before is None:
        return None
    own = f"{number(gain(f))} or {'more' if f.maximize else 'less'} {_newest(f, 'in one of the newest')}"
    return own if inner is None else f"{own}; or {inner}"


def gain(f: Patience) -> Num | None:
    """Return the value that one of the newest points needed, None if there is nothing to compare with."""
    sign = -1 if f.maximize else 1
    return None if f.before is None else to_num(float(f.before) + sign * f.min_delta)
