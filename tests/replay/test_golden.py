"""Logs that an earlier version wrote: read, folded and decided again by this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eventhpo.core.evolve import fold
from eventhpo.log.reader import read
from eventhpo.log.verify import verify
from replay.walk import walk

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "logs").glob("*.db"))


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
def test_a_golden_log_is_verified_and_decided_again_alike(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(log, tmp_path))
    assert [check for check in verify(copy) if not check.ok] == []
    checks = list(walk(read(copy, verify=True).rows))
    assert [c.divergence for c in checks if c.divergence] == []
    assert sum(c.decision for c in checks) > 20


HEADS = {
    "objectives": "108:a9446ebbed0a4b7a10e71be13a6fabcf",
    "rungs": "141:b8a34b2f99a98b0d56ff8a7aa4b52136",
    "stopped": "48:96acc02aa4ecfbfc6fef72fcb5e8b3d3",
}


def test_the_golden_logs_are_the_ones_that_were_checked_in() -> None:
    """Stored rows are never rewritten: each log ends with the row that it ended with when it was made."""
    found = {log.stem: f"{(s := read(log)).head.seq}:{s.head.hash}" for log in LOGS}
    assert found == HEADS


def test_the_golden_logs_hold_every_kind_of_trial() -> None:
    counts = {log.stem: fold(read(log).rows).totals.trials for log in LOGS}
    assert counts["rungs"]["pruned"]
    assert counts["stopped"]["aborted"]
    assert counts["objectives"]["completed"] == 8
