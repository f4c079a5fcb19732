"""The pages for people: what they link to and name exists, and each is found from the README."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventhpo
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from tests.house.test_structure import ROOT, modules

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
ELSEWHERE = {"OptimizerOptuna", "HyperParameterOptimizer", "ClearmlJob", "MultiObjective", "ParameterSet"}  # ClearML's
ELSEWHERE |= {"KillMode"}  # systemd's
ELSEWHERE |= {"GrpcStorageProxy", "UpdateFinishedTrialError", "TrialPruned"}  # Optuna's
EMPTY = "\0"  # what stands in the place of a fenced block, and in no path

pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


def links(text: str) -> Iterator[str]:
    """Yield the targets of *text*'s relative links, without their fragments."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            yield target.partition("#")[0]


def quoted(text: str) -> list[str]:
    """Return what stands in backticks, fenced blocks aside."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", EMPTY, text, flags=re.M | re.S))


def types_named(text: str) -> set[str]:
    """Return the words in backticks that are written like the type of an event."""
    return {word for part in quoted(text) for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", part)}


def paths_named(text: str) -> set[str]:
    """Return the paths into the project, wherever they stand, and the modules that are named in backticks."""
    tops = r"(?<![\w./-])(?:eventhpo|replay|tests|fixtures|docs|core)/[\w/.-]*\w"
    named = set(re.findall(tops, text))
    for part in quoted(text):
        if re.fullmatch(r"[\w/]+\.py", part):
            named.add(part)
        elif re.fullmatch(r"(?:eventhpo|replay)(?:\.[a-z_]+)+", part):
            named.add(part.replace(".", "/"))
    return named


WRITTEN_BY_READERS = {"train.py", "search.py"}  # a page has its text


def is_there(path: str) -> bool:
    """Whether *path* is a file, a folder or a module of the project, from its root or from the package's."""
    if path.removeprefix("eventhpo/") in eventhpo.__all__ or path in WRITTEN_BY_READERS:
        return True
    return any((top / f"{path}{suffix}").exists() for top in (ROOT, ROOT / "eventhpo") for suffix in ("", ".py"))


def known_types() -> set[str]:
    """Return the names of the project's classes, of its aliases of types, of Optuna's parts and of Python's own."""
    found = set(dir(builtins)) | ELSEWHERE | {name for parts in CATALOGUE.values() for name in parts}
    for path in modules("eventhpo") + modules("replay"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


@pages
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    assert [target for target in links(page.read_text()) if not (page.parent / target).exists()] == []


@pages
def test_every_type_that_is_named_exists(page: Path) -> None:
    assert types_named(page.read_text()) - known_types() == set()


@pages
def test_every_module_and_path_that_is_named_exists(page: Path) -> None:
    assert [path for path in sorted(paths_named(page.read_text())) if not is_there(path)] == []


def test_the_readme_leads_to_the_contents_which_have_every_page() -> None:
    assert "docs/index.md" in set(links((ROOT / "README.md").read_text()))
    contents = (ROOT / "docs" / "index.md").read_text().split()
    assert {page.stem for page in DOCS} - {"index"} <= {*contents}


def test_the_rules_see_what_is_wrong() -> None:
    """Negative control."""
    text = "[a](docs/none.md#x) [b](https://x.org) `JobVanished(poll)` `eventhpo.core.no` `nothing.py` core/no.py\n"
    fenced = "```python\nclass JobForgotten: ...\n```\n"
    assert list(links(text)) == ["docs/none.md"]
    assert types_named(text + fenced) - known_types() == {"JobVanished"}
    assert {path for path in paths_named(text) if not is_there(path)} == {
        "docs/none.md",
        "eventhpo/core/no",
        "nothing.py",
        "core/no.py",
    }
