"""Samplers and pruners as data: a name of Optuna's, and arguments that JSON can carry.

`check_sampler` and `check_pruner` say what is wrong with one before a search
begins; `build_sampler` and `build_pruner` make a fresh instance for each decision.
"""

from __future__ import annotations

from eventhpo.asking.building import build_pruner, build_sampler, quiet
from eventhpo.asking.catalogue import CATALOGUE
from eventhpo.asking.checking import check_pruner, check_sampler
from eventhpo.asking.fit import normalised
from eventhpo.asking.latch import is_auto, latched_resource
from eventhpo.asking.seeds import derived_seed

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
