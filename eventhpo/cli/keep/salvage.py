"""The command `eventhpo salvage`: what is left of a damaged log."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE
from eventhpo.log import paths


@click.command()
@click.argument("log", type=FILE)
@click.argument("target", type=FILE)
def salvage(log: Path, target: Path) -> None:
    """Copy what can be proved of the damaged LOG to the new file TARGET.

    That is the longest beginning whose rows are chained without a fault. LOG itself is
    left as it is.
    """
    from eventhpo.log.salvage import salvage as copy  # noqa: PLC0415

    saved = copy(log, target)
    output.data([f"{target} holds {log} up to {saved.head.seq}:{saved.head.hash}"])
    output.note(f"what follows is lost: {saved.why}" if saved.why else "the log is whole: nothing was lost")
    if saved.why and paths.jobs(log).is_dir():
        output.note(
            f"its jobs are not copied; to go on with {target}, rename {paths.jobs(log).name} to "
            f"{paths.jobs(target).name} and call: {output.command('resume', target, '--adopt')}"
        )
