"""Optuna's instances as data: read whole, built again the same, their seeds kept, refused by the argument's name."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GridSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover, UNDXCrossover

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.optuna_adapter.catalogue import CATALOGUE, Role
from eventhpo.optuna_adapter.component_config import ComponentRefused, pruner_data, pruner_of, sampler_data, sampler_of
from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler, quiet
from eventhpo.optuna_adapter.instance_args import at
from eventhpo.optuna_adapter.instance_graph import differences
from eventhpo.optuna_adapter.instance_seed import seed_of
from eventhpo.optuna_adapter.optuna_classes import CLASSES
from tests.optuna_adapter.test_components import GRID as _GRID
from tests.optuna_adapter.test_components import SPACE

# What Optuna warns of when a user makes an instance is that user's; `test_reading_...` looks at ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:.*has been deprecated:FutureWarning"),
]
GRID: Any = _GRID
POINT = {"lr": 0.01, "General/width": np.int64(8), "General/drop": np.float64(0.1)}
GP = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="GPSampler needs torch")
_NSGA: dict[str, Any] = {
    "population_size": np.int64(7),
    "mutation": lambda: PolynomialMutation(eta=3.0),
    "mutation_prob": np.float64(0.25),
    "crossover": lambda: SBXCrossover(eta=1.5),
    "crossover_prob": 0.5,
    "swapping_prob": 0.25,
}
_EVERY: dict[str, Any] = {"n_startup_trials": 2, "n_warmup_steps": np.int32(3), "interval_steps": 4, "n_min_trials": 5}
_BINARY: dict[str, Any] = {"eta": 1.25, "uniform_crossover_prob": 0.25, "use_child_gene_prob": 0.75}
# One value for each argument that differs from its default; a function makes one that is an instance itself.
OTHERS: dict[str, dict[str, Any]] = {
    "BruteForceSampler": {"avoid_premature_stop": np.True_},
    "CmaEsSampler": {
        "x0": POINT,
        "sigma0": 1,
        "n_startup_trials": 4,
        "independent_sampler": lambda: TPESampler(n_startup_trials=3),
        "warn_independent_sampling": False,
        "consider_pruned_trials": True,
        "popsize": np.int64(6),
        "use_separable_cma": True,
        "with_margin": True,
        "lr_adapt": True,
    },
    "GPSampler": {
        "independent_sampler": lambda: TPESampler(n_startup_trials=3),
        "n_startup_trials": 4,
        "deterministic_objective": True,
        "warn_independent_sampling": False,
    },
    "GridSampler": {
        "search_space": {"kind": ("b",), "lr": np.array([1.0, 0.1]), "General/drop": [0, np.float32(0.5)], "width": [8]}
    },
    "NSGAIISampler": _NSGA,
    "NSGAIIISampler": _NSGA | {"reference_points": np.array([[2], [1]]), "dividing_parameter": 4},
    "PartialFixedSampler": {
        "fixed_params": {"kind": np.str_("b"), "drop": np.float64(0.1)},
        "base_sampler": lambda: CmaEsSampler(independent_sampler=TPESampler(group=True), popsize=5),
    },
    "QMCSampler": {
        "qmc_type": "halton",
        "scramble": True,
        "independent_sampler": lambda: NSGAIISampler(crossover=UNDXCrossover(sigma_eta=0.5)),
        "warn_independent_sampling": False,
    },
    "TPESampler": {
        "prior_weight": 2,
        "consider_magic_clip": False,
        "consider_endpoints": True,
        "n_startup_trials": np.int64(3),
        "n_ei_candidates": 12,
        "multivariate": True,
        "group": True,
        "warn_independent_sampling": True,
        "constant_liar": False,
    },
    "HyperbandPruner": {"min_resource": 2, "max_resource": 81, "reduction_factor": 2, "bootstrap_count": 3},
    "MedianPruner": _EVERY,
    "PatientPruner": {
        "wrapped_pruner": lambda: PatientPruner(PercentilePruner(30), 1),
        "patience": 5,
        "min_delta": 0.5,
    },
    "PercentilePruner": _EVERY | {"percentile": np.float64(30.5)},
    "SuccessiveHalvingPruner": {
        "min_resource": 3,
        "reduction_factor": 2,
        "min_early_stopping_rate": 1,
        "bootstrap_count": 2,
    },
    "ThresholdPruner": {"lower": -1, "upper": 2.5, "n_warmup_steps": 2, "interval_steps": 3},
    "WilcoxonPruner": {"p_threshold": 0.25, "n_startup_steps": 0},
    "BLXAlphaCrossover": {"alpha": 0.25},
    "SBXCrossover": _BINARY,
    "SPXCrossover": {"epsilon": 1.5},
    "UNDXCrossover": {"sigma_xi": 0.25, "sigma_eta": np.float64(0.125)},
    "UniformCrossover": {"swapping_prob": 0.25},
    "VSBXCrossover": _BINARY,
    "PolynomialMutation": {"eta": 5},
}
# What a class cannot be made without, or an argument cannot be given without.
NEEDED: dict[str, dict[str, Any]] = {
    "GridSampler": {"search_space": GRID},
    "PartialFixedSampler": {"fixed_params": {"General/lr": 0.1}, "base_sampler": RandomSampler},
    "PatientPruner": {"wrapped_pruner": None, "patience": 1},
    "PercentilePruner": {"percentile": 25.0},
    "ThresholdPruner": {"upper": 1.0},
}
TOGETHER = {
    ("HyperbandPruner", "bootstrap_count"): {"max_resource": 81},
    ("SuccessiveHalvingPruner", "bootstrap_count"): {"min_resource": 3},
}


def made(name: str, args: dict[str, Any]) -> Any:
    kind = next(classes[name] for classes in CLASSES.values() if name in classes)
    given = {key: value() if callable(value) else value for key, value in args.items()}
    with quiet():
        return kind(**(needed(name) | given))


def needed(name: str) -> dict[str, Any]:
    return {key: value() if isinstance(value, type) else value for key, value in NEEDED.get(name, {}).items()}


def cases(role: Role) -> Iterator[Any]:
    """Yield (name, arguments) for the defaults and for each argument changed alone."""
    for name, part in CATALOGUE[role].items():
        marks = [GP] if name == "GPSampler" else []
        yield pytest.param(name, {}, id=name, marks=marks)
        for key in part.args:
            args = TOGETHER.get((name, key), {}) | {key: OTHERS[name][key]}
            yield pytest.param(name, args, id=f"{name}-{key}", marks=marks)


def through_json(named: ComponentConfig) -> ComponentConfig:
    return ComponentConfig(named.name, json.loads(json.dumps(named.args)))


def rebuilt(named: ComponentConfig, seed: int = 5) -> BaseSampler:
    return build_sampler(through_json(named), space=SPACE, seed=seed, search_seed=seed)


def refusal(ask: Callable[[], object]) -> str:
    with pytest.raises(ComponentRefused) as caught:
        ask()
    return str(caught.value)


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(("name", "args"), list(cases("sampler")))
def test_a_sampler_built_from_the_data_of_an_instance_holds_the_same(name: str, args: dict[str, Any]) -> None:
    instance = made(name, args)
    given = sampler_data(instance, SPACE)
    assert list(differences(instance, rebuilt(given.named), SPACE)) == []
    assert given.warning is None
    assert given.named.args.keys() == CATALOGUE["sampler"][name].args.keys()
    if name not in ("GridSampler", "PartialFixedSampler") and "x0" not in args:  # a built one holds point values
        assert sampler_data(rebuilt(given.named), SPACE).named == given.named


@pytest.mark.parametrize(("name", "args"), list(cases("pruner")))
def test_a_pruner_built_from_the_data_of_an_instance_holds_the_same(name: str, args: dict[str, Any]) -> None:
    instance = made(name, args)
    named = pruner_data(instance)
    again = build_pruner(through_json(named))
    assert list(differences(instance, again, ())) == []
    assert named.args.keys() == CATALOGUE["pruner"][name].args.keys()
    assert pruner_data(again) == named


@pytest.mark.parametrize(("name", "args"), [*cases("crossover"), *cases("mutation")])
def test_a_part_of_a_genetic_sampler_is_built_again_the_same(name: str, args: dict[str, Any]) -> None:
    part = made(name, args)
    key = "mutation" if name in CLASSES["mutation"] else "crossover"
    with quiet():
        instance = NSGAIISampler(**{key: part})
    built: Any = rebuilt(sampler_data(instance, SPACE).named)
    again = at(built, key)
    assert type(again) is type(part)
    assert vars(again) == vars(part)


def test_each_argument_of_the_catalogue_is_changed_here() -> None:
    for parts in CATALOGUE.values():
        for name, part in parts.items():
            assert OTHERS.get(name, {}).keys() == part.args.keys(), name


@pytest.mark.parametrize(("name", "args"), [one for one in (*cases("sampler"), *cases("pruner")) if one.values[1]])
def test_the_comparison_sees_each_argument(name: str, args: dict[str, Any]) -> None:
    """Negative control: an instance with an argument changed differs from one without."""
    *others, key = args
    without = made(name, {other: args[other] for other in others})
    found = {one.keys[0] for one in differences(made(name, args), without, SPACE)}
    assert key in found


def test_all_arguments_at_once_are_built_again_the_same() -> None:
    alone = {"CmaEsSampler": ("with_margin", "lr_adapt")}  # they exclude each other with use_separable_cma
    for name in CATALOGUE["sampler"]:
        if name == "GPSampler":
            continue
        args = {key: value for key, value in OTHERS.get(name, {}).items() if key not in alone.get(name, ())}
        instance = made(name, args)
        assert list(differences(instance, rebuilt(sampler_data(instance, SPACE).named), SPACE)) == [], name


def test_numbers_of_numpys_are_recorded_as_pythons() -> None:
    named = sampler_data(CmaEsSampler(x0=POINT, popsize=np.int64(6)), SPACE).named  # type: ignore[arg-type]
    assert type(named.args["popsize"]) is int
    assert {key: type(value) for key, value in named.args["x0"].items()} == {
        "General/lr": float,
        "General/width": int,
        "General/drop": float,
    }
    named = sampler_data(NSGAIIISampler(reference_points=np.array([[2], [1]])), SPACE).named
    assert named.args["reference_points"] == [[2.0], [1.0]]


def test_values_of_parameters_are_what_jobs_get_in_an_instance_as_in_a_table() -> None:
    """A logarithmic range with a step is a grid of exponents to Optuna here; nobody has to write one."""
    instance = PartialFixedSampler({"lr": 0.01}, RandomSampler())
    table = {"name": "PartialFixedSampler", "fixed_params": {"lr": 0.01}, "base_sampler": {"name": "RandomSampler"}}
    named = sampler_of(instance, SPACE).named
    assert named == sampler_of(table, SPACE).named
    assert named.args["fixed_params"] == {"General/lr": 0.01}
    assert rebuilt(named)._fixed_params == {"General/lr": -2.0}  # type: ignore[attr-defined]
    assert "exponent" in refusal(lambda: sampler_of(PartialFixedSampler({"lr": -2.0}, RandomSampler()), SPACE))


def test_one_parameter_under_two_names_is_refused() -> None:
    text = refusal(lambda: sampler_of(PartialFixedSampler({"lr": 0.1, "General/lr": 0.01}, RandomSampler()), SPACE))
    assert "each parameter once" in text


def test_reading_an_instance_warns_of_nothing_and_leaves_it_as_it_was() -> None:
    sampler = TPESampler()
    patchwork = NSGAIISampler(crossover=SBXCrossover(), mutation=PolynomialMutation())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler_of(sampler, SPACE)
        sampler_of(patchwork, SPACE)
        pruner_of(MedianPruner())
    assert sampler._rng._rng is None
    assert sampler._random_sampler._rng._rng is None


# ---------------------------------------------------------------- names, tables, defaults


def test_a_name_a_table_and_nothing_are_samplers_and_pruners_too() -> None:
    assert sampler_of(None, SPACE).named == sampler_of("TPESampler", SPACE).named == ComponentConfig("TPESampler")
    given = sampler_of({"name": "TPESampler", "n_startup_trials": 3}, SPACE)
    assert (given.named, given.seed) == (ComponentConfig("TPESampler", {"n_startup_trials": 3}), None)
    assert pruner_of(None) == pruner_of("MedianPruner") == ComponentConfig("MedianPruner")
    assert pruner_of(None, 2) == ComponentConfig("NopPruner") == pruner_of(NopPruner(), 2)
    assert pruner_of({"name": "PercentilePruner", "percentile": 30}) == ComponentConfig(
        "PercentilePruner", {"percentile": 30}
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (TPESampler, "an instance of Optuna's"),
        (3, "an instance of Optuna's"),
        ({"n_startup_trials": 3}, "an instance of Optuna's"),
        ({"name": "TPESampler", 3: 4}, "an instance of Optuna's"),
        (MedianPruner(), "an instance of Optuna's"),
        ("TPE", 'did you mean "TPESampler"'),
        ("CMA-ES", 'did you mean "CmaEsSampler"'),
        ("sobol", 'did you mean "QMCSampler"'),
        ({"name": 3}, "the name of a sampler"),
        ({"name": "TPESampler", "seed": 3}, "an argument of its own, seed"),
        ({"name": "TPESampler", "n_startups": 3}, 'did you mean "n_startup_trials"'),
        ({"name": "TPESampler", "gamma": len}, "a log cannot record a function"),
    ],
    ids=range(12),
)
def test_anything_else_is_refused_with_what_to_write(given: object, said: str) -> None:
    assert said in refusal(lambda: sampler_of(given, SPACE))


# ---------------------------------------------------------------- refused by name


def gamma(n: int) -> int:
    return min(n, 3)


def weights(n: int) -> np.ndarray[Any, Any]:
    return np.ones(n)


def constraints(trial: optuna.trial.FrozenTrial) -> list[float]:
    return [0.0]


def strategy(*args: Any) -> Any:
    return {}


class Mine(RandomSampler):
    pass


def fixed_grid() -> BaseSampler:
    return PartialFixedSampler({"lr": 0.1}, GridSampler(GRID))


REFUSED: dict[str, tuple[Callable[[], BaseSampler], str]] = {
    "gamma": (lambda: TPESampler(gamma=gamma), "a log cannot record a function"),
    "weights": (lambda: TPESampler(weights=weights), "a log cannot record a function"),
    "constraints_func": (lambda: TPESampler(constraints_func=constraints), "a log cannot record a function"),
    "constraints_func ": (lambda: NSGAIISampler(constraints_func=constraints), "a log cannot record a function"),
    "constraints_func  ": (lambda: NSGAIIISampler(constraints_func=constraints), "a log cannot record a function"),
    "elite_population_selection_strategy": (
        lambda: NSGAIISampler(elite_population_selection_strategy=strategy),
        "a log cannot record a function",
    ),
    "child_generation_strategy": (
        lambda: NSGAIIISampler(child_generation_strategy=strategy),
        "a log cannot record a function",
    ),
    "after_trial_strategy": (lambda: NSGAIISampler(after_trial_strategy=strategy), "a log cannot record a function"),
    "source_trials": (lambda: CmaEsSampler(source_trials=[]), "enqueue_trial"),
    "independent_sampler": (lambda: QMCSampler(independent_sampler=Mine()), "a sampler of Optuna's own"),
    "independent_sampler.gamma": (
        lambda: CmaEsSampler(independent_sampler=TPESampler(gamma=gamma)),
        "a log cannot record a function",
    ),
    "base_sampler": (lambda: PartialFixedSampler({"lr": 0.1}, Mine()), "a sampler of Optuna's own"),
    "base_sampler.name": (fixed_grid, "inside one a grid repeats points"),
    'fixed_params."General/lr"': (lambda: PartialFixedSampler({"lr": 0.03}, RandomSampler()), "in steps of"),
    'fixed_params."General/x"': (lambda: PartialFixedSampler({"x": 0.03}, RandomSampler()), "a parameter of the space"),
    'search_space."General/lr"': (
        lambda: GridSampler({k: v for k, v in GRID.items() if k != "General/lr"}),
        "a grid names every parameter",
    ),
    "population_size": (lambda: NSGAIISampler(population_size=4.5), "a whole number"),  # type: ignore[arg-type]
    "popsize": (lambda: CmaEsSampler(popsize=2), "a whole number of at least 4"),
}


@pytest.mark.parametrize("place", REFUSED)
def test_what_is_no_data_or_does_not_fit_is_refused_by_the_arguments_name(place: str) -> None:
    make, said = REFUSED[place]
    with quiet():
        instance = make()
    text = refusal(lambda: sampler_of(instance, SPACE))
    assert text.startswith(f"sampler: {place.strip()}: ")
    assert said in text


def test_all_that_is_refused_is_said_at_once() -> None:
    with quiet():
        instance = TPESampler(gamma=gamma, weights=weights)
    assert [line.split(":")[1] for line in refusal(lambda: sampler_of(instance, SPACE)).split("\n")] == [
        " gamma",
        " weights",
    ]


@pytest.mark.parametrize(
    ("pruner", "place"),
    [
        (lambda: PatientPruner(SuccessiveHalvingPruner(), 1), "wrapped_pruner.min_resource"),
        (lambda: PatientPruner(PatientPruner(HyperbandPruner(), 1), 1), "wrapped_pruner.wrapped_pruner.max_resource"),
    ],
    ids=["halving", "hyperband, two deep"],
)
def test_an_auto_resource_inside_patience_is_refused(pruner: Callable[[], BasePruner], place: str) -> None:
    with quiet():
        instance = pruner()
    assert refusal(lambda: pruner_of(instance)).startswith(f'pruner: {place}: found "auto"')


def test_an_instance_of_a_derived_class_is_not_taken_for_optunas() -> None:
    named = sampler_of(Mine(), SPACE).named
    assert named.is_foreign
    assert named.name == "tests.optuna_adapter.test_instances.Mine"
    inside = PartialFixedSampler({"General/lr": 0.1}, Mine())
    assert 'found "tests.optuna_adapter.test_instances.Mine"' in refusal(lambda: sampler_of(inside, SPACE))


def test_several_objectives_refuse_what_does_not_fit_them() -> None:
    assert "NopPruner" in refusal(lambda: pruner_of(MedianPruner(), 2))
    assert "several objectives" in refusal(lambda: sampler_of(CmaEsSampler(), SPACE, 2))
    assert sampler_of(NSGAIIISampler(reference_points=np.ones((1, 2))), SPACE, 2).named.name == "NSGAIIISampler"


# ---------------------------------------------------------------- the check of there and back


def attributes(root: object) -> Iterator[tuple[object, str]]:
    """Yield each attribute of each of Optuna's objects below *root*, generators aside."""
    for key, value in vars(root).items():
        if isinstance(value, LazyRandomState):
            continue
        yield root, key
        if type(value).__module__.startswith("optuna.") and hasattr(value, "__dict__") and not callable(value):
            yield from attributes(value)


NOT_SEEN = {
    "_seed",  # of QMCSampler: random where none was given
    "_all_grids",  # shuffled by the seed
    # What is learnt from a study, and no argument.
    "_cached_trial_number",
    "_study_id",
    "_search_space_group",
    "_group_decomposed_search_space",
}
LEARNT = {("IntersectionSearchSpace", "_search_space"), ("_GroupDecomposedSearchSpace", "_search_space")}


@pytest.mark.parametrize("name", [name for name in CLASSES["sampler"] if name != "GPSampler"])
def test_a_sampler_with_any_attribute_changed_is_not_recorded_as_if_it_were_not(name: str) -> None:
    """Either the change is refused, or it is in the data: it is never lost."""
    before = sampler_data(made(name, {}), SPACE).named
    for k, (_, key) in enumerate(list(attributes(made(name, {})))):
        instance = made(name, {})
        owner, _ = list(attributes(instance))[k]
        if key in NOT_SEEN or (type(owner).__name__, key) in LEARNT:
            continue
        vars(owner)[key] = "something else"
        try:
            after = sampler_data(instance, SPACE).named
        except ComponentRefused:
            continue
        pytest.fail(f"{type(owner).__name__}.{key} is lost: {after == before}")


@pytest.mark.parametrize("name", CLASSES["pruner"])
def test_a_pruner_with_any_attribute_changed_is_refused(name: str) -> None:
    for _, key in list(attributes(made(name, {}))):
        instance = made(name, {})
        vars(instance)[key] = "something else"
        with pytest.raises(ComponentRefused):
            pruner_data(instance)


def test_an_attribute_that_no_constructor_sets_is_refused_by_its_name() -> None:
    pruner = MedianPruner()
    pruner._percentile = 20.0
    assert refusal(lambda: pruner_of(pruner)).startswith("pruner: percentile: found 20.0, expected 50.0")
    sampler = NSGAIISampler()
    sampler._random_sampler = TPESampler()  # type: ignore[assignment]
    assert "random_sampler: found" in refusal(lambda: sampler_of(sampler, SPACE))
    sampler = NSGAIISampler()
    sampler.extra = 1  # type: ignore[attr-defined]
    assert refusal(lambda: sampler_of(sampler, SPACE)).startswith("sampler: extra: found 1")


def test_a_changed_argument_is_recorded_as_it_is_now() -> None:
    sampler = NSGAIISampler()
    vars(sampler._child_generation_strategy)["_crossover_prob"] = 0.25
    assert sampler_data(sampler, SPACE).named.args["crossover_prob"] == 0.25


def test_an_infinite_bound_of_a_threshold_is_none() -> None:
    assert pruner_data(ThresholdPruner(lower=2)).args == {
        "lower": 2.0,
        "upper": None,
        "n_warmup_steps": 0,
        "interval_steps": 1,
    }


def test_a_pruner_that_found_out_its_resource_from_a_study_is_refused() -> None:
    with quiet():
        used = HyperbandPruner()
    study = optuna.create_study(pruner=used)
    study.add_trial(optuna.create_trial(value=0.0, intermediate_values={8: 0.0}))
    trial = study.ask()
    trial.report(1.0, 1)
    trial.should_prune()
    assert "make a new instance" in refusal(lambda: pruner_of(used))
    assert pruner_data(WilcoxonPruner()).name == "WilcoxonPruner"


# ---------------------------------------------------------------- seeds


def sampled(sampler: BaseSampler, trials: int = 12) -> BaseSampler:
    """Let *sampler* serve a study of its own."""
    optuna.logging.set_verbosity(logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=trials)
    return sampler


SEEDED: dict[str, Callable[[Any], BaseSampler]] = {
    "RandomSampler": RandomSampler,
    "TPESampler": lambda seed: TPESampler(seed=seed),
    "BruteForceSampler": lambda seed: BruteForceSampler(seed=seed),
    "CmaEsSampler": lambda seed: CmaEsSampler(seed=seed),
    "NSGAIISampler": lambda seed: NSGAIISampler(seed=seed),
    "NSGAIIISampler": lambda seed: NSGAIIISampler(seed=seed),
    "QMCSampler": lambda seed: QMCSampler(seed=seed),
    "QMCSampler, scrambled": lambda seed: QMCSampler(
        seed=seed, scramble=True, independent_sampler=RandomSampler(), warn_asynchronous_seeding=False
    ),
    "PartialFixedSampler": lambda seed: PartialFixedSampler({"General/lr": 0.1}, TPESampler(seed=seed)),
    "PartialFixedSampler of CmaEsSampler": lambda seed: PartialFixedSampler(
        {"General/lr": 0.1}, CmaEsSampler(seed=seed)
    ),
}


def seeded(name: str, seed: Any) -> BaseSampler:
    with quiet():
        return SEEDED[name](seed)


@pytest.mark.parametrize("name", SEEDED)
@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 - 1, np.int64(7)], ids=str)
def test_the_seed_that_a_user_wrote_is_the_searchs(name: str, seed: Any) -> None:
    given = sampler_data(seeded(name, seed), SPACE)
    assert (given.seed, given.warning) == (int(seed), None)
    assert type(given.seed) is int


@pytest.mark.parametrize("name", SEEDED)
def test_a_sampler_without_a_seed_brings_none_however_often_it_is_read(name: str) -> None:
    sampler = seeded(name, None)
    assert [sampler_data(sampler, SPACE).seed for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("name", [name for name in SEEDED if "Partial" not in name and "scrambled" not in name])
def test_a_sampler_that_was_used_brings_a_hash_of_its_state_with_a_warning(name: str) -> None:
    def used() -> Any:
        sampler = seeded(name, 5)
        trial = optuna.create_study(sampler=sampler).ask()
        trial.suggest_float("x", 0, 1, step=0.25)
        return sampler

    given = sampler_data(used(), SPACE)
    assert given.seed not in (None, 5)
    assert given.seed is not None
    assert 0 <= given.seed < 2**32
    assert given.warning is not None
    assert str(given.seed) in given.warning
    assert sampler_data(used(), SPACE).seed == given.seed
    assert given.named == sampler_data(seeded(name, 5), SPACE).named


def test_what_a_sampler_learnt_in_another_study_is_left_out() -> None:
    with quiet():
        used = sampled(TPESampler(seed=3, group=True))
    assert vars(used)["_gamma"] is not None
    given = sampler_data(used, SPACE)
    assert given.warning is not None
    assert given.named == sampler_data(TPESampler(group=True), SPACE).named
    assert sampler_data(sampled(NSGAIISampler(population_size=4)), SPACE).warning is not None


def test_all_generators_are_looked_at_as_the_first_may_never_have_drawn() -> None:
    used = NSGAIISampler(seed=3)
    optuna.create_study(sampler=used).ask().suggest_float("x", 0, 1)
    assert used._rng._rng is not None
    assert int(used._rng._rng.get_state()[1][0]) == 3  # type: ignore[index]
    assert sampler_data(used, SPACE).warning is not None


def test_a_seed_inside_that_differs_is_said_not_to_be_used() -> None:
    given = sampler_data(CmaEsSampler(seed=3, independent_sampler=TPESampler(seed=9)), SPACE)
    assert given.seed == 3
    assert given.warning is not None
    assert "9" in given.warning


def test_a_grid_brings_a_hash_without_a_warning() -> None:
    given = sampler_data(GridSampler(GRID, seed=4), SPACE)
    assert given.warning is None
    assert given.seed == sampler_data(GridSampler(GRID, seed=4), SPACE).seed
    assert given.seed != sampler_data(GridSampler(GRID, seed=5), SPACE).seed


@pytest.mark.parametrize("seed", [[1, 2, 3], np.array([7, 8])], ids=["list", "array"])
def test_a_seed_that_is_no_whole_number_is_hashed_with_a_warning(seed: Any) -> None:
    found = seed_of(RandomSampler(seed))
    assert found.warning is not None
    assert found == seed_of(RandomSampler(seed))


def test_a_generator_that_was_reseeded_from_the_system_is_hashed() -> None:
    sampler = RandomSampler(3)
    sampler.reseed_rng()
    assert seed_of(sampler).warning is not None
