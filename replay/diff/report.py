"""Compare two logs: whether they are one search, the first decision that differs, and the inputs before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from eventhpo.core.fold.events import ClockTicked, ControllerStarted, Head, Recorded, SearchCreated
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State, Trial
from eventhpo.search_file.changed_keys import flat_keys
from eventhpo.views import formatting
from eventhpo.views.same_code import known_code
from replay.diff.decisions import FirstDifference, PointId, first_difference
from replay.diff.inputs import InputComparison, InputSide, compare_inputs
from replay.postmortem.controllers import describe_row_and_content

Relation: TypeAlias = Literal[
    "the same log", "A is the beginning of B", "B is the beginning of A", "a fork", "two searches"
]


class DifferingKey(msgspec.Struct, frozen=True):
    """A key of the search file or of the fingerprint that differs, and its value in each log as JSON (`-`: absent)."""

    key: str
    a: str
    b: str


class ComparedLog(msgspec.Struct, frozen=True, kw_only=True):
    """The verified part of one of the two logs."""

    path: str
    search_id: str
    name: str
    head: Head
    damage: list[str]


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """The first decision that differs, in each log, and whether a tick of the clock caused one of the two."""

    a: InputSide
    b: InputSide
    on_a_tick: bool


class TrialComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The trials of both logs compared by number, in any order of decisions; None where no trial differs."""

    both: int
    first_other_parameters: int | None
    first_other_outcome: int | None  # among trials that ended in both logs with the same parameters
    parameters: tuple[dict[str, Any], dict[str, Any]] | None
    outcomes: tuple[str, str] | None

    @property
    def alike(self) -> bool:
        """Whether all common trials are the same, so that at most the order of decisions differs."""
        return self.first_other_parameters is None and self.first_other_outcome is None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """How two logs compare; both begin with `alike` equal decisions."""

    a: ComparedLog
    b: ComparedLog
    relation: Relation
    common: int  # equal rows at the beginning of both
    definitions: list[DifferingKey]
    platforms: list[DifferingKey]
    code: list[DifferingKey]  # script, commit, changes, packages, data: for each the first trial in which they differ
    alike: int
    parting: Parting | None
    inputs: InputComparison
    explanation: str
    by_trial: TrialComparison


def diff(
    a: Sequence[Recorded], b: Sequence[Recorded], paths: tuple[str, str], damage: tuple[list[str], list[str]]
) -> Diff:
    """Compare the verified rows *a* and *b* of the logs at *paths*; *damage* says why the rows of each end early."""
    common = _common(a, b)
    difference, alike = first_difference(a, b)
    before_a = a if difference is None else a[: difference.a.seq - 1]
    before_b = b if difference is None else b[: difference.b.seq - 1]
    inputs = compare_inputs(before_a, before_b)
    definitions = _definitions(a, b)
    platforms = _platforms(a, b, difference)
    parting = None if difference is None else _parting(a, b, difference)
    states = fold(a), fold(b)
    return Diff(
        a=_log(a, paths[0], damage[0]),
        b=_log(b, paths[1], damage[1]),
        relation=_relation(a, b, common),
        common=common,
        definitions=definitions,
        platforms=platforms,
        code=list(_code(*states)),
        alike=alike,
        parting=parting,
        inputs=inputs,
        explanation=_explanation(parting, inputs, definitions, platforms),
        by_trial=_by_trial(*states),
    )


def _code(a: State, b: State) -> Iterator[DifferingKey]:
    """Yield each part of what trials ran, at the first trial where both logs know it and it differs."""
    seen: set[str] = set()
    for trial_a, trial_b in zip(a.trials, b.trials, strict=False):
        if trial_a.last is None or trial_b.last is None:
            continue
        known_a, known_b = known_code(trial_a.last.provenance), known_code(trial_b.last.provenance)
        for part in known_a:
            if part in known_b and part not in seen and known_a[part] != known_b[part]:
                seen.add(part)
                key = f"{part} of trial {trial_a.number}"
                yield DifferingKey(key, _as_json(known_a, part), _as_json(known_b, part))


def _created(rows: Sequence[Recorded]) -> SearchCreated:
    event = rows[0].event
    assert isinstance(event, SearchCreated)
    return event


def _log(rows: Sequence[Recorded], path: str, damage: list[str]) -> ComparedLog:
    event = _created(rows)
    head = Head(rows[-1].seq, rows[-1].hash)
    return ComparedLog(path=path, search_id=event.search_id, name=event.search.name, head=head, damage=damage)


def _common(a: Sequence[Recorded], b: Sequence[Recorded]) -> int:
    """Count the equal rows at the beginning of both; the hash of a row covers all rows before it."""
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


# ---------------------------------------------------------------- definitions and platforms


def _definitions(a: Sequence[Recorded], b: Sequence[Recorded]) -> list[DifferingKey]:
    """Return the keys of the search file in which the searches differ, the most decisive first."""
    keys = _differing(_flat(_created(a)), _flat(_created(b)))
    return sorted(keys, key=lambda differing: _ORDER.get(differing.key.split(".")[0], len(_ORDER)))


_ORDER = {key: place for place, key in enumerate(("space", "sampler", "pruner", "seed", "objective"))}


def _flat(event: SearchCreated) -> dict[str, Any]:
    names = [p.name for p in event.search.space]
    return flat_keys(event.search) | {"space (the order of its parameters)": names, "policy": event.policy}


def _platforms(a: Sequence[Recorded], b: Sequence[Recorded], difference: FirstDifference | None) -> list[DifferingKey]:
    """Return the entries of the fingerprints that differ, at the first difference or else at the end of the logs."""
    ends = (len(a), len(b)) if difference is None else (difference.a.seq, difference.b.seq)
    return _differing(_fingerprint(a[: ends[0]]), _fingerprint(b[: ends[1]]))


def _fingerprint(rows: Sequence[Recorded]) -> dict[str, str]:
    events = (row.event for row in reversed(rows) if isinstance(row.event, ControllerStarted | SearchCreated))
    return next(events).fingerprint


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[DifferingKey]:
    keys = dict.fromkeys([*a, *b])
    pairs = ((key, _as_json(a, key), _as_json(b, key)) for key in keys)
    return [DifferingKey(key, value_a, value_b) for key, value_a, value_b in pairs if value_a != value_b]


def _as_json(values: Mapping[str, Any], key: str) -> str:
    return msgspec.json.encode(values[key]).decode() if key in values else "-"


# ---------------------------------------------------------------- the first difference


def _parting(a: Sequence[Recorded], b: Sequence[Recorded], difference: FirstDifference) -> Parting:
    on_a_tick = any(
        row.cause is not None and isinstance(rows[row.cause - 1].event, ClockTicked)
        for rows, row in ((a, difference.a), (b, difference.b))
    )
    side_a, side_b = (_side(row, difference.point) for row in (difference.a, difference.b))
    return Parting(a=side_a, b=side_b, on_a_tick=on_a_tick)


def _side(row: Recorded, point: PointId | None) -> InputSide:
    if point is None:
        return InputSide(row.seq, describe_row_and_content(row))
    trial, attempt, position = point
    word = "prunes" if type(row.event).__name__ == "JobPruned" else "does not prune"
    job = f"trial {trial}" + (f", attempt {attempt}" if attempt else "")
    return InputSide(row.seq, f"seq {row.seq}, {type(row.event).__name__}: {word} {job} at its point {position}")


def _explanation(
    parting: Parting | None,
    inputs: InputComparison,
    definitions: Sequence[DifferingKey],
    platforms: Sequence[DifferingKey],
) -> str:
    """Say what may have caused the difference; empty without a difference.

    A cause is named only if it is the only candidate.
    """
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


def _by_trial(a: State, b: State) -> TrialComparison:
    pairs = list(zip(a.trials, b.trials, strict=False))
    other = next((n for n, (trial_a, trial_b) in enumerate(pairs) if trial_a.params != trial_b.params), None)
    ends = [(n, describe_end(x), describe_end(y)) for n, (x, y) in enumerate(pairs) if x.params == y.params]
    ended = next(((n, x, y) for n, x, y in ends if x != y and "running" not in (x, y)), None)
    return TrialComparison(
        both=len(pairs),
        first_other_parameters=other,
        first_other_outcome=None if ended is None else ended[0],
        parameters=None if other is None else (dict(a.trials[other].params), dict(b.trials[other].params)),
        outcomes=None if ended is None else (ended[1], ended[2]),
    )


def describe_end(trial: Trial) -> str:
    """Describe how *trial* ended: `completed with 0.25`, `pruned at iteration 3`, `failed`, `running`."""
    end, attempt = trial.finished, trial.last
    if end is None:
        return "running"
    if end.values is not None:
        return f"{end.state} with {', '.join(map(formatting.number, end.values))}"
    if end.state == "pruned" and attempt is not None:
        return f"pruned at iteration {attempt.curves[0].iterations[attempt.judged - 1]}"
    return end.state
