"""Two logs compared: is it the same search, where do they part, what had each seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from eventhpo.core.fold.events import ClockTicked, ControllerStarted, Head, Recorded, SearchCreated
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State, Trial
from eventhpo.search_file.changed_keys import flat_keys
from eventhpo.views import formatting
from replay.diff.decisions import FirstDifference, first_difference
from replay.diff.inputs import Inputs, InputSide, compared
from replay.postmortem.controllers import says

Relation: TypeAlias = Literal[
    "the same log", "A is the beginning of B", "B is the beginning of A", "a fork", "two searches"
]


class Differs(msgspec.Struct, frozen=True):
    """A key in which two searches were created otherwise, as a search file or a fingerprint has it."""

    key: str
    a: str
    b: str


class ComparedLog(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two logs, as far as it is verified."""

    path: str
    search_id: str
    name: str
    head: Head
    damage: list[str]


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """The first decision that differs, on both sides, and whether a clock's tick led to one of them."""

    a: InputSide
    b: InputSide
    on_a_tick: bool


class ByTrial(msgspec.Struct, frozen=True, kw_only=True):
    """The same trials of both, whatever the order of their decisions; None: no such trial."""

    both: int
    first_other_parameters: int | None
    first_other_outcome: int | None  # of those with the same parameters, among trials that are over in both
    parameters: tuple[dict[str, Any], dict[str, Any]] | None
    outcomes: tuple[str, str] | None

    @property
    def alike(self) -> bool:
        """Whether no trial differs, so that only the order of decisions can."""
        return self.first_other_parameters is None and self.first_other_outcome is None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """How two logs compare; `alike` decisions come first in both."""

    a: ComparedLog
    b: ComparedLog
    relation: Relation
    common: int  # leading rows that are the same to the bit
    definitions: list[Differs]
    platforms: list[Differs]
    alike: int
    parting: Parting | None
    inputs: Inputs
    explanation: str
    by_trial: ByTrial


def diff(
    a: Sequence[Recorded], b: Sequence[Recorded], paths: tuple[str, str], damage: tuple[list[str], list[str]]
) -> Diff:
    """Return how the logs *a* and *b* compare, which lie at *paths* and whose rows end for *damage*."""
    common = _common(a, b)
    found, alike = first_difference(a, b)
    before_a = a if found is None else a[: found.a.seq - 1]
    before_b = b if found is None else b[: found.b.seq - 1]
    inputs = compared(before_a, before_b)
    definitions = _definitions(a, b)
    platforms = _platforms(a, b, found)
    parting = None if found is None else _parting(a, b, found)
    states = fold(a), fold(b)
    return Diff(
        a=_log(a, paths[0], damage[0]),
        b=_log(b, paths[1], damage[1]),
        relation=_relation(a, b, common),
        common=common,
        definitions=definitions,
        platforms=platforms,
        alike=alike,
        parting=parting,
        inputs=inputs,
        explanation=_explanation(parting, inputs, definitions, platforms),
        by_trial=_by_trial(*states),
    )


def _created(rows: Sequence[Recorded]) -> SearchCreated:
    event = rows[0].event
    assert isinstance(event, SearchCreated)
    return event


def _log(rows: Sequence[Recorded], path: str, damage: list[str]) -> ComparedLog:
    event = _created(rows)
    head = Head(rows[-1].seq, rows[-1].hash)
    return ComparedLog(path=path, search_id=event.search_id, name=event.search.name, head=head, damage=damage)


def _common(a: Sequence[Recorded], b: Sequence[Recorded]) -> int:
    """Return how many leading rows are the same: the hash of a row stands for all before it."""
    fewest = min(len(a), len(b))
    return next((n for n in range(fewest, 0, -1) if a[n - 1].hash == b[n - 1].hash), 0)


def _relation(a: Sequence[Recorded], b: Sequence[Recorded], common: int) -> Relation:
    if not common:
        return "two searches"
    if common < min(len(a), len(b)):
        return "a fork"
    if len(a) == len(b):
        return "the same log"
    return "A is the beginning of B" if len(a) < len(b) else "B is the beginning of A"


# ---------------------------------------------------------------- what they were created with


def _definitions(a: Sequence[Recorded], b: Sequence[Recorded]) -> list[Differs]:
    """Return the keys in which the searches were created otherwise, what decides most first."""
    found = _differing(_flat(_created(a)), _flat(_created(b)))
    return sorted(found, key=lambda one: _ORDER.get(one.key.split(".")[0], len(_ORDER)))


_ORDER = {key: place for place, key in enumerate(("space", "sampler", "pruner", "seed", "objective"))}


def _flat(event: SearchCreated) -> dict[str, Any]:
    names = [p.name for p in event.search.space]
    return flat_keys(event.search) | {"space (the order of its parameters)": names, "policy": event.policy}


def _platforms(a: Sequence[Recorded], b: Sequence[Recorded], found: FirstDifference | None) -> list[Differs]:
    """Return in what versions and machines differ, as of the decisions that differ."""
    ends = (len(a), len(b)) if found is None else (found.a.seq, found.b.seq)
    return _differing(_fingerprint(a[: ends[0]]), _fingerprint(b[: ends[1]]))


def _fingerprint(rows: Sequence[Recorded]) -> dict[str, str]:
    events = (row.event for row in reversed(rows) if isinstance(row.event, ControllerStarted | SearchCreated))
    return next(events).fingerprint


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Differs]:
    keys = dict.fromkeys([*a, *b])
    pairs = ((key, _shown(a, key), _shown(b, key)) for key in keys)
    return [Differs(key, one, other) for key, one, other in pairs if one != other]


def _shown(values: Mapping[str, Any], key: str) -> str:
    return msgspec.json.encode(values[key]).decode() if key in values else "-"


# ---------------------------------------------------------------- where they part


def _parting(a: Sequence[Recorded], b: Sequence[Recorded], found: FirstDifference) -> Parting:
    on_a_tick = any(
        row.cause is not None and isinstance(rows[row.cause - 1].event, ClockTicked)
        for rows, row in ((a, found.a), (b, found.b))
    )
    return Parting(a=_said(found.a, found), b=_said(found.b, found), on_a_tick=on_a_tick)


def _said(row: Recorded, found: FirstDifference) -> InputSide:
    if found.point is None:
        return InputSide(row.seq, says(row))
    trial, attempt, position = found.point
    word = "prunes" if type(row.event).__name__ == "JobPruned" else "does not prune"
    of = f"trial {trial}" + (f", attempt {attempt}" if attempt else "")
    return InputSide(row.seq, f"seq {row.seq}, {type(row.event).__name__}: {word} {of} at its point {position}")


def _explanation(
    parting: Parting | None, inputs: Inputs, definitions: Sequence[Differs], platforms: Sequence[Differs]
) -> str:
    """Return what the difference may come from; a cause is named only where there is but one candidate."""
    if parting is None:
        return ""
    if not inputs.same:
        how = "the same things in another order" if inputs.order_only else "different things"
        others = " (and were created otherwise)" if definitions else ""
        return f"they had seen {how} before it{others}"
    if definitions:
        return "they had seen the same; they were created otherwise"
    if parting.on_a_tick:
        return "they had seen the same; it came with a tick of the clock, and clocks are not compared"
    if platforms:
        return "they had seen the same; versions or machines differ"
    return "they had seen the same and nothing explains it; eventhpo verify --decide tells which log is right"


# ---------------------------------------------------------------- trial by trial


def _by_trial(a: State, b: State) -> ByTrial:
    pairs = list(zip(a.trials, b.trials, strict=False))
    other = next((n for n, (one, two) in enumerate(pairs) if one.params != two.params), None)
    ends = [(n, outcome(one), outcome(two)) for n, (one, two) in enumerate(pairs) if one.params == two.params]
    ended = next(((n, x, y) for n, x, y in ends if x != y and "running" not in (x, y)), None)
    return ByTrial(
        both=len(pairs),
        first_other_parameters=other,
        first_other_outcome=None if ended is None else ended[0],
        parameters=None if other is None else (dict(a.trials[other].params), dict(b.trials[other].params)),
        outcomes=None if ended is None else (ended[1], ended[2]),
    )


def outcome(trial: Trial) -> str:
    """Return how *trial* came out: `completed with 0.25`, `pruned at iteration 3`, `failed`, `running`."""
    end, attempt = trial.finished, trial.last
    if end is None:
        return "running"
    if end.values is not None:
        return f"{end.state} with {', '.join(map(formatting.number, end.values))}"
    if end.state == "pruned" and attempt is not None:
        return f"pruned at iteration {attempt.curves[0].iterations[attempt.judged - 1]}"
    return end.state
