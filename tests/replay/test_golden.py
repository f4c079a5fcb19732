"""Logs that an earlier version wrote: read, folded and decided again by this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eventhpo.core.evolve import fold
from eventhpo.log.reader import read
from eventhpo.log.verify import verify
from replay import rebuild, redecide
from replay.walk import walk

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "logs").glob("*.db"))


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
def test_a_golden_log_is_verified_and_decided_again_alike(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(log, tmp_path))
    assert [check for check in verify(copy) if not check.ok] == []
    checks = list(walk(read(copy, verify=True).rows))
    assert [c.divergence for c in checks if c.divergence] == []
    report = redecide(copy)
    assert report.decisions == sum(c.decision for c in checks) > 20
    assert rebuild(copy).head == report.head


HEADS = {
    "aborted": "73:c370a5ee88ff445f16a7d68930c92d17",
    "objectives": "108:7cd93b26295535a73c89422ef106e164",
    "rungs": "174:f16b37da6c3c8c7972d84995df228129",
    "stopped": "48:003c4eaeeaf63f9e3d7be6ba90038166",
}


def test_the_golden_logs_are_the_ones_that_were_checked_in() -> None:
    """Stored rows are never rewritten: each log ends with the row that it ended with when it was made."""
    found = {log.stem: f"{(s := read(log)).head.seq}:{s.head.hash}" for log in LOGS}
    assert found == HEADS


def test_the_golden_logs_hold_every_kind_of_trial() -> None:
    counts = {log.stem: fold(read(log).rows).totals.trials for log in LOGS}
    assert counts["rungs"]["pruned"]
    assert counts["stopped"]["aborted"]
    assert counts["aborted"]["aborted"] == 2
    assert counts["objectives"]["completed"] == 8
