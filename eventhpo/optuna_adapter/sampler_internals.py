"""What Optuna's samplers work out inside and show to nobody, read by Optuna's private names.

`tests/optuna_adapter/test_private_names.py` lists these names, with what breaks when Optuna changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.samplers import RandomSampler
from optuna.samplers._tpe import sampler as tpe
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState


class TpeSplit(NamedTuple):
    """The trials that TPE models as better and as worse; with *constant_liar* running ones are among the worse."""

    better: Sequence[FrozenTrial]
    worse: Sequence[FrozenTrial]
    constant_liar: bool


def base_sampler(sampler: Any) -> Any:
    """Return the sampler that draws what a `PartialFixedSampler` does not fix; any other sampler itself."""
    return getattr(sampler, "_base_sampler", sampler)


def independent_sampler(sampler: Any) -> Any:
    """Return the sampler that draws what `CmaEsSampler` or `GPSampler` does not model."""
    return sampler._independent_sampler


def hand_on_search_space(sampler: Any, kept: dict[bool, IntersectionSearchSpace]) -> None:
    """Give a fresh sampler the intersection of search spaces that the sampler before it worked out.

    A fresh sampler would go through all trials for it, a third of the work of a TPESampler at
    a thousand trials. *kept* has it by whether pruned trials count, and belongs to one study.
    """
    asked = base_sampler(sampler)
    space = getattr(asked, "_search_space", None)  # some samplers have none, GridSampler's is its grid
    if isinstance(space, IntersectionSearchSpace):
        asked._search_space = kept.setdefault(space._include_pruned, space)


def reseed(sampler: RandomSampler, seed: int) -> None:
    """Make *sampler* one that was made with *seed*: a third of the cost of a new one, whose generator reads entropy."""
    sampler._rng.rng.seed(seed)


def does_nothing_around_trials(sampler: Any) -> bool:
    """Whether *sampler* does nothing before and after a trial, though its class has methods for both.

    Those of a TPESampler hand on to a RandomSampler, which has none, and ask the constraints, if there are any.
    """
    return type(sampler) is tpe.TPESampler and sampler._constraints_func is None


def startup_trials(sampler: Any) -> int:
    """Return how many trials *sampler* needs before it draws by its own rule."""
    return int(sampler._n_startup_trials)


def cma_trials(sampler: Any, study: optuna.Study) -> int:
    """Return how many trials of *study* count for the start-up of a `CmaEsSampler`."""
    return len(sampler._get_trials(study))


def counts_pruned_trials(sampler: Any) -> bool:
    """Whether a `CmaEsSampler` also learns from pruned trials."""
    return bool(sampler._consider_pruned_trials)


def grid_size(sampler: Any) -> int:
    """Return how many points the grid of a `GridSampler` has."""
    return len(sampler._all_grids)


def tpe_split(sampler: Any, study: optuna.Study) -> TpeSplit:
    """Return the split that `TPESampler._sample` of Optuna 5 works on."""
    constant_liar = bool(sampler._constant_liar)
    states = [TrialState.COMPLETE, TrialState.PRUNED, *([TrialState.RUNNING] if constant_liar else [])]
    trials = study._get_trials(deepcopy=False, states=tuple(states), use_cache=False)
    gamma = tpe.default_gamma if len(study.directions) == 1 else tpe.default_gamma_multiobjective
    finished = sum(trial.state != TrialState.RUNNING for trial in trials)
    better, worse = tpe._split_trials(study, trials, gamma(finished))
    return TpeSplit(better, worse, constant_liar)


def replace_acquisition(sampler: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Have a `TPESampler` judge its candidates by what *wrap* makes of its own acquisition function."""
    sampler._compute_acquisition_func = wrap(sampler._compute_acquisition_func)
