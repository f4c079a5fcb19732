"""Samplers and pruners as data: a name of Optuna's, and arguments that JSON can carry.

`check_sampler` and `check_pruner` say what is wrong with one before a search
begins; `build_sampler` and `build_pruner` make a fresh instance for each decision.
"""

from __future__ import annotations

from eventhpo.optuna_adapter.auto_resource import is_auto, latched_resource
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.optuna_adapter.component_checks import check_pruner, check_sampler
from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler, quiet
from eventhpo.optuna_adapter.sampler_fit import normalised
from eventhpo.optuna_adapter.seeds import derived_seed

__all__ = [
    "CATALOGUE",
    "build_pruner",
    "build_sampler",
    "check_pruner",
    "check_sampler",
    "derived_seed",
    "is_auto",
    "latched_resource",
    "normalised",
    "quiet",
]
