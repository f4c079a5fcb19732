"""The command `eventhpo note`: write something down about a trial."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, TRIAL, author_options
from eventhpo.controller.author import Author


@click.command()
@click.argument("log", type=FILE)
@click.argument("trial", type=TRIAL)
@click.argument("text")
@author_options
def note(log: Path, trial: int, text: str, author: Author) -> None:
    """Write TEXT down about a TRIAL of the search recorded in LOG.

    `explain` shows it with the trial, `events` and `postmortem` with all that happened.
    A note changes nothing that the search decides.
    """
    from eventhpo.controller.requests import NoteRequest  # noqa: PLC0415  it loads Optuna
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    row = ask(log, NoteRequest(trial=trial, text=text), author)
    output.data([f"noted: trial {trial} (event {row.seq})"])
