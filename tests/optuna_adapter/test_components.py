"""Samplers and pruners by name: what is supported, how each is seeded, what is refused."""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from eventhpo.core.search.ranges import from_job
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.optuna_adapter.auto_resource import is_auto, latched_resource
from eventhpo.optuna_adapter.catalogue import CATALOGUE, Nested, Role
from eventhpo.optuna_adapter.component_checks import check_pruner, check_sampler
from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler
from eventhpo.optuna_adapter.distributions import distributions
from eventhpo.optuna_adapter.optuna_classes import CLASSES
from eventhpo.optuna_adapter.sampler_fit import normalised
from eventhpo.optuna_adapter.seeds import derived_seed

SPACE: tuple[Parameter, ...] = (
    LogUniformParameterRange(name="General/lr", min_value=-5, max_value=0, step_size=1),
    UniformIntegerParameterRange(name="General/width", min_value=4, max_value=64, step_size=4),
    UniformParameterRange(name="General/drop", min_value=0, max_value=0.5, step_size=0.1),
    DiscreteParameterRange(name="General/kind", values=("a", "b")),
)
SEED = 11
GRID = {"General/lr": [0.1, 0.01], "General/width": [4, 8], "General/drop": [0.1], "General/kind": ["a", "b"]}
FIXED = {"fixed_params": {"General/lr": 0.01}, "base_sampler": {"name": "TPESampler", "n_startup_trials": 2}}

SAMPLERS = {
    "random": ComponentConfig("RandomSampler"),
    "tpe": ComponentConfig("TPESampler", {"n_startup_trials": 3}),
    "tpe with deprecated arguments": ComponentConfig(
        "TPESampler", {"n_startup_trials": 3, "prior_weight": 2.0, "consider_endpoints": True}
    ),
    "tpe in groups": ComponentConfig("TPESampler", {"n_startup_trials": 3, "group": True}),
    "tpe, one by one": ComponentConfig(
        "TPESampler", {"n_startup_trials": 3, "multivariate": False, "constant_liar": False}
    ),
    "brute force": ComponentConfig("BruteForceSampler"),
    "grid": ComponentConfig("GridSampler", {"search_space": GRID}),
    "sobol": ComponentConfig("QMCSampler"),
    "sobol, scrambled": ComponentConfig("QMCSampler", {"scramble": True}),
    "halton": ComponentConfig("QMCSampler", {"qmc_type": "halton", "independent_sampler": {"name": "TPESampler"}}),
    "nsga2": ComponentConfig(
        "NSGAIISampler", {"population_size": 4, "mutation": {"name": "PolynomialMutation", "eta": 5.0}}
    ),
    "nsga3": ComponentConfig("NSGAIIISampler", {"population_size": 4, "reference_points": [[1.0]]}),
    "partially fixed": ComponentConfig("PartialFixedSampler", FIXED),
    "cma-es": ComponentConfig("CmaEsSampler", {"independent_sampler": {"name": "TPESampler"}, "with_margin": True}),
} | {
    f"nsga2 with {name}": ComponentConfig("NSGAIISampler", {"population_size": 4, "crossover": {"name": name}})
    for name in CATALOGUE["crossover"]
}
PRUNERS = {
    "nop": ComponentConfig("NopPruner"),
    "median": ComponentConfig("MedianPruner", {"n_startup_trials": 2}),
    "percentile": ComponentConfig("PercentilePruner", {"percentile": 25.0}),
    "halving": ComponentConfig("SuccessiveHalvingPruner"),
    "hyperband": ComponentConfig("HyperbandPruner", {"max_resource": 15}),
    "threshold": ComponentConfig("ThresholdPruner", {"upper": 3.0}),
    "wilcoxon": ComponentConfig("WilcoxonPruner", {"p_threshold": 0.2}),
    "patience": ComponentConfig("PatientPruner", {"patience": 2, "wrapped_pruner": {"name": "MedianPruner"}}),
    "patience alone": ComponentConfig("PatientPruner", {"patience": 2}),
}


def fresh(
    named: ComponentConfig, number: int, attempt_try: int = 1, search_seed: int = SEED
) -> optuna.samplers.BaseSampler:
    seed = derived_seed(search_seed, "suggest", number, attempt_try)
    return build_sampler(named, space=SPACE, seed=seed, search_seed=search_seed)


def run(named: ComponentConfig, trials: int = 14, through_json: bool = False) -> list[dict[str, Any]]:
    """Search with a sampler built for each trial, two trials in flight."""
    if through_json:
        named = ComponentConfig(named.name, json.loads(json.dumps(named.args)))
    study = optuna.create_study()
    asked: list[optuna.trial.Trial] = []
    for number in range(trials):
        study.sampler = fresh(named, number)
        asked.append(study.ask(distributions(SPACE)))
        if len(asked) > 1:
            trial = asked[-2]
            value = trial.params["General/width"] + trial.params["General/drop"] - trial.params["General/lr"]
            study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [value])
    return [trial.params for trial in asked]


# ---------------------------------------------------------------- the catalogue


@pytest.mark.parametrize("role", CATALOGUE)
def test_each_argument_of_optunas_is_either_taken_or_refused_with_advice(role: Role) -> None:
    for name, part in CATALOGUE[role].items():
        if name == "NopPruner":  # it has no constructor of its own
            continue
        signature = inspect.signature(CLASSES[role][name]).parameters
        assert (part.args.keys() | part.refused.keys()) - {"seed"} == signature.keys() - {"seed"}, name
        assert not part.args.keys() & part.refused.keys()


def test_there_is_a_class_for_each_name_and_no_other() -> None:
    for role, parts in CATALOGUE.items():
        assert parts.keys() == CLASSES[role].keys()
        assert all(made.__name__ == name for name, made in CLASSES[role].items())
    assert [len(parts) for parts in CATALOGUE.values()] == [10, 8, 6, 1]


def test_nested_parts_are_the_five_that_are_data() -> None:
    nested = {
        key
        for parts in CATALOGUE.values()
        for part in parts.values()
        for key, kind in part.args.items()
        if isinstance(kind, Nested)
    }
    assert nested == {"independent_sampler", "base_sampler", "wrapped_pruner", "crossover", "mutation"}


# ---------------------------------------------------------------- samplers


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_accepted_and_decides_the_same_after_json(name: str) -> None:
    named = SAMPLERS[name]
    assert check_sampler(named, SPACE, 1) == []
    assert run(named) == run(named, through_json=True)


@pytest.mark.parametrize("name", SAMPLERS)
def test_building_a_sampler_leaves_numpys_own_generator_alone(name: str) -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    fresh(SAMPLERS[name], 0)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


@pytest.mark.parametrize(
    "name", [name for name in SAMPLERS if name != "grid" and "sobol" not in name and name != "halton"]
)
def test_another_try_is_another_point(name: str) -> None:
    study = optuna.create_study()
    points = []
    for attempt_try in range(1, 9):
        study.sampler = fresh(SAMPLERS[name], 0, attempt_try)
        points.append(study.ask(distributions(SPACE)).params)
    assert len({str(point) for point in points}) > 1


def seeds_in(sampler: Any) -> list[int]:
    """Return what each generator within *sampler* was seeded with."""
    found, seen, open_ = [], set(), [sampler]
    while open_:
        one = open_.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.random.RandomState):
            key = int(one.get_state()[1][0])  # type: ignore[index]
            found.append(key)
        elif type(one).__module__.startswith("optuna"):
            open_ += list(getattr(one, "__dict__", {}).values())
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_generator_in_a_sampler_is_seeded(name: str) -> None:
    assert seeds_in(fresh(SAMPLERS[name], 3)) == seeds_in(fresh(SAMPLERS[name], 3)) != []


def test_a_grid_is_laid_out_by_the_searchs_seed_in_every_trial_and_try() -> None:
    grids = [fresh(SAMPLERS["grid"], number, t) for number in (0, 5) for t in (1, 2)]
    assert all(grid._all_grids == grids[0]._all_grids for grid in grids)  # type: ignore[attr-defined]
    assert fresh(SAMPLERS["grid"], 0, 1, search_seed=12)._all_grids != grids[0]._all_grids  # type: ignore[attr-defined]


def test_a_grid_is_walked_through_without_repeating_a_point() -> None:
    points = [str(point) for point in run(SAMPLERS["grid"], trials=8)]
    assert len(set(points)) == 8


def test_a_quasi_random_sequence_is_one_sequence_and_what_lies_outside_it_differs_by_trial() -> None:
    samplers: list[Any] = [fresh(SAMPLERS["sobol, scrambled"], number) for number in range(3)]
    assert {sampler._seed for sampler in samplers} == {SEED}
    inner = [seeds_in(sampler._independent_sampler)[0] for sampler in samplers]
    assert len(set(inner)) == 3
    assert SEED not in inner


def test_what_is_not_fixed_is_decided_as_the_base_sampler_would() -> None:
    base = build_sampler(ComponentConfig("RandomSampler"), space=SPACE, seed=5, search_seed=SEED)
    fixed = build_sampler(
        ComponentConfig(
            "PartialFixedSampler", {"fixed_params": {"lr": 0.01}, "base_sampler": {"name": "RandomSampler"}}
        ),
        space=SPACE,
        seed=5,
        search_seed=SEED,
    )
    assert seeds_in(fixed) == seeds_in(base)


def test_values_in_arguments_are_what_jobs_get_and_optuna_is_told_its_own() -> None:
    sampler: Any = fresh(SAMPLERS["partially fixed"], 0)
    assert sampler._fixed_params == {"General/lr": -2.0}
    grid: Any = fresh(SAMPLERS["grid"], 0)
    assert grid._search_space["General/lr"] == [-1.0, -2.0]
    assert from_job(SPACE[0], 0.01) == -2.0


def test_short_names_and_whole_numbers_are_recorded_as_trials_have_them() -> None:
    named = ComponentConfig(
        "PartialFixedSampler", {"fixed_params": {"drop": 3 * 0.1, "lr": 1}, "base_sampler": {"name": "TPESampler"}}
    )
    recorded = normalised(named, SPACE).args["fixed_params"]
    assert recorded == {"General/drop": 0.3, "General/lr": 1.0}
    assert type(recorded["General/lr"]) is float


def test_nothing_is_warned_of_and_the_filters_are_as_before() -> None:
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for named in SAMPLERS.values():
            fresh(named, 0)
        for named in PRUNERS.values():
            build_pruner(named)
    assert caught == []
    assert list(warnings.filters) == before


def test_an_argument_that_is_the_default_is_not_passed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Passing `lr_adapt` at all is not what warns; a value that differs from Optuna's is.
        sampler: Any = fresh(ComponentConfig("CmaEsSampler", {"lr_adapt": False, "n_startup_trials": 1}), 0)
    assert sampler._lr_adapt is False


# ---------------------------------------------------------------- pruners


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_is_accepted_and_built_fresh(name: str) -> None:
    named = PRUNERS[name]
    assert check_pruner(named, 1) == []
    first, second = build_pruner(named), build_pruner(named)
    assert first is not second
    assert type(first).__name__ == named.name


@pytest.mark.parametrize(
    ("named", "last_step", "latched"),
    [
        (ComponentConfig("SuccessiveHalvingPruner"), 350, 3),
        (ComponentConfig("SuccessiveHalvingPruner"), 5, 1),
        (ComponentConfig("SuccessiveHalvingPruner", {"min_resource": "auto"}), 100, 1),
        (ComponentConfig("HyperbandPruner"), 14, 15),
        (ComponentConfig("HyperbandPruner", {"max_resource": "auto", "min_resource": 2}), 14, 15),
    ],
    ids=["halving", "halving, short", "halving, said", "hyperband", "hyperband, said"],
)
def test_an_auto_resource_is_what_optuna_would_guess_and_stays(
    named: ComponentConfig, last_step: int, latched: int
) -> None:
    assert is_auto(named)
    assert latched_resource(named, last_step) == latched
    study = optuna.create_study(pruner=build_pruner(named))
    trial = optuna.create_trial(state=TrialState.COMPLETE, value=0.0, intermediate_values={last_step: 0.0})
    study.add_trial(trial)
    asked = study.ask()
    asked.report(1.0, last_step)
    asked.should_prune()
    key = "_min_resource" if named.name == "SuccessiveHalvingPruner" else "_max_resource"
    assert getattr(study.pruner, key) == latched == getattr(build_pruner(named, latched), key)


@pytest.mark.parametrize(
    "named",
    [PRUNERS["hyperband"], PRUNERS["median"], ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 2})],
    ids=lambda n: n.name,
)
def test_a_resource_that_is_given_is_not_latched(named: ComponentConfig) -> None:
    assert not is_auto(named)
    assert vars(build_pruner(named, 99)) == vars(build_pruner(named))
    with pytest.raises(ValueError, match="has no resource"):
        latched_resource(named, 5)


# ---------------------------------------------------------------- packages that are extras


@pytest.mark.parametrize(
    ("check", "named", "package", "extra"),
    [
        (check_sampler, ComponentConfig("CmaEsSampler"), "cmaes", "eventhpo[cmaes]"),
        (check_sampler, ComponentConfig("QMCSampler"), "scipy", "eventhpo[scipy]"),
        (check_sampler, ComponentConfig("GPSampler"), "torch", "eventhpo[gp"),
        (check_pruner, ComponentConfig("WilcoxonPruner"), "scipy", "eventhpo[scipy]"),
    ],
    ids=["cma-es", "quasi-random", "gaussian process", "wilcoxon"],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, check: Any, named: ComponentConfig, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say that it cannot be imported
    found = check(named, SPACE, 1) if check is check_sampler else check(named, 1)
    assert len(found) == 1
    assert package in str(found[0])
    assert extra in str(found[0])
