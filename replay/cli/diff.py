"""The command that compares two logs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option, json_option
from eventhpo.cli.read.rows import rows_up_to
from replay.diff.report import diff as compare_logs
from replay.diff.text import render_diff
from replay.verified_rows import verified_rows


@click.command()
@click.argument("a", type=LOG_FILE, metavar="LOG")
@click.argument("b", type=LOG_FILE, metavar="LOG")
@at_option
@json_option
@click.pass_context
def diff(ctx: click.Context, a: Path, b: Path, at: int | datetime | None, as_json: bool) -> None:
    """Say where the searches recorded in two logs part: the first decision that differs.

    And what each had seen before it. Keys, ids and times differ between any two
    searches and are not compared. With --at both are looked at as of then. The verdict
    is the last line. Exit code 0 if no decision differs as far as both go, 1 if one does,
    3 if a log is damaged.
    """
    log_a, log_b = verified_rows(a), verified_rows(b)
    rows_a, rows_b = (rows_up_to(log.rows, at) for log in (log_a, log_b))
    result = compare_logs(rows_a, rows_b, (str(a), str(b)), (log_a.damage, log_b.damage))
    output.data(output.as_json(result) if as_json else render_diff(result))
    log_a.require_whole(a)
    log_b.require_whole(b)
    ctx.exit(int(result.parting is not None))
