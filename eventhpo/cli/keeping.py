"""Commands that keep a log: backup, seal, salvage."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.running import FILE
from eventhpo.core.fold.events import Head
from eventhpo.log import paths


@click.command()
@click.argument("log", type=FILE)
@click.argument("target", type=FILE)
def backup(log: Path, target: Path) -> None:
    """Copy LOG whole to the new file TARGET, also while a controller writes it.

    A copy made with cp misses what stands in the -wal file beside the log. Jobs and
    their folder are not copied: a copy is for reading, and must not be resumed beside
    the log that it was made of.
    """
    from eventhpo.log.backup import backup as copy  # noqa: PLC0415

    output.data([f"{target} holds {log} up to {_text(copy(log, target))}"])


@click.command()
@click.argument("log", type=FILE)
@click.pass_context
def seal(ctx: click.Context, log: Path) -> None:
    """Make LOG one quiet file that can be copied, sent and read anywhere.

    A search that ends does it itself; only after a kill, or with a reader in the way,
    is there something left to do. Exit code 4 if a reader is in the way now.
    """
    from eventhpo.log import seal as sealing  # noqa: PLC0415

    if not sealing.seal(log):
        output.note(f"a reader keeps {log} open; close it and seal again")
        ctx.exit(4)
    output.data([f"{log} is one quiet file"])


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
    output.data([f"{target} holds {log} up to {_text(saved.head)}"])
    output.note(f"what follows is lost: {saved.why}" if saved.why else "the log is whole: nothing was lost")
    if saved.why and paths.jobs(log).is_dir():
        output.note(
            f"its jobs are not copied; to go on with {target}, rename {paths.jobs(log).name} to "
            f"{paths.jobs(target).name} and call: {output.command('resume', target, '--adopt')}"
        )


def _text(head: Head) -> str:
    return f"{head.seq}:{head.hash}"
