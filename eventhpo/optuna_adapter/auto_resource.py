"""The "auto" resource of SuccessiveHalving and Hyperband, fixed once for a whole search.

Optuna guesses it from the first complete trial and keeps the guess inside the pruner,
so there it depends on when the process began. Here it is fixed at the first verdict
after a trial with reports has completed. It is recorded, and every pruner that is
built later gets the recorded value.
"""

from __future__ import annotations

from typing import Any

from eventhpo.core.search.spec import ComponentConfig

_AUTO = {"SuccessiveHalvingPruner": "min_resource", "HyperbandPruner": "max_resource"}


def is_auto(named: ComponentConfig) -> bool:
    """Whether this pruner guesses a resource from the complete trials."""
    key = _AUTO.get(named.name)
    return key is not None and named.args.get(key, "auto") == "auto"


def latched_resource(named: ComponentConfig, last_step: int) -> int:
    """Return what an "auto" pruner guesses when *last_step* is the largest last iteration of a complete trial.

    Raises:
        ValueError: The pruner guesses nothing (`is_auto`).
    """
    if not is_auto(named):
        raise ValueError(f"{named.name} has no resource that is found out by itself")
    return max(last_step // 100, 1) if named.name == "SuccessiveHalvingPruner" else last_step + 1


def latched_args(named: ComponentConfig, latched: int | None) -> dict[str, Any]:
    """Return the arguments of *named* with *latched* in the place of an "auto"."""
    if latched is None or not is_auto(named):
        return named.args
    return named.args | {_AUTO[named.name]: latched}
