"""A study that is killed at any step and run again is the study that nobody disturbed, and is decided again alike."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from eventhpo.core.fold.study_events import TrialTold
from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
from tests.study import table
from tests.study.scripts import run, trials


def differences(log: Path) -> list[object]:
    return [check.divergence for check in check_prefixes(read(log, verify=True).rows) if check.divergence]


@pytest.mark.parametrize(("sampler", "space"), table.cases(), ids=" ".join)
def test_killed_and_run_again_equals_never_killed(sampler: str, space: str, tmp_path: Path) -> None:
    case = table.measured(sampler, space, tmp_path)
    assert case.differences == ()
    assert case.kills
    assert case.lost
    assert case.alone
    assert case.killed


def test_the_table_of_the_docs_has_each_case_and_none_that_differs() -> None:
    text = table.PAGE.read_text()
    lines = text[text.index(table.BEGIN) : text.index(table.END)].splitlines()[1:]
    found = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]
    assert found[0] == table.HEAD
    assert [row[:2] for row in found[2:]] == [(sampler, table.SPACES[space]) for sampler, space in table.cases()]
    assert all(cell.isdecimal() for row in found[2:] for cell in row[2:])


def test_a_case_that_differs_is_bold_in_the_table() -> None:
    """Negative control."""
    case = table.StudyCase(
        alone=1, trials=1, killed=1, lost=1, pruned=0, kills=1, differences=("other trials than undisturbed",)
    )
    assert "**other trials than undisturbed**" in table.line("tpe", "flat", case)
    text = f"{table.BEGIN}{table.END}"
    versions = dict.fromkeys(("eventhpo", "optuna", "numpy", "python"), "1")
    assert "1 studies differ" in table.written(text, {("tpe", "flat"): case}, versions)


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


@pytest.mark.parametrize("sampler", ["grid", "brute force"])
def test_a_grid_killed_after_its_last_tell_runs_no_trial_more(sampler: str, tmp_path: Path) -> None:
    undisturbed = trials(tmp_path / "undisturbed.db", sampler=sampler, trials=100)
    last = len(undisturbed) - 1
    log = tmp_path / "grid.db"
    asked = {"sampler": sampler, "trials": 100}
    assert run(log, kill_after=last, **asked)[0] == -signal.SIGKILL
    assert sum(isinstance(row.event, TrialTold) for row in read(log).rows) == len(undisturbed)
    assert trials(log, **asked) == undisturbed
    assert differences(log) == []


@pytest.mark.parametrize("control", [False, True], ids=["as it is", "negative control"])
def test_a_loop_of_kills_finds_no_fault_and_its_control_does(control: bool) -> None:
    from tests.study.loop import rounds

    results = list(rounds(20 if not control else 4, seed=7, control=control))
    faults = [fault for _, wrong in results for fault in wrong]
    assert (faults != []) == control, faults
    assert sum(done for done, _ in results) >= (4 if control else 20)
