"""The page about the search file: it names everything that one may write, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eventhpo.core.search.spec import Limits
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.search_file import SearchFileMistaken, load
from eventhpo.search_file.read_search import LIMITS, SIGNS
from eventhpo.search_file.read_space import TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "search-file.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
REST = """
[objective]
title = "loss"
series = "test"
sign = "min"
[space.x]
type = "UniformParameterRange"
min_value = 0
max_value = 1
"""


def keys_of(folder: Path, text: str, place: str) -> list[str]:
    """Return the keys that the loader takes in the table that *place*, an unknown key, stands in."""
    path = folder / "search.toml"
    path.write_text(text)
    with pytest.raises(SearchFileMistaken) as raised:
        load(path)
    (mistake,) = (one for one in raised.value.mistakes if one.place == place)
    return mistake.expected.partition(": ")[2].split(", ")


def test_every_key_at_the_top_has_its_place_on_the_page(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, "zzz = 1", "zzz")
    assert set(keys) >= {"name", "command", "seed", "objective", "space", "trial", "sampler", "pruner", *LIMITS}
    for key in keys:
        assert f"| `{key}` |" in PAGE or f"## `[{key}" in PAGE or f"## `[[{key}" in PAGE, key


def test_every_key_of_an_objective_is_on_the_page(tmp_path: Path) -> None:
    for key in (*keys_of(tmp_path, "[objective]\nzzz = 1", "objective.zzz"), *(f'"{sign}"' for sign in SIGNS)):
        assert f"`{key}`" in PAGE


@pytest.mark.parametrize("kind", TYPES)
def test_every_key_of_a_range_is_on_the_page(tmp_path: Path, kind: str) -> None:
    assert f"| `{kind}`" in PAGE
    for key in keys_of(tmp_path, f'[space.x]\ntype = "{kind}"\nzzz = 1', "space.x.zzz"):
        assert f"`{key}`" in PAGE


def test_every_sampler_pruner_crossover_and_mutation_is_on_the_page_with_its_arguments() -> None:
    for parts in CATALOGUE.values():
        for name, part in parts.items():
            for word in (name, *part.args, *part.refused):
                assert f"`{word}`" in PAGE, (name, word)


def test_the_defaults_on_the_page_are_those_of_the_code() -> None:
    for key in LIMITS:
        default = getattr(Limits(), key)
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |"))
        said = row.split("|")[3].strip()
        assert said in ({"no limit", "none"} if default is None else {str(default)}), key


def test_the_first_example_is_a_whole_search_file(tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text(EXAMPLES[0])
    assert load(tmp_path / "search.toml").search.name == "digits"


@pytest.mark.parametrize("example", EXAMPLES[1:], ids=range(1, len(EXAMPLES)))
def test_every_other_example_fits_into_one(tmp_path: Path, example: str) -> None:
    (tmp_path / "search.toml").write_text('command = ["true"]\n' + REST + example)
    load(tmp_path / "search.toml")
