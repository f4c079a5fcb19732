"""The walk finds what was changed in a log, at the row where it was changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import (
    BudgetUpdated,
    Event,
    JobCreated,
    JobPruned,
    JobsContinued,
    Recorded,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.errors import DamagedLog
from eventhpo.log.reader import read
from eventhpo.testing.searches import simulate
from replay.decide.check_prefixes import Divergence, check_prefixes
from tests.crash.scenarios import SCENARIOS

Rows = list[Recorded]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    scenario = SCENARIOS["rungs, limit and late points"]()
    path = tmp_path_factory.mktemp("walk") / "search.db"
    simulate(path, scenario.search, scenario.scripts, cut=scenario.cut)
    return list(read(path).rows)


def renumbered(rows: Sequence[Recorded], gone: int | None = None) -> Rows:
    """Return *rows* numbered 1, 2, ... with causes that still point at the same rows; keys stay as they were."""

    def now(seq: int | None) -> int | None:
        return seq if seq is None or gone is None or seq < gone else seq - 1

    return [msgspec.structs.replace(r, seq=n, cause=now(r.cause)) for n, r in enumerate(rows, 1)]


def first(rows: Rows) -> Divergence:
    return next(c.divergence for c in check_prefixes(rows) if c.divergence)


def nth(rows: Rows, kind: type[Event], n: int = 0) -> int:
    return [i for i, r in enumerate(rows) if isinstance(r.event, kind)][n]


def changed(rows: Rows, at: int, event: Event) -> Rows:
    return [*rows[:at], msgspec.structs.replace(rows[at], event=event), *rows[at + 1 :]]


def test_an_untouched_log_has_no_divergence(rows: Rows) -> None:
    checks = list(check_prefixes(rows))
    assert not [c for c in checks if c.divergence]
    kinds = (TrialSuggested, JobPruned, JobsContinued, BudgetUpdated, JobCreated, TrialFinished)
    assert sum(c.decision for c in checks) >= sum(isinstance(r.event, kinds) for r in rows)


@pytest.mark.parametrize("n", [0, 3, -1])
def test_an_altered_suggestion_is_found_at_its_row(rows: Rows, n: int) -> None:
    at = nth(rows, TrialSuggested, n)
    event = rows[at].event
    assert isinstance(event, TrialSuggested)
    wrong = msgspec.structs.replace(event, params={"General/x": 0.125})
    found = first(changed(rows, at, wrong))
    assert (found.seq, found.recorded, found.decided) == (at + 1, wrong, event)


@pytest.mark.parametrize("kind", [JobPruned, JobsContinued, BudgetUpdated, JobCreated, TrialFinished, TrialSuggested])
@pytest.mark.parametrize("n", [0, 2, -1])
def test_a_missing_decision_is_found_at_the_row_that_stands_in_its_place(rows: Rows, kind: type[Event], n: int) -> None:
    at = nth(rows, kind, n)
    found = first(renumbered(rows[:at] + rows[at + 1 :], at + 1))
    assert found.seq == at + 1
    assert found.decided == rows[at].event


def test_two_swapped_decisions_are_found_at_the_first(rows: Rows) -> None:
    at = next(
        i
        for i in range(len(rows) - 1)
        if isinstance(rows[i].event, BudgetUpdated) and isinstance(rows[i + 1].event, BudgetUpdated)
    )
    swapped = renumbered([*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]])
    assert first(swapped).seq == at + 1


def test_a_verdict_on_a_late_point_is_found_at_its_row(rows: Rows) -> None:
    at = max(i for i, r in enumerate(rows) if isinstance(r.event, JobsContinued))
    event = rows[at].event
    assert isinstance(event, JobsContinued)
    last = event.verdicts[-1]
    late = msgspec.structs.replace(last, judged=last.judged + 1, iteration=last.iteration + 1)
    wrong = msgspec.structs.replace(event, verdicts=(*event.verdicts[:-1], late))
    assert first(changed(rows, at, wrong)).seq == at + 1


def test_a_changed_bit_of_a_number_is_a_divergence(rows: Rows) -> None:
    at = nth(rows, TrialFinished)
    event = next(r.event for r in rows if isinstance(r.event, TrialFinished) and r.event.values)
    at = next(i for i, r in enumerate(rows) if r.event is event)
    assert isinstance(event, TrialFinished)
    assert event.values is not None
    value = float(event.values[0])
    wrong = msgspec.structs.replace(event, values=(value + value * 2**-52,))
    assert first(changed(rows, at, wrong)).seq == at + 1


def test_a_log_cut_anywhere_is_decided_again_up_to_there(rows: Rows) -> None:
    for end in range(1, len(rows)):
        assert not [c for c in check_prefixes(rows[:end]) if c.divergence]


def test_a_log_without_rows_or_beginning_is_damaged(rows: Rows) -> None:
    with pytest.raises(DamagedLog):
        list(check_prefixes([]))
    with pytest.raises(DamagedLog):
        list(check_prefixes(rows[1:]))
    assert rows[0].hash != GENESIS.hash


AGAIN = """
import sys
from pathlib import Path
from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
checks = list(check_prefixes(read(Path(sys.argv[1])).rows))
print(sum(c.decision for c in checks), [c.divergence for c in checks if c.divergence])
"""


@pytest.mark.parametrize("name", ["rungs, limit and late points", "several objectives", "checkpoints"])
def test_a_fresh_process_with_another_hash_seed_and_time_zone_decides_alike(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]()
    path = tmp_path / "search.db"
    simulate(path, scenario.search, scenario.scripts, cut=scenario.cut, asks=scenario.asks)
    here = sum(c.decision for c in check_prefixes(read(path).rows))
    for seed, zone in (("1", "Asia/Kathmandu"), ("77", "America/St_Johns")):
        env = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", AGAIN, str(path)], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.split(maxsplit=1) == [str(here), "[]\n"]
