"""The command `eventhpo stop`: end a search for good."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli.options import FILE, author_options, quiet_option
from eventhpo.controller.author import Author


@click.command()
@click.argument("log", type=FILE)
@click.option("--take-over", is_flag=True, help="Take the log from a controller that is frozen.  [default: off]")
@quiet_option
@click.pass_context
@author_options
def stop(ctx: click.Context, log: Path, take_over: bool, quiet: bool, author: Author) -> None:
    """End the search recorded in LOG for good; its running jobs are stopped.

    A controller that is at work is asked to, and waited for; without one the jobs
    are stopped from here.
    """
    from eventhpo.cli.run import stopping  # noqa: PLC0415  it loads Optuna

    ctx.exit(stopping.stop(log, author, take_over=take_over, quiet=quiet))
