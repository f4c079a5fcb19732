"""The command `eventhpo seal`: make a log one quiet file."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE


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
