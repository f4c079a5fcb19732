"""Searches that ask Optuna all that it can be asked: jobs that fail, resume, get lost, repeat and report NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import Event, PointEnqueued, Recorded, StopAsked
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import (
    ComponentConfig as Component,
)
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Objective,
    Parameter,
    ParameterChoice,
    ParameterSet,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.component_checks import check_pruner, check_sampler
from eventhpo.optuna_adapter.sampler_fit import normalised
from eventhpo.testing.searches import LOSS, search
from eventhpo.testing.simulated import Script, Scripts
from tests.core.random_searches import cuts
from tests.core.random_searches import scripts as random_scripts
from tests.crash.scenarios import Scenario
from tests.crash.test_crash_sweep import finish

# Not in the order of the alphabet: a log stores tables sorted, Optuna's samplers go by the order of the space.
WIDTH = UniformIntegerParameterRange(name="Net/width", min_value=4, max_value=64, step_size=4)
LR = LogUniformParameterRange(name="General/lr", min_value=-5, max_value=0, step_size=0.5)
DROP = UniformParameterRange(name="Args/drop", min_value=0.0, max_value=0.6, step_size=0.1)
SCALE = UniformParameterRange(name="Args/a", min_value=-1.0, max_value=1.0)
RATE = LogUniformParameterRange(name="Args/rate", min_value=-3, max_value=1, base=2.0)
KIND = DiscreteParameterRange(name="General/kind", values=("a", "nan", True, 3))
SPACE: tuple[Parameter, ...] = (WIDTH, SCALE, LR, DROP, RATE, KIND)
LISTED: tuple[Parameter, ...] = (WIDTH, LR, DROP, KIND)
NUMBERS: tuple[Parameter, ...] = (WIDTH, SCALE, RATE)
SETS = ParameterSet(
    name="optimizer",
    sets=(
        ParameterChoice(
            values={"General/optimizer": "sgd", "General/nesterov": False},
            ranges=(LR, UniformParameterRange(name="General/beta", min_value=0.0, max_value=0.99)),
        ),
        ParameterChoice(
            values={"General/optimizer": "sgd", "General/nesterov": True},
            ranges=(UniformParameterRange(name="General/beta", min_value=0.5, max_value=0.9, step_size=0.1),),
        ),
        ParameterChoice(values={"General/optimizer": "adam"}, ranges=(LR,)),
        ParameterChoice(values={"General/optimizer": "none"}),
    ),
)
WITH_SETS: tuple[Parameter, ...] = (WIDTH, SETS, SCALE)
LISTED_SETS: tuple[Parameter, ...] = (
    DROP,
    ParameterSet(
        name="optimizer",
        sets=(
            ParameterChoice(values={"General/optimizer": "sgd"}, ranges=(LR, KIND)),
            ParameterChoice(
                values={"General/kind": "a"}, ranges=(DiscreteParameterRange(name="General/b", values=(1, 2)),)
            ),
        ),
    ),
)
GRID = {"Net/width": [64, 4], "General/lr": [1.0, 0.001], "Args/drop": [0.3, 0.1], "General/kind": ["nan", True]}
ACCURACY = Objective("validation", "accuracy", "max_global")
LOSS_BEST = Objective("validation", "loss", "min_global")
TWO = (LOSS, ACCURACY)


def scripts(seed: int, objectives: int = 1) -> Scripts:
    """Return jobs that do all that jobs do; what they report depends on their parameters too."""
    wild = random_scripts(seed)

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        found = wild(trial, attempt, params)
        shift = sum(v * k for k, v in enumerate(params.values()) if isinstance(v, int | float)) / 8
        points: list[Any] = []
        for iteration, value, *_ in found.points:
            points.append((iteration, round(value + shift, 2)))
            points += [(iteration, value - shift / 2, k) for k in range(1, objectives)]
        if trial % 7 == 5 and points:
            points[-1] = (points[-1][0], math.inf, *points[-1][2:])
        return msgspec.structs.replace(found, points=tuple(points), launch_fails_at=None)

    return script


def scenario(
    sampler: Component = Component("TPESampler", {"n_startup_trials": 3}),
    pruner: Component = Component("NopPruner"),
    *,
    space: Sequence[Parameter] = SPACE,
    objectives: Sequence[Objective] = (LOSS,),
    seed: int = 0,
    jobs: int = 14,
    inputs: Sequence[Event] = (),
    asks: Sequence[tuple[int, Event]] = (),
    **more: Any,
) -> Scenario:
    """Return a search with four in flight, and all that can happen to it."""
    space = tuple(space)
    assert check_sampler(sampler, space, len(objectives)) == []
    assert check_pruner(pruner, len(objectives)) == []
    given: dict[str, Any] = {
        "max_iteration_per_job": 7,
        "time_limit_per_job": 0.6,
        "max_failures_per_trial": 1,
        "max_lost_per_trial": 1,
        "nan_policy": "worst" if seed % 2 else "fail",
        "num_concurrent_workers": 4,
        "total_max_jobs": jobs,
    }
    what = search(
        objectives=objectives,
        space=space,
        sampler=normalised(sampler, space),
        pruner=pruner,
        seed=seed + 1000,
        **given | more,
    )
    return Scenario(what, scripts(seed, len(objectives)), cuts(seed), inputs, asks)


def log_of(folder: Path, what: Scenario) -> list[Recorded]:
    """Return the log of a search, run to its end."""
    path = folder / f"{len(list(folder.iterdir()))}.db"
    finish(path, what)
    return list(read(path).rows)


USERS = (
    PointEnqueued(params={"Net/width": 8, "General/lr": 10.0**-2.5, "Args/drop": 0.3, "General/kind": "nan"}),
    PointEnqueued(params={"Net/width": 8, "General/lr": 10.0**-2.5, "Args/drop": 0.3, "General/kind": "nan"}),
)
PARTIAL = (PointEnqueued(params={"General/lr": 0.01, "General/kind": True}), PointEnqueued(params={"Net/width": 12}))
OF_SETS = tuple(
    PointEnqueued(params=params)
    for params in (
        {"General/optimizer": "sgd", "General/beta": 0.7},
        {"General/optimizer": "sgd", "General/beta": 0.7, "Net/width": 8},
        {"General/lr": 10.0**-2.5},
        {"General/nesterov": True, "Args/a": 0.5},
        {"Net/width": 12},
        {"General/optimizer": "adam", "General/lr": 0.01, "Net/width": 12, "Args/a": 0.25},
    )
)
ABORT = ((60, StopAsked(scope="run", jobs="abort", request="r1")),)

HALVING = Component("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2})
MEDIAN = Component("MedianPruner", {"n_startup_trials": 1, "n_warmup_steps": 1})
FIXED = {"fixed_params": {"Net/width": 8, "Args/a": 0.25}}
RANDOM = Component("RandomSampler")


def _cma(space: tuple[Parameter, ...] = NUMBERS, **args: Any) -> Scenario:
    return scenario(
        Component("CmaEsSampler", {"n_startup_trials": 2, "popsize": 4} | args), MEDIAN, space=space, jobs=22
    )


def _nsga2(**args: Any) -> Scenario:
    return scenario(Component("NSGAIISampler", {"population_size": 3} | args), MEDIAN, seed=4)


SAMPLERS: dict[str, Callable[..., Scenario]] = {
    "random": lambda: scenario(RANDOM, HALVING, inputs=PARTIAL, asks=ABORT),
    "tpe": lambda: scenario(pruner=HALVING, inputs=PARTIAL, asks=ABORT),
    "tpe, one by one": lambda: scenario(
        Component("TPESampler", {"n_startup_trials": 2, "multivariate": False, "constant_liar": False}), MEDIAN, seed=1
    ),
    "tpe in groups, told of what runs": lambda: scenario(
        Component("TPESampler", {"n_startup_trials": 2, "group": True, "multivariate": True, "constant_liar": True}),
        seed=2,
        objectives=(LOSS_BEST,),
    ),
    "tpe, its other arguments": lambda: scenario(
        Component(
            "TPESampler",
            {
                "n_startup_trials": 2,
                "prior_weight": 2.0,
                "consider_magic_clip": False,
                "consider_endpoints": True,
                "n_ei_candidates": 5,
            },
        ),
        seed=3,
    ),
    "tpe, two objectives": lambda: scenario(objectives=TWO, seed=1),
    "brute force": lambda: scenario(Component("BruteForceSampler"), HALVING, space=LISTED, inputs=USERS, seed=3),
    "brute force, careful": lambda: scenario(
        Component("BruteForceSampler", {"avoid_premature_stop": True}), space=LISTED
    ),
    "grid": lambda: scenario(
        Component("GridSampler", {"search_space": GRID}), HALVING, space=LISTED, inputs=USERS, asks=ABORT
    ),
    "sobol": lambda: scenario(Component("QMCSampler"), MEDIAN, inputs=PARTIAL, seed=5),
    "sobol, scrambled": lambda: scenario(Component("QMCSampler", {"scramble": True}), seed=6),
    "halton": lambda: scenario(
        Component("QMCSampler", {"qmc_type": "halton", "independent_sampler": {"name": "TPESampler"}}), HALVING, seed=7
    ),
    "nsga2": lambda: _nsga2(
        mutation={"name": "PolynomialMutation", "eta": 5.0}, mutation_prob=0.4, crossover_prob=0.7, swapping_prob=0.3
    ),
    "nsga2, two objectives": lambda: scenario(
        Component("NSGAIISampler", {"population_size": 3}), objectives=TWO, seed=4, inputs=PARTIAL
    ),
    "nsga3, two objectives": lambda: scenario(
        Component("NSGAIIISampler", {"population_size": 3, "dividing_parameter": 2}), objectives=TWO, seed=8
    ),
    "nsga3": lambda: scenario(Component("NSGAIIISampler", {"population_size": 3, "reference_points": [[1.0]]}), seed=9),
    "fixed, over tpe": lambda: scenario(
        Component("PartialFixedSampler", FIXED | {"base_sampler": {"name": "TPESampler", "n_startup_trials": 2}}),
        MEDIAN,
        inputs=PARTIAL,
    ),
    "fixed, over cma-es": lambda: scenario(
        Component("PartialFixedSampler", FIXED | {"base_sampler": {"name": "CmaEsSampler", "popsize": 4}}), jobs=20
    ),
    "fixed, over a sequence": lambda: scenario(
        Component("PartialFixedSampler", FIXED | {"base_sampler": {"name": "QMCSampler"}}), seed=2
    ),
    "cma-es": _cma,
    "cma-es, separable": lambda: _cma(use_separable_cma=True, consider_pruned_trials=True),
    "cma-es with margin": lambda: _cma(with_margin=True),
    "cma-es, learning rate": lambda: _cma(
        lr_adapt=True,
        x0={"Net/width": 16, "Args/a": 0.1, "Args/rate": 0.5},
        sigma0=0.3,
        independent_sampler={"name": "TPESampler", "n_startup_trials": 2},
    ),
    "sets, random": lambda: scenario(RANDOM, HALVING, space=WITH_SETS, inputs=OF_SETS, asks=ABORT),
    "sets, tpe": lambda: scenario(pruner=MEDIAN, space=WITH_SETS, inputs=OF_SETS, asks=ABORT, seed=1, jobs=18),
    "sets, tpe in groups": lambda: scenario(
        Component("TPESampler", {"n_startup_trials": 2, "group": True, "multivariate": True, "constant_liar": True}),
        space=WITH_SETS,
        inputs=OF_SETS[:1],
        seed=2,
    ),
    "sets, tpe, one by one": lambda: scenario(
        Component("TPESampler", {"n_startup_trials": 2, "multivariate": False}), HALVING, space=(SETS,), seed=3
    ),
    "sets, sobol": lambda: scenario(Component("QMCSampler"), MEDIAN, space=WITH_SETS, inputs=OF_SETS[1:], seed=5),
    "sets, nsga2": lambda: scenario(
        Component("NSGAIISampler", {"population_size": 3}), MEDIAN, space=WITH_SETS, inputs=OF_SETS, seed=4, jobs=18
    ),
    "sets, nsga3, two objectives": lambda: scenario(
        Component("NSGAIIISampler", {"population_size": 3}), space=WITH_SETS, objectives=TWO, seed=8
    ),
    "sets, brute force": lambda: scenario(Component("BruteForceSampler"), HALVING, space=LISTED_SETS, seed=3),
    "sets, cma-es": lambda: _cma(space=(*NUMBERS, SETS)),
    "sets, a fixed value": lambda: scenario(
        Component("PartialFixedSampler", FIXED | {"base_sampler": {"name": "TPESampler", "n_startup_trials": 2}}),
        MEDIAN,
        space=WITH_SETS,
    ),
    "gaussian process": lambda: scenario(Component("GPSampler", {"n_startup_trials": 2})),
} | {
    f"nsga2 with {name}": lambda name=name: _nsga2(crossover={"name": name})
    for name in (
        "BLXAlphaCrossover",
        "SBXCrossover",
        "SPXCrossover",
        "UNDXCrossover",
        "UniformCrossover",
        "VSBXCrossover",
    )
}  # fmt: skip

PRUNERS = {
    "median": Component("MedianPruner", {"n_startup_trials": 1}),
    "median, every second, of three": Component(
        "MedianPruner", {"n_startup_trials": 2, "n_warmup_steps": 1, "interval_steps": 2, "n_min_trials": 3}
    ),
    "percentile": Component("PercentilePruner", {"percentile": 60.0, "n_startup_trials": 1, "n_min_trials": 2}),
    "halving": HALVING,
    "halving by threes": Component(
        "SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 3, "min_early_stopping_rate": 1}
    ),
    "halving, a rung kept back": Component(
        "SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2, "bootstrap_count": 3}
    ),
    "halving by itself": Component("SuccessiveHalvingPruner", {"reduction_factor": 2}),
    "hyperband": Component("HyperbandPruner", {"max_resource": 7, "reduction_factor": 2}),
    "hyperband by itself": Component("HyperbandPruner", {"reduction_factor": 2, "min_resource": 1}),
    "threshold": Component("ThresholdPruner", {"upper": 8.0, "lower": -2.0, "n_warmup_steps": 1, "interval_steps": 2}),
    "wilcoxon": Component("WilcoxonPruner", {"p_threshold": 0.4, "n_startup_steps": 1}),
    "patience alone": Component("PatientPruner", {"patience": 1}),
    "patience": Component(
        "PatientPruner",
        {"patience": 0, "min_delta": 0.1, "wrapped_pruner": {"name": "MedianPruner", "n_startup_trials": 1}},
    ),
    "patience over rungs": Component(
        "PatientPruner", {"patience": 0, "wrapped_pruner": {"name": HALVING.name} | HALVING.args}
    ),
}  # fmt: skip


def made(name: str) -> Scenario:
    """Return the search of a sampler by its name here; skip where a package is missing."""
    if name == "gaussian process":
        pytest.importorskip("torch", reason="the Gaussian process sampler needs the extra gp")
    return SAMPLERS[name]()


def questions(rows: Sequence[Recorded]) -> Iterator[tuple[State, actions.Suggest | actions.Judge, Recorded]]:
    """Yield the state before each row that answers a question, the question and the row."""
    state = begin(rows[0])
    for row in rows[1:]:
        action = next_action(state) if isinstance(row.event, Decision) else None
        if isinstance(action, actions.Suggest | actions.Judge):
            yield state, action, row
        state = evolve(state, row)
