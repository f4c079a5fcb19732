"""The parameters of a search as axes: their short names, and where each value lies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from eventhpo.core.fold.state import State
from eventhpo.core.search.space import dimensions, job_names
from eventhpo.core.search.spec import DiscreteParameterRange, LogUniformParameterRange, Scalar
from eventhpo.views import formatting
from replay.report.data import ParameterKind, ShownParameter, TrialRows


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each of *names* without its section, unless two would then be alike."""
    last = {name: name.rpartition("/")[2] or name for name in names}
    often = Counter(last.values())
    return {name: label(name if often[last[name]] > 1 else last[name]) for name in names}


# What every object of JavaScript has.
_OF_ALL_OBJECTS = frozenset(
    (
        "__proto__",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    )
)


def label(text: str) -> str:
    """Return *text* as a chart can show it: one line, and never a name by which JavaScript reaches into its objects."""
    shown = formatting.line(text)
    return f"{shown}\u00a0" if shown in _OF_ALL_OBJECTS else shown  # Vega looks names up in plain objects


def parameters(state: State) -> list[ShownParameter]:
    """Return the parameters in the order of the space, then others that trials have."""
    names = list(dict.fromkeys([*job_names(state.search.space), *(n for t in state.trials for n in t.params)]))
    short = short_names(names)
    ranges = {p.name: p for p in dimensions(state.search.space).values()}
    shown = []
    for name in names:
        values = [t.params[name] for t in state.trials if name in t.params]
        in_space = ranges.get(name)
        kind: ParameterKind = "number" if _all_numbers(values) else "choice"
        if isinstance(in_space, DiscreteParameterRange):
            kind = "choice"
        if isinstance(in_space, LogUniformParameterRange) and kind == "number" and all(_positive(v) for v in values):
            kind = "log"
        extra = bool(state.search.space) and name not in state.job_names
        shown.append(ShownParameter(formatting.line(name), short[name], kind, extra))
    return shown


def _all_numbers(values: Iterable[Scalar]) -> bool:
    return all(_number(value) is not None for value in values)


def _number(value: Scalar) -> float | None:
    """Return *value* as a finite float, None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _positive(value: Scalar) -> bool:
    number = _number(value)
    return number is not None and number > 0


def trial_rows(state: State, shown: Sequence[ShownParameter], known: Mapping[tuple[int, str], int]) -> TrialRows:
    """Return the trials with the values of their parameters, which *shown* describes.

    *known* has the event that made a parameter of a trial known, if that was not the trial's first.
    """
    rows = TrialRows()
    for trial in state.trials:
        rows.number.append(trial.number)
        rows.seq.append(trial.seq)
        rows.source.append(trial.source)
        rows.imported.append(trial.imported is not None)
    names = list(dict.fromkeys([*job_names(state.search.space), *(n for t in state.trials for n in t.params)]))
    for name, parameter in zip(names, shown, strict=True):
        values = [(name in t.params, t.params.get(name)) for t in state.trials]
        texts = [label(formatting.scalar(value)) if there else None for there, value in values]
        numbers = [_number(value) if there and parameter.kind != "choice" else None for there, value in values]
        rows.text.append(texts)
        rows.numbers.append(numbers)
        rows.position.append(_positions(parameter.kind, texts, numbers))
        if known:
            rows.known.append([known.get((t.number, name), t.seq) for t in state.trials])
    return rows


def _positions(kind: ParameterKind, texts: Sequence[str | None], numbers: Sequence[float | None]) -> list[float | None]:
    """Return where each value lies between the least, 0, and the greatest, 1; choices in the order of their texts."""
    if kind == "choice":
        in_order = sorted({text for text in texts if text is not None}, key=_choice_order)
        places = {text: _between(place, 0, len(in_order) - 1) for place, text in enumerate(in_order)}
        return [None if text is None else places[text] for text in texts]
    scaled = [None if n is None else math.log10(n) if kind == "log" else n for n in numbers]
    there = [n for n in scaled if n is not None]
    if not there:
        return [None] * len(scaled)
    low, high = min(there), max(there)
    return [None if n is None else _between(n, low, high) for n in scaled]


def _between(value: float, low: float, high: float) -> float:
    # Halved before they are subtracted: two finite floats may lie further apart than any float.
    return 0.5 if high <= low else round((value / 2 - low / 2) / (high / 2 - low / 2), 4)


def _choice_order(text: str) -> tuple[int, float, str]:
    """Return what sorts choices as people expect: numbers by size, then texts."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def choices(rows: TrialRows, place: int) -> list[str]:
    """Return the values that trials have of the parameter at *place*, in the order of its axis."""
    return sorted({text for text in rows.text[place] if text is not None}, key=_choice_order)
