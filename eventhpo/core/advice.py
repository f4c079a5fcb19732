"""What a search may well not mean, although it can be run: told before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from eventhpo.core.search.space import dimensions
from eventhpo.core.search.spec import LogUniformParameterRange, Search
from eventhpo.core.validation.mistakes import path


def advice(search: Search, points: int = 0) -> Iterator[str]:
    """Yield what to tell of *search*, whose file has so many *points* to try first."""
    for name, p in dimensions(search.space).items():
        if isinstance(p, LogUniformParameterRange) and 0 < p.min_value < 1 and p.max_value <= 1:
            yield _log_bounds(name, p)
    if (text := _points_without_room(search, points)) is not None:
        yield text


def _log_bounds(name: str, p: LogUniformParameterRange) -> str:
    low, high = p.base**p.min_value, p.base**p.max_value
    given = f"{p.min_value:g} to {p.max_value:g}"
    return (
        f"{path('space', name)}: the bounds of a LogUniformParameterRange are exponents: {given} gives values from "
        f"{low:g} to {high:g}; if values from {given} are meant, give their logarithms, as -4 for 0.0001"
    )


def _points_without_room(search: Search, points: int) -> str | None:
    limits = search.limits
    most = min((n for n in (limits.total_max_jobs, limits.max_trials) if n is not None), default=points)
    if points <= most:
        return None
    by_pruning = search.max_iteration_per_job is not None and (limits.max_trials is None or limits.max_trials > most)
    left = points - most
    which = "the last is" if left == 1 else f"the last {left} are"
    end = " only tried if other jobs end early" if by_pruning else " never tried"
    return f"[[trial]] is there {points} times, and there is a budget for {most}: {which}{end}"
