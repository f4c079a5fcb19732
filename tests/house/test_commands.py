"""What holds for every command: its help, its examples, its JSON, and its place on the page of all commands."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from docs import commands
from eventhpo.cli import COMMAND_GROUPS, arguments, main
from eventhpo.cli.help_pages import PAGES
from eventhpo.core.search.spec import Limits
from tests.house.test_structure import ROOT

NAMES = [name for names in COMMAND_GROUPS.values() for name in names]
WRITES_A_FILE = {"tables"}  # of the commands that look into logs
WIDTH = 80

every = pytest.mark.parametrize("name", NAMES)


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


def help_of(*words: str) -> list[str]:
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=WIDTH, prog_name="eventhpo")
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_the_page_of_all_commands_is_as_the_code_has_them() -> None:
    expected = commands.page().rstrip() + "\n"
    assert commands.TARGET.read_text() == expected, "run python docs/commands.py"


def test_every_command_has_its_help_page_and_no_other_has_one() -> None:
    assert list(PAGES) == NAMES, "give each command its page in eventhpo/cli/help_pages.py, in the order of the help"


@every
def test_the_summary_is_one_sentence_that_stands_whole_in_the_list_at_80_columns(name: str) -> None:
    summary = PAGES[name].summary
    assert summary[0].isupper()
    assert summary.endswith(".")
    assert [line for line in help_of() if line.split()[:1] == [name] and line.endswith(f"  {summary}")]


def test_the_list_of_commands_fits_80_columns() -> None:
    assert max(map(len, help_of())) <= WIDTH


@every
def test_the_help_has_examples_and_fits_80_columns(name: str) -> None:
    lines = help_of(name)
    assert "  Examples:" in lines
    assert max(map(len, lines)) <= WIDTH
    for example in PAGES[name].examples:
        assert f"    {example}" in lines


@every
def test_each_example_is_a_command_line_that_is_understood(name: str) -> None:
    for example in PAGES[name].examples:
        words = shlex.split(example)
        start = words.index("eventhpo")
        called, *rest = [word for word in words[start + 1 :] if word != "&"]
        with command(called).make_context(called, list(rest), parent=click.Context(main)) as context:
            if called == "resume":
                arguments.limits({name: context.params[name] for name in Limits.__struct_fields__})
    assert any(f"eventhpo {name}" in example for example in PAGES[name].examples)


@every
def test_a_command_that_reads_has_json(name: str) -> None:
    has_json = any("--json" in option.opts for option in command(name).params)
    assert has_json or not PAGES[name].reads


def test_the_commands_of_the_reading_groups_read() -> None:
    for title in ("Read a log", "Replay a log", "Query a log"):
        assert [name for name in COMMAND_GROUPS[title] if not PAGES[name].reads and name not in WRITES_A_FILE] == []


def test_no_help_loads_what_running_needs_and_the_list_loads_no_command() -> None:
    """A start that waits for Optuna takes a second; the list alone takes a tenth of that."""
    code = f"""
        import sys
        from click.testing import CliRunner
        from eventhpo.cli import main
        assert CliRunner().invoke(main, ["--help"]).exit_code == 0
        loaded = [name for name in sys.modules if name.startswith(("replay", "eventhpo.cli."))]
        assert sorted(loaded) == ["eventhpo.cli.help_pages", "eventhpo.cli.output"], loaded
        assert "eventhpo.core.fold" not in sys.modules
        for name in {NAMES}:
            assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0, name
        heavy = ("optuna", "clearml", "numpy", "pandas", "altair", "rich", "sqlite_utils", "grpc", "sklearn")
        assert not [name for name in heavy if name in sys.modules]
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- words

TRANSLATED = re.compile(r"\b(behind|beside|whoever)\b", re.IGNORECASE)  # after, next to, who


def printable_strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the strings of *tree* but for docstrings."""
    bodies = (n.body for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


@pytest.mark.parametrize("package", ["eventhpo", "replay"])
def test_messages_are_in_plain_english(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in printable_strings(ast.parse(path.read_text()))
        if TRANSLATED.search(node.value)
    ]
    assert found == []


@every
def test_the_help_is_in_plain_english(name: str) -> None:
    assert not TRANSLATED.search("\n".join(help_of(name)))
