"""The name that a mistyped one stands for: one that is close, or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_SHORT, _LONG = 4, 9  # letters of a name in which one typing mistake, and two, are allowed; three in a longer one


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the name among *known* that *name* was meant to be, None if no one is close.

    Close is a name with few typing mistakes: a letter more, less or another, or two that
    changed places. Then comes the only one that begins with *name*, or has it as whole words.
    """
    originals = {candidate.casefold(): candidate for candidate in known}
    near = _closest(name.casefold(), list(originals))
    return None if near is None else originals[near]


def _closest(name: str, names: Sequence[str]) -> str | None:
    allowed = 1 if len(name) <= _SHORT else 2 if len(name) <= _LONG else 3
    mistakes = {candidate: distance(name, candidate, allowed) for candidate in names}
    near = [candidate for candidate in names if mistakes[candidate] <= allowed]
    if near:
        return min(near, key=lambda candidate: mistakes[candidate])
    if len(name) < 2:
        return None
    begins = [candidate for candidate in names if candidate.startswith(name)]
    holds = [candidate for candidate in names if f"-{name}-" in f"-{candidate}-"]
    return next((matches[0] for matches in (begins, holds) if len(matches) == 1), None)


def distance(a: Sequence[object], b: Sequence[object], most: int) -> int:
    """Return how many letters of *a* are to be added, left out, replaced or swapped to get *b*; at most *most* + 1."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    two_before: list[int] = []
    before = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, two_before[j - 2] + 1)
            row.append(best)
        two_before, before = before, row
    return min(before[-1], most + 1)
