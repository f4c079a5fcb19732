"""Logs that an earlier version wrote: read, folded and decided again by this one."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import pytest

from eventhpo.core.fold import codec
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import Event, Recorded, SearchCreated, TrialSuggested
from eventhpo.core.fold.evolve import begin, evolve, fold
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.log.reader import read
from eventhpo.log.verify import verify
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from replay import rebuild, redecide
from replay.decide.check_prefixes import check_prefixes
from tests.matrix.cells import names_in
from tests.replay.elsewhere import may_flip, rounds_otherwise

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "logs").glob("*.db"))
STUDIES = sorted(
    (Path(__file__).parents[2] / "fixtures" / "studies").glob("*.db")
)  # tests/study/test_golden_studies.py
logs = pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)


class Golden(NamedTuple):
    """What a golden log ends with, how many decisions it holds, and how its trials ended."""

    head: str
    decisions: int
    trials: tuple[int, int, int, int]  # completed, pruned, failed, aborted


GOLDEN = {
    "aborted": Golden("73:c370a5ee88ff445f16a7d68930c92d17", 33, (2, 0, 1, 2)),
    "acts": Golden("151:db9e9d81f4c2a5ee3af824d2619117ee", 62, (4, 5, 0, 2)),
    "adopted": Golden("128:5259cc6a362b6115e843df675a0ef31b", 58, (3, 7, 0, 1)),
    "at_the_end": Golden("59:faf34b2b9f71147de2e6eec17d9b31fa", 25, (3, 0, 0, 0)),
    "brute_force": Golden("189:b731c0f197492f939ff7f695cd63864a", 80, (4, 9, 0, 0)),
    "by_hand": Golden("315:a28c3d963bf95a023bf46ef29682d98b", 130, (1, 23, 0, 1)),
    "clock_set": Golden("299:b693154d972459e4d6377a1013aaed3b", 120, (3, 18, 0, 0)),
    "clearml": Golden("173:0f03a5cea4becdcda58012bcfa5c7094", 76, (3, 10, 0, 0)),
    "cmaes": Golden("354:fce9e2724d28b8020b648967e05623dd", 152, (10, 17, 0, 0)),
    "fixed": Golden("178:3077f96bd8d810ce83b847a2d653d1f2", 73, (10, 2, 1, 0)),
    "gpus": Golden("98:9e9c8a74fe4b961249b56e91bbebe4d4", 41, (5, 0, 1, 0)),
    "grid": Golden("119:323af09c4e98586d013f1511fca3d0b6", 48, (2, 3, 1, 1)),
    "latched": Golden("164:e241183f3cc1632985be76975836561f", 67, (4, 7, 0, 0)),
    "nsga3": Golden("163:ef96e3a0ee7377ff3a5743b3b0a77021", 54, (12, 0, 1, 0)),
    "objectives": Golden("108:7cd93b26295535a73c89422ef106e164", 34, (8, 0, 0, 0)),
    "rungs": Golden("174:f16b37da6c3c8c7972d84995df228129", 76, (4, 9, 0, 0)),
    "sobol": Golden("146:1087c9282aac502f750d98ac4371d93f", 61, (6, 4, 0, 0)),
    "stopped": Golden("48:003c4eaeeaf63f9e3d7be6ba90038166", 22, (2, 0, 0, 2)),
    "tpe": Golden("287:46bdfd3459bb216500173d6d37849c9f", 123, (4, 16, 0, 0)),
    "warm": Golden("63:7477016ac36d2ac44024d44f19707632", 27, (4, 0, 0, 0)),
}


@logs
def test_a_golden_log_is_verified_and_decided_again_alike(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(log, tmp_path))
    assert [check for check in verify(copy) if not check.ok] == []
    rows = read(copy, verify=True).rows
    checks = list(check_prefixes(rows))
    parted = [c.divergence for c in checks if c.divergence]
    if may_flip(log, rows):
        parted = [d for d in parted if not isinstance(d.recorded, TrialSuggested)]
    if not rounds_otherwise(rows):
        assert [c.rounded for c in checks if c.rounded] == [], "where it was recorded, nothing is rounded"
    assert parted == []
    report = redecide(copy, raise_on_divergence=False, all=True)
    assert [one.seq for one in report.rounded] == [c.seq for c in checks if c.rounded]
    assert all(one.rounds for one in report.divergences)
    assert report.decisions == sum(c.decision for c in checks) == GOLDEN[log.stem].decisions
    assert rebuild(copy).head == report.head


@logs
def test_decided_one_by_one_without_the_walk_its_decisions_are_as_many_and_the_same(log: Path) -> None:
    rows = list(read(log).rows)
    same, others = decided_plainly(rows)
    if may_flip(log, rows):
        same, others = same + others.count("TrialSuggested"), [o for o in others if o != "TrialSuggested"]
    assert (same, others) == (GOLDEN[log.stem].decisions, [])


def decided_plainly(rows: Sequence[Recorded]) -> tuple[int, list[str]]:
    """Return how many decisions come out as recorded, and the types of those that do not; no missing one is seen."""
    state, same, others = begin(rows[0]), 0, []
    asker = OptunaAdapter(state)
    for row in rows[1:]:
        if isinstance(row.event, Decision):
            match next_action(state):
                case actions.Decide(event=event):
                    decided: Event | None = event
                case actions.Suggest() | actions.Judge() as question:
                    decided = asker.answer(question)[0]
                case _:
                    decided = None
            if decided is not None and codec.encode(decided) == codec.encode(row.event):
                same += 1
            else:
                others.append(type(row.event).__name__)
        state = evolve(state, row)
    return same, others


def test_another_parameter_in_a_log_is_seen_without_the_walk() -> None:
    """Negative control."""
    rows = list(read(next(log for log in LOGS if log.stem == "rungs")).rows)
    at = [n for n, row in enumerate(rows) if isinstance(row.event, TrialSuggested)][5]
    params = {**rows[at].event.params, "General/x": 0.5}  # type: ignore[union-attr]
    rows[at] = msgspec.structs.replace(rows[at], event=msgspec.structs.replace(rows[at].event, params=params))
    same, others = decided_plainly(rows)
    assert "TrialSuggested" in others
    assert same < GOLDEN["rungs"].decisions


# ---------------------------------------------------------------- what they hold


@logs
def test_a_golden_log_is_the_one_that_was_checked_in(log: Path) -> None:
    """Stored rows are never rewritten: each log ends with the row that it ended with when it was made."""
    snapshot = read(log)
    rows = list(snapshot.rows)
    trials = fold(rows).totals.trials
    decisions = sum(isinstance(row.event, Decision) for row in rows)
    states = tuple(trials[state] for state in ("completed", "pruned", "failed", "aborted"))
    assert Golden(f"{snapshot.head.seq}:{snapshot.head.hash}", decisions, states) == GOLDEN[log.stem]
    assert log.stat().st_size < 100_000


def test_there_is_a_golden_log_for_each_that_is_expected() -> None:
    assert {log.stem for log in LOGS} == set(GOLDEN)


def test_together_they_hold_every_sampler_pruner_and_type_of_event_but_a_few() -> None:
    classes: set[str] = set()
    types: Counter[str] = Counter()
    for log in [*LOGS, *STUDIES]:
        for row in read(log).rows:
            types[type(row.event).__name__] += 1
            if isinstance(row.event, SearchCreated):
                classes |= {*names_in(row.event.search.sampler), *names_in(row.event.search.pruner)}
    assert {name for role in ("sampler", "pruner") for name in CATALOGUE[role]} - classes == {"GPSampler"}
    every = {kind.__name__ for kind in get_args(Event)}
    assert every - set(types) == {"ReportsRead", "RequestRefused", "TextStored"}
