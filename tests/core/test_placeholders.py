"""Braces in a command: what replaces them, and which are refused because no job, or not every job, could fill them."""

from __future__ import annotations

import pytest

from eventhpo.core.search.placeholders import mistakes, words
from eventhpo.core.search.spec import DiscreteParameterRange, ParameterChoice, ParameterSet, UniformParameterRange

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
    "no section": ("{lrr}", "{General/lr}"),
    "the slot": ("cuda:{slots}", "{slot}"),
}


@pytest.mark.parametrize("case", NEARLY)
def test_a_brace_that_nearly_names_a_parameter_is_refused_with_the_name(case: str) -> None:
    word, meant = NEARLY[case]
    (found,) = mistakes(["python", word], SPACE)
    assert found.place == "[1]"
    assert found.nearest == meant


@pytest.mark.parametrize(
    "word",
    ["{General/lr}", "{slot}", '{"lr": 1}', "{}", "{print $1}", "${HOME}", "{:.3f}", "{{x}}", "{x}", "{m}", "{a?b}"],
)
def test_braces_that_name_something_or_mean_something_else_are_left_alone(word: str) -> None:
    assert list(mistakes([word], SPACE)) == []


def test_a_parameter_that_is_reported_elsewhere_is_no_mistake_here() -> None:
    assert list(mistakes(["{General/lrs}"], SPACE, {"General/lrs"})) == []


def test_a_name_without_a_section_is_one_of_general() -> None:
    assert words(["+lr={lr}", "{m}"], {"General/lr": 0.5, "Net/m": 1}, 0) == ("+lr=0.5", "{m}")
    assert words(["{lr}"], {"lr": 1, "General/lr": 2}, 0) == ("1",)  # a name of its own comes first
    assert words(["{amp?--amp}"], {"General/amp": True}, 0) == ("--amp",)
    assert list(mistakes(["+lr={lr}"], SPACE)) == []
    (found,) = mistakes(["{lr?--lr}"], SPACE)
    assert found.expected.startswith("a parameter whose values are true and false")


def test_a_bare_flag_is_there_or_not_and_only_as_a_word_of_its_own() -> None:
    command = ["train", "{General/amp?--amp}", "--x={General/amp?--amp}", "{General/no?--no}"]
    assert words(command, {"General/amp": True}, 0) == ("train", "--amp", *command[2:])
    for value in (False, None):
        assert words(command, {"General/amp": value}, 0) == ("train", *command[2:])


def test_a_bare_flag_needs_a_parameter_that_is_true_or_false() -> None:
    for values in ((True, False), (True, None)):
        assert list(mistakes(["{General/k?--k}"], (DiscreteParameterRange(name="General/k", values=values),))) == []
    for space in ((DiscreteParameterRange(name="General/k", values=(True, "no")),), SPACE):
        name = "General/k" if space is not SPACE else "General/lr"
        (found,) = mistakes([f"{{{name}?--k}}"], space)
        assert found.expected.startswith("a parameter whose values are true and false")
