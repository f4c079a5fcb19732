"""Where a log and today's code differ, with the inputs that the decision saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from eventhpo.core.fold.event_families import Decision, Input
from eventhpo.core.fold.events import Event, JobsContinued, Recorded, trial_of
from eventhpo.views import formatting
from replay.decide.fingerprints import FingerprintDifference
from replay.decide.nearness import Near

NEWEST = 20  # inputs of a divergence that are kept: a curve may hold 50,000


class Divergence(msgspec.Struct, frozen=True):
    """A difference between the log and today's code at row `seq`: what is recorded, and what is decided now.

    `decided` is None if no decision was due, or if `failed` says with which error the
    sampler or pruner ended. `inputs` are the newest that the decision saw: those that
    came last, and those of the trials that either side names; it also saw all older
    ones. `fingerprint` is the first difference between the controller that recorded the
    row and this process, `rounds` all of that by which floats may round otherwise, and
    `near` what the sampler thought of both candidates, where that can be known.
    """

    seq: int
    recorded: Event
    recorded_cause: int | None
    decided: Event | None
    decided_cause: int | None
    due: str  # the action that was due, in words
    failed: str | None = None
    inputs: tuple[Recorded, ...] = ()
    fingerprint: FingerprintDifference | None = None
    rounds: tuple[FingerprintDifference, ...] = ()
    near: Near | None = None


class Field(msgspec.Struct, frozen=True):
    """The first field that differs between two events: its path, and both values as JSON."""

    path: str
    recorded: str
    decided: str


def first_field(divergence: Divergence) -> Field | None:
    """Return the first field in which the sides differ, None if they are of two types or one is missing."""
    if type(divergence.recorded) is not type(divergence.decided):
        return None
    sides = msgspec.to_builtins(divergence.recorded), msgspec.to_builtins(divergence.decided)
    for path, recorded, decided in _differing(*sides, ""):
        return Field(path, _json(recorded), _json(decided))
    if divergence.recorded_cause != divergence.decided_cause:
        return Field("cause", _json(divergence.recorded_cause), _json(divergence.decided_cause))
    return None


def _differing(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _differing(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple):
        for n in range(max(len(a), len(b))):
            yield from _differing(_at(a, n), _at(b, n), f"{path}[{n}]")
    elif _json(a) != _json(b):
        yield path, a, b


def _at(side: Sequence[Any], n: int) -> Any:
    return side[n] if n < len(side) else None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def seen(rows: Sequence[Recorded], seq: int, sides: Iterable[Event | None]) -> tuple[Recorded, ...]:
    """Return the newest inputs before row *seq*: the last unbroken run, and those of the trials that *sides* name.

    Where these trials have none yet, as a new one, the newest of all.
    """
    before = rows[: seq - 1]
    trials = {trial for side in sides if side is not None for trial in _trials(side)}
    inputs = [row for row in before if isinstance(row.event, Input)]
    of_trials = [row for row in inputs if trial_of(row.event) in trials]
    kept = {row.seq for row in (of_trials or inputs)[-NEWEST:]} | {row.seq for row in _last_run(before)}
    return tuple(before[seq_kept - 1] for seq_kept in sorted(kept)[-NEWEST:])


def _last_run(before: Sequence[Recorded]) -> Iterator[Recorded]:
    """Yield the newest unbroken run of inputs: from the last input back to the decision before it, newest first."""
    in_run = False
    for row in reversed(before):
        if isinstance(row.event, Decision):
            if in_run:
                return
        elif isinstance(row.event, Input):
            in_run = True
            yield row


def _trials(event: Event) -> Iterator[int]:
    if isinstance(event, JobsContinued):
        yield from (verdict.trial for verdict in event.verdicts)
    elif (trial := trial_of(event)) is not None:
        yield trial


def describe_divergence(divergence: Divergence) -> str:
    """Return *divergence* in a few words."""
    decided = "nothing" if divergence.decided is None else f"{type(divergence.decided).__name__}"
    if divergence.failed is not None:
        decided = formatting.line(divergence.failed)
    field = first_field(divergence)
    differs = "" if field is None else f", {field.path} {field.recorded} not {field.decided}"
    return f"seq {divergence.seq}: recorded {type(divergence.recorded).__name__}, decided {decided}{differs}"
