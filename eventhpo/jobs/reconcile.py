"""Jobs that a backend has and the log does not know, and whether a controller may go on with the log.

The key of a job names the row before its intent. If the log ends before that row, or has
the row and not the intent after it, the log has lost its tail. If it has another row there,
the log is a fork of the one that made the job, and must not go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from eventhpo.core.fold.event_parts import FATES, Fate
from eventhpo.core.fold.events import Head
from eventhpo.core.fold.job_key import AttemptKey
from eventhpo.core.fold.state import State
from eventhpo.errors import DamagedLog

T = TypeVar("T")

SHOWN = 5  # jobs that a message names


class Stray(msgspec.Struct, Generic[T], frozen=True):
    """A job of this search without an intent in the log, as its backend describes it."""

    key: AttemptKey
    job: T


class Survey(msgspec.Struct, Generic[T], frozen=True):
    """The jobs of a backend that the log does not know."""

    lost: tuple[Stray[T], ...] = ()  # the log has lost its tail
    forked: tuple[Stray[T], ...] = ()  # made by another log of the same search
    drafts: tuple[T, ...] = ()  # the answer to their creation was lost: no attempt is bound to them, they never ran


def is_of_this_log(key: AttemptKey, state: State, hashes: Sequence[str]) -> bool:
    """Whether *key*, which the log does not know, was made by this log before it lost its tail; else it is a fork.

    *hashes* are the hashes of the log's rows, in order.
    """
    if key.trial < len(state.trials) and key.attempt < len(state.trials[key.trial].attempts):
        return False
    return key.seq > len(hashes) or hashes[key.seq - 1][:8] == key.hash


def in_order(strays: Sequence[Stray[T]]) -> tuple[Stray[T], ...]:
    """Return *strays* sorted by trial and attempt, the order in which they are adopted."""
    return tuple(sorted(strays, key=lambda stray: (stray.key.trial, stray.key.attempt)))


def refuse(
    survey: Survey[T], head: Head, *, adopt: bool, kind: str, name: Callable[[T], str], or_else: str = ""
) -> None:
    """Raise unless a controller may go on with the log.

    *kind* and *name* say how the message calls a stray; *or_else* is what else helps with a fork.

    Raises:
        DamagedLog: the log is a fork, or it has lost its tail and *adopt* is False.
    """
    if survey.forked:
        raise DamagedLog(
            f"this log is a fork: {_named(survey.forked, kind, name)} made by another log of the same search, which "
            f"went on differently; go on with that one{or_else}"
        )
    if survey.lost and not adopt:
        raise DamagedLog(
            f"this log has lost its tail: it ends at event {head.seq}, and {_named(survey.lost, kind, name)} made "
            "after that; go on with a copy that has them, or take them up again with --adopt (adopt=True)"
        )


def _named(strays: Sequence[Stray[T]], kind: str, name: Callable[[T], str]) -> str:
    names = [f"{name(s.job)} (trial {s.key.trial}, attempt {s.key.attempt})" for s in strays[:SHOWN]]
    more = f" and {len(strays) - SHOWN} more" if len(strays) > SHOWN else ""
    many = len(strays) > 1
    return f"{kind}{'s' if many else ''} {', '.join(names)}{more} {'were' if many else 'was'}"


# ---------------------------------------------------------------- adopting


def taken_slots(state: State) -> set[int]:
    """Return the slots of live attempts."""
    return {a.slot for trial in state.active.values() for a in trial.attempts if a.live}


def free_slots(taken: set[int]) -> Iterator[int]:
    """Yield the slots that are not in *taken*, the lowest first; slots added to it meanwhile are skipped."""
    return (slot for slot in range(10**9) if slot not in taken)


def settled(words: str) -> tuple[Fate | None, int]:
    """Read the reason of a stop: the fate that it names (None if none), and the point count of a prune."""
    word, _, count = words.partition(" ")
    if word not in FATES:
        return None, 0
    return word, int(count) if count.isascii() and count.isdigit() else 0
