"""Seeds of single decisions: functions of the search's seed that never collide within a search."""

from __future__ import annotations

from hashlib import blake2b

SEEDS = 2**32  # how many seeds numpy's RandomState tells apart
_ROUNDS = 4  # what makes a Feistel network of good round functions a strong permutation (Luby, Rackoff 1988)
_HALF = 0xFFFF


def derived_seed(search_seed: int, purpose: str, number: int, attempt_try: int) -> int:
    """Return the seed, below 2**32, of one try of one decision.

    For a fixed seed, purpose and try it is a permutation of *number*: two trials
    of a search never share a seed, where a hash would let them (with 50,000
    trials in one search of three).

    Raises:
        ValueError: *number* is not from 0 to 2**32 - 1.
    """
    if not 0 <= number < SEEDS:
        raise ValueError(f"a trial's number lies from 0 to {SEEDS - 1}, not at {number}")
    # Lengths are fixed by the separators: a purpose that holds one could stand for another try.
    secret = blake2b(f"{search_seed}\0{attempt_try}\0{purpose}".encode(), digest_size=32).digest()
    left, right = number >> 16, number & _HALF
    for turn in range(_ROUNDS):
        left, right = right, left ^ _mixed(secret, turn, right)
    return left << 16 | right


def _mixed(secret: bytes, turn: int, half: int) -> int:
    digest = blake2b(half.to_bytes(2, "big"), digest_size=2, key=secret, salt=bytes([turn])).digest()
    return int.from_bytes(digest, "big")
