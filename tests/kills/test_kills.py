"""Real controllers, runners and jobs, killed: nothing runs twice, nothing is lost, nobody is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills.loop import Killed


def test_kills_at_random_moments_lose_nothing_and_run_nothing_twice(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = int(request.config.getoption("--kills"))
    search = Killed(tmp_path, jobs=4 * kills)
    found = search.run(kills)
    assert found.faults == []
    assert found.kills.total() > 0.8 * min(kills, 50)
    assert found.state.finished is not None
    assert found.state.finished.reason == "budget"
    decided = search.command("verify", "search.db", "--decide")
    assert decided.returncode == 0, decided.stdout


def test_without_a_pruner_and_with_one_worker_a_killed_search_tries_and_finds_the_same(tmp_path: Path) -> None:
    found = []
    for name, kills in (("alone", 0), ("killed", 12)):
        folder = tmp_path / name
        folder.mkdir()
        search = Killed(folder, jobs=6, workers=1, pruner="NopPruner", pace=0.1)
        state = search.run(kills, seed=3, victims=["controller"]).state
        found.append([(t.params, t.finished and t.finished.values) for t in state.trials])
    assert found[0] == found[1]


def test_the_comparison_sees_a_job_that_ran_twice_and_a_report_that_is_missing(tmp_path: Path) -> None:
    """Negative control."""
    search = Killed(tmp_path, jobs=2, workers=1)
    assert search.run(0).faults == []
    ledger = tmp_path / "ledger"
    key = ledger.read_text().split()[0]
    ledger.write_text(f"{ledger.read_text()}{key}\n")
    with (tmp_path / "search.db.jobs" / key.replace(":", "_") / "reports.jsonl").open("a") as reports:
        reports.write('{"iteration": 7, "value": 0.5}\n')
    assert [f.split()[1] for f in search.found().faults] == ["ran", "reported"]
