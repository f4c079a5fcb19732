"""Braces in a command: refused where some jobs would not have the name, told of where a name was nearly hit."""

from __future__ import annotations

import pytest

from eventhpo.core.placeholders import mistakes, near_misses
from eventhpo.core.spec import ParameterChoice, ParameterSet, UniformParameterRange

LR = UniformParameterRange(name="General/lr", min_value=0.0, max_value=1.0)
MOMENTUM = UniformParameterRange(name="Args/momentum", min_value=0.0, max_value=1.0)
SPACE = (
    LR,
    ParameterSet(
        name="optimizer",
        sets=(
            ParameterChoice(values={"General/kind": "sgd"}, ranges=(MOMENTUM,)),
            ParameterChoice(values={"General/kind": "adam"}),
        ),
    ),
)


def test_a_name_that_only_some_jobs_have_is_a_mistake_and_one_that_all_have_is_none() -> None:
    (found,) = mistakes(["python", "{General/kind}", "--m={Args/momentum}"], SPACE)
    assert found.place == "[2]"
    assert "some sets have no Args/momentum" in found.expected


NEARLY = {
    "a letter too many": ("--lr={General/lrr}", "{General/lr}"),
    "another case": ("{general/LR}", "{General/lr}"),
    "no section": ("{lr}", "{General/lr}"),
    "the slot": ("cuda:{slots}", "{slot}"),
}


@pytest.mark.parametrize("case", NEARLY)
def test_a_brace_that_nearly_names_a_parameter_is_told_with_the_name(case: str) -> None:
    word, meant = NEARLY[case]
    (text,) = near_misses(["python", word], SPACE)
    assert text.startswith("command[1]: {")
    assert text.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "word", ["{General/lr}", "{slot}", '{"lr": 1}', "{}", "{print $1}", "${HOME}", "{:.3f}", "{{x}}"]
)
def test_braces_that_name_something_or_mean_something_else_are_left_alone(word: str) -> None:
    assert list(near_misses([word], SPACE)) == []
