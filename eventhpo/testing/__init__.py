"""Simulated jobs and clock: a whole search in a test, in milliseconds.

    from eventhpo.testing import Script, search, simulate

    def curve(trial, attempt, params):
        return Script(points=tuple((i, params["General/x"] + 1 / i) for i in range(1, 6)))

    state = simulate(tmp_path / "search.db", search(total_max_jobs=20, max_iteration_per_job=5), curve)

The tests that a backend of your own has to pass are in `eventhpo.testing.contract`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventhpo.testing.searches import search, simulate
    from eventhpo.testing.simulated import Script, SimulatedClock, SimulatedJobs

__all__ = ["Script", "SimulatedClock", "SimulatedJobs", "search", "simulate"]

_HOMES = {
    "Script": "eventhpo.testing.simulated",
    "SimulatedClock": "eventhpo.testing.simulated",
    "SimulatedJobs": "eventhpo.testing.simulated",
    "search": "eventhpo.testing.searches",
    "simulate": "eventhpo.testing.searches",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'eventhpo.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
