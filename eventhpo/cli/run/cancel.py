"""The command `eventhpo cancel`: end one trial."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, TRIAL, author_options
from eventhpo.cli.run.way_on import say_who_carries_on
from eventhpo.controller.author import Author


@click.command()
@click.argument("log", type=FILE)
@click.argument("trial", type=TRIAL)
@author_options
def cancel(log: Path, trial: int, author: Author) -> None:
    """End one TRIAL of the search recorded in LOG.

    Its job is stopped, and the trial is not tried again. Its point stays taken: the
    sampler does not propose it once more. A trial of an Optuna study that waits, or whose
    process is gone, is failed and not asked for again.
    """
    from eventhpo.controller.requests import CancelRequest  # noqa: PLC0415  it loads Optuna
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    row = ask(log, CancelRequest(trial=trial), author)
    output.data([f"cancelled: trial {trial} (event {row.seq})"])
    say_who_carries_on(log, "its job, if one runs, is stopped by")
