"""What a pruner's rule finds at one point of a curve: the verdict and every number it rests on.

One struct for each family. `prune` is the verdict that the numbers give. `margin` is
how far the point was from being pruned, in the unit of what was compared, negative
where it was pruned; None where nothing was compared.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.search.spec import Num

Waits: TypeAlias = Literal["start-up", "warm-up", "between", "no best", "too few"]  # why nothing is compared yet


class Finding(msgspec.Struct, frozen=True, kw_only=True, tag_field="family"):
    """What every rule says of a point."""

    rule: str  # the pruner's name
    prune: bool
    iteration: int
    margin: Num | None = None


class AgainstOthers(Finding, frozen=True, kw_only=True, tag="percentile"):
    """MedianPruner and PercentilePruner: the best so far against a percentile of the completed trials."""

    maximize: bool
    best: Num  # best value through this iteration
    cut: Num | None  # the percentile of the completed trials at this iteration
    percentile: float
    completed: int
    compared: int  # completed trials with a value at this iteration
    waits: Waits | None
    since: int  # the iteration at which this question is due: an earlier point in it would have been asked
    startup_trials: int
    warmup_steps: int
    interval_steps: int
    min_trials: int


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One rung that a point reached: its place among all values there, and the last one that goes on."""

    number: int
    at: int  # iteration at which the rung stands
    rank: int  # 1 is best; equal values share the better place
    of: int  # values at the rung, this one among them
    go_on: int  # how many of them go on
    cut: Num  # the worst value that goes on
    next: Num | None  # the best value that does not
    kept_back: bool  # no more than bootstrap_count values are there


class Rungs(Finding, frozen=True, kw_only=True, tag="rungs"):
    """SuccessiveHalvingPruner and HyperbandPruner: the place among the values at a rung."""

    maximize: bool
    value: Num
    reached: tuple[Rung, ...]  # rungs that this very point decides, the last one may prune
    rung: int | None  # the rung that comes next, None before the resource is known
    next_at: int | None
    min_resource: int | None
    reduction_factor: int
    bootstrap_count: int
    bracket: int | None = None
    brackets: int | None = None
    max_resource: int | None = None


class AgainstBounds(Finding, frozen=True, kw_only=True, tag="threshold"):
    """ThresholdPruner: the newest value against two bounds."""

    value: Num
    lower: Num
    upper: Num
    waits: Literal["warm-up", "between"] | None
    since: int
    warmup_steps: int
    interval_steps: int


class AgainstBest(Finding, frozen=True, kw_only=True, tag="wilcoxon"):
    """WilcoxonPruner: a signed-rank test against the best completed trial, iteration by iteration."""

    maximize: bool
    best_trial: int | None
    pairs: int  # iterations that both have
    p: float | None
    threshold: float
    startup_steps: int
    mean: Num | None
    best_mean: Num | None
    safe: bool  # the mean is no worse than the best trial's: never pruned
    unusable: Literal["own", "best", "no best", "no curve"] | None


class Patience(Finding, frozen=True, kw_only=True, tag="patient"):
    """PatientPruner: no gain over the newest points; then the wrapped pruner is asked."""

    maximize: bool
    points: int
    patience: int
    min_delta: float
    before: Num | None  # best value of the points before the patience
    lately: Num | None  # best value of the newest patience + 1 points
    waits: bool  # too few points to tell
    lost: bool  # patience is lost
    inner: AgainstOthers | Rungs | AgainstBounds | AgainstBest | Patience | NeverPrunes | UnknownRule | None = (
        None  # what the wrapped pruner found, if it was asked
    )


class NeverPrunes(Finding, frozen=True, kw_only=True, tag="nop"):
    """NopPruner: every trial goes on."""


class UnknownRule(Finding, frozen=True, kw_only=True, tag="unknown"):
    """A pruner whose rule is not known here."""


AnyFinding: TypeAlias = AgainstOthers | Rungs | AgainstBounds | AgainstBest | Patience | NeverPrunes | UnknownRule
