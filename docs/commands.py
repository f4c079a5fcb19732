"""Write docs/commands.md, the reference of all commands, from the code.

python docs/commands.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from eventhpo.cli import COMMAND_GROUPS, main
from eventhpo.cli.help_pages import PAGES

TARGET = Path(__file__).with_name("commands.md")
HEAD = """# All commands

This page is made from the code by `python docs/commands.py`: it has what `eventhpo COMMAND --help` shows. What the
commands do in detail, their exit codes and the fields of their JSON stand in [cli.md](cli.md).
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *_lines()])


def _lines() -> Iterator[str]:
    context = click.Context(main, info_name="eventhpo")
    for title, names in COMMAND_GROUPS.items():
        yield f"## {title}\n"
        yield "| command | what it does |"
        yield "|---|---|"
        yield from (f"| [{name}](#{name}) | {PAGES[name].summary} |" for name in names)
        yield ""
        for name in names:
            command = main.get_command(context, name)
            assert command is not None
            yield from _section(name, command)


def _section(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=click.Context(main, info_name="eventhpo"))
    yield f"### {name}\n"
    yield f"    eventhpo {name} {' '.join(command.collect_usage_pieces(context))}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    records = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    if any(records):
        yield "| option | |"
        yield "|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in filter(None, records))
        yield ""
    yield "```sh"
    yield from PAGES[name].examples
    yield "```\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def write_page() -> None:
    """Write the page."""
    TARGET.write_text(page().rstrip() + "\n")


if __name__ == "__main__":
    write_page()
