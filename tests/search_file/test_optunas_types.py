"""The types `float`, `int` and `categorical` of a search file have Optuna's words and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from eventhpo.errors import Usage
from eventhpo.optuna_adapter.distributions import distributions
from eventhpo.search_file.read_search import load

SEARCH = """
name = "types"
command = ["python", "train.py"]
max_trials = 3
[objective]
title = "validation"
series = "loss"
sign = "min"
[space.x]
{lines}
"""


def kind_of(lines: str, folder: Path) -> Any:
    """Return the distribution that Optuna gets for a parameter with these lines."""
    (folder / "search.toml").write_text(SEARCH.format(lines=lines))
    (folder / "train.py").write_text("")
    search = load(folder / "search.toml").search
    return distributions(search.space)["General/x"]


def test_a_float_is_optunas(tmp_path: Path) -> None:
    assert kind_of('type = "float"\nlow = -0.5\nhigh = 2', tmp_path) == optuna.distributions.FloatDistribution(
        -0.5, 2.0
    )


@pytest.mark.parametrize(("low", "high"), [(1e-5, 1e-1), (3e-4, 0.7), (1.5, 9.0), (1.0, 10.0), (0.5, 1000.0)])
def test_the_bounds_of_a_logarithmic_float_are_values(low: float, high: float, tmp_path: Path) -> None:
    kind = kind_of(f'type = "float"\nlow = {low}\nhigh = {high}\nlog = true', tmp_path)
    assert kind.log
    assert (kind.low, kind.high) == pytest.approx((low, high), rel=1e-12)


def test_a_float_with_a_step_and_an_int_and_a_choice_are_optunas(tmp_path: Path) -> None:
    stepped = kind_of('type = "float"\nlow = 0.0\nhigh = 1.0\nstep = 0.25', tmp_path)
    assert (stepped.low, stepped.high, stepped.step) == (0.0, 1.0, 0.25)
    whole = kind_of('type = "int"\nlow = 16\nhigh = 64\nstep = 16', tmp_path)
    assert whole == optuna.distributions.IntDistribution(16, 64, step=16)
    chosen = kind_of('type = "categorical"\nchoices = ["adam", "sgd", 3, { none = true }]', tmp_path)
    assert chosen.choices == ("adam", "sgd", 3, None)


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ('type = "float"\nlow = 0.0\nhigh = 1.0\nlog = true', "low"),
        ('type = "float"\nlow = 0.1\nhigh = 1.0\nlog = true\nstep = 0.1', "step"),
        ('type = "int"\nlow = 1\nhigh = 8\nlog = true', "log"),
        ('type = "float"\nmin_value = 0.0\nmax_value = 1.0', "low"),
        ('type = "float"\nlow = 2.0\nhigh = 1.0', "x"),
        ('type = "categorical"\nchoices = []', "choices"),
        ('type = "flaot"\nlow = 0.0\nhigh = 1.0', "float"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(lines: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(Usage, match=part):
        kind_of(lines, tmp_path)
