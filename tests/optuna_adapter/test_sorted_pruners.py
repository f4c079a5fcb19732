"""The rules on sorted columns give the verdicts and attributes of Optuna's pruners, bit for bit."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest

from eventhpo.core.fold.events import JobPruned, JobsContinued, Recorded
from eventhpo.core.search.spec import ComponentConfig as Component
from eventhpo.core.search.spec import Objective, Scalar
from eventhpo.optuna_adapter import sorted_pruners
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from replay.decide.check_prefixes import check_prefixes
from tests.crash.scenarios import Scenario
from tests.optuna_adapter import samples

PRUNERS = {
    "median": Component("MedianPruner"),
    "median, in intervals": Component(
        "MedianPruner", {"n_startup_trials": 0, "n_warmup_steps": 3, "interval_steps": 4, "n_min_trials": 3}
    ),
    "percentile 0": Component("PercentilePruner", {"percentile": 0.0, "n_startup_trials": 2}),
    "percentile 37.3": Component("PercentilePruner", {"percentile": 37.3, "n_startup_trials": 1, "n_min_trials": 2}),
    "percentile 100": Component("PercentilePruner", {"percentile": 100.0}),
    "halving": Component("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2}),
    "halving by fours": Component("SuccessiveHalvingPruner", {"min_resource": 2}),
    "halving, some kept": Component(
        "SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 3, "bootstrap_count": 4}
    ),
    "halving, auto": Component("SuccessiveHalvingPruner", {"min_early_stopping_rate": 1, "reduction_factor": 2}),
    "hyperband": Component("HyperbandPruner", {"max_resource": 16, "reduction_factor": 2}),
    "hyperband, auto": Component("HyperbandPruner", {"min_resource": 2}),
    "hyperband, no bracket": Component("HyperbandPruner", {"min_resource": 9, "max_resource": 2}),
}  # fmt: skip
DENSE = (0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 1.0, 0.1 + 0.2, 0.3)  # ties, and neighbours by one bit
SPECIAL = (math.nan, math.inf, -math.inf)


def script(seed: int) -> Script:
    """Return a job with a curve of ties, gaps, NaN and infinities; some jobs fail, get lost or run on."""
    chance = random.Random(seed)
    steps = sorted(chance.sample(range(1, 25), chance.randint(1, 16)))
    values = [chance.choice(SPECIAL) if chance.random() < 0.06 else chance.choice(DENSE) for _ in steps]
    how = chance.choices(["completed", "failed", "lost"], [12, 1, 1])[0]
    return Script(points=tuple(zip(steps, values, strict=True)), how=how)  # type: ignore[arg-type]


def scenario(pruner: Component, sign: str, seed: int, jobs: int) -> Scenario:
    def scripts(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        return script(seed * 10_000 + trial * 10 + attempt)

    what = search(
        sampler=Component("RandomSampler"),
        pruner=pruner,
        objectives=(Objective("validation", "loss", sign),),  # type: ignore[arg-type]
        max_failures_per_trial=1,
        max_lost_per_trial=1,
        nan_policy="worst",
        min_iteration_per_job=3 if seed % 2 else None,
        max_iteration_per_job=24,
        num_concurrent_workers=6,
        total_max_jobs=jobs,
        seed=seed,
    )
    return Scenario(what, scripts, lambda trial, attempt, cursor: 1 + (trial + cursor) % 3)


def verdicts(rows: list[Recorded]) -> Iterator[bool]:
    """Yield whether each verdict of a log pruned."""
    for row in rows:
        if isinstance(row.event, JobsContinued):
            yield from (False for _ in row.event.verdicts)
        elif isinstance(row.event, JobPruned):
            yield True


def test_this_optuna_and_numpy_are_those_that_the_rules_were_compared_with() -> None:
    assert (sorted_pruners.minor(optuna.__version__), sorted_pruners.minor(np.__version__)) in sorted_pruners.COMPARED


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("sign", ["min", "max", "max_global"])
def test_optunas_own_pruner_decides_a_log_alike(name: str, sign: str, tmp_path: Path) -> None:
    every: list[bool] = []
    for seed in (1, 2):
        rows = samples.log_of(tmp_path, scenario(PRUNERS[name], sign, seed, jobs=40))
        assert [c.divergence for c in check_prefixes(rows, oracle=True) if c.divergence] == []
        every += verdicts(rows)
    assert {*every} == ({False} if name in NEVER else {False, True})


NEVER = {"hyperband, no bracket"}


def test_another_optuna_or_numpy_is_asked_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, scenario(PRUNERS["median"], "min", 1, jobs=20))
    asked = count_optunas_verdicts(monkeypatch)
    assert [c for c in check_prefixes(rows) if c.divergence] == []
    assert asked == []
    monkeypatch.setattr(np, "__version__", "9.9.9")
    assert [c for c in check_prefixes(rows) if c.divergence] == []
    assert len(asked) > 20


def test_the_oracle_asks_optuna_for_each_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, scenario(PRUNERS["hyperband"], "max", 1, jobs=20))
    asked = count_optunas_verdicts(monkeypatch)
    assert [c for c in check_prefixes(rows, oracle=True) if c.divergence] == []
    assert len(asked) > 20


def test_a_changed_rule_is_found_by_the_oracle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sorted_pruners, "bisect_left", sorted_pruners.bisect_right)
    rows = samples.log_of(tmp_path, scenario(PRUNERS["halving"], "min", 1, jobs=40))
    assert [c for c in check_prefixes(rows, oracle=True) if c.divergence]


def count_optunas_verdicts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let Optuna's pruners run as ever, and note each call."""
    asked: list[str] = []
    for pruner in (optuna.pruners.PercentilePruner, optuna.pruners.HyperbandPruner):
        own = pruner.prune

        def prune(self, study, trial, own=own):  # type: ignore[no-untyped-def]
            asked.append(type(self).__name__)
            return own(self, study, trial)

        monkeypatch.setattr(pruner, "prune", prune)
    return asked


def test_a_question_that_the_log_answered_otherwise_leaves_no_trace(tmp_path: Path) -> None:
    """What a rule wrote in an answer that was not recorded is forgotten at the next question."""
    rows = samples.log_of(tmp_path, scenario(PRUNERS["halving"], "min", 3, jobs=30))
    kept = None
    for state, action, row in samples.questions(rows):
        kept = kept or OptunaAdapter(state)
        first, second = kept.answer(action), kept.answer(action)
        assert list(first) == list(second)
        assert first[0] == row.event
