"""Builds samplers and pruners from their names and arguments: fresh, seeded, and without warnings."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler

from eventhpo.core.search.ranges import from_job, full_name
from eventhpo.core.search.space import single_ranges
from eventhpo.core.search.spec import ComponentConfig, Parameter, Scalar
from eventhpo.optuna_adapter.auto_resource import latched_args
from eventhpo.optuna_adapter.catalogue import CATALOGUE, Nested, Role
from eventhpo.optuna_adapter.optuna_classes import CLASSES
from eventhpo.optuna_adapter.seeds import derived_seed


def build_sampler(
    named: ComponentConfig, *, space: tuple[Parameter, ...] | None, seed: int, search_seed: int
) -> BaseSampler:
    """Return a fresh sampler for one decision, all its generators seeded.

    *seed* is the seed of this decision (`derived_seed`). GridSampler and QMCSampler get
    *search_seed* instead: their order of points must be the same at each decision.
    Values of parameters in the arguments are job values, without a *space* (in a study) Optuna's own.

    Raises:
        ValueError, TypeError: The arguments do not fit (`check_sampler` says which).
    """
    with quiet():
        return _Samplers(space, search_seed).build(named.name, named.args, seed)


def build_pruner(named: ComponentConfig, latched: int | None = None) -> BasePruner:
    """Return a fresh pruner; *latched* replaces an "auto" resource, None leaves it "auto".

    Raises:
        ValueError, TypeError: The arguments do not fit (`check_pruner` says which).
    """
    with quiet():
        return cast(BasePruner, _plain("pruner", named.name, latched_args(named, latched)))


_QUIET = ContextVar("quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's warnings about experimental features and arguments that will go, and its log.

    The user chose these features, and the docs name them once; a warning at each decision
    says nothing new. An exhausted grid would log a line in each of its fifty tries.
    Inside another such block it does nothing: to set a level empties the caches of all loggers.
    """
    if _QUIET.get():
        yield
        return
    token = _QUIET.set(True)
    verbosity = optuna.logging.get_verbosity()  # the caller may use Optuna too, at a level of their own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where a curve holds NaN: pruners allow for it
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)  # WilcoxonPruner's, at each point after the best trial's last
        if verbosity < optuna.logging.ERROR:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            _QUIET.reset(token)
            if verbosity < optuna.logging.ERROR:
                optuna.logging.set_verbosity(verbosity)


class _Samplers:
    """What building a sampler needs beyond its arguments; a study, which has no space, has Optuna's own values."""

    def __init__(self, space: tuple[Parameter, ...] | None, search_seed: int) -> None:
        self.space = None if space is None else {p.name: p for p in single_ranges(space)}
        self.search_seed = search_seed

    def build(self, name: str, args: Mapping[str, Any], seed: int) -> BaseSampler:
        given = {key: self._argument(name, key, value, seed) for key, value in args.items()}
        if name == "GridSampler":
            given["seed"] = self.search_seed
        elif name == "QMCSampler":
            given["seed"] = self.search_seed
            # Optuna's own would take the sequence's seed, and give the same values in every trial.
            given.setdefault("independent_sampler", RandomSampler(_inner_seed(seed, "independent_sampler")))
        elif name != "PartialFixedSampler":
            given["seed"] = seed
        if name in ("CmaEsSampler", "GPSampler", "QMCSampler"):
            # A log line that changes no decision, and that a fresh sampler would repeat in every trial.
            given.setdefault("warn_independent_sampling", False)
        return cast(BaseSampler, _made("sampler", name, given))

    def _argument(self, name: str, key: str, value: Any, seed: int) -> Any:
        kind = CATALOGUE["sampler"][name].args.get(key)
        if kind is None:
            raise TypeError(f"{name} has no argument {key}")
        if value is None:
            return None
        if isinstance(kind, Nested):
            if kind.role != "sampler":
                return _nested(kind.role, value)
            # What PartialFixedSampler does not fix is its base's, which shall decide as it would alone.
            inner = seed if key == "base_sampler" else _inner_seed(seed, key)
            return self.build(value["name"], _without_name(value), inner)
        if key in ("x0", "fixed_params"):
            return {
                self._name(parameter): self._point_value(parameter, job_value) for parameter, job_value in value.items()
            }
        if key == "search_space":
            return {
                self._name(parameter): [self._point_value(parameter, v) for v in job_values]
                for parameter, job_values in value.items()
            }
        return np.array(value, dtype=float) if key == "reference_points" else value

    def _name(self, parameter: str) -> str:
        return parameter if self.space is None else full_name(parameter)

    def _point_value(self, name: str, value: Scalar) -> Scalar:
        if self.space is None:
            return value
        return from_job(self.space[full_name(name)], value)


def _inner_seed(seed: int, key: str) -> int:
    return derived_seed(seed, key, 0, 0)


def _nested(role: Role, value: dict[str, Any]) -> Any:
    return _plain(role, value["name"], _without_name(value))


def _plain(role: Role, name: str, args: Mapping[str, Any]) -> Any:
    part = CATALOGUE[role][name]
    given = {
        key: _nested(kind.role, value) if isinstance(kind := part.args[key], Nested) and value is not None else value
        for key, value in args.items()
    }
    if name == "PatientPruner":
        given.setdefault("wrapped_pruner", None)
    return _made(role, name, given)


def _without_name(value: dict[str, Any]) -> dict[str, Any]:
    return {key: argument for key, argument in value.items() if key != "name"}


def _made(role: Role, name: str, given: dict[str, Any]) -> Any:
    """Return an instance, passing only arguments that differ from the installed Optuna's defaults.

    So an argument that Optuna is about to drop is passed only if it matters.
    """
    made: Callable[..., Any] = CLASSES[role][name]
    defaults = _defaults(made)
    if unknown := [key for key in given if key not in defaults]:
        raise TypeError(f"{name} has no argument {unknown[0]}")
    return made(**{key: value for key, value in given.items() if not _same(value, defaults[key])})


@cache
def _defaults(made: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}


def _same(value: object, default: object) -> bool:
    return type(value) is type(default) and not isinstance(value, np.ndarray) and value == default
