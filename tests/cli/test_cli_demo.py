"""The demo's folder, and what it says at the end; `.ci/run` runs it as a newcomer does."""

from __future__ import annotations

import importlib.util

import pytest

from eventhpo.cli.run.demo import summary
from eventhpo.search_file import load
from tests.cli.harness import invoke, simulated

pytestmark = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")


def test_a_demo_that_was_run_is_gone_on_with_and_not_overwritten(tmp_path):
    log = tmp_path / "search.db"
    simulated(log)
    before = log.read_bytes()
    result = invoke("demo", "--folder", tmp_path)
    assert result.exit_code == 2
    assert f"eventhpo resume {log}" in result.stderr
    assert log.read_bytes() == before


def test_a_folder_that_is_in_use_is_left_alone(tmp_path):
    (tmp_path / "train.py").write_text("mine")
    result = invoke("demo", "--folder", tmp_path)
    assert result.exit_code == 2
    assert "--folder" in result.stderr
    assert (tmp_path / "train.py").read_text() == "mine"


def test_its_search_file_is_one_that_anybody_can_run():
    from importlib import resources

    with resources.as_file(resources.files("eventhpo.demo").joinpath("search.toml")) as path:
        search = load(path).search
    assert search.limits.num_concurrent_workers == 2
    assert search.limits.total_max_jobs


def test_it_ends_with_the_top_five_what_the_budget_went_to_and_three_commands(tmp_path):
    log = tmp_path / "search.db"
    text = list(summary(log, simulated(log, total_max_jobs=8)))
    assert [line.split()[0] for line in text[2:7]] == ["1", "2", "3", "4", "5"]
    assert any(line.startswith("budget:") for line in text)
    assert [line.split()[:2] for line in text[-3:]] == [["eventhpo", n] for n in ("top", "events", "resume")]
