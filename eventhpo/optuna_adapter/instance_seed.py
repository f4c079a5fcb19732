"""The seed of one of Optuna's sampler instances, read without drawing a number.

A generator that was seeded with a whole number and never drew still shows it: the
number is the first word of its state, and a new generator of that seed has the same
state. `LazyRandomState.rng` is never touched: it would make the generator of an
instance that was not seeded, which would look seeded from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from optuna.samplers import BaseSampler, CmaEsSampler, GridSampler, PartialFixedSampler, QMCSampler
from optuna.samplers._lazy_random_state import LazyRandomState

from eventhpo.optuna_adapter.instance_args import plain
from eventhpo.optuna_adapter.object_walk import Parts, generators
from eventhpo.optuna_adapter.seeds import SEEDS


class Seed(NamedTuple):
    """`value` is None if the sampler was not seeded: the search draws its own. *given*: the user wrote this number."""

    value: int | None
    warning: str | None = None
    given: bool = False


def seed_of(sampler: BaseSampler) -> Seed:
    """Return the seed for a search that uses *sampler*, one of Optuna's own.

    It is the seed that the user gave to the sampler, None if they gave none. If a
    generator has drawn numbers already, it is a hash of the generators' states, with a
    warning. GridSampler draws in its constructor, so its seed is a hash, without a warning.
    """
    if type(sampler) is GridSampler:
        return Seed(_hashed([vars(sampler)["_rng"]]))
    lazy_states = [state for state in generators(sampler, _parts) if type(state) is LazyRandomState]
    seeds = [literal(state) for state in lazy_states]
    if _UNKNOWN in seeds:
        value = _hashed(lazy_states, *_sequences(sampler))
        return Seed(value, _USED.format(type(sampler).__name__, value))
    main = _main(sampler)
    others = sorted({str(seed) for seed in seeds if seed is not None and seed != main})
    warning = _UNUSED.format(type(sampler).__name__, ", ".join(others), main) if others else None
    return Seed(main, warning, given=main is not None)


_USED = (
    "{} has drawn numbers before this search, or was seeded with something else than a whole number: "
    "the search begins anew, with the seed {}, which is a hash of its generators' states"
)
_UNUSED = (
    "inside {} another seed was given ({}), which is not used: every generator is seeded from the search's seed, {}"
)
_UNKNOWN = -1  # a generator that has drawn, or was not seeded with one whole number


def literal(generator: LazyRandomState) -> int | None:
    """Return the seed of *generator*; None if it has none, -1 if it can no longer be read."""
    made = _made(generator)
    if made is None:
        return None
    state = made.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        return _UNKNOWN
    seed = int(state["state"]["key"][0])
    return seed if _words(made) == _words(np.random.RandomState(seed)) else _UNKNOWN


def _main(sampler: BaseSampler) -> int | None:
    """Return the seed that the user gave to *sampler*; None if none, -1 if it can no longer be read."""
    if type(sampler) is PartialFixedSampler:
        return _main(sampler._base_sampler)
    if type(sampler) is QMCSampler:
        # Unseeded it draws one of 64 bits; no seed that RandomState takes is that large.
        seed = plain(sampler._seed)
        return int(seed) if seed in range(SEEDS) else None
    return literal(vars(sampler)["_cma_rng" if type(sampler) is CmaEsSampler else "_rng"])


def _sequences(sampler: object) -> Iterator[int]:
    if type(sampler) is PartialFixedSampler:
        yield from _sequences(sampler._base_sampler)
    if type(sampler) is QMCSampler:
        yield plain(sampler._seed)


def _parts(value: Any) -> Parts:
    """Return the attributes of a sampler of Optuna's, or of a part of one; nothing for other values."""
    held = type(value).__module__.startswith("optuna.samplers") and hasattr(value, "__dict__")
    return [(f".{name}", attribute) for name, attribute in vars(value).items()] if held else ()


def _made(generator: LazyRandomState) -> np.random.RandomState | None:
    made: np.random.RandomState | None = vars(generator)["_rng"]
    return made


def _words(made: np.random.RandomState) -> bytes:
    state: dict[str, Any] = made.get_state(legacy=False)
    words: dict[str, Any] = state["state"]
    texts = [repr((name, np.asarray(words[name]).tolist())) for name in sorted(words)]
    return repr((state["bit_generator"], state["has_gauss"], float(state["gauss"]).hex(), texts)).encode()


def _hashed(generators: list[LazyRandomState], *more: int) -> int:
    digest = blake2b(repr(more).encode(), digest_size=4)
    for generator in generators:
        made = _made(generator)
        digest.update(b"unseeded" if made is None else _words(made))
    return int.from_bytes(digest.digest(), "big")
