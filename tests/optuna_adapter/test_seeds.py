"""The seed of one decision: a permutation of the trial's number."""

from __future__ import annotations

import random

import pytest

from eventhpo.optuna_adapter.seeds import SEEDS, derived_seed

GOLDEN = {
    (0, "suggest", 0, 1): 3606001151,
    (11, "suggest", 0, 1): 3715253463,
    (11, "suggest", 1, 1): 603714827,
    (11, "suggest", 1, 2): 431488319,
    (11, "enumerate", 1, 1): 3611290272,
    (2**32 - 1, "suggest", 2**32 - 1, 50): 3358533485,
}


@pytest.mark.parametrize("question", GOLDEN, ids=str)
def test_a_log_written_before_gets_the_same_seeds_for_ever(question: tuple[int, str, int, int]) -> None:
    assert derived_seed(*question) == GOLDEN[question]


def test_no_two_trials_of_a_search_share_a_seed() -> None:
    numbers = [*range(50_000), *random.Random(3).sample(range(50_000, SEEDS), 50_000)]
    seeds = {derived_seed(7, "suggest", number, 1) for number in numbers}
    assert len(seeds) == len(numbers)
    assert all(0 <= seed < SEEDS for seed in seeds)


def test_searches_purposes_and_tries_get_seeds_of_their_own() -> None:
    def column(search: int, purpose: str, attempt_try: int) -> list[int]:
        return [derived_seed(search, purpose, number, attempt_try) for number in range(100)]

    first = column(1, "suggest", 1)
    for other in (column(2, "suggest", 1), column(1, "judge", 1), column(1, "suggest", 2)):
        assert sum(a == b for a, b in zip(first, other, strict=True)) == 0


def test_seeds_of_neighbours_share_no_more_bits_than_chance() -> None:
    pairs = [(derived_seed(1, "s", n, 1), derived_seed(1, "s", n + 1, 1)) for n in range(2000)]
    changed = sum((a ^ b).bit_count() for a, b in pairs) / len(pairs)
    assert 15.5 < changed < 16.5


@pytest.mark.parametrize("number", [-1, SEEDS])
def test_a_number_that_no_trial_has_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="a trial's number"):
        derived_seed(1, "suggest", number, 1)
