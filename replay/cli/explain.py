"""The command `explain`: why one trial was suggested, launched, continued, pruned, retried or failed."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.reading import FILE, json_option
from eventhpo.errors import DamagedLog
from eventhpo.log import reader


@click.command()
@click.argument("log", type=FILE)
@click.argument("trial", type=click.IntRange(min=0))
@click.option(
    "--at", type=click.IntRange(min=1), metavar="SEQ", help="As of this event.  [default: the last one of the log]"
)
@click.option(
    "--all-verdicts", is_flag=True, help="A line for each verdict to go on.  [default: one for each run of them]"
)
@json_option
@click.pass_context
def explain(ctx: click.Context, log: Path, trial: int, *, at: int | None, all_verdicts: bool, as_json: bool) -> None:
    """Say why trial TRIAL of the search recorded in LOG was suggested, launched, continued, pruned, retried or failed.

    Each decision is computed again from the events before it; a line DIFFERS says
    where the numbers do not come to what is recorded, and the exit code is 1.
    """
    from replay import telling  # noqa: PLC0415  what only this command needs
    from replay.explain import of_rows  # noqa: PLC0415

    snapshot = reader.read(log)
    found = of_rows(snapshot.rows, trial, at)
    output.data(output.as_json(found) if as_json else telling.text(found, all_verdicts=all_verdicts))
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{log}: {snapshot.contradiction}; what was printed is what is left of it")
    ctx.exit(1 if found.differs else 0)
