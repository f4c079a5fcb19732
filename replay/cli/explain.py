"""The command `explain`: why one trial was suggested, launched, continued, pruned, retried or failed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, TRIAL, at_option, json_option
from replay.cli.verified import verified


@click.command()
@click.argument("log", type=LOG_FILE)
@click.argument("trial", type=TRIAL)
@at_option
@click.option(
    "--all-verdicts", is_flag=True, help="A line for each verdict to go on.  [default: one for each run of them]"
)
@json_option
@click.pass_context
def explain(
    ctx: click.Context, log: Path, trial: int, *, at: int | datetime | None, all_verdicts: bool, as_json: bool
) -> None:
    """Say why trial TRIAL of the search recorded in LOG was suggested, launched, continued, pruned, retried or failed.

    Each decision is computed again from the events before it; a line DIFFERS says
    where the numbers do not come to what is recorded, and the exit code is 1. The chain
    is checked; a damaged log is explained as far as it is verified, and the exit code is 3.
    """
    from replay.explain import text  # noqa: PLC0415  what only this command needs
    from replay.explain.collect import of_rows  # noqa: PLC0415

    with verified(log, at) as rows:
        explanation = of_rows(rows, trial)
        output.data(output.as_json(explanation) if as_json else text.text(explanation, all_verdicts=all_verdicts))
    ctx.exit(1 if explanation.differs else 0)
