"""The explanations of all trials at once, and the values that pruned trials needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.explain.collect import of_all, of_rows
from replay.explain.explanation import Prune
from replay.explain.pruner_rules import needed, needed_value
from replay.verified_rows import verified_rows

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOLDEN = sorted([*(FIXTURES / "logs").glob("*.db"), *(FIXTURES / "studies").glob("*.db")])


@pytest.mark.parametrize("log", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_explanations_of_all_trials_are_those_of_each(log: Path) -> None:
    rows = verified_rows(log).rows
    together = of_all(rows)
    assert together == [of_rows(rows, trial) for trial in range(len(together))]
    assert of_all(rows, 2) == together[:2]


@pytest.mark.parametrize("log", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_value_that_a_pruned_trial_needed_is_the_one_that_is_said(log: Path) -> None:
    steps = [step for explanation in of_all(verified_rows(log).rows) for step in explanation.steps]
    for prune in (step for step in steps if isinstance(step, Prune)):
        assert prune.point.found is not None
        value = needed_value(prune.point.found)
        if value is not None:
            assert f"{value:.6g}" in str(needed(prune.point.found))
