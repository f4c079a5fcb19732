"""The command `eventhpo enqueue`: a point of one's own, tried next."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import arguments, output
from eventhpo.cli.options import FILE, author_options
from eventhpo.cli.run.way_on import say_who_carries_on
from eventhpo.controller.author import Author
from eventhpo.controller.recorded_state import state_of
from eventhpo.core.fold.events import PointEnqueued
from eventhpo.views import formatting


@click.command()
@click.argument("log", type=FILE)
@click.argument("point", nargs=-1, required=True, metavar="NAME=VALUE...")
@author_options
def enqueue(log: Path, point: tuple[str, ...], author: Author) -> None:
    """Have a point of your own tried next in the search recorded in LOG.

    A value is read as in a search file, else as text; a name without a section
    stands in General. Parameters that are left out are sampled.
    """
    from eventhpo.controller.requests import EnqueueRequest  # noqa: PLC0415
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    state = state_of(log)
    row = ask(log, EnqueueRequest(params=arguments.point(state.search, point)), author)
    if isinstance(row.event, PointEnqueued):
        output.data([f"enqueued: {formatting.params(row.event.params)} (event {row.seq})"])
    say_who_carries_on(log, "it is tried next by")
