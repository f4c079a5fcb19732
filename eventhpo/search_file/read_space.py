"""The `[space."Section/name"]` tables and the `[[trial]]` points in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

from eventhpo.core.search.ranges import from_job, full_name, to_job
from eventhpo.core.search.space import read_sets, single_ranges
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    ParameterChoice,
    ParameterSet,
    Range,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.core.validation.mistakes import MISSING, Mistake, path, unknown
from eventhpo.core.validation.validators import Validator, Wrong, array, boolean, integer, number
from eventhpo.optuna_adapter.space_checks import name_mistakes, parameter_mistakes
from eventhpo.search_file.table import Table

RANGES = (
    "float",
    "int",
    "categorical",
    "UniformParameterRange",
    "LogUniformParameterRange",
    "UniformIntegerParameterRange",
    "DiscreteParameterRange",
)
TYPES = (*RANGES, "ParameterSet")
_LARGEST = 2**63 - 1  # what a log's integers hold

T = TypeVar("T")
Keys: TypeAlias = tuple[str | int, ...]


def read_space(tables: object, mistakes: list[Mistake]) -> tuple[Parameter, ...]:
    """Return the parameters of the space that are sound, and add what is wrong to *found*."""
    if not isinstance(tables, dict) or not tables:
        mistakes.append(Mistake("space", tables, 'at least one parameter, as [space."General/lr"]'))
        return ()
    space: list[Parameter] = []
    first: dict[str, str] = {}
    for name, values in tables.items():
        if _is_set(values):
            if (chosen := _parameter_set(name, values, mistakes)) is not None:
                space.append(chosen)
            continue
        if (full := full_name(name)) in first:
            mistakes.append(Mistake(path("space", name), name, f"a name of its own: {first[full]} is {full} already"))
            continue
        first[full] = name
        keys = ("space", name)
        if _is_name(keys, name, full, mistakes) and (p := _range(keys, full, values, mistakes, TYPES)) is not None:
            space.append(p)
    mistakes += [mistake.within("space") for mistake in name_mistakes(tuple(space))]
    return tuple(space)


def declared_names(tables: object) -> set[str]:
    """Return every name that a job gets by *tables*, sound or not."""
    names: set[str] = set()
    for name, values in tables.items() if isinstance(tables, dict) else ():
        if _is_set(values):
            sets = values.get("sets")
            for chosen in sets if isinstance(sets, list) else ():
                names.update(map(full_name, chosen if isinstance(chosen, dict) else ()))
        else:
            names.add(full_name(name))
    return names


def _is_set(values: object) -> bool:
    return isinstance(values, dict) and values.get("type") == "ParameterSet"


def _is_name(keys: Keys, name: str, full: str, mistakes: list[Mistake]) -> bool:
    section, _, rest = full.partition("/")
    if section.strip() and rest.strip() and name.isprintable():
        return True
    mistakes.append(Mistake(path(*keys), name, "a name as Section/name, or a name alone for section General"))
    return False


# ---------------------------------------------------------------- ranges


def _range(keys: Keys, full: str, values: object, mistakes: list[Mistake], types: tuple[str, ...]) -> Range | None:
    if not isinstance(values, dict):
        mistakes.append(Mistake(path(*keys), values, "a table with a type and a range"))
        return None
    kind = values.get("type", MISSING)
    if kind not in RANGES:
        place = path(*keys, "type")
        missing = Mistake(place, kind, "one of " + ", ".join(types))
        mistakes.append(unknown(place, kind, types, "one of") if isinstance(kind, str) else missing)
        return None
    wrong: list[Mistake] = []
    table = Table(values, wrong, *keys)
    table.raw("type")
    p = _READERS[kind](table, full)
    table.done(f"a key of {kind}")
    if p is not None and not wrong:
        wrong += [mistake.within(*keys) for mistake in parameter_mistakes(p)]
    mistakes += wrong
    return None if wrong else p


def _uniform(table: Table, name: str) -> Range | None:
    low, high = table.take("min_value", number()), table.take("max_value", number())
    step, last = _step(table, number(above=0)), _includes_max(table)
    if low is None or high is None:
        return None
    return UniformParameterRange(name=name, min_value=low, max_value=high, step_size=step, include_max_value=last)


def _log_uniform(table: Table, name: str) -> Range | None:
    low, high = table.take("min_value", number()), table.take("max_value", number())
    base = table.take("base", number(above=1), 10.0)
    step, last = _step(table, number(above=0)), _includes_max(table)
    if low is None or high is None:
        return None
    return LogUniformParameterRange(
        name=name, min_value=low, max_value=high, base=base, step_size=step, include_max_value=last
    )


def _integer(table: Table, name: str) -> Range | None:
    low, high = table.take("min_value", integer()), table.take("max_value", integer())
    step, last = _step(table, integer(least=1)), _includes_max(table)
    if low is None or high is None:
        return None
    return UniformIntegerParameterRange(
        name=name, min_value=low, max_value=high, step_size=step or 1, include_max_value=last
    )


def _discrete(table: Table, name: str) -> Range | None:
    values = table.take("values", array(_scalar(), least=1))
    return None if values is None else DiscreteParameterRange(name=name, values=tuple(values))


def _float(table: Table, name: str) -> Range | None:
    """Read Optuna's words: *low* and *high* are values also with *log*."""
    log = table.take("log", boolean(), False)
    low = table.take("low", number(above=0) if log else number())
    high = table.take("high", number(above=0) if log else number())
    step = table.take("step", number(above=0), None)
    if log and step is not None:
        table.wrong(step, "no step where log is true: Optuna has none there either", "step")
    if low is None or high is None:
        return None
    if log:
        # Exponents between 0 and 1 would look like values that were meant, and a hint would say so.
        base = 1.01 if low >= 1 and high <= 10 else 10.0
        return LogUniformParameterRange(
            name=name, min_value=math.log(low, base), max_value=math.log(high, base), base=base
        )
    return UniformParameterRange(name=name, min_value=low, max_value=high, step_size=step)


def _int(table: Table, name: str) -> Range | None:
    if table.take("log", boolean(), False):
        table.wrong(True, 'false for an int; a float with log = true, or type = "categorical" with choices', "log")
    low, high = table.take("low", integer()), table.take("high", integer())
    step = table.take("step", integer(least=1), 1)
    if low is None or high is None:
        return None
    return UniformIntegerParameterRange(name=name, min_value=low, max_value=high, step_size=step)


def _categorical(table: Table, name: str) -> Range | None:
    choices = table.take("choices", array(_scalar(), least=1))
    return None if choices is None else DiscreteParameterRange(name=name, values=tuple(choices))


def _step(table: Table, kind: Validator[T]) -> T | None:
    return table.take("step_size", kind, None)


def _includes_max(table: Table) -> bool:
    return table.take("include_max_value", boolean(), True)


def _scalar() -> Validator[Scalar]:
    expected = "a string, a number, true, false or { none = true }"

    def read(value: object) -> Scalar:
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise Wrong("a whole number of at most 63 bits")
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise Wrong(expected)

    return Validator(expected, read)


_READERS = {
    "float": _float,
    "int": _int,
    "categorical": _categorical,
    "UniformParameterRange": _uniform,
    "LogUniformParameterRange": _log_uniform,
    "UniformIntegerParameterRange": _integer,
    "DiscreteParameterRange": _discrete,
}


# ---------------------------------------------------------------- sets


def _parameter_set(name: str, values: Mapping[str, object], mistakes: list[Mistake]) -> ParameterSet | None:
    wrong: list[Mistake] = []
    if not name.strip() or not name.isprintable():
        wrong.append(Mistake(path("space", name), name, "a name for the choice among the sets"))
    table = Table(dict(values), wrong, "space", name)
    table.raw("type")
    given = table.raw("sets")
    table.done("a key of ParameterSet")
    if not isinstance(given, list) or not given:
        place = path("space", name, "sets")
        wrong.append(Mistake(place, given, f"at least one [[{place}]]"))
        given = []
    sets = [_choice(("space", name, "sets", k), choice_table, wrong) for k, choice_table in enumerate(given)]
    chosen = ParameterSet(name=name, sets=tuple(sets))
    if not wrong:
        wrong += [mistake.within("space", name) for mistake in parameter_mistakes(chosen)]
    mistakes += wrong
    return None if wrong else chosen


def _choice(keys: Keys, table: object, mistakes: list[Mistake]) -> ParameterChoice:
    if not isinstance(table, dict) or not table:
        mistakes.append(Mistake(path(*keys), table, "a value or a range for at least one parameter"))
        return ParameterChoice()
    values: dict[str, Scalar] = {}
    ranges: dict[str, Range] = {}
    first: dict[str, str] = {}
    for name, value in table.items():
        place, full = (*keys, name), full_name(name)
        if full in first:
            mistakes.append(
                Mistake(path(*place), name, f"each parameter once in a set: {first[full]} is {full} already")
            )
            continue
        first[full] = name
        if not _is_name(place, name, full, mistakes):
            continue
        if _is_set(value):
            mistakes.append(Mistake(path(*place, "type"), "ParameterSet", "a range: a set holds no other sets"))
        elif isinstance(value, dict):
            if (p := _range(place, full, value, mistakes, RANGES)) is not None:
                ranges[full] = p
        else:
            values[full] = _fixed(place, value, mistakes)
    return ParameterChoice(values=values, ranges=tuple(ranges.values()))


def _fixed(place: Keys, value: object, mistakes: list[Mistake]) -> Scalar:
    try:
        return _scalar().read(value)
    except Wrong as wrong:
        mistakes.append(Mistake(path(*place), value, f"{wrong}, or a table with a type and a range"))
        return None


# ---------------------------------------------------------------- points to try first


def read_trials(
    tables: object, space: tuple[Parameter, ...], declared: set[str], *, whole: bool, mistakes: list[Mistake]
) -> tuple[dict[str, Scalar], ...]:
    """Return the points of `[[trial]]` as job values, and add what is wrong to *found*.

    *declared* are the full names in the file: what stands there but is not sound is
    reported where it stands, not again at each point. *whole*: a point names them all.
    """
    if tables is MISSING:
        return ()
    if not isinstance(tables, list):
        mistakes.append(Mistake("trial", tables, "[[trial]], with two brackets: there may be several"))
        return ()
    return tuple(_point(k, values, space, declared, whole=whole, mistakes=mistakes) for k, values in enumerate(tables))


def _point(
    k: int, values: object, space: tuple[Parameter, ...], declared: set[str], *, whole: bool, mistakes: list[Mistake]
) -> dict[str, Scalar]:
    if not isinstance(values, dict) or not values:
        mistakes.append(Mistake(path("trial", k), values, "a value for at least one parameter of the space"))
        return {}
    known = {p.name: p for p in single_ranges(space)}
    point: dict[str, Scalar] = {}
    places: dict[str, str] = {}
    for name, value in values.items():
        place, full = path("trial", k, name), full_name(name)
        if full not in declared:
            mistakes.append(unknown(place, full, sorted(declared), "a parameter of the space"))
        elif full in places:
            mistakes.append(Mistake(place, name, f"each parameter once: this is {full} again"))
        elif (p := known.get(full)) is not None:
            point[full] = _value(place, p, value, mistakes)
        else:
            point[full] = value
        places.setdefault(full, place)
    read, wrong = read_sets(space, point)
    mistakes += [replace(mistake, place=places.get(mistake.place, path("trial", k))) for mistake in wrong]
    point |= read
    if whole and (left := declared - {full_name(name) for name in values}):
        mistakes.append(
            Mistake(path("trial", k), values, f"a value for {', '.join(sorted(left))} too: a grid adds none")
        )
    return point


def _value(place: str, p: Range, value: Scalar, mistakes: list[Mistake]) -> Scalar:
    try:
        return to_job(p, from_job(p, value))
    except ValueError as wrong:
        mistakes.append(Mistake(place, value, str(wrong)))
        return None
