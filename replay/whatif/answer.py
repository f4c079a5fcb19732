"""What `whatif` answers: one row for each rule. Each cell says whether it is known, and if not, why."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.event_parts import TrialState
from eventhpo.core.search.spec import ComponentConfig, Num

RuleKind: TypeAlias = Literal["recorded", "pruner", "budget", "workers"]
KINDS: tuple[RuleKind, ...] = ("recorded", "pruner", "budget", "workers")


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over a set of trials, without those that never start: iterations charged, and what is saved.

    Savings are against the record. `compute_time_saved` is in microseconds; the log has no time of a single
    iteration, so a job's time is spread evenly over its iterations.
    """

    trials: int = 0
    pruned: int = 0
    iterations: int = 0
    iterations_saved: int = 0
    compute_time_saved: int = 0


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of the record under a rule.

    Where `known` is false, `why` gives the reason, and the other fields hold what the recorded curves alone give.
    They are None if the rule lets the trial go on after the end of its recorded curve.
    """

    trial: int
    recorded: TrialState | Literal["running"]
    known: bool
    why: str
    started: bool  # False where a smaller budget ends before this trial
    outcome: TrialState | Literal["running"] | None  # None if it never starts, or goes on after its curve
    pruned: bool | None
    iteration: int | None  # where the rule prunes it
    iterations: int | None  # charged
    iterations_saved: int | None
    compute_time_saved: int | None  # microseconds


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The best completed trial among the known ones; `known` is False if an unknown trial may be better."""

    known: bool
    why: str
    trial: int | None
    value: Num | None


class Regret(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the record's winner is pruned or never starts, and how much worse the best trial is without it.

    `killed` and `cost` are None where they are not known. The cost has the objective's unit.
    """

    killed: bool | None
    iteration: int | None  # at which it is pruned
    cost: Num | None
    why: str


class AtIteration(msgspec.Struct, frozen=True, kw_only=True):
    """How well the values at one iteration predict the final ones: Spearman's rank correlation over `trials`."""

    iteration: int
    cuts: int  # trials that the rule prunes there
    trials: int  # completed trials whose curve reaches the iteration
    value: float | None  # None with fewer than three trials, or if all values are equal


class Correlation(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of `at` over the cuts where it is defined; if it is defined nowhere, None, and `why` says why."""

    value: float | None
    cuts: int  # how many cuts the mean is over
    why: str
    at: tuple[AtIteration, ...]


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """How far the search itself would have been the same: for the first `trials` of the record.

    `totals` are over the known ones of these. `seq` is the first event that the search would not have had, None if
    there is no such event. `room` is how many more jobs the saved iterations would have paid for at the end, None
    where that is not known. What those jobs would have found is never known.
    """

    known: bool
    trials: int
    seq: int | None
    why: str
    totals: Totals
    room: int | None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The same rule on the recorded curves in shuffled orders; `known` of the `orders` are known.

    `iterations_saved` and `pruned` are (least, median, greatest) over the known orders, None if no order is known.
    """

    orders: int
    known: int
    why: str
    seed: int
    of: int  # iterations of all recorded curves
    iterations_saved: tuple[int, float, int] | None
    pruned: tuple[int, float, int] | None
    killed: int  # orders in which the record's winner is pruned
    worst_cost: Num | None  # the most that this costs in one order; None if in one of them no trial completes


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Sums over known trials (`totals`) and over unknown ones (`unknown`) are never mixed."""

    kind: RuleKind
    rule: str
    pruner: ComponentConfig | None
    known: bool  # whether all trials are known
    why: str
    totals: Totals
    unknown: Totals  # from the recorded curves alone, without the trials in `gone_on`
    gone_on: int  # unknown trials that go on after the end of their recorded curve
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
    seq: int  # the last event that was read
    objective: str
    seed: int
    iterations: int  # charged in the record; running jobs count up to now
    compute_time: int  # microseconds
    winner: int | None  # the best completed trial
    value: Num | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
