"""The demo's two files, as a user copies them: a search file without a mistake, and a script that fits it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.search.ranges import from_job
from eventhpo.core.search.spec import DiscreteParameterRange, LocalCommand, LogUniformParameterRange, Parameter, Search
from eventhpo.search_file import load

DEMO = Path(str(resources.files("eventhpo.demo")))
EPOCHS = 15
EASY = {"General/lr": 0.01, "General/width": 16, "General/activation": "tanh", "General/batch_size": 64}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("search.toml", "train.py"):
        shutil.copy(DEMO / name, tmp_path)
    return tmp_path


@pytest.fixture
def search(folder: Path) -> Search:
    return load(folder / "search.toml").search


def train(folder: Path, **variables: str) -> str:
    """Run the script once, with *variables* in the environment, and return what it printed."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EVENTHPO_")}
    command = [sys.executable, "-W", "error", "train.py"]
    done = subprocess.run(
        command, cwd=folder, env=ours | variables, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def train_as_job(folder: Path, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the script as a job with *params* and return its reports."""
    (folder / "params.json").write_text(json.dumps(params))
    reports = folder / "reports.jsonl"
    train(folder, EVENTHPO_PARAMS=str(folder / "params.json"), EVENTHPO_REPORTS=str(reports))
    return [json.loads(line) for line in reports.read_text().splitlines() if line]


def series(reports: list[dict[str, Any]], title: str, name: str) -> list[tuple[int, float]]:
    return [(r["iteration"], r["value"]) for r in reports if (r["title"], r["series"]) == (title, name)]


def defaults() -> dict[str, Any]:
    """Return what the script passes to `job.connect`."""
    for node in ast.walk(ast.parse((DEMO / "train.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "job.connect":
            found: dict[str, Any] = ast.literal_eval(node.args[0])
            return found
    raise AssertionError("train.py connects no parameters")


def ends(parameter: Parameter) -> tuple[Any, Any]:
    """Return the first and the last value of *parameter*, as a job gets them."""
    if isinstance(parameter, DiscreteParameterRange):
        return parameter.values[0], parameter.values[-1]
    if isinstance(parameter, LogUniformParameterRange):
        return parameter.base**parameter.min_value, parameter.base**parameter.max_value
    return parameter.min_value, parameter.max_value


# ---------------------------------------------------------------- the search file


def test_the_search_file_runs_the_script_in_its_own_folder(folder: Path, search: Search) -> None:
    assert search.jobs == LocalCommand(command=("python", "train.py"), folder=str(folder.resolve()), file="search.toml")


def test_the_search_file_asks_for_two_jobs_at_a_time_under_a_fixed_seed_and_budget(folder: Path) -> None:
    loaded = load(folder / "search.toml")
    assert not loaded.drawn_seed
    assert loaded.search.limits.num_concurrent_workers == 2
    assert loaded.search.limits.total_max_jobs is not None
    assert loaded.search.max_iteration_per_job == EPOCHS


def test_the_space_and_the_script_name_the_same_parameters(search: Search) -> None:
    assert sorted(p.name for p in search.space) == sorted(f"General/{key}" for key in defaults())


def test_the_defaults_of_the_script_are_a_point_of_the_space(search: Search) -> None:
    for parameter in search.space:
        from_job(parameter, defaults()[parameter.name.removeprefix("General/")])


# ---------------------------------------------------------------- the script


def test_the_script_runs_without_a_controller_and_twice_gives_the_same_accuracy(folder: Path) -> None:
    first, second = train(folder), train(folder)
    words, _, accuracy = first.strip().rpartition(": ")
    assert words == f"validation accuracy after {EPOCHS} epochs"
    assert 0.85 < float(accuracy) < 1
    assert second == first
    assert sorted(p.name for p in folder.iterdir()) == ["search.toml", "train.py"]


def test_a_job_reports_accuracy_and_loss_after_each_epoch(folder: Path, search: Search) -> None:
    reports = train_as_job(folder, EASY)
    (objective,) = search.objectives
    accuracy = series(reports, objective.title, objective.series)
    loss = series(reports, "train", "loss")
    assert [epoch for epoch, _ in accuracy] == [epoch for epoch, _ in loss] == list(range(1, EPOCHS + 1))
    assert [r["title"] for r in reports] == ["train", "validation"] * EPOCHS  # the loss, before a prune can come
    assert all(0 <= value <= 1 for _, value in accuracy)
    assert accuracy[-1][1] > accuracy[0][1]
    assert loss[-1][1] < loss[0][1]


def test_the_same_parameters_give_the_same_reports_and_others_give_others(folder: Path) -> None:
    runs = []
    for name, lr in (("a", 0.01), ("b", 0.01), ("c", 0.02)):
        place = folder / name
        place.mkdir()
        shutil.copy(folder / "train.py", place)
        runs.append(train_as_job(place, EASY | {"General/lr": lr}))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("end", [0, 1], ids=["first", "last"])
def test_a_corner_of_the_space_trains_to_the_end(folder: Path, search: Search, end: int) -> None:
    corner = {p.name: ends(p)[end] for p in search.space}
    accuracy = series(train_as_job(folder, corner), "validation", "accuracy")
    assert [epoch for epoch, _ in accuracy] == list(range(1, EPOCHS + 1))
