"""Optuna's rules for Median, Percentile, SuccessiveHalving and Hyperband, on columns that are kept sorted.

Optuna's pruners go through all trials at each question; these look up one place in a sorted
column, so a verdict costs the same after a hundred trials and after ten thousand. Verdicts
and written attributes are Optuna's, bit for bit: `tests/optuna_adapter/test_sorted_pruners.py`
compares them, and `eventhpo replay --oracle` decides a log with Optuna's pruners themselves.

The rules are those of the versions in `COMPARED`; with any other, Optuna's pruner is asked.
"""

from __future__ import annotations

import binascii
import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.optuna_adapter.auto_resource import is_auto, latched_args
from eventhpo.optuna_adapter.state_view import StateView

COMPARED = frozenset({("5.0", "2.4")})  # Optuna and numpy, which interpolates percentiles, by their minor versions
_RUNG = "completed_rung_"  # Optuna's name of the attribute with a trial's value at a rung


class SortedPruner(Protocol):
    """A pruner's rule on sorted columns over one view."""

    def refresh(self) -> None:
        """Take in what the view shows anew."""
        ...

    def prune(self, trial: FrozenTrial, attempt: int) -> bool:
        """Return Optuna's verdict on the last point of *trial*, and write on the view what Optuna would write."""
        ...


class SortedPruners:
    """Keeps the rule of a search's pruner from question to question, next to the view that it reads.

    Args:
        named: The search's pruner.
        study_name: The name of Optuna's study, which Hyperband draws brackets by.
        view: What Optuna sees of the search.
    """

    def __init__(self, named: ComponentConfig, study_name: str, view: StateView) -> None:
        self._named, self._name, self._view = named, study_name, view
        self._rules: dict[int | None, SortedPruner | None] = {}

    def rule(self, latched: int | None) -> SortedPruner | None:
        """Return the rule, None if Optuna's own pruner is to be asked; *latched* is what "auto" means so far."""
        if latched not in self._rules:
            self._rules = {latched: _sorted_pruner(self._named, latched, self._view, self._name)}
            self.refresh()
        return self._rules[latched]

    def refresh(self) -> None:
        """Take in what the view shows anew; call it after each refresh of the view."""
        for rule in self._rules.values():
            if rule is not None:
                rule.refresh()


def _sorted_pruner(named: ComponentConfig, latched: int | None, view: StateView, name: str) -> SortedPruner | None:
    if (minor(optuna.__version__), minor(np.__version__)) not in COMPARED or view.maximizes is None:
        return None
    if named.is_foreign or (is_auto(named) and latched is None):
        return None
    args = latched_args(named, latched)
    match named.name:
        case "MedianPruner":
            return _Percentile({**args, "percentile": 50.0}, view)
        case "PercentilePruner":
            return _Percentile(args, view)
        case "SuccessiveHalvingPruner":
            return _Halving([_Bracket.of(args, args.get("min_early_stopping_rate", 0))], view, name)
        case "HyperbandPruner":
            brackets = _brackets(args)
            return _Halving(brackets, view, name) if brackets else None
        case _:
            return None


def minor(version: str) -> str:
    """Return the first two numbers of a version."""
    return ".".join(version.split(".")[:2])


# ---------------------------------------------------------------- Median and Percentile


class _Column:
    """The values of the completed trials at one iteration."""

    def __init__(self) -> None:
        self.count = 0  # NaN included
        self.values: list[float] = []  # sorted, without NaN

    def add(self, value: float) -> None:
        self.count += 1
        if not math.isnan(value):
            insort(self.values, value)

    def percentile(self, percentile: float) -> float:
        """Return numpy's `nanpercentile` of the values, by its own arithmetic: the verdict may hang on the last bit."""
        size = len(self.values)
        if size == 0:
            return math.nan
        position = (size - 1) * (percentile / 100)
        before = math.floor(position) if 0 <= position < size - 1 else (-1 if position >= 0 else 0)
        after = before + 1 if 0 <= position < size - 1 else before
        low, high, weight = self.values[before], self.values[after], position - before
        gap = high - low
        return high - gap * (1 - weight) if weight >= 0.5 else low + gap * weight


class _OwnCurve:
    """What the rule needs of the judged curve, kept from point to point."""

    def __init__(self, attempt: int, *, maximize: bool) -> None:
        self.attempt, self._maximize, self._count = attempt, maximize, 0
        self.best = math.nan  # of all values that are numbers
        self.last, self.second = -1, -1  # the two latest steps, -1 if there is none

    def follow(self, points: Mapping[int, float]) -> None:
        """Take in the points after those of the last call."""
        for step in islice(points, self._count, None):
            self._add(step, points[step])
        self._count = len(points)

    def _add(self, step: int, value: float) -> None:
        if step > self.last:
            self.second, self.last = self.last, step
        elif step > self.second:
            self.second = step
        if math.isnan(self.best) or (value > self.best if self._maximize else value < self.best):
            self.best = value


class _Percentile:
    """`PercentilePruner.prune`: the best value so far against a percentile of the completed trials at that step."""

    def __init__(self, args: Mapping[str, Any], view: StateView) -> None:
        self._view, self._maximize = view, bool(view.maximizes)
        self._percentile = 100 - args["percentile"] if self._maximize else args["percentile"]
        self._startup, self._warmup = args.get("n_startup_trials", 5), args.get("n_warmup_steps", 0)
        self._interval, self._least = args.get("interval_steps", 1), args.get("n_min_trials", 1)
        self._columns: defaultdict[int, _Column] = defaultdict(_Column)
        self._completed = 0
        self._own: dict[int, _OwnCurve] = {}  # of running trials

    def refresh(self) -> None:
        for trial in self._view.completed[self._completed :]:
            for step, value in trial.intermediate_values.items():
                self._columns[step].add(value)
        self._completed = len(self._view.completed)
        self._own = {number: curve for number, curve in self._own.items() if number in self._view.running}

    def prune(self, trial: FrozenTrial, attempt: int) -> bool:
        own = self._own.get(trial.number)
        if own is None or own.attempt != attempt:
            own = self._own[trial.number] = _OwnCurve(attempt, maximize=self._maximize)
        own.follow(trial.intermediate_values)
        step = own.last
        if not trial.intermediate_values or self._completed < max(1, self._startup) or step < self._warmup:
            return False
        if own.second >= (step - self._warmup) // self._interval * self._interval + self._warmup:
            return False
        if math.isnan(own.best):
            return True
        column = self._columns.get(step)
        if column is None or column.count < self._least:
            return False
        cut = column.percentile(self._percentile)
        return own.best < cut if self._maximize else own.best > cut  # against NaN: no


# ---------------------------------------------------------------- SuccessiveHalving and Hyperband


class _Bracket:
    """The rungs of one bracket, each a sorted column of the values that trials had there."""

    def __init__(self, least: int, factor: int, rate: int, bootstrap: int) -> None:
        self.least, self.factor, self.rate, self.bootstrap = least, factor, rate, bootstrap
        self.columns: defaultdict[int, list[float]] = defaultdict(list)

    @classmethod
    def of(cls, args: Mapping[str, Any], rate: int, *, factor: int = 4) -> _Bracket:
        return cls(args["min_resource"], args.get("reduction_factor", factor), rate, args.get("bootstrap_count", 0))


def _brackets(args: Mapping[str, Any]) -> list[_Bracket]:
    """Return the brackets of `HyperbandPruner`, whose number follows from the largest resource."""
    args = {"min_resource": 1, "reduction_factor": 3, **args}
    ratio = args["max_resource"] / args["min_resource"]
    return [_Bracket.of(args, rate) for rate in range(math.floor(math.log(ratio, args["reduction_factor"])) + 1)]


class _Halving:
    """`SuccessiveHalvingPruner.prune` within the trial's bracket; a trial's rungs are attributes that it has."""

    def __init__(self, brackets: list[_Bracket], view: StateView, name: str) -> None:
        self._brackets, self._view, self._name = brackets, view, name
        self._maximize = bool(view.maximizes)
        count, factor = len(brackets), brackets[0].factor if brackets else 0
        self._shares = [math.ceil(count * factor ** (count - 1 - b) / (count - b)) for b in range(count)]
        self._at: defaultdict[int, dict[int, float]] = defaultdict(dict)  # what each trial has in the columns
        self._seen = 0  # of the view's changes
        self._written: set[int] = set()  # trials with values of this question, which the state may not confirm

    def refresh(self) -> None:
        changed = self._written.union(self._view.attrs_changed[self._seen :])
        self._seen, self._written = len(self._view.attrs_changed), set()
        for number in changed:
            attrs = self._view.get_trial(number).system_attrs
            self._replace(number, {int(k[len(_RUNG) :]): v for k, v in attrs.items() if k.startswith(_RUNG)})

    def _replace(self, number: int, values: dict[int, float]) -> None:
        columns, before = self._bracket(number).columns, self._at[number]
        for rung, value in before.items():
            if rung not in values or values[rung] != value:
                del columns[rung][bisect_left(columns[rung], value)]
        for rung, value in values.items():
            if rung not in before or before[rung] != value:
                insort(columns[rung], value)
        self._at[number] = values

    def _bracket(self, number: int) -> _Bracket:
        """Return the bracket of a trial: Optuna draws it by a checksum of the names of study and trial."""
        place = binascii.crc32(f"{self._name}_{number}".encode()) % sum(self._shares)
        for bracket, share in zip(self._brackets, self._shares, strict=True):
            place -= share
            if place < 0:
                return bracket
        raise AssertionError("the shares add up to more than any remainder")

    def prune(self, trial: FrozenTrial, attempt: int) -> bool:
        step = trial.last_step
        if step is None:
            return False
        bracket, at = self._bracket(trial.number), self._at[trial.number]
        value, rung = trial.intermediate_values[step], 0
        while rung in at:
            rung += 1
        while step >= bracket.least * bracket.factor ** (bracket.rate + rung):
            if math.isnan(value):
                return True
            others = bracket.columns[rung]
            competing = len(others) + 1
            better = len(others) - bisect_right(others, value) if self._maximize else bisect_left(others, value)
            self._write(trial.number, rung, value)
            if competing <= bracket.bootstrap or better > max(0, competing // bracket.factor - 1):
                return True
            rung += 1
        return False

    def _write(self, number: int, rung: int, value: float) -> None:
        self._view.set_trial_system_attr(number, f"{_RUNG}{rung}", value)
        self._replace(number, {**self._at[number], rung: value})
        self._written.add(number)
