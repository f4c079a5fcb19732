"""The command `eventhpo unpause`: let a paused search go on."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, author_options
from eventhpo.cli.run.way_on import say_who_carries_on
from eventhpo.controller.author import Author


@click.command()
@click.argument("log", type=FILE)
@author_options
def unpause(log: Path, author: Author) -> None:
    """Let the paused search recorded in LOG go on."""
    from eventhpo.controller.requests import UnpauseRequest  # noqa: PLC0415  it loads Optuna
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    row = ask(log, UnpauseRequest(), author)
    output.data([f"unpaused (event {row.seq})"])
    say_who_carries_on(log, "it is carried on by")
