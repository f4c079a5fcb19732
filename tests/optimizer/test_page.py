"""The pages about the class: every argument and method stands there, the script runs, and each named test exists."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventhpo import OptimizerOptuna
from eventhpo.optimizer.conversion import _REFUSED, Study
from tests.jobs.harness import ROOT

PAGE = (ROOT / "docs" / "optimizer.md").read_text()
FAULTS = (ROOT / "docs" / "faults.md").read_text()
PARAMETERS = [p for p in inspect.signature(OptimizerOptuna.__init__).parameters.values() if p.name != "self"]
METHODS = [name for name in dir(OptimizerOptuna) if not name.startswith("_")]


def row(section: str, name: str) -> list[str]:
    """Return the cells of the row of *section* that begins with *name*."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^\| `{name}[`(].*$", text, re.M)
    return [cell.strip() for cell in found.split("|")[1:-1]]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_every_argument_stands_on_the_page_with_its_default(parameter: inspect.Parameter) -> None:
    said = row("Arguments", parameter.name)[2].strip("`").replace('"', "'")
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        assert said == ""
    else:
        assert said == ("needed" if parameter.default is inspect.Parameter.empty else repr(parameter.default))


@pytest.mark.parametrize("name", [*Study.__struct_fields__, *_REFUSED])
def test_every_further_argument_is_explained_or_refused(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`", PAGE, re.M)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_stands_on_the_page_with_what_it_returns(name: str) -> None:
    assert row("Methods", name)[1] != ""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Return a folder with the page's scripts."""
    found = re.findall(r"^\*\*(\w+\.py)\*\*[^\n]*:\n\n```python\n(.*?)```", PAGE, re.M | re.S)
    assert [name for name, _ in found] == ["search.py", "train.py"]
    for name, text in found:
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_script_of_the_page_runs_without_a_server_and_again_on_its_log(scripts: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLEARML")}
    environment |= {"PYTHONPATH": str(ROOT), "CLEARML_CONFIG_FILE": str(scripts / "none.conf")}
    shown = [
        subprocess.run(
            [sys.executable, "search.py"], cwd=scripts, env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert len(shown[0].splitlines()) == 3
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    "code", re.findall(r"```python continued\n(.*?)```", PAGE, re.S), ids=lambda code: code.split("=")[0].strip()
)
def test_the_page_s_other_code_is_python(code: str) -> None:
    ast.parse(code)


def named_tests() -> list[tuple[str, str]]:
    """Return the tests that the page of faults names, as (path, name)."""
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", FAULTS)


def test_the_page_of_faults_names_a_test_for_each() -> None:
    rows = [line for line in FAULTS.splitlines() if line.startswith("| ") and not line.startswith("| ClearML's")]
    assert len(rows) > 20
    assert [line for line in rows if "::test_" not in line] == []


@pytest.mark.parametrize(("path", "name"), named_tests(), ids=[name for _, name in named_tests()])
def test_a_test_that_the_page_of_faults_names_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_of_a_fault_is_named_on_the_page() -> None:
    here = "tests/optimizer/test_faults.py"
    tree = ast.parse((ROOT / here).read_text())
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    assert there == {name for path, name in named_tests() if path == here}
