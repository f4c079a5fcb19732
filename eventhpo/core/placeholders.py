"""Braces in a command: which of them a job's parameters replace, and which look as if they were meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from eventhpo.core.mistakes import Mistake, nearest
from eventhpo.core.ranges import full_name
from eventhpo.core.space import conditional_names, job_names
from eventhpo.core.spec import Parameter

SLOT = "slot"
PLACE = re.compile(r"\{([^{}]+)\}")
_NAME = re.compile(r"[\w./ -]+")  # what a parameter may well be called: no JSON, no format of a number


def mistakes(command: Sequence[str], space: tuple[Parameter, ...]) -> Iterator[Mistake]:
    """Yield a mistake for each word with a name that only some sets of a `ParameterSet` have; places are relative."""
    for k, word in enumerate(command):
        for name in sorted(conditional_names(space)):
            if f"{{{name}}}" in word:
                what = f"only names that every job gets: some sets have no {name}, so read it from EVENTHPO_PARAMS"
                yield Mistake(f"[{k}]", word, what)


def near_misses(command: Sequence[str], space: tuple[Parameter, ...]) -> Iterator[str]:
    """Yield a warning for each brace that names nothing, and nearly names a parameter: it stays as it is."""
    names = [*job_names(space), SLOT]
    for k, word in enumerate(command):
        for name in PLACE.findall(word):
            meant = None if name in names or not _NAME.fullmatch(name) else _meant(name, names)
            if meant is not None:
                yield f"command[{k}]: {{{name}}} is no name of the space and stays as it is; did you mean {{{meant}}}?"


def _meant(name: str, names: Sequence[str]) -> str | None:
    return full_name(name) if full_name(name) in names else nearest(name, names)
