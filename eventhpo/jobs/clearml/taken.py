"""Check that the script of a base task can take the values of a search, by the types of its parameters.

ClearML's own `connect` converts the text of a parameter to the type that the script has. If it cannot, it keeps the
script's own value, with a warning in the job's output: all jobs of the search would train with the same value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from eventhpo.core.search.space import Space, dimensions
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    HyperParameter,
    ParameterSet,
    Range,
    Scalar,
    UniformIntegerParameterRange,
    clearml_text,
)

SHOWN = 3  # values of a parameter that a message names
UNTYPED = ("", "NoneType")  # types of a parameter that is None on the task: it takes any value

Values = Mapping[str, Sequence[Scalar]]  # by name: the values that a job may get, or some if all are of one type


def ranges_of(space: Space) -> Iterator[Range]:
    """Yield the ranges of *space*, also those inside sets."""
    sets = {p.name for p in space if isinstance(p, ParameterSet)}
    return (r for name, r in dimensions(space).items() if name not in sets)


def fixed_values(space: Space) -> dict[str, list[Scalar]]:
    """Return the fixed values in the sets of *space*, by name."""
    values_by_name: dict[str, list[Scalar]] = {}
    for p in space:
        for parameter_set in p.sets if isinstance(p, ParameterSet) else ():
            for name, value in parameter_set.values.items():
                values_by_name.setdefault(name, []).append(value)
    return values_by_name


def given(space: Space) -> dict[str, list[Scalar]]:
    """Return the values that jobs of *space* may get, by name; for a range of numbers, its bounds."""
    values_by_name = fixed_values(space)
    for r in ranges_of(space):
        values_by_name.setdefault(r.name, []).extend(_some(r))
    return values_by_name


def _some(r: Range) -> Iterable[Scalar]:
    if isinstance(r, DiscreteParameterRange):
        return r.values
    if isinstance(r, UniformIntegerParameterRange):
        return int(r.min_value), int(r.max_value)
    return float(r.min_value), float(r.max_value)


def misfits(declared: Sequence[HyperParameter], values: Values) -> Iterator[str]:
    """Yield a line for each parameter that cannot take a value of the search, with the values and its type."""
    known = {p.full_name: p for p in declared}
    for name, some in values.items():
        p = known.get(name)
        wrong = [value for value in some if p is not None and not takes(p.type, value)]
        if p is not None and wrong:
            shown = ", ".join(repr(value) for value in wrong[:SHOWN]) + ", ..." * (len(wrong) > SHOWN)
            yield f"{name}: the space has {shown}, and on the base task it is of type {p.type} ({p.value})"


def nones(declared: Sequence[HyperParameter], values: Values) -> list[str]:
    """Return the parameters that get None, where ClearML's `connect` would turn it into False or ''."""
    known = {p.full_name: p for p in declared}
    return [name for name, some in values.items() if None in some and name in known and known[name].type in _TURNED]


_TURNED = ("bool", "str")


def takes(kind: str, value: Scalar) -> bool:
    """Whether ClearML's `connect` can convert the text of *value* to the type *kind*, as the SDK names types.

    None and unknown types count as convertible: the script may read them itself.
    """
    text = clearml_text(value).strip()
    if value is None or kind in UNTYPED:
        return True
    match kind.split("/", maxsplit=1)[0]:
        case "bool":
            return text.lower() in ("true", "false") or _number(text) in (0.0, 1.0)
        case "int":
            return _is_int(text)
        case "float":
            return _number(text) is not None
        case "list" | "tuple":
            return text[:1] in ("[", "(")
        case "dict":
            return text[:1] == "{"
    return True


def _is_int(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
