"""What is told of a search before it begins: bounds of a logarithmic range, points that there is no room for."""

from __future__ import annotations

import msgspec
import pytest

from eventhpo.core.advice import advice
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LocalCommand,
    LogUniformParameterRange,
    UniformParameterRange,
)
from eventhpo.testing.searches import search


def told(points: int = 0, low: float = -5.0, high: float = 0.0, **more: object) -> list[str]:
    space = (LogUniformParameterRange(name="General/lr", min_value=low, max_value=high),)
    return list(advice(search(space=space, **more), points))  # type: ignore[arg-type]


def test_bounds_of_a_logarithmic_range_that_look_like_values_are_told() -> None:
    (text,) = told(low=0.0001, high=0.1)
    assert text.startswith('space."General/lr": the bounds of a LogUniformParameterRange are exponents: 0.0001 to 0.1')
    assert "gives values from 1.00023 to 1.25893" in text


@pytest.mark.parametrize(("low", "high"), [(-5.0, 0.0), (-1.0, 1.0), (0.0, 1.0), (0.5, 2.0), (1.0, 3.0)])
def test_bounds_that_are_likely_exponents_are_not(low: float, high: float) -> None:
    assert told(low=low, high=high) == []


@pytest.mark.parametrize(
    ("limits", "end"),
    [
        ({"total_max_jobs": 3}, "a budget for 3: the last 2 are never tried"),
        ({"total_max_jobs": 9, "max_trials": 4}, "a budget for 4: the last is never tried"),
        ({"total_max_jobs": 3, "max_iteration_per_job": 2}, "the last 2 are only tried if other jobs end early"),
        ({"total_max_jobs": 3, "max_iteration_per_job": 2, "max_trials": 3}, "the last 2 are never tried"),
    ],
)
def test_points_that_the_budget_has_no_room_for_are_told(limits: dict[str, object], end: str) -> None:
    (text,) = told(5, **limits)
    assert text.startswith("[[trial]] is there 5 times")
    assert text.endswith(end)


def test_points_that_fit_are_not() -> None:
    assert told(5, total_max_jobs=5) == told(5, total_max_jobs=None) == []


def told_of_names(*words: str) -> list[str]:
    space = tuple(
        UniformParameterRange(name=name, min_value=0.0, max_value=1.0) for name in ("General/lr", "Model/width")
    )
    jobs = LocalCommand(command=("python", "train.py", *words), folder=".")
    return list(advice(msgspec.structs.replace(search(space=space), jobs=jobs)))


def test_a_parameter_that_the_command_leaves_out_is_told_if_it_names_others() -> None:
    (text,) = told_of_names("--lr", "{lr}")
    assert text.startswith('space."Model/width": the command does not name {Model/width}')
    (text,) = told_of_names("--width={Model/width}")
    assert "does not name {lr}" in text


@pytest.mark.parametrize("words", [(), ("--gpu", "{slot}"), ("--lr", "{General/lr}", "-w{Model/width}")])
def test_a_command_that_names_all_or_none_is_not_told_of(words: tuple[str, ...]) -> None:
    assert told_of_names(*words) == []


def told_of_command(*words: str) -> list[str]:
    jobs = LocalCommand(command=("python", "train.py", *words), folder=".")
    return list(advice(msgspec.structs.replace(search(), jobs=jobs)))


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("--api-key", "Zx81"), 4),
        (("--wandb_token=Zx81",), 3),
        (("PASSWORD=Zx81",), 3),
        (("--url", "https://me:Zx81@example.org/x"), 4),
        (("hf_" + "Zx81" * 8,), 3),
        (("AKIA" + "ZX81" * 4,), 3),
    ],
)
def test_a_word_of_the_command_that_looks_like_a_secret_is_told_by_its_place_and_not_repeated(
    words: tuple[str, ...], place: int
) -> None:
    (text,) = told_of_command(*words)
    assert text.startswith(f"command: word {place} looks like a secret")
    assert "Zx81" not in text
    assert "ZX81" not in text


@pytest.mark.parametrize(
    "words",
    [
        ("--lr={General/lr}", "--tokenizer", "bpe"),
        ("--token={General/token}",),
        ("--api-key", "--verbose"),
        ("--max-tokens=100", "https://example.org:80/x", "token"),
    ],
)
def test_a_command_without_a_secret_is_not_warned_of(words: tuple[str, ...]) -> None:
    assert told_of_command(*words) == []


def test_a_secret_among_the_values_of_a_parameter_is_told_and_not_repeated() -> None:
    key = "hf_" + "Zx81" * 8
    for name, values in (("General/hub", (key, "none")), ("General/api_key", ("Zx81", "b"))):
        (text,) = advice(search(space=(DiscreteParameterRange(name=name, values=values),)))
        assert text.startswith(f'space."{name}": a value looks like a secret')
        assert "Zx81" not in text
    assert list(advice(search(space=(DiscreteParameterRange(name="General/token", values=(1, 2)),)))) == []
