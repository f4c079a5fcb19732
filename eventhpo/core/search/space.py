"""The space as a whole: what a point of it is, what its job gets, and how many points there are.

A `ParameterSet` is several dimensions to a sampler. The choice of a set is one, under
the name of the `ParameterSet`: the position of the set, from 0. Each range inside a set
is another, `<choice>[<position>].<name>`, and a point has it only if its set is chosen.
The job knows nothing of this: it gets the plain names and values of the chosen set.

Two sets may hand a job the same; such points are one point, and count once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import TypeAlias

from eventhpo.core.search import ranges
from eventhpo.core.search.ranges import FINITE, from_job, to_job
from eventhpo.core.search.spec import DiscreteParameterRange, Parameter, ParameterChoice, ParameterSet, Range, Scalar
from eventhpo.core.validation.mistakes import Mistake, shown

Space: TypeAlias = tuple[Parameter, ...]
ParamTable: TypeAlias = dict[str, Scalar]
KeyPart: TypeAlias = Scalar | tuple[bool, ...]
PointKey: TypeAlias = tuple[KeyPart, ...]


# ---------------------------------------------------------------- dimensions, as a sampler knows them


def choice(p: ParameterSet) -> DiscreteParameterRange:
    """Return the choice among the sets of *p* as a range of their positions."""
    return DiscreteParameterRange(name=p.name, values=tuple(range(len(p.sets))))


def inside(p: ParameterSet, k: int) -> dict[str, Range]:
    """Return the ranges of the *k*-th set by what a point calls them; each has its job's name."""
    return {f"{p.name}[{k}].{r.name}": r for r in p.sets[k].ranges}


def dimensions(space: Space) -> dict[str, Range]:
    """Return all that a point may name, in the order in which a sampler is asked."""
    ranges_by_name: dict[str, Range] = {}
    for p in space:
        if isinstance(p, ParameterSet):
            ranges_by_name[p.name] = choice(p)
            for k in range(len(p.sets)):
                ranges_by_name |= inside(p, k)
        else:
            ranges_by_name[p.name] = p
    return ranges_by_name


def single_ranges(space: Space) -> tuple[Range, ...]:
    """Return the parameters of *space* that every point has: those outside a `ParameterSet`."""
    return tuple(p for p in space if not isinstance(p, ParameterSet))


def parameter_sets(space: Space) -> tuple[ParameterSet, ...]:
    """Return the `ParameterSet`s of *space*."""
    return tuple(p for p in space if isinstance(p, ParameterSet))


def asked(space: Space, value: Callable[[str], Scalar]) -> ParamTable:
    """Return the point that *value* gives for each name, asked in the order of *space*; of a set only the chosen."""
    point: ParamTable = {}
    for p in space:
        point[p.name] = value(p.name)
        if isinstance(p, ParameterSet):
            point |= {name: value(name) for name in inside(p, _chosen(point, p))}
    return point


def _chosen(point: Mapping[str, Scalar], p: ParameterSet) -> int:
    k = point[p.name]
    if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k < len(p.sets):
        raise LookupError(f"{p.name} has no set {k!r}")
    return k


def is_whole(space: Space, point: Mapping[str, Scalar]) -> bool:
    """Whether *point* names everything that it takes to make a job of it."""
    return all(
        p.name in point and (not isinstance(p, ParameterSet) or inside(p, _chosen(point, p)).keys() <= point.keys())
        for p in space
    )


# ---------------------------------------------------------------- names and values, as a job knows them


def set_names(p: ParameterSet) -> tuple[str, ...]:
    """Return every name that some set of *p* hands a job, in a lasting order: a log gives tables back sorted."""
    return tuple(dict.fromkeys(name for choice in p.sets for name in names_of(choice)))


def names_of(choice: ParameterChoice) -> list[str]:
    """Return what a job of this set gets: the names of its values, sorted, then its ranges."""
    return [*sorted(choice.values), *(r.name for r in choice.ranges)]


def job_names(space: Space) -> tuple[str, ...]:
    """Return every name that a job may get, in the order of *space*."""
    return tuple(name for p in space for name in (set_names(p) if isinstance(p, ParameterSet) else (p.name,)))


def conditional_names(space: Space) -> set[str]:
    """Return the names that some job gets and another does not."""
    return {
        name
        for p in parameter_sets(space)
        for name in set_names(p)
        if not all(name in names_of(choice) for choice in p.sets)
    }


def job_params(space: Space, point: Mapping[str, Scalar]) -> ParamTable:
    """Return what the job of a whole *point* gets."""
    params: ParamTable = {}
    for p in space:
        if isinstance(p, ParameterSet):
            params |= _set_params(p, point)
        else:
            params[p.name] = to_job(p, point[p.name])
    return params


def _set_params(p: ParameterSet, point: Mapping[str, Scalar]) -> ParamTable:
    k = _chosen(point, p)
    chosen = p.sets[k]
    values = {name: chosen.values[name] for name in sorted(chosen.values)}
    return values | {r.name: to_job(r, point[name]) for name, r in inside(p, k).items()}


def key(space: Space, params: Mapping[str, Scalar]) -> PointKey:
    """Return what makes two points the same: what their jobs get. What a job does not get differs from None."""
    return key_of(job_names(space), params)


def key_of(names: Sequence[str], params: Mapping[str, Scalar]) -> PointKey:
    """Return `key` where the *names* that jobs may get are known already."""
    return tuple(_part(params[name]) if name in params else () for name in names)


def _part(value: Scalar) -> KeyPart:
    """Return *value* so that True and 1 are two values, as they are for a script."""
    return (value,) if isinstance(value, bool) else value


# ---------------------------------------------------------------- from what a job gets to a point


def fitting(p: ParameterSet, params: Mapping[str, Scalar]) -> list[int]:
    """Return the positions of the sets that hold all that *params* says of the names of *p*.

    Sets that are named wholly go before sets that are named in part: a caller who gives
    all parameters of a job means that job. Other names in *params* are ignored.
    """
    given = {name: params[name] for name in set_names(p) if name in params}
    fitting_sets = [
        k for k, choice in enumerate(p.sets) if all(_holds(choice, name, value) for name, value in given.items())
    ]
    whole = [k for k in fitting_sets if given and set(names_of(p.sets[k])) == given.keys()]
    return whole or fitting_sets


def _holds(choice: ParameterChoice, name: str, value: Scalar) -> bool:
    if name in choice.values:
        fixed = choice.values[name]
        return isinstance(fixed, bool) == isinstance(value, bool) and fixed == value
    return any(r.name == name and _in(r, value) for r in choice.ranges)


def _in(r: Range, value: Scalar) -> bool:
    try:
        from_job(r, value)
    except (ValueError, OverflowError):
        return False
    return True


def set_point(p: ParameterSet, k: int, params: Mapping[str, Scalar]) -> ParamTable:
    """Return the point values of what *params*, which fits the *k*-th set, gives of its ranges."""
    return {name: from_job(r, params[r.name]) for name, r in inside(p, k).items() if r.name in params}


def read_sets(space: Space, params: Mapping[str, Scalar]) -> tuple[ParamTable, list[Mistake]]:
    """Return what *params* says of the names of `ParameterSet`s, as jobs get it, and what no set holds.

    The place of a mistake is the name at fault, or empty where values do not go together.
    """
    job_values: ParamTable = {}
    wrong: list[Mistake] = []
    for p in parameter_sets(space):
        if fits := fitting(p, params):
            job_values |= _as_jobs_get(p.sets[fits[0]], params)
        else:
            wrong.append(_misfit(p, params))
    return job_values, wrong


def _as_jobs_get(choice: ParameterChoice, params: Mapping[str, Scalar]) -> ParamTable:
    known = {r.name: r for r in choice.ranges}
    given = [name for name in names_of(choice) if name in params]
    return {n: to_job(known[n], from_job(known[n], params[n])) if n in known else choice.values[n] for n in given}


def _misfit(p: ParameterSet, params: Mapping[str, Scalar]) -> Mistake:
    given = {name: params[name] for name in set_names(p) if name in params}
    for name, value in given.items():
        if not any(_holds(choice, name, value) for choice in p.sets):
            return Mistake(name, value, _possible(p, name))
    sets = "; ".join(f"[{k}] {description}" for k, description in enumerate(described_sets(p)))
    return Mistake("", given, f"values that stand together in one set of {shown(p.name)}: {sets}")


def _possible(p: ParameterSet, name: str) -> str:
    descriptions = [_described(choice, name) for choice in p.sets if name in names_of(choice)]
    return " or ".join(dict.fromkeys(descriptions))


# ---------------------------------------------------------------- in words


def described(p: Parameter) -> str:
    """Return the values of *p* in words."""
    return f"one of {_plural(len(p.sets))}" if isinstance(p, ParameterSet) else ranges.described(p)


def _plural(count: int) -> str:
    return f"{count} set" if count == 1 else f"{count} sets"


def described_sets(p: ParameterSet) -> list[str]:
    """Return what each set of *p* holds, in words."""
    return [", ".join(f"{name} = {_described(choice, name)}" for name in names_of(choice)) for choice in p.sets]


def _described(choice: ParameterChoice, name: str) -> str:
    if name in choice.values:
        return shown(choice.values[name])
    return next(ranges.described(r) for r in choice.ranges if r.name == name)


# ---------------------------------------------------------------- how many points, and which


def length(p: Parameter) -> int | None:
    """Return how many points *p* has by itself; None if without end, of a `ParameterSet` also if more than `FINITE`."""
    if not isinstance(p, ParameterSet):
        return ranges.length(p)
    counts = [_product([ranges.length(r) for r in choice.ranges]) for choice in p.sets]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts) or sum(known) > FINITE:
        return None
    return sum(1 for _ in _set_points(p)) if _may_overlap(p) else sum(known)


def size(space: Space) -> int | None:
    """Return how many points *space* has; None if it has more than `FINITE` or no end of them."""
    return _product([length(p) for p in space])


def _product(counts: Sequence[int | None]) -> int | None:
    total = 1
    for count in counts:
        if count is None or count > FINITE:
            return None
        total *= count
    return total if total <= FINITE else None


def points(space: Space) -> Iterator[ParamTable]:
    """Yield every point of *space* once, as point values; the last parameter turns fastest.

    Raises:
        ValueError: The space is infinite.
    """
    for parts in product(*(_points(p) for p in space)):
        yield {name: value for part in parts for name, value in part.items()}


def _points(p: Parameter) -> Iterator[ParamTable]:
    if isinstance(p, ParameterSet):
        return _set_points(p)
    return ({p.name: value} for value in ranges.listed(p))


def _set_points(p: ParameterSet) -> Iterator[ParamTable]:
    """Yield the points of *p*; of those that hand a job the same only the first."""
    seen: set[PointKey] = set()
    overlap, names = _may_overlap(p), set_names(p)
    for k in range(len(p.sets)):
        within = inside(p, k)
        for values in product(*(ranges.listed(r) for r in within.values())):
            point: ParamTable = {p.name: k, **dict(zip(within, values, strict=True))}
            if overlap:
                if (key := key_of(names, _set_params(p, point))) in seen:
                    continue
                seen.add(key)
            yield point


def _may_overlap(p: ParameterSet) -> bool:
    """Whether a job could get the same of two sets; they do not where a fixed value tells any two apart."""
    values: dict[tuple[str, ...], set[PointKey]] = {}
    fixed: dict[frozenset[str], tuple[str, ...]] = {}
    for choice in p.sets:
        names = tuple(sorted(choice.values))
        if fixed.setdefault(frozenset(names_of(choice)), names) != names:
            return True  # the one's range may hold the other's value
        seen = values.setdefault((*names, "", *sorted(r.name for r in choice.ranges)), set())
        key = tuple(_part(choice.values[name]) for name in names)
        if key in seen:
            return True
        seen.add(key)
    return False
