"""What `whatif` answers: a row for each rule, and with each cell whether it is known, else why not."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.state import TrialState
from eventhpo.core.search.spec import ComponentConfig, Num

RuleKind: TypeAlias = Literal["recorded", "pruner", "budget", "workers"]
KINDS: tuple[RuleKind, ...] = ("recorded", "pruner", "budget", "workers")


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over those of some trials that start: iterations charged, and what that saves against the record.

    `compute_time_saved` is in microseconds: a job's time is spread evenly over its iterations.
    """

    trials: int = 0
    pruned: int = 0
    iterations: int = 0
    iterations_saved: int = 0
    compute_time_saved: int = 0


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of the record under a rule.

    Where `known` is false, `why` says so, and what follows is what the recorded curves
    say by themselves; it is None where the rule goes on behind the end of the curve.
    """

    trial: int
    recorded: TrialState | Literal["running"]
    known: bool
    why: str
    started: bool  # a smaller budget ends before some
    outcome: TrialState | Literal["running"] | None  # None where it never starts, or goes on
    pruned: bool | None
    iteration: int | None  # at which the rule prunes it
    iterations: int | None  # charged
    iterations_saved: int | None
    compute_time_saved: int | None  # microseconds


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The best completed trial among those that are known; `known` is whether no other can be better."""

    known: bool
    why: str
    trial: int | None
    value: Num | None


class Regret(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the record's winner is pruned, or never started, and how much worse the best is without it.

    `killed` is None, and `cost` too, where it is not known; the cost has the objective's unit.
    """

    killed: bool | None
    iteration: int | None  # at which it is pruned
    cost: Num | None
    why: str


class AtIteration(msgspec.Struct, frozen=True, kw_only=True):
    """How well values at one iteration foretell final ones: Spearman's rank correlation over `trials`."""

    iteration: int
    cuts: int  # trials that the rule prunes there
    trials: int  # completed ones with a point at or before it that went on at least so far
    value: float | None  # None under three trials, or where all values are equal


class Correlation(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of `at` over the cuts where it is defined; None, and why, if it is so nowhere."""

    value: float | None
    cuts: int  # that the mean is over
    why: str
    at: tuple[AtIteration, ...]


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """How far the search itself would have been the same: the first `trials` of the record.

    `totals` are over those of them that are known. `seq` is the event at which it parts, None
    if it never does. `room` is how many more jobs the saved iterations would have paid for at the
    end, None where that is not known; what those would have found is known never.
    """

    known: bool
    trials: int
    seq: int | None
    why: str
    totals: Totals
    room: int | None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The same rule on the recorded curves in shuffled orders, over the `known` ones of `orders`.

    `iterations_saved` and `pruned` are (least, median, greatest) over those; None if there is none.
    """

    orders: int
    known: int
    why: str
    seed: int
    of: int  # iterations of all curves, to the end of the record
    iterations_saved: tuple[int, float, int] | None
    pruned: tuple[int, float, int] | None
    killed: int  # orders in which the record's winner is pruned
    worst_cost: Num | None  # the most that this costs in an order; None if nothing would have completed


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: sums over the trials that are `known` and over those that are not, never mixed."""

    kind: RuleKind
    rule: str
    pruner: ComponentConfig | None
    known: bool  # all trials are
    why: str
    totals: Totals
    unknown: Totals  # by the recorded curves alone, without those that go on behind their end
    gone_on: int  # unknown trials that go on behind the end of their curve
    best: Best
    regret: Regret
    correlation: Correlation
    search: Searched
    orders: Spread | None
    trials: tuple[TrialRow, ...]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded search under other rules; the first row is the record itself."""

    name: str
    search_id: str
    seq: int  # the last event that was looked at
    objective: str
    seed: int
    iterations: int  # charged in the record, running jobs as far as they are
    compute_time: int  # microseconds
    winner: int | None  # the best completed trial
    value: Num | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
