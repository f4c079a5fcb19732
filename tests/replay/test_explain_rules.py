"""The rules in words are Optuna's: on random states both come to the same verdict, and the same rungs."""

from __future__ import annotations

import math
import random
import warnings
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.optuna_adapter.component_factory import build_pruner, quiet
from replay.explain import pruner_rules
from replay.explain.pruner_rules.pruner_view import PrunerView, TrialCurve, VisibleState

NAME = "a search"  # HyperbandPruner draws brackets by it
STATES: dict[TrialState, VisibleState] = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
HALVING: dict[str, Any] = {"name": "SuccessiveHalvingPruner", "min_resource": 1, "reduction_factor": 2}
PRUNERS: dict[str, list[ComponentConfig]] = {
    "MedianPruner": [
        ComponentConfig("MedianPruner"),
        ComponentConfig("MedianPruner", {"n_startup_trials": 0}),
        ComponentConfig(
            "MedianPruner", {"n_startup_trials": 1, "n_warmup_steps": 2, "interval_steps": 2, "n_min_trials": 3}
        ),
    ],
    "PercentilePruner": [
        ComponentConfig("PercentilePruner", {"percentile": 25.0, "n_startup_trials": 2}),
        ComponentConfig("PercentilePruner", {"percentile": 0.0, "n_startup_trials": 1}),
        ComponentConfig("PercentilePruner", {"percentile": 100.0, "n_startup_trials": 1, "interval_steps": 3}),
        ComponentConfig("PercentilePruner", {"percentile": 62.5, "n_startup_trials": 1, "n_min_trials": 2}),
    ],
    "SuccessiveHalvingPruner": [
        ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1}),
        ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 2, "reduction_factor": 2}),
        ComponentConfig(
            "SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 3, "min_early_stopping_rate": 1}
        ),
        ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2, "bootstrap_count": 4}),
    ],
    "HyperbandPruner": [
        ComponentConfig("HyperbandPruner", {"max_resource": 9}),
        ComponentConfig("HyperbandPruner", {"max_resource": 16, "min_resource": 2, "reduction_factor": 2}),
        ComponentConfig("HyperbandPruner", {"max_resource": 8, "reduction_factor": 2, "bootstrap_count": 2}),
        ComponentConfig("HyperbandPruner", {"max_resource": 2, "min_resource": 8}),
    ],
    "ThresholdPruner": [
        ComponentConfig("ThresholdPruner", {"upper": 0.6}),
        ComponentConfig("ThresholdPruner", {"lower": 0.1}),
        ComponentConfig("ThresholdPruner", {"lower": 0.1, "upper": 0.9, "n_warmup_steps": 1, "interval_steps": 2}),
    ],
    "WilcoxonPruner": [
        ComponentConfig("WilcoxonPruner", {"p_threshold": 0.4}),
        ComponentConfig("WilcoxonPruner", {"p_threshold": 0.6, "n_startup_steps": 0}),
        ComponentConfig("WilcoxonPruner", {"p_threshold": 1.0, "n_startup_steps": 4}),
    ],
    "PatientPruner": [
        ComponentConfig("PatientPruner", {"patience": 0}),
        ComponentConfig("PatientPruner", {"patience": 2, "min_delta": 0.1}),
        ComponentConfig(
            "PatientPruner", {"patience": 0, "wrapped_pruner": {"name": "MedianPruner", "n_startup_trials": 1}}
        ),
        ComponentConfig("PatientPruner", {"patience": 1, "wrapped_pruner": HALVING}),
        ComponentConfig("PatientPruner", {"patience": 0, "wrapped_pruner": {"name": "NopPruner"}}),
    ],
    "NopPruner": [ComponentConfig("NopPruner")],
}
CASES = [(named, maximize) for cases in PRUNERS.values() for named in cases for maximize in (False, True)]


def test_every_pruner_of_optuna_has_its_rule_here_and_cases_below() -> None:
    """A pruner that a later Optuna brings turns this red."""
    there = set(optuna.pruners.__all__) - {"BasePruner"}
    assert there == pruner_rules.KNOWN == set(PRUNERS) == set(CATALOGUE["pruner"])


def value(chance: random.Random, odd: bool, level: float = 0.4) -> float:
    """Return one of few values near *level*, so that there are ties."""
    if odd and chance.random() < 0.1:
        return chance.choice((math.nan, math.inf, -math.inf))
    found = level + chance.random() / 5
    return chance.choice((round(found, 1), found))


def trial_of(chance: random.Random, state: TrialState, odd: bool) -> FrozenTrial:
    points = {}
    step = chance.choice((0, 1, 1, 1))
    level = chance.random() * 0.8
    for _ in range(chance.randint(0 if state != TrialState.RUNNING else 1, 9)):
        points[step] = value(chance, odd, level)
        step += chance.choice((1, 1, 1, 2))
    rungs = {}
    for rung in range(chance.randint(0, 3)):
        found = value(chance, odd)
        rungs[f"completed_rung_{rung}"] = 0.5 if math.isnan(found) else found
    told = value(chance, False) if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=told, intermediate_values=points, system_attrs=rungs)


def random_study(seed: int, maximize: bool) -> tuple[optuna.Study, FrozenTrial]:
    """Return a study of a random past, and its running trial in question."""
    chance = random.Random(seed)
    study = optuna.create_study(study_name=NAME, direction="maximize" if maximize else "minimize")
    odd = chance.random() < 0.4
    states = [chance.choice((*STATES, TrialState.COMPLETE)) for _ in range(chance.randint(0, 14))]
    mine = chance.randint(0, len(states))
    for state in [*states[:mine], TrialState.RUNNING, *states[mine:]]:
        study.add_trial(trial_of(chance, state, odd))
    return study, study.get_trials()[mine]


def curve_of(trial: FrozenTrial) -> TrialCurve:
    rungs = {int(k.rpartition("_")[2]): v for k, v in trial.system_attrs.items()}
    told = trial.value if trial.state == TrialState.COMPLETE else None
    return TrialCurve(trial.number, STATES[trial.state], dict(trial.intermediate_values), told, rungs)


def asked(pruner: BasePruner, study: optuna.Study, trial: FrozenTrial) -> tuple[bool, dict[str, float]]:
    """Return Optuna's verdict and the rungs that it wrote."""
    before = set(trial.system_attrs)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = pruner.prune(study, trial)
    after = study.get_trials()[trial.number].system_attrs
    return bool(verdict), {name: v for name, v in after.items() if name not in before}


@pytest.mark.parametrize(("named", "maximize"), CASES, ids=lambda case: str(case).removeprefix("ComponentConfig"))
def test_verdict_and_rungs_are_optunas_on_random_states(named: ComponentConfig, maximize: bool) -> None:
    pruned = 0
    with quiet():
        for seed in range(200):
            study, trial = random_study(seed, maximize)
            others = [curve_of(t) for t in study.get_trials() if t.number != trial.number]
            found = pruner_rules.find(named.name, named.args, PrunerView(NAME, maximize, curve_of(trial), others))
            verdict, wrote = asked(build_pruner(named), study, trial)
            assert found.prune == verdict, (seed, found)
            assert wrote == mine(found), (seed, found)
            told(found)
            pruned += verdict
    assert (pruned > 0) != never(named), "these cases say nothing"


def mine(found: pruner_rules.Found) -> dict[str, float]:
    rungs = pruner_rules.rungs_of(found)
    return {} if rungs is None else {f"completed_rung_{r.number}": float(rungs.value) for r in rungs.reached}


def told(found: pruner_rules.Found) -> None:
    """Check that there is a line for it, and a way on exactly where it was pruned."""
    text = pruner_rules.words(found)
    assert text.startswith(found.rule)
    assert "\n" not in text
    assert "None" not in text, text
    assert (pruner_rules.needed(found) is not None) == found.prune


def never(named: ComponentConfig) -> bool:
    """Whether the case never prunes: no pruner, a bracket that cannot be, a percentile of all."""
    return named.name == "NopPruner" or named.args.get("min_resource") == 8 or "Nop" in str(named.args)


def test_a_rule_that_is_off_by_little_is_found_out() -> None:
    """Negative control."""
    off = 0
    with quiet():
        for seed in range(150):
            study, trial = random_study(seed, True)
            others = [curve_of(t) for t in study.get_trials() if t.number != trial.number]
            sight = PrunerView(NAME, True, curve_of(trial), others)
            found = pruner_rules.find("PercentilePruner", {"percentile": 52.0, "n_startup_trials": 0}, sight)
            verdict, _ = asked(build_pruner(ComponentConfig("MedianPruner", {"n_startup_trials": 0})), study, trial)
            off += found.prune != verdict
    assert off > 0
