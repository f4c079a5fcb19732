"""What a place has of a search that its log does not know, and whether the log may go on.

A key names the last row before its intent. If the log ends before that row, or has it
and not the intent behind it, it has lost its tail; if it has another row there, it is
a fork of the log that made the job, and must not go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, cast

import msgspec

from eventhpo.core.fold.events import Head
from eventhpo.core.fold.job_key import AttemptKey
from eventhpo.core.fold.state import Fate, State
from eventhpo.errors import DamagedLog

T = TypeVar("T")

FATES = ("pruned", "limit", "time", "aborted")
SHOWN = 5  # jobs that a message names


class Stray(msgspec.Struct, Generic[T], frozen=True):
    """A job with a key of our search that the log has no intent for, as its place has it."""

    key: AttemptKey
    job: T


class Survey(msgspec.Struct, Generic[T], frozen=True):
    """What lies at a place beside what the log knows."""

    lost: tuple[Stray[T], ...] = ()  # the log has lost its tail
    forked: tuple[Stray[T], ...] = ()  # another log of the same search made them
    drafts: tuple[T, ...] = ()  # made, and the answer was lost: nobody bound them, they never ran


def is_of_this_log(key: AttemptKey, state: State, hashes: Sequence[str]) -> bool:
    """Whether *key*, which no row of the log names, is of rows behind its end; if not, the log is a fork.

    *hashes* are those of its rows, in order.
    """
    if key.trial < len(state.trials) and key.attempt < len(state.trials[key.trial].attempts):
        return False
    return key.seq > len(hashes) or hashes[key.seq - 1][:8] == key.hash


def in_order(strays: Sequence[Stray[T]]) -> tuple[Stray[T], ...]:
    """Return *strays* as they are taken up: by trial and attempt."""
    return tuple(sorted(strays, key=lambda stray: (stray.key.trial, stray.key.attempt)))


def refuse(
    survey: Survey[T], head: Head, *, adopt: bool, kind: str, name: Callable[[T], str], or_else: str = ""
) -> None:
    """Return if the log may go on; *kind* and *name* say what its strays are called, *or_else* what helps a fork.

    Raises:
        DamagedLog: it is a fork, or has lost its tail and *adopt* was not asked for.
    """
    if survey.forked:
        raise DamagedLog(
            f"this log is a fork: {_named(survey.forked, kind, name)} made by another log of the same search, which "
            f"went on differently; go on with that one{or_else}"
        )
    if survey.lost and not adopt:
        raise DamagedLog(
            f"this log has lost its tail: it ends at {head.seq}, and {_named(survey.lost, kind, name)} made behind "
            "that; go on with a copy that has them, or take them up again with --adopt (adopt=True)"
        )


def _named(strays: Sequence[Stray[T]], kind: str, name: Callable[[T], str]) -> str:
    names = [f"{name(s.job)} (trial {s.key.trial}, attempt {s.key.attempt})" for s in strays[:SHOWN]]
    more = f" and {len(strays) - SHOWN} more" if len(strays) > SHOWN else ""
    many = len(strays) > 1
    return f"{kind}{'s' if many else ''} {', '.join(names)}{more} {'were' if many else 'was'}"


# ---------------------------------------------------------------- taking up again


def taken_slots(state: State) -> set[int]:
    """Return the slots that live attempts hold."""
    return {a.slot for trial in state.active.values() for a in trial.attempts if a.live}


def free_slots(taken: set[int]) -> Iterator[int]:
    """Yield the slots that are not *taken*, the lowest first; what is added to it meanwhile is left out."""
    return (slot for slot in range(10**9) if slot not in taken)


def settled(words: str) -> tuple[Fate | None, int]:
    """Return what had been settled of a job that was told to stop with *words*, and at which point a prune came."""
    word, _, count = words.partition(" ")
    if word not in FATES:
        return None, 0
    return cast(Fate, word), int(count) if count.isascii() and count.isdigit() else 0
