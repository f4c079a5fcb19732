"""What a search may well not mean, although it can be run: told before it begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from eventhpo.core.search import placeholders
from eventhpo.core.search.space import dimensions
from eventhpo.core.search.spec import DiscreteParameterRange, LocalCommand, LogUniformParameterRange, Search
from eventhpo.core.validation.mistakes import path

# how well-known services write their keys, a private key, a password in an address
_KEY = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{20,}"
    r"|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY|[a-z][a-z0-9+.-]{0,20}://[^/\s:@]*:[^/\s@]+@"
)
_NAME = r"(?:[\w-]*[_-])?(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key)"
_OPTION = re.compile(rf"-{{0,2}}{_NAME}", re.IGNORECASE)
_GIVEN = re.compile(rf"-{{0,2}}{_NAME}[=:](?P<value>.+)", re.IGNORECASE)


def advice(search: Search, points: int = 0) -> Iterator[str]:
    """Yield what to tell of *search*, whose file has so many *points* to try first."""
    for name, p in dimensions(search.space).items():
        if isinstance(p, LogUniformParameterRange) and 0 < p.min_value < 1 and p.max_value <= 1:
            yield _log_bounds(name, p)
    yield from _secrets(search)
    yield from _unnamed(search)
    if (text := _points_without_room(search, points)) is not None:
        yield text


def _log_bounds(name: str, p: LogUniformParameterRange) -> str:
    low, high = p.base**p.min_value, p.base**p.max_value
    given = f"{p.min_value:g} to {p.max_value:g}"
    return (
        f"{path('space', name)}: the bounds of a LogUniformParameterRange are exponents: {given} gives values from "
        f"{low:g} to {high:g}; if values from {given} are meant, give their logarithms, as -4 for 0.0001"
    )


def _unnamed(search: Search) -> Iterator[str]:
    """Yield the parameters that a command with placeholders does not name: a script with flags never sees them."""
    if isinstance(search.jobs, LocalCommand):
        for name in placeholders.unnamed(search.jobs.command, search.space):
            short = name.removeprefix("General/")
            yield (
                f"{path('space', name)}: the command does not name {{{short}}}; unless the script asks eventhpo.job "
                "for it, every job runs without it"
            )


def _secrets(search: Search) -> Iterator[str]:
    """Yield where something looks like a secret; the text does not repeat it."""
    way_on = "the log keeps it for good and shows it to every reader; let the script read it from the environment"
    if isinstance(search.jobs, LocalCommand):
        for place in _secret_words(search.jobs.command):
            yield f"command: word {place + 1} looks like a secret; {way_on}"
    for name, p in dimensions(search.space).items():
        values = p.values if isinstance(p, DiscreteParameterRange) else ()
        named = _OPTION.fullmatch(name.rpartition("/")[2]) is not None and any(isinstance(v, str) for v in values)
        if named or any(isinstance(v, str) and _KEY.search(v) for v in values):
            yield f"{path('space', name)}: a value looks like a secret; {way_on}"


def _secret_words(command: Sequence[str]) -> Iterator[int]:
    """Yield the places of the words that look like a secret, a placeholder such as {General/token} does not."""
    for place, (before, word) in enumerate(pairwise(("", *command))):
        given = _GIVEN.fullmatch(word)
        value = word if given is None else given["value"]
        follows = before.startswith("-") and _OPTION.fullmatch(before) is not None and not word.startswith("-")
        if _KEY.search(word) or ((given is not None or follows) and not value.startswith("{")):
            yield place


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
