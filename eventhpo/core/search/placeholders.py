"""Braces in a command: what a job's parameters replace, and what was surely meant to be replaced.

`{Section/name}` and `{slot}` become the value; a name without a section is one of `General`, so `{lr}` is
`{General/lr}`. A word that is `{Section/name?text}` as a
whole becomes *text* where the parameter is true, and is left out where it is false or None.
All other braces stay.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from eventhpo.core.search.ranges import full_name
from eventhpo.core.search.space import conditional_names, job_names, parameter_sets, single_ranges
from eventhpo.core.search.spec import DiscreteParameterRange, Parameter, Range, Scalar
from eventhpo.core.validation.mistakes import Mistake

SLOT = "slot"
_PLACE = re.compile(r"\{([^{}]+)\}")
_FLAG = re.compile(r"\{([^{}?]+)\?([^{}]+)\}")
_NAME = re.compile(r"[\w./ -]+")  # what a parameter may well be called: no JSON, no format of a number
_NEAR = 0.75  # of difflib's ratio: a letter too many or too few in a short name


def words(command: Sequence[str], params: Mapping[str, Scalar], slot: int) -> tuple[str, ...]:
    """Return *command* as the job of *params* gets it; each brace is replaced once."""
    values = {**params, SLOT: slot}

    def value(place: re.Match[str]) -> str:
        name = _resolved(place[1], values)
        return str(values[name]) if name in values else place[0]

    command_words: list[str] = []
    for word in command:
        flag = _FLAG.fullmatch(word)
        name = "" if flag is None else _resolved(flag[1], params)
        if flag is None or name not in params:
            command_words.append(_PLACE.sub(value, word))
        elif params[name]:
            command_words.append(flag[2])
    return tuple(command_words)


def _resolved(name: str, names: Collection[str]) -> str:
    """Return the parameter that *name* in braces means: the one of that name, else the one of `General`."""
    return full_name(name) if name not in names and full_name(name) in names else name


def unnamed(command: Sequence[str], space: tuple[Parameter, ...]) -> list[str]:
    """Return the parameters of *space* that *command* leaves out, though it names others; none if it names none."""
    known = job_names(space)
    named: set[str] = set()
    for word in command:
        flag = _FLAG.fullmatch(word)
        named |= {_resolved(name, known) for name in ([flag[1]] if flag is not None else _PLACE.findall(word))}
    left_out = [name for name in known if name not in named and name not in conditional_names(space)]
    return left_out if named & {*known} else []


def mistakes(command: Sequence[str], space: tuple[Parameter, ...], declared: Collection[str] = ()) -> Iterator[Mistake]:
    """Yield a mistake for each word with a brace that no job, or not every job, could fill; places are relative.

    *declared* are names of parameters that are reported elsewhere.
    """
    known = job_names(space)
    for k, word in enumerate(command):
        flag = _FLAG.fullmatch(word)
        names = [_resolved(name, known) for name in ([flag[1]] if flag is not None else _PLACE.findall(word))]
        for name in sorted(conditional_names(space) & {*names}):
            expected = f"only names that every job gets: some sets have no {name}, so read it from EVENTHPO_PARAMS"
            yield Mistake(f"[{k}]", word, expected)
        yield from (mistake for name in names if (mistake := _near_miss(k, name, space, declared)) is not None)
        if flag is not None and names[0] in known and not _is_switch(space, names[0]):
            yield Mistake(f"[{k}]", word, f"a parameter whose values are true and false, which {names[0]} is not")


def _near_miss(k: int, name: str, space: tuple[Parameter, ...], declared: Collection[str]) -> Mistake | None:
    """Return the mistake of a name that is none of the space, but so near to one that it was meant."""
    names = [*job_names(space), SLOT]
    if name in names or name in declared or not _NAME.fullmatch(name):
        return None
    meant = _meant(name, names)
    expected = "a parameter of the space (other braces stay as they are)"
    return None if meant is None else Mistake(f"[{k}]", f"{{{name}}}", expected, f"{{{meant}}}")


def _meant(name: str, names: Sequence[str]) -> str | None:
    # A name without a section is held against names without theirs: else "General/" makes all of them near.
    by_short_name = {
        full.casefold() if "/" in name else full.rpartition("/")[2].casefold(): full for full in reversed(names)
    }
    close = difflib.get_close_matches(name.casefold(), by_short_name, n=1, cutoff=_NEAR)
    return by_short_name[close[0]] if close else None


def _is_switch(space: tuple[Parameter, ...], name: str) -> bool:
    """Whether every value of the parameter *name* is true, false or None."""
    ranges: list[Range] = [p for p in single_ranges(space) if p.name == name]
    values: list[Scalar] = []
    for choice in (choice for p in parameter_sets(space) for choice in p.sets):
        ranges += [r for r in choice.ranges if r.name == name]
        values += [choice.values[name]] if name in choice.values else []
    for r in ranges:
        values += r.values if isinstance(r, DiscreteParameterRange) else (0,)
    return all(value is None or isinstance(value, bool) for value in values)
