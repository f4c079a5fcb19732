"""A study that is killed at any step and run again is the study that nobody disturbed, and is decided again alike."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from eventhpo.core.fold.evolve import fold
from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
from tests.study.scripts import run, trials

SAMPLERS = [
    "tpe", "tpe in groups", "random", "grid", "brute force", "nsga2", "nsga3", "sobol", "halton", "cma-es", "fixed",
]  # fmt: skip
KILLS = (1, 9, 16, 21)  # steps of the objective: before a suggestion, between two, between two reports


def differences(log: Path) -> list[object]:
    return [check.divergence for check in check_prefixes(read(log, verify=True).rows) if check.divergence]


@pytest.mark.parametrize("space", ["flat", "conditional", "two"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_killed_and_run_again_equals_never_killed(sampler: str, space: str, tmp_path: Path) -> None:
    pruner = {"flat": "median", "conditional": "hyperband", "two": "none"}[space]
    if space == "two" and sampler == "cma-es":
        pytest.skip("CmaEsSampler has one objective")
    asked = {"sampler": sampler, "space": space, "pruner": pruner}
    undisturbed = trials(tmp_path / "undisturbed.db", **asked)
    log = tmp_path / "killed.db"
    codes = [run(log, kill_at=step, **asked)[0] for step in KILLS]
    assert -signal.SIGKILL in codes
    assert trials(log, **asked) == undisturbed
    assert differences(log) == []
    assert len(differences(log)) == len(differences(tmp_path / "undisturbed.db"))
    lost = [trial for trial in fold(read(log).rows).trials if len(trial.attempts) > 1]
    assert lost


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_with_threads_no_number_runs_with_two_points_and_each_is_decided_again(pruner: str, tmp_path: Path) -> None:
    log = tmp_path / "threads.db"
    for step in (5, 18, 33):
        run(log, sampler="tpe", pruner=pruner, n_jobs=3, trials=14, kill_at=step)
    found = trials(log, sampler="tpe", pruner=pruner, n_jobs=3, trials=14)
    assert [trial[0] for trial in found] == list(range(len(found)))
    assert len(found) >= 14
    assert {trial[1] for trial in found} <= {"COMPLETE", "PRUNED"}
    assert differences(log) == []


def test_a_grid_killed_after_its_last_tell_runs_no_trial_more(tmp_path: Path) -> None:
    log = tmp_path / "grid.db"
    asked = {"sampler": "grid", "trials": 100}
    assert len(trials(log, **asked)) == 12
    assert len(trials(log, **asked)) == 12


@pytest.mark.parametrize("control", [False, True], ids=["as it is", "negative control"])
def test_a_loop_of_kills_finds_no_fault_and_its_control_does(control: bool) -> None:
    from tests.study.loop import rounds

    results = list(rounds(20 if not control else 4, seed=7, control=control))
    faults = [fault for _, wrong in results for fault in wrong]
    assert (faults != []) == control, faults
    assert sum(done for done, _ in results) >= (4 if control else 20)
