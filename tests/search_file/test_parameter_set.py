"""Sets in a search file: how they are written, what is wrong with them, and points in them."""

# ruff: noqa: E501  a case of the table is one line
from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventhpo.cli.arguments import point as words_as_point
from eventhpo.cli.run.preview import preview, render_preview
from eventhpo.controller.requests import point
from eventhpo.core.fold.codec import decode, encode
from eventhpo.core.fold.events import SearchCreated
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    ParameterChoice,
    ParameterSet,
    Scalar,
    UniformParameterRange,
)
from eventhpo.errors import Usage
from eventhpo.search_file import SearchFileMistaken, differences, load
from eventhpo.testing.searches import created

BASE = """
command = ["python", "train.py"]
seed = 3
[objective]
title = "loss"
series = "test"
sign = "min"
[space.lr]
type = "LogUniformParameterRange"
min_value = -3
max_value = 0
step_size = 1
[space.optimizer]
type = "ParameterSet"
#set
[[space.optimizer.sets]]
optimizer = "sgd"
"Args/momentum" = { type = "UniformParameterRange", min_value = 0.0, max_value = 0.9, step_size = 0.1 }
#sgd
[[space.optimizer.sets]]
"General/optimizer" = "adam"
"General/beta" = { type = "DiscreteParameterRange", values = [0.9, "0.99"] }
#adam
#end
"""
SGD = BASE[BASE.index("[[space") : BASE.index("#sgd")]
ALL = BASE[BASE.index("[[space") : BASE.index("#adam")]


def written(folder: Path, text: str) -> Path:
    path = folder / "search.toml"
    path.write_text(text)
    return path


def test_sets_are_read_with_names_in_their_sections(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, BASE))
    momentum = UniformParameterRange(name="Args/momentum", min_value=0.0, max_value=0.9, step_size=0.1)
    beta = DiscreteParameterRange(name="General/beta", values=(0.9, "0.99"))
    assert loaded.search.space == (
        LogUniformParameterRange(name="General/lr", min_value=-3, max_value=0, step_size=1),
        ParameterSet(
            name="optimizer",
            sets=(
                ParameterChoice(values={"General/optimizer": "sgd"}, ranges=(momentum,)),
                ParameterChoice(values={"General/optimizer": "adam"}, ranges=(beta,)),
            ),
        ),
    )
    back = decode("SearchCreated", 1, encode(created(loaded.search)))
    assert isinstance(back, SearchCreated)
    assert differences(back.search, loaded.search) == []


# (what is replaced, by what, the place that is named, a part of what is said of it)
CASES: dict[str, tuple[str, str, str, str]] = {
    "no sets": (ALL, "", "space.optimizer.sets", "missing, expected at least one [[space.optimizer.sets]]"),
    "a list of no sets": (ALL, "sets = []", "space.optimizer.sets", "found [], expected at least one"),
    "one table in place of a list": (ALL, "[space.optimizer.sets]\na = 1", "space.optimizer.sets", "expected at least one [[space.optimizer.sets]]"),
    "sets that are no tables": (ALL, "sets = [1]", "space.optimizer.sets[0]", "found 1, expected a value or a range for at least one parameter"),
    "a set of nothing": ("#adam", "[[space.optimizer.sets]]", "space.optimizer.sets[2]", "found {}, expected a value or a range for at least one parameter"),
    "a key that a choice has not": ("#set", "values = [1]", "space.optimizer.values", "expected a key of ParameterSet: type, sets"),
    "a set twice": ("#adam", SGD, "space.optimizer.sets[2]", "expected a set that differs from sets[0]"),
    "a name twice in a set": ("#sgd", '"General/optimizer" = 3', 'space.optimizer.sets[0]."General/optimizer"', "each parameter once in a set: optimizer is General/optimizer already"),
    "a name without a parameter": ("#sgd", '"General/" = 3', 'space.optimizer.sets[0]."General/"', "expected a name as Section/name"),
    "a choice without a name": ("[space.optimizer]", '[space." "]\ntype = "ParameterSet"\nsets = [{a = 1}]\n[space.optimizer]', 'space." "', "expected a name for the choice among the sets"),
    "a set in a set": ("#sgd", 'more = {type = "ParameterSet", sets = []}', "space.optimizer.sets[0].more.type", "a set holds no other sets"),
    "a table without a type": ("#sgd", "more = {min_value = 3}", "space.optimizer.sets[0].more.type", "missing, expected one of float, int, categorical"),
    "an unknown type": ("#sgd", 'more = {type = "Discrete"}', "space.optimizer.sets[0].more.type", 'did you mean "DiscreteParameterRange"?'),
    "a list in place of a range": ("#sgd", "more = [1, 2]", "space.optimizer.sets[0].more", "expected a string, a number, true, false or { none = true }, or a table with a type and a range"),
    "a value that is no number": ("#sgd", "more = nan", 'space.optimizer.sets[0]."General/more"', "found NaN, expected a finite number"),
    "a value of 64 bits": ("#sgd", "more = 9223372036854775808", "space.optimizer.sets[0].more", "at most 63 bits"),
    "a range that is none": ("max_value = 0.9", "max_value = -0.9", 'space.optimizer.sets[0]."Args/momentum".min_value', "found 0.0, expected at most max_value"),
    "a misspelt key of a range": ("step_size = 0.1", "step = 0.1", 'space.optimizer.sets[0]."Args/momentum".step', 'did you mean "step_size"?'),
    "a parameter's name in a set": ("#adam", "lr = 0.1", 'space.optimizer.sets[1]."General/lr"', 'a name of its own: "General/lr" has it already'),
    "a name in two choices": ("#adam", '[space.other]\ntype = "ParameterSet"\nsets = [{beta = 1}]', 'space.other.sets[0]."General/beta"', "a name of its own: optimizer has it already"),
    "the choice's name as a parameter": ("#adam", '"Args/x" = 1\n[space."Args/x"]\ntype = "ParameterSet"\nsets = [{y = 1}]', 'space."Args/x"', "a name of its own: optimizer has it already"),
    "a grid": ("#end", '[sampler]\nname = "GridSampler"\nsearch_space = { lr = [0.1] }', "sampler.name", "for space.optimizer: a grid has all of them"),
    "a fixed value of a set": ("#end", '[sampler]\nname = "PartialFixedSampler"\nfixed_params = { "Args/momentum" = 0.1 }\nbase_sampler = { name = "RandomSampler" }', 'sampler.fixed_params."Args/momentum"', "write the value into its ParameterSet"),
    "a command that names what one set has": ('"train.py"', '"train.py", "-m={Args/momentum}"', "command[2]", "some sets have no Args/momentum"),
    "a point of no set": ("#end", '[[trial]]\noptimizer = "lamb"', "trial[0].optimizer", 'found "lamb", expected "sgd" or "adam"'),
    "a value out of range": ("#end", '[[trial]]\n"Args/momentum" = 0.95', 'trial[0]."Args/momentum"', "found 0.95, expected a number from 0.0 to 0.9 in steps of 0.1"),
    "values of two sets": ("#end", '[[trial]]\noptimizer = "sgd"\nbeta = 0.9', "trial[0]", 'expected values that stand together in one set of "optimizer": [0] General/optimizer = "sgd", Args/momentum = a number'),
    "a name of a point twice": ("#end", '[[trial]]\noptimizer = "sgd"\n"General/optimizer" = "sgd"', 'trial[0]."General/optimizer"', "each parameter once"),
    "a point of an unknown name": ("#end", "[[trial]]\nbetta = 0.9", "trial[0].betta", 'did you mean "General/beta"?'),
    "the choice in a point": ("#end", "[[trial]]\noptimizer = 0", "trial[0].optimizer", 'found 0, expected "sgd" or "adam"'),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_by_its_place_and_by_what_was_expected(tmp_path: Path, name: str) -> None:
    before, after, place, said = CASES[name]
    assert before in BASE
    with pytest.raises(SearchFileMistaken) as raised:
        load(written(tmp_path, BASE.replace(before, after, 1)))
    (found,) = raised.value.mistakes
    assert found.place == place
    assert said in str(found)


def test_a_set_that_is_broken_is_not_reported_again_where_its_names_are_used(tmp_path: Path) -> None:
    text = BASE.replace("step_size = 0.1", "step_size = 0") + '[[trial]]\n"Args/momentum" = 0.1\noptimizer = "x"\n'
    text += '[sampler]\nname = "PartialFixedSampler"\nfixed_params = { optimizer = 8 }\nbase_sampler = { name = "RandomSampler" }'
    with pytest.raises(SearchFileMistaken) as raised:
        load(written(tmp_path, text))
    assert [one.place for one in raised.value.mistakes] == ['space.optimizer.sets[0]."Args/momentum".step_size']


def test_a_command_may_name_what_every_set_has(tmp_path: Path) -> None:
    load(written(tmp_path, BASE.replace('"train.py"', '"train.py", "{General/optimizer}", "{slot}", "{x}"')))


def test_a_file_that_changed_is_told_by_the_keys_of_its_sets(tmp_path: Path) -> None:
    recorded = load(written(tmp_path, BASE)).search
    now = load(written(tmp_path, BASE.replace('"adam"', '"adamw"').replace("max_value = 0.9", "max_value = 0.8")))
    assert differences(recorded, now.search) == [
        'space.optimizer.sets[0]."Args/momentum".max_value',
        'space.optimizer.sets[1]."General/optimizer"',
    ]
    swapped = load(written(tmp_path, BASE.replace("#sgd", 'a = {type = "DiscreteParameterRange", values = [1]}')))
    first = BASE.replace(
        'optimizer = "sgd"\n', 'optimizer = "sgd"\na = {type = "DiscreteParameterRange", values = [1]}\n'
    )
    assert differences(swapped.search, load(written(tmp_path, first)).search) == ["space (the order of its parameters)"]


# ---------------------------------------------------------------- points

POINTS: list[tuple[list[str], dict[str, Scalar]]] = [
    (["optimizer=sgd", "Args/momentum=0.3"], {"General/optimizer": "sgd", "Args/momentum": 0.3}),
    (["Args/momentum=0.30000000000000004", "lr=0.1"], {"Args/momentum": 0.3, "General/lr": 0.1}),
    (["Args/momentum=0"], {"Args/momentum": 0.0}),
    (["beta=0.99"], {"General/beta": "0.99"}),
    (["beta=0.9"], {"General/beta": 0.9}),
    (["lr=1"], {"General/lr": 1.0}),
]


@pytest.mark.parametrize(("words", "expected"), POINTS, ids=range(len(POINTS)))
def test_a_point_of_a_command_line_is_what_its_job_will_get(
    tmp_path: Path, words: list[str], expected: dict[str, Scalar]
) -> None:
    search = load(written(tmp_path, BASE)).search
    found = point(search, words_as_point(search, words))
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in expected.items()}


MISFITS: list[tuple[dict[str, Scalar], str]] = [
    ({"optimizer": "lamb"}, 'General/optimizer: found "lamb", expected "sgd" or "adam"'),
    ({"optimizer": "adam", "Args/momentum": 0.1}, 'the point: found {"General/optimizer": "adam", "Args/momentum": 0.1}, expected values that stand together in one set of "optimizer": [0]'),
    ({"beta": 10**400}, "General/beta: found"),
    ({"Args/momentum": 10**400}, "Args/momentum: found"),
    ({"moment": 0.1}, 'moment: found "General/moment", expected a parameter of the space: General/lr, General/optimizer, Args/momentum, General/beta'),
    ({"optimizer": "sgd", "General/optimizer": "sgd"}, "each parameter once"),
    ({}, "expected a value for at least one parameter of the space"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "said"), MISFITS, ids=range(len(MISFITS)))
def test_a_point_that_no_set_holds_is_refused_in_words(tmp_path: Path, params: dict[str, Scalar], said: str) -> None:
    with pytest.raises(Usage) as raised:
        point(load(written(tmp_path, BASE)).search, params)
    assert said in str(raised.value)
    assert str(raised.value).count("expected") == 1


def test_points_of_the_file_come_first_in_a_preview_that_names_each_set(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, BASE + "[[trial]]\nbeta = 0.9\nlr = 0.1\n"))
    found = preview(loaded)
    assert found.points == 4 * (10 + 2)
    assert found.suggestions[0] == {"General/beta": 0.9, "General/lr": 0.1, "General/optimizer": "adam"}
    lines = [line for line in render_preview(loaded, found) if line.startswith("space")]
    assert lines[1:] == [
        "space       optimizer: one of 2 sets",
        'space       optimizer[0]: General/optimizer = "sgd", Args/momentum = a number from 0.0 to 0.9 in steps of 0.1',
        f'space       optimizer[1]: General/optimizer = "adam", General/beta = one of {json.dumps([0.9, "0.99"])}',
    ]
