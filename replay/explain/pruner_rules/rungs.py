"""SuccessiveHalvingPruner and HyperbandPruner: who is among the best at a rung goes on to the next."""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eventhpo.core.search.spec import Num, to_num
from eventhpo.views.formatting import number, plural
from replay.explain.pruner_rules.findings import Rung, Rungs
from replay.explain.pruner_rules.pruner_view import PrunerView, TrialCurve


class _Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rungs of one bracket stand."""

    min_resource: int
    factor: int
    rate: int
    bootstrap: int

    def at(self, rung: int) -> int:
        return int(self.min_resource * self.factor ** (self.rate + rung))


def halving(rule: str, args: Mapping[str, Any], sight: PrunerView) -> Rungs:
    """Return the verdict of Optuna's `SuccessiveHalvingPruner.prune` and its numbers; no "auto" unless unknown yet."""
    factor, bootstrap = args.get("reduction_factor", 4), args.get("bootstrap_count", 0)
    least = args.get("min_resource", "auto")
    if least == "auto":
        return _unknown_yet(rule, sight, factor, bootstrap)
    ladder = _Ladder(
        min_resource=least, factor=factor, rate=args.get("min_early_stopping_rate", 0), bootstrap=bootstrap
    )
    return _climb(rule, ladder, sight, sight.others)


def hyperband(rule: str, args: Mapping[str, Any], sight: PrunerView) -> Rungs:
    """Return the verdict of Optuna's `HyperbandPruner.prune` and its numbers.

    A trial's bracket is drawn by crc32 of the search's name and its number; trials
    compete in their bracket only.
    """
    factor, bootstrap = args.get("reduction_factor", 3), args.get("bootstrap_count", 0)
    least, most = args.get("min_resource", 1), args.get("max_resource", "auto")
    if most == "auto":
        return _unknown_yet(rule, sight, factor, bootstrap)
    count = math.floor(math.log(most / least, factor)) + 1
    if count < 1:
        return msgspec.structs.replace(
            _unknown_yet(rule, sight, factor, bootstrap), brackets=0, min_resource=least, max_resource=most
        )
    shares = [math.ceil(count * factor ** (count - 1 - k) / (count - k)) for k in range(count)]
    bracket = _bracket(sight.name, sight.own.trial, shares)
    ladder = _Ladder(min_resource=least, factor=factor, rate=bracket, bootstrap=bootstrap)
    rivals = [curve for curve in sight.others if _bracket(sight.name, curve.trial, shares) == bracket]
    found = _climb(rule, ladder, sight, rivals)
    return msgspec.structs.replace(found, bracket=bracket, brackets=count, max_resource=most)


def _bracket(name: str, trial: int, shares: Sequence[int]) -> int:
    left = binascii.crc32(f"{name}_{trial}".encode()) % sum(shares)
    for bracket, share in enumerate(shares):
        left -= share
        if left < 0:
            return bracket
    raise AssertionError("the shares add up to more than what is left")


def _unknown_yet(rule: str, sight: PrunerView, factor: int, bootstrap: int) -> Rungs:
    own = sight.own
    return Rungs(
        rule=rule,
        prune=False,
        iteration=own.last,
        maximize=sight.maximize,
        value=to_num(own.points[own.last]),
        reached=(),
        rung=None,
        next_at=None,
        min_resource=None,
        reduction_factor=factor,
        bootstrap_count=bootstrap,
    )


def _climb(rule: str, ladder: _Ladder, sight: PrunerView, rivals: Sequence[TrialCurve]) -> Rungs:
    """Take the rungs that the last point reaches, until one prunes it."""
    own, reached = sight.own, list[Rung]()
    value = own.points[own.last]
    rung = next(k for k in range(len(own.rungs) + 1) if k not in own.rungs)
    prune = False
    while own.last >= ladder.at(rung):
        if math.isnan(value):
            prune = True
            break
        reached.append(_rung(rung, value, ladder, sight, rivals))
        if reached[-1].kept_back or sight.gap(value, float(reached[-1].cut)) < 0:
            prune = True
            break
        rung += 1
    return Rungs(
        rule=rule,
        prune=prune,
        iteration=own.last,
        margin=_margin(sight, value, reached),
        maximize=sight.maximize,
        value=to_num(value),
        reached=tuple(reached),
        rung=rung,
        next_at=ladder.at(rung),
        min_resource=ladder.min_resource,
        reduction_factor=ladder.factor,
        bootstrap_count=ladder.bootstrap,
    )


def _rung(number_: int, value: float, ladder: _Ladder, sight: PrunerView, rivals: Sequence[TrialCurve]) -> Rung:
    there = sorted([c.rungs[number_] for c in rivals if number_ in c.rungs] + [value], reverse=sight.maximize)
    go_on = max(1, len(there) // ladder.factor)
    return Rung(
        number=number_,
        at=ladder.at(number_),
        rank=1 + there.index(value),
        of=len(there),
        go_on=go_on,
        cut=to_num(there[go_on - 1]),
        next=to_num(there[go_on]) if go_on < len(there) else None,
        kept_back=len(there) <= ladder.bootstrap,
    )


def _margin(sight: PrunerView, value: float, reached: Sequence[Rung]) -> Num | None:
    """Return how much worse *value* might have been at its tightest rung; negative: how much better it had to be."""
    gaps = []
    for rung in reached:
        short = sight.gap(value, float(rung.cut))
        if short < 0:
            return to_num(short)
        if rung.next is not None:
            gaps.append(sight.gap(value, float(rung.next)))
    tightest = min(gaps, default=math.nan)
    return None if math.isnan(tightest) else to_num(tightest)


def words(f: Rungs) -> str:
    """Return *f* in words."""
    head = f"{f.rule}{_where(f)}"
    if f.rung is None:
        if f.brackets == 0:
            return f"{f.rule} never prunes: max_resource {f.max_resource} lies below min_resource {f.min_resource}"
        return f"{f.rule} has no rungs yet: it finds them out from the first completed trial ('auto')"
    if f.value == "nan" and f.prune:
        return f"{head}: the value at iteration {f.iteration} is NaN, at rung {f.rung} (iteration {f.next_at})"
    if not f.reached:
        return f"{head}: rung {f.rung} stands at iteration {f.next_at}, not reached at {f.iteration}"
    said = "; ".join(_rung_words(f, rung) for rung in f.reached)
    return f"{head}: value {number(f.value)} at iteration {f.iteration} {said}"


def _where(f: Rungs) -> str:
    return "" if f.bracket is None else f", bracket {f.bracket} (of 0 to {(f.brackets or 1) - 1})"


def _rung_words(f: Rungs, rung: Rung) -> str:
    place = f"is rank {rung.rank} of {rung.of} at rung {rung.number} (iteration {rung.at})"
    if rung.kept_back:
        return f"{place}, and nobody goes on from a rung with {f.bootstrap_count} values or fewer (bootstrap_count)"
    best = "the best one" if rung.go_on == 1 else f"the best {rung.go_on}"
    goes_on = f"one in {f.reduction_factor} goes on, here {best}, with {number(rung.cut)} or {_better(f)}"
    passed = rung.rank <= rung.go_on or f.value == rung.cut
    if not passed or rung.next is None:
        return f"{place}; {goes_on}"
    if rung.next == rung.cut:
        return f"{place}; {goes_on}; others share {number(rung.cut)} and go on too"
    return f"{place}; {goes_on}; the first that does not has {number(rung.next)}"


def _better(f: Rungs) -> str:
    return "more" if f.maximize else "less"


def needed(f: Rungs) -> str | None:
    """Return what would have let a pruned point go on."""
    if not f.prune:
        return None
    if not f.reached or f.value == "nan":
        return f"a number at rung {f.rung} would have been ranked there"
    rung = f.reached[-1]
    if rung.kept_back:
        return f"more than {plural(f.bootstrap_count, 'value')} at rung {rung.number}; there were {rung.of}"
    return f"{number(rung.cut)} or {_better(f)} at rung {rung.number} (iteration {rung.at})"
