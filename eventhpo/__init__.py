"""Hyper-parameter search that cannot be lost and can always explain itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventhpo.optimizer.doors import LocalJobs
    from eventhpo.optimizer.optimizer import OptimizerOptuna

__all__ = ["LocalJobs", "OptimizerOptuna"]

# loaded when they are asked for: a training script imports eventhpo.job, and must not wait for ClearML
_HOMES = {"LocalJobs": "eventhpo.optimizer.doors", "OptimizerOptuna": "eventhpo.optimizer.optimizer"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eventhpo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
