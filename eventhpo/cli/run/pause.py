"""The command `eventhpo pause`: start nothing more for a while."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, author_options
from eventhpo.controller.author import Author


@click.command()
@click.argument("log", type=FILE)
@author_options
def pause(log: Path, author: Author) -> None:
    """Have the search recorded in LOG start nothing more until `eventhpo unpause`.

    Nothing is suggested, retried or started. Jobs that run go on and are judged, and
    the wall time of the search runs. A pause outlives its controller.
    """
    from eventhpo.controller.requests import PauseRequest  # noqa: PLC0415  it loads Optuna
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    row = ask(log, PauseRequest(), author)
    output.data([f"paused (event {row.seq}); to go on: {output.command('unpause', log)}"])
