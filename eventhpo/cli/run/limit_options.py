"""An option for each limit of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from eventhpo.core.search.spec import Limits, option

F = TypeVar("F", bound=Callable[..., Any])

_LIMITS = {
    "num_concurrent_workers": "Jobs that run at a time.",
    "total_max_jobs": "Budget in jobs of max_iteration_per_job; without that, number of trials.",
    "pool_period_min": "Longest wait between two looks at the jobs.",
    "time_limit_per_job": "A job that runs longer is stopped.",
    "compute_time_limit": "Time summed over all jobs after which the search ends.",
    "wall_time_limit": "Time since its first start after which the search ends.",
    "max_failures_per_trial": "Retries of a trial whose job failed.",
    "max_lost_per_trial": "Retries of a trial whose job was lost.",
    "max_failed_trials": "Failed trials that end the search.",
    "target_value": "Value of a completed trial that ends the search.",
    "patience": "Completed trials without a gain that end the search.",
    "max_trials": "Number of trials, whatever budget is left.",
}

_TIMES = ("pool_period_min", "time_limit_per_job", "compute_time_limit", "wall_time_limit")


def limit_options(command: F) -> F:
    """Give *command* an option for each limit of a search."""
    for name in reversed(Limits.__struct_fields__):
        lifted = getattr(Limits(), name) is None
        metavar = f"{'TIME' if name in _TIMES else 'N'}{'|none' if lifted else ''}"
        unit = " Minutes, or as 8h, 90m, 45s, 1h30m." if name in _TIMES else ""
        text = f"{_LIMITS[name]}{unit}{' none lifts it.' if lifted else ''}  [default: as it is]"
        command = click.option(option(name), name, metavar=metavar, help=text)(command)
    return command
