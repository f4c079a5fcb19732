"""Pruners in words: what each of Optuna's rules finds at a point, computed again from the curves.

`find` gives the numbers, `words` says them, `needed` says what would have let a pruned
trial go on. Nothing here asks Optuna: its documented rule is written down a second
time, so that a verdict of the log is checked and not merely repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, assert_never

from eventhpo.core.search.spec import Num
from replay.explain.pruner_rules import patient, percentile, rungs, threshold, wilcoxon
from replay.explain.pruner_rules.findings import (
    AgainstBest,
    AgainstBounds,
    AgainstOthers,
    AnyFinding,
    NeverPrunes,
    Patience,
    Rungs,
    UnknownRule,
)
from replay.explain.pruner_rules.pruner_view import PrunerView

_RULES: dict[str, Callable[[str, Mapping[str, Any], PrunerView], AnyFinding]] = {
    "MedianPruner": percentile.find,
    "PercentilePruner": percentile.find,
    "SuccessiveHalvingPruner": rungs.halving,
    "HyperbandPruner": rungs.hyperband,
    "ThresholdPruner": threshold.find,
    "WilcoxonPruner": wilcoxon.find,
}
KNOWN = frozenset({*_RULES, "PatientPruner", "NopPruner"})


def find(name: str, args: Mapping[str, Any], sight: PrunerView) -> AnyFinding:
    """Return what the pruner *name* finds at the last point of `sight.own`.

    A resource that the pruner finds out by itself ("auto") is given in *args* once it
    is known.
    """
    if name == "NopPruner":
        return NeverPrunes(rule=name, prune=False, iteration=sight.own.last)
    if name == "PatientPruner":
        return patient.find(name, args, sight, _wrapped(args.get("wrapped_pruner"), sight))
    rule = _RULES.get(name)
    if rule is None:
        return UnknownRule(rule=name, prune=False, iteration=sight.own.last)
    return rule(name, args, sight)


def _wrapped(named: Mapping[str, Any] | None, sight: PrunerView) -> AnyFinding | None:
    if named is None:
        return None
    return find(named["name"], {key: value for key, value in named.items() if key != "name"}, sight)


def is_known(found: AnyFinding) -> bool:
    """Whether the verdict of *found* rests on a rule that is known here."""
    if isinstance(found, Patience) and found.inner is not None:
        return is_known(found.inner)
    return not isinstance(found, UnknownRule)


def rungs_of(found: AnyFinding) -> Rungs | None:
    """Return what a pruner with rungs found, also where it is wrapped."""
    if isinstance(found, Patience):
        return None if found.inner is None else rungs_of(found.inner)
    return found if isinstance(found, Rungs) else None


def words(found: AnyFinding) -> str:
    """Return *found* in words, in one line."""
    match found:
        case AgainstOthers():
            return percentile.words(found)
        case Rungs():
            return rungs.words(found)
        case AgainstBounds():
            return threshold.words(found)
        case AgainstBest():
            return wilcoxon.words(found)
        case Patience():
            return patient.words(found, None if found.inner is None else words(found.inner))
        case NeverPrunes():
            return f"{found.rule} lets every trial go on"
        case UnknownRule():
            return f"no rule is known of {found.rule}: only what was recorded can be shown"
        case _:
            assert_never(found)


def needed(found: AnyFinding) -> str | None:
    """Return what would have let a pruned point go on, None if it was not pruned or nobody can tell."""
    match found:
        case AgainstOthers():
            return percentile.needed(found)
        case Rungs():
            return rungs.needed(found)
        case AgainstBounds():
            return threshold.needed(found)
        case AgainstBest():
            return wilcoxon.needed(found)
        case Patience():
            return patient.needed(found, None if found.inner is None else needed(found.inner))
        case NeverPrunes() | UnknownRule():
            return None
        case _:
            assert_never(found)


def needed_value(found: AnyFinding) -> Num | None:
    """Return the value with which a pruned point would have gone on, as a chart draws it.

    None if it was not pruned, or if no single value would have done: `needed` says then in words what would have.
    """
    if not found.prune:
        return None
    match found:
        case AgainstOthers():
            return None if found.margin is None else found.cut
        case Rungs():
            return None if not found.reached or found.reached[-1].kept_back else found.reached[-1].cut
        case AgainstBounds():
            return None if found.value == "nan" else threshold.bound(found)
        case AgainstBest() | NeverPrunes() | UnknownRule():
            return None
        case Patience():
            return patient.gain(found) if found.inner is None else needed_value(found.inner)
        case _:
            assert_never(found)
