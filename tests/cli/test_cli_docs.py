"""docs/cli.md names every command and every option with its default, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from eventhpo.cli import main
from eventhpo.core.search.spec import Limits
from eventhpo.views.status import Status
from eventhpo.views.statuses import JOB_STATUSES, TRIAL_STATUSES

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", PAGE, flags=re.M)[1:]}
COMMANDS = main.list_commands(click.Context(main))


def options(name: str) -> list[click.Option]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return [p for p in command.params if isinstance(p, click.Option)]


def row(name: str, option: str) -> str:
    found = [
        line for line in SECTIONS[name].splitlines() if line.startswith("| `") and f"`{option}`" in line.split("|")[1]
    ]
    assert len(found) == 1, f"{name} {option} has {len(found)} rows"
    return found[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name):
    assert name in SECTIONS
    for option in options(name):
        for spelling in option.opts:
            row(name, spelling)


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_documented_that_does_not_exist(name):
    known = {spelling for option in options(name) for spelling in option.opts}
    tables = [line.split("|")[1] for line in SECTIONS[name].splitlines() if line.startswith("| `-")]
    assert {word for cell in tables for word in re.findall(r"`(-[^`]+)`", cell)} == known


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_option_states_its_default_and_so_does_the_page(name):
    for option in options(name):
        context = click.Context(main)
        text = " ".join(option.get_help_record(context) or ())
        assert option.required or "[default: " in text, f"{name} {option.opts}"
        if option.show_default:
            assert f"| {option.default} |" in row(name, option.opts[0]).replace("`", "")


def test_every_limit_is_an_option_of_resume():
    assert {f"--{name.replace('_', '-')}" for name in Limits.__struct_fields__} < {
        spelling for option in options("resume") for spelling in option.opts
    }


def test_every_field_of_status_is_documented():
    named = {word for line in SECTIONS["status"].splitlines() for word in re.findall(r"`(\w+)`", line)}
    assert set(Status.__struct_fields__) <= named
    assert {*JOB_STATUSES, *TRIAL_STATUSES} <= named


def test_every_command_has_a_help_of_its_own():
    from tests.cli.harness import invoke

    for name in COMMANDS:
        result = invoke(name, "--help")
        assert result.exit_code == 0
        assert f"{name} [OPTIONS]" in result.stdout
    assert all(f"  {name} " in invoke("--help").stdout for name in COMMANDS)


def test_the_help_shows_the_commands_in_groups():
    from tests.cli.harness import invoke

    lines = invoke("--help").stdout.splitlines()
    heads = [line for line in lines if re.fullmatch(r"\w+ an? \w+:", line)]
    assert heads == ["Run a search:", "Read a log:", "Replay a log:", "Show a search:", "Query a log:", "Keep a log:"]
    named = [line.split()[0] for line in lines[lines.index(heads[0]) :] if re.match(r"  [a-z]+  ", line)]
    assert named == COMMANDS


def test_an_unknown_command_names_the_nearest():
    from tests.cli.harness import invoke

    result = invoke("statsu", "search.db")
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.stderr
