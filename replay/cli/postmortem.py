"""The command that says what happened in a search."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option, json_option
from eventhpo.cli.read.rows import rows_up_to
from replay.postmortem.files_on_disk import look
from replay.postmortem.report import postmortem as examine
from replay.postmortem.text import render_postmortem
from replay.verified_rows import verified_rows


@click.command()
@click.argument("log", type=LOG_FILE)
@at_option
@json_option
def postmortem(log: Path, at: int | datetime | None, as_json: bool) -> None:
    """Say what happened in the search recorded in LOG, and what it would do next.

    How it ended, its controllers, what went wrong with jobs, what the budget and the
    slots' time went to, whether it was still improving. The chain is checked; of a
    damaged log all of this is said of the rows that are verified, and the exit code is 3.
    """
    files = look(log)  # before the log is read: a controller that ends in between is not taken for killed
    verified = verified_rows(log)
    rows = rows_up_to(verified.rows, at)
    goes_on = len(rows) < len(verified.rows)
    report, state = examine(rows, files, verified.damage, cut=verified.cut and not goes_on, goes_on=goes_on)
    output.data(output.as_json(report) if as_json else render_postmortem(report, state))
    verified.require_whole(log)
