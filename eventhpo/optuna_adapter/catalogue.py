"""Which of Optuna's samplers, pruners, crossovers and mutations are supported, and their arguments.

Pure data: importing it does not import Optuna. `optuna_classes` has the class for each name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from eventhpo.core.validation.validators import (
    Validator,
    Wrong,
    array,
    boolean,
    choice,
    either,
    integer,
    number,
    optional,
)

Role: TypeAlias = Literal["sampler", "pruner", "crossover", "mutation"]


@dataclass(frozen=True)
class Nested:
    """An argument that is itself a sampler, pruner, crossover or mutation."""

    role: Role


@dataclass(frozen=True)
class ComponentSpec:
    """One class of Optuna's: the arguments that it takes as data, and those that are refused, with the way out."""

    args: dict[str, Validator[Any] | Nested] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


EXTRAS = {"cmaes": "cmaes", "scipy": "scipy", "torch": "gp"}  # package -> the extra of eventhpo that brings it


def _mapping(expected: str) -> Validator[dict[str, Any]]:
    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
            raise Wrong(expected)
        return value

    return Validator(expected, read)


_POINT = _mapping("a table of parameters and one value each")
_LISTS = _mapping("a table of parameters and a list of values each")
_COUNT = integer(least=0)
_SHARE = number(least=0, most=1)
_SHARE_ABOVE_0 = number(above=0, most=1)

_CALLABLE = "nothing: a log cannot record a function; leave it out"
_NO_EFFECT = "nothing: it has no effect since Optuna {}"
_SEED = "nothing: the seed of a search stands at the top of the file, as seed"
_SEEDED = {"seed": _SEED}

_GENETIC: dict[str, Validator[Any] | Nested] = {
    "population_size": integer(least=2),
    "mutation": Nested("mutation"),
    "mutation_prob": optional(_SHARE),
    "crossover": Nested("crossover"),
    "crossover_prob": _SHARE,
    "swapping_prob": _SHARE,
}
_GENETIC_REFUSED = _SEEDED | dict.fromkeys(
    (
        "constraints_func",
        "elite_population_selection_strategy",
        "child_generation_strategy",
        "after_trial_strategy",
    ),
    _CALLABLE,
)

_SAMPLERS = {
    "BruteForceSampler": ComponentSpec({"avoid_premature_stop": boolean()}, refused=_SEEDED),
    "CmaEsSampler": ComponentSpec(
        {
            "x0": optional(_POINT),
            "sigma0": optional(number(above=0)),
            "n_startup_trials": _COUNT,
            "independent_sampler": Nested("sampler"),
            "warn_independent_sampling": boolean(),
            "consider_pruned_trials": boolean(),
            # Below 4 the strategy has one parent only, and cmaes divides by zero.
            "popsize": optional(integer(least=4)),
            "use_separable_cma": boolean(),
            "with_margin": boolean(),
            "lr_adapt": boolean(),
        },
        refused=_SEEDED
        | {
            "source_trials": "nothing: trials of another study are no argument; enqueue their points as [[trial]]",
            "restart_strategy": _NO_EFFECT.format("4.4"),
            "inc_popsize": _NO_EFFECT.format("4.4"),
        },
        needs=("cmaes",),
    ),
    "GPSampler": ComponentSpec(
        {
            "independent_sampler": Nested("sampler"),
            "n_startup_trials": _COUNT,
            "deterministic_objective": boolean(),
            "warn_independent_sampling": boolean(),
        },
        refused=_SEEDED | {"constraints_func": _CALLABLE},
        needs=("torch", "scipy"),
    ),
    "GridSampler": ComponentSpec({"search_space": _LISTS}, required=("search_space",), refused=_SEEDED),
    "NSGAIIISampler": ComponentSpec(
        _GENETIC
        | {
            "reference_points": optional(array(array(number()))),
            "dividing_parameter": integer(least=1),
        },
        refused=_GENETIC_REFUSED,
    ),
    "NSGAIISampler": ComponentSpec(_GENETIC, refused=_GENETIC_REFUSED),
    "PartialFixedSampler": ComponentSpec(
        {"fixed_params": _POINT, "base_sampler": Nested("sampler")},
        required=("fixed_params", "base_sampler"),
        refused=_SEEDED,
    ),
    "QMCSampler": ComponentSpec(
        {
            "qmc_type": choice("sobol", "halton"),
            "scramble": boolean(),
            "independent_sampler": Nested("sampler"),
            "warn_independent_sampling": boolean(),
        },
        refused=_SEEDED
        | {"warn_asynchronous_seeding": "nothing: every sampler of a search is seeded, there is nothing to warn of"},
        needs=("scipy",),
    ),
    "RandomSampler": ComponentSpec(refused=_SEEDED),
    "TPESampler": ComponentSpec(
        {
            "prior_weight": optional(number(above=0)),
            "consider_magic_clip": optional(boolean()),
            "consider_endpoints": optional(boolean()),
            "n_startup_trials": _COUNT,
            "n_ei_candidates": integer(least=1),
            "multivariate": optional(boolean()),
            "group": boolean(),
            "warn_independent_sampling": optional(boolean()),
            "constant_liar": boolean(),
        },
        refused=_SEEDED
        | dict.fromkeys(("gamma", "weights", "constraints_func"), _CALLABLE)
        | {"consider_prior": _NO_EFFECT.format("4.3")},
    ),
}

_EVERY: dict[str, Validator[Any] | Nested] = {
    "n_startup_trials": _COUNT,
    "n_warmup_steps": _COUNT,
    "interval_steps": integer(least=1),
    "n_min_trials": integer(least=1),
}
_PRUNERS = {
    "HyperbandPruner": ComponentSpec(
        {
            "min_resource": integer(least=1),
            "max_resource": either(integer(least=1), choice("auto")),
            "reduction_factor": integer(least=2),
            "bootstrap_count": _COUNT,
        }
    ),
    "MedianPruner": ComponentSpec(_EVERY),
    "NopPruner": ComponentSpec(),
    "PatientPruner": ComponentSpec(
        {"wrapped_pruner": Nested("pruner"), "patience": _COUNT, "min_delta": number(least=0)},
        required=("patience",),
    ),
    "PercentilePruner": ComponentSpec(_EVERY | {"percentile": number(least=0, most=100)}, required=("percentile",)),
    "SuccessiveHalvingPruner": ComponentSpec(
        {
            "min_resource": either(integer(least=1), choice("auto")),
            "reduction_factor": integer(least=2),
            "min_early_stopping_rate": _COUNT,
            "bootstrap_count": _COUNT,
        }
    ),
    "ThresholdPruner": ComponentSpec(
        {
            "lower": optional(number()),
            "upper": optional(number()),
            "n_warmup_steps": _COUNT,
            "interval_steps": integer(least=1),
        }
    ),
    "WilcoxonPruner": ComponentSpec({"p_threshold": _SHARE, "n_startup_steps": _COUNT}, needs=("scipy",)),
}

_BINARY: dict[str, Validator[Any] | Nested] = {
    "eta": optional(number(least=0)),
    "uniform_crossover_prob": _SHARE,
    "use_child_gene_prob": _SHARE_ABOVE_0,
}
_CROSSOVERS = {
    "BLXAlphaCrossover": ComponentSpec({"alpha": number(least=0)}),
    "SBXCrossover": ComponentSpec(_BINARY),
    "SPXCrossover": ComponentSpec({"epsilon": optional(number(least=0))}),
    "UNDXCrossover": ComponentSpec({"sigma_xi": number(least=0), "sigma_eta": optional(number(least=0))}),
    "UniformCrossover": ComponentSpec({"swapping_prob": _SHARE}),
    "VSBXCrossover": ComponentSpec(_BINARY),
}

CATALOGUE: dict[Role, dict[str, ComponentSpec]] = {
    "sampler": _SAMPLERS,
    "pruner": _PRUNERS,
    "crossover": _CROSSOVERS,
    "mutation": {"PolynomialMutation": ComponentSpec({"eta": number(least=0)})},
}
