"""The command `eventhpo backup`: a whole copy of a log."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE


@click.command()
@click.argument("log", type=FILE)
@click.argument("target", type=FILE)
def backup(log: Path, target: Path) -> None:
    """Copy LOG whole to the new file TARGET, also while a controller writes it.

    A copy made with cp misses what stands in the -wal file next to the log. Jobs and
    their folder are not copied: a copy is for reading, and must not be resumed next to
    the log that it was made of.
    """
    from eventhpo.log.backup import backup as copy  # noqa: PLC0415

    head = copy(log, target)
    output.data([f"{target} holds {log} up to {head.seq}:{head.hash}"])
