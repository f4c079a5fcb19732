"""Golden logs of studies: every later version reads them and decides them alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import eventhpo
from eventhpo.core.fold.evolve import fold
from eventhpo.log.reader import read
from eventhpo.log.verify import verify
from replay import redecide, whatif
from tests.replay.test_golden import rounds_otherwise

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "studies").glob("*.db"))
logs = pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)


class Golden(NamedTuple):
    """What a log must come to: its head, decisions that are decided again and that are not, trials by state."""

    head: str
    decisions: int
    undecided: int
    trials: tuple[int, int, int]  # completed, pruned, failed


GOLDEN = {
    "decided": Golden("206:9638d52e67aee26cb4a48bf82c80e2e4", 129, 0, (15, 9, 0)),
    "grid": Golden("50:fc352ba71222c13f7a4316cd2e783bb4", 30, 0, (2, 3, 1)),
    "of_storage": Golden("22:9a29a5e7edb5d2fdc296e77459779a6c", 0, 10, (5, 0, 0)),
}


def test_each_log_is_expected() -> None:
    assert {log.stem for log in LOGS} == set(GOLDEN)


@logs
def test_a_golden_study_is_verified_and_decided_again_alike(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(log, tmp_path))
    assert [check for check in verify(copy) if not check.ok] == []
    report = redecide(copy, raise_on_divergence=False, all=True)
    snapshot = read(copy, verify=True)
    if not rounds_otherwise(list(snapshot.rows)):
        assert report.divergences == ()
    counts = fold(snapshot.rows).totals.trials
    states = counts["completed"], counts["pruned"], counts["failed"]
    head = f"{snapshot.head.seq}:{snapshot.head.hash}"
    assert Golden(head, report.decisions, len(report.undecided), states) == GOLDEN[log.stem]


@logs
@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("top",),
        ("events",),
        ("verify",),
        ("postmortem",),
        ("explain", "{log}", "2"),
        ("status", "--at", "9"),
    ],
    ids=" ".join,
)
def test_each_command_answers_for_a_study(log: Path, words: tuple[str, ...], tmp_path: Path) -> None:
    copy = shutil.copy(log, tmp_path)
    given = [word.format(log=copy) for word in words]
    command = given if "{log}" in words else [given[0], str(copy), *given[1:]]
    done = subprocess.run([sys.executable, "-m", "eventhpo", *command], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@logs
def test_a_job_of_a_trial_that_was_told_a_value_is_completed(log: Path, tmp_path: Path) -> None:
    copy = shutil.copy(log, tmp_path)
    command = [sys.executable, "-m", "eventhpo", "status", str(copy), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    status = json.loads(done.stdout)
    assert status["jobs"]["failed"] == status["trials"]["failed"]


def test_whatif_answers_for_a_study_with_one_objective() -> None:
    answer = whatif(LOGS[0], ["MedianPruner"])
    assert len(answer.rows) == 2


@logs
def test_it_loads_as_a_read_only_study(log: Path) -> None:
    study = eventhpo.load_study(log)
    assert len(study.trials) == sum(GOLDEN[log.stem].trials)
