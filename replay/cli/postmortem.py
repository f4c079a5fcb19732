"""The command that says what happened in a search."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.reading import FILE, at_option, json_option, up_to
from replay.postmortem import text
from replay.postmortem.files_on_disk import look
from replay.postmortem.report import postmortem as happened
from replay.verified_rows import verified_rows


@click.command()
@click.argument("log", type=FILE)
@at_option
@json_option
def postmortem(log: Path, at: int | datetime | None, as_json: bool) -> None:
    """Say what happened in the search recorded in LOG, and what it would do next.

    How it ended, its controllers, what went wrong with jobs, what the budget and the
    slots' time went to, whether it was still improving. The chain is checked; of a
    damaged log all of this is said of the rows that are verified, and the exit code is 3.
    """
    scene = look(log)  # before the log: a controller that ends in between is not taken for killed
    found = verified_rows(log)
    rows = up_to(found.rows, at)
    goes_on = len(rows) < len(found.rows)
    said, state = happened(rows, scene, found.damage, cut=found.cut and not goes_on, goes_on=goes_on)
    output.data(output.as_json(said) if as_json else text.text(said, state))
    found.require_whole(log)
