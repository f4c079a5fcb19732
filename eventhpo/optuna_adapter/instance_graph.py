"""Two instances of one of Optuna's classes, compared attribute by attribute, all the way down.

An instance is recorded as data only if an instance built from that data holds the same.
Not compared are generators, which each decision seeds anew; what follows from a seed
(`QMCSampler._seed`, the order of a grid); and what an instance remembers of a study that
it has served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from optuna.samplers._lazy_random_state import LazyRandomState

from eventhpo.core.search.ranges import from_job, full_name
from eventhpo.core.search.space import single_ranges
from eventhpo.core.search.spec import Parameter, Range
from eventhpo.optuna_adapter.instance_args import argument_at, plain

_SEEDED = {"QMCSampler": {"_seed"}, "GridSampler": {"_all_grids"}}
_REMEMBERED = {
    "IntersectionSearchSpace": {"_cached_trial_number", "_search_space", "_study_id"},
    "_GroupDecomposedSearchSpace": {"_search_space", "_study_id"},
    "TPESampler": {"_search_space_group", "_gamma"},
    "GPSampler": {"_gprs_cache_list", "_constraints_gprs_cache_list"},
}


class AttributeDifference(NamedTuple):
    """An argument or attribute in which the given instance differs from the one built from its data."""

    keys: tuple[str, ...]
    given: object
    built: object


def differences(given: object, built: object, space: tuple[Parameter, ...]) -> Iterator[AttributeDifference]:
    """Yield where *given* differs from *built*, which was built from its data for *space*.

    Values of parameters in *given* are job values under any of their names, those in
    *built* point values under full names, as the constructor gets them.
    """
    yield from _InstanceComparison({p.name: p for p in single_ranges(space)}).of(given, built)


class _InstanceComparison:
    def __init__(self, known: dict[str, Range]) -> None:
        self._written: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("PartialFixedSampler", "_fixed_params"): self._point,
            ("CmaEsSampler", "_x0"): self._point,
            ("GridSampler", "_search_space"): self._lists,
            ("GridSampler", "_param_names"): _full_names,
            ("NSGAIIIElitePopulationSelectionStrategy", "_reference_points"): _rows,
        }
        self._known = known

    def of(self, given: Any, built: Any) -> Iterator[AttributeDifference]:
        given, built = plain(given), plain(built)
        if type(given) is not type(built):
            yield AttributeDifference((), given, built)
        elif isinstance(built, LazyRandomState | np.random.RandomState):
            return
        elif isinstance(built, dict):
            yield from self._items(given, built)
        elif isinstance(built, list | tuple):
            if len(given) == len(built):
                for k, pair in enumerate(zip(given, built, strict=True)):
                    yield from _below(_field(built, k), self.of(*pair))
            else:
                yield AttributeDifference((), given, built)
        elif type(built).__module__.startswith("optuna.") and hasattr(built, "__dict__") and not _callable(built):
            yield from self._attributes(given, built)
        elif not _equal(given, built):
            yield AttributeDifference((), given, built)

    def _items(self, given: dict[Any, Any], built: dict[Any, Any]) -> Iterator[AttributeDifference]:
        if given.keys() != built.keys():
            yield AttributeDifference((), given, built)
            return
        for key, value in built.items():
            yield from _below(str(key), self.of(given[key], value))

    def _attributes(self, given: object, built: object) -> Iterator[AttributeDifference]:
        name = type(built).__name__
        aside = _SEEDED.get(name, set()) | _REMEMBERED.get(name, set())
        given_attributes, built_attributes = vars(given), vars(built)
        for key in [*built_attributes, *(key for key in given_attributes if key not in built_attributes)]:
            if key in aside:
                continue
            if key not in given_attributes or key not in built_attributes:
                yield AttributeDifference(
                    argument_at(name, (key,)), given_attributes.get(key), built_attributes.get(key)
                )
                continue
            written = self._written.get((name, key), plain)
            for difference in self.of(written(given_attributes[key]), built_attributes[key]):
                yield difference._replace(keys=argument_at(name, (key, *difference.keys)))

    # ------------------------------------------------------------ arguments that are written in more ways than one

    def _point(self, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        return {full_name(key): self._value(full_name(key), value) for key, value in table.items()}

    def _lists(self, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        return {
            full_name(key): [self._value(full_name(key), value) for value in values] for key, values in table.items()
        }

    def _value(self, name: str, value: Any) -> Any:
        try:
            return from_job(self._known[name], plain(value))
        except (KeyError, ValueError):
            return value


def _callable(value: object) -> bool:
    """Whether *value* is a function or a class, which is compared by identity."""
    return isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__"))


def _full_names(names: Any) -> Any:
    return sorted(map(full_name, names))


def _rows(points: Any) -> Any:
    return None if points is None else np.asarray(points, dtype=float)


def _field(values: Any, k: int) -> str:
    names: tuple[str, ...] = getattr(values, "_fields", ())
    return names[k] if names else str(k)


def _below(key: str, inner: Iterator[AttributeDifference]) -> Iterator[AttributeDifference]:
    return (difference._replace(keys=(key, *difference.keys)) for difference in inner)


def _equal(given: Any, built: Any) -> bool:
    match built:
        case np.ndarray():
            return given.dtype == built.dtype and np.array_equal(given, built)
        case float():
            return bool(given.hex() == built.hex())
        case None | bool() | int() | str() | bytes():
            return bool(given == built)
    return given is built
