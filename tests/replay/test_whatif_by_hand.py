"""Forty recorded searches: `whatif` gives what Optuna's own pruners say when they are fed by hand."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import optuna
import pytest

from eventhpo.core.fold.events import JobEnded, JobPruned, MetricObserved, Recorded
from eventhpo.core.search.spec import ComponentConfig, Objective, Scalar, Search
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.testing.searches import LOSS, search, simulate
from eventhpo.testing.simulated import Script
from replay import whatif
from tests.core.random_searches import cuts
from tests.replay.by_hand import ALONE, ByHand

SAMPLERS = (
    ComponentConfig("RandomSampler"),
    ComponentConfig("TPESampler", {"n_startup_trials": 3}),
    ComponentConfig("QMCSampler"),
    ComponentConfig("NSGAIISampler", {"population_size": 4}),
    ComponentConfig("CmaEsSampler", {"n_startup_trials": 2, "warn_independent_sampling": False}),
)
RECORDED = (
    ComponentConfig("NopPruner"),
    ComponentConfig("MedianPruner", {"n_startup_trials": 2}),
    ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2}),
    ComponentConfig("HyperbandPruner", {"min_resource": 1, "max_resource": 8}),
)
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("NopPruner", {}),
    ("MedianPruner", {}),
    ("MedianPruner", {"n_startup_trials": 1, "n_warmup_steps": 2}),
    ("PercentilePruner", {"percentile": 40.0, "n_startup_trials": 1, "interval_steps": 2}),
    ("SuccessiveHalvingPruner", {}),
    ("SuccessiveHalvingPruner", {"min_resource": 2, "reduction_factor": 3}),
    ("HyperbandPruner", {}),
    ("ThresholdPruner", {"upper": 0.8, "n_warmup_steps": 1}),
    ("WilcoxonPruner", {"n_startup_steps": 1}),
)
GLOBAL = Objective("validation", "accuracy", "max_global")


def script(seed: int, trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Return a job with a curve that falls, now and then NaN, a rewind, a failure, a loss, a checkpoint."""
    chance = random.Random(f"{seed}/{trial}/{attempt}")
    x = float(params["General/x"] or 0)
    points, iteration = [], chance.choice((0, 1, 1, 1))
    for _ in range(chance.choice((2, 5, 8, 9))):
        value = math.nan if chance.random() < 0.03 else x / max(1, 1 + iteration) ** 0.5 + chance.random() * 0.3
        points.append((iteration, round(value, chance.choice((1, 6)))))
        iteration += chance.choice((1, 1, 1, 1, 2, 0, -1))
    return Script(
        points=tuple(points),
        how=chance.choices(("completed", "failed", "lost"), (8, 2, 1))[0],
        ends_apart=chance.random() < 0.6,
        overrun=chance.randint(0, 3),
        queued=chance.random() < 0.2,
        resumes_from=chance.choice((None, 1, 3)) if attempt else None,
        returns=((11, 0.5), (12, 0.25)) if chance.random() < 0.3 else (),
    )


def recorded_search(n: int) -> Search:
    return search(
        objectives=(GLOBAL if n % 5 == 4 else LOSS,),
        sampler=SAMPLERS[n % len(SAMPLERS)],
        pruner=RECORDED[(n // 2) % len(RECORDED)],
        seed=100 + n,
        num_concurrent_workers=(1, 4)[n % 2],
        max_iteration_per_job=None if n % 7 == 3 else 8,
        min_iteration_per_job=2 if n % 6 == 5 else None,
        nan_policy="worst" if n % 8 == 6 else "fail",
        total_max_jobs=10,
    )


def record(n: int, path: Path) -> list[Recorded]:
    seed = 100 + n
    simulate(path, recorded_search(n), lambda t, a, p: script(seed, t, a, p), cut=cuts(seed))
    return list(read(path).rows)


@pytest.mark.parametrize("n", range(40))
def test_a_recorded_search_under_a_pruner_is_what_optuna_says_by_hand(n: int, tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    rows = record(n, path)
    found = whatif(path, [ComponentConfig(name, args) for name, args in ASKED])
    total = 0
    for (name, args), row in zip(ASKED, found.rows[1:], strict=True):
        with quiet():  # WilcoxonPruner warns
            by_hand = ByHand(rows, getattr(optuna.pruners, name)(**args), alone=name in ALONE)
        pruned = saved = iterations = 0
        for one in row.trials:
            told = by_hand.told[one.trial]
            recorded, charged = by_hand.charges(one.trial)
            total += recorded if name == "NopPruner" else 0
            assert one.known or told.gone_on or told.rests, (name, one)
            if told.gone_on:
                assert not one.known
                assert (one.pruned, one.iteration, one.iterations, one.iterations_saved) == (None,) * 4, name
                continue
            expected = (told.pruned_at is not None, told.pruned_at, charged, recorded - charged)
            assert (one.pruned, one.iteration, one.iterations, one.iterations_saved) == expected, (name, one)
            if one.known:
                pruned, iterations, saved = pruned + expected[0], iterations + charged, saved + recorded - charged
        sums = row.totals
        assert (sums.pruned, sums.iterations, sums.iterations_saved) == (pruned, iterations, saved), name
        assert row.gone_on == sum(told.gone_on for told in by_hand.told.values()), name
    assert found.iterations == total


@pytest.mark.parametrize("n", range(2, 40, 2))
def test_what_is_known_is_the_same_however_the_unknown_trials_go_on(n: int, tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    rows = record(n, path)
    asked = [one for one in ASKED if one[0] not in ALONE]
    resting = 0
    for (name, args), row in zip(asked, whatif(path, [ComponentConfig(*one) for one in asked]).rows[1:], strict=True):
        for k in range(4):
            with quiet():
                judge = getattr(optuna.pruners, name)(**args)
                by_hand = ByHand(rows, judge, alone=False, chance=random.Random(f"{n}/{k}"))
            for one in row.trials:
                told = by_hand.told[one.trial]
                assert not one.known or one.iteration == told.pruned_at, (name, args, one)
                resting += one.known and told.rests
    if recorded_search(n).pruner.name != "NopPruner":
        assert resting > 0


def test_the_forty_searches_hold_what_could_go_wrong(tmp_path: Path) -> None:
    """Without it the comparison would prove little."""
    nan = failed = retried = pruned = lost = 0
    for n in range(40):
        for row in record(n, tmp_path / f"{n}.db"):
            match row.event:
                case MetricObserved(values=values):
                    nan += "nan" in values
                case JobEnded(how=how, attempt=attempt):
                    failed, lost, retried = failed + (how == "failed"), lost + (how == "lost"), retried + (attempt > 0)
                case JobPruned():
                    pruned += 1
    assert min(nan, failed, retried, pruned, lost) > 20


@pytest.mark.parametrize("n", range(0, 40, 5))
def test_the_recorded_pruner_gives_the_record(n: int, tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    record(n, path)
    found = whatif(path, [recorded_search(n).pruner])
    record_row, again = found.rows
    assert again.known
    assert again.trials == record_row.trials
    assert again.search.seq is None
    assert again.correlation == record_row.correlation
