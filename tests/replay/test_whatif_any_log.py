"""On any log: the record's own rules give the record, nothing is saved below zero, and no prefix is too short."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.log.reader import read
from eventhpo.testing.searches import simulate
from replay.whatif import WhatIf
from replay.whatif.evaluate import of_rows
from tests.crash.scenarios import SCENARIOS

ASKED = (
    ComponentConfig("MedianPruner", {"n_startup_trials": 0}),
    ComponentConfig("SuccessiveHalvingPruner"),
    ComponentConfig("HyperbandPruner"),
    ComponentConfig("ThresholdPruner", {"upper": 0.5}),
    ComponentConfig("PatientPruner", {"patience": 0, "wrapped_pruner": {"name": "MedianPruner"}}),
)


def sound(found: WhatIf) -> None:
    for row in found.rows:
        known = [t for t in row.trials if t.known]
        assert row.known == (len(known) == len(row.trials))
        assert all((t.iterations_saved or 0) >= 0 and (t.compute_time_saved or 0) >= 0 for t in row.trials)
        assert all(t.why for t in row.trials if not t.known)
        whole = sum((t.iterations or 0) + (t.iterations_saved or 0) for t in row.trials)
        assert whole <= found.iterations
        assert whole == found.iterations or any(t.iterations is None for t in row.trials)
        if row.best.value is None and row.regret.killed:
            assert row.regret.why
        assert row.search.known or row.search.why


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_record_under_its_own_rules_is_the_record(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]()
    path = tmp_path / "search.db"
    simulate(path, scenario.search, scenario.scripts, cut=scenario.cut, inputs=scenario.inputs, asks=scenario.asks)
    rows = read(path).rows
    state = fold(rows)
    limits = state.limits
    budget = limits.total_max_jobs
    found = of_rows(
        rows,
        [state.search.pruner, *ASKED],
        max_total_jobs=budget,
        workers=limits.num_concurrent_workers,
        orders=2,
    )
    sound(found)
    recorded, again, *others = found.rows
    assert (again.trials, again.search.seq) == (recorded.trials, None)
    assert others[-1].trials == recorded.trials
    for end in range(1, len(rows), 7):
        sound(of_rows(rows[:end], ASKED, workers=1, max_total_jobs=1))
