"""The command that says what happened in a search."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.reading import FILE, json_option
from replay.postmortem import text
from replay.postmortem.report import postmortem as happened
from replay.postmortem.scene import look
from replay.proven import proven


@click.command()
@click.argument("log", type=FILE)
@json_option
def postmortem(log: Path, as_json: bool) -> None:
    """Say what happened in the search recorded in LOG, and what it would do next.

    How it ended, its controllers, what went wrong with jobs, what the budget and the
    slots' time went to, whether it was still improving. The chain is checked; of a
    damaged log all of this is said of the rows that are verified, and the exit code is 3.
    """
    scene = look(log)  # before the log: a controller that ends in between is not taken for killed
    found = proven(log)
    said, state = happened(found.rows, scene, found.damage, cut=found.cut)
    output.data(output.as_json(said) if as_json else text.text(said, state))
    found.require_whole(log)
