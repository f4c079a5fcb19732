"""The command `eventhpo top`: the best trials."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option, csv_option, json_option
from eventhpo.cli.read.rows import require_whole, rows_up_to
from eventhpo.core.fold.evolve import fold
from eventhpo.log import reader
from eventhpo.views import csv_text, formatting
from eventhpo.views import top as ranking


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="Rows.")
@click.option("--all-metrics", is_flag=True, help="Every series that was reported.  [default: the objective]")
@click.option("--only-completed", is_flag=True, help="Completed trials.  [default: running and pruned ones too]")
@click.option("--include-failed", is_flag=True, help="Failed and aborted trials too.  [default: off]")
@click.option("--same-code", is_flag=True, help="Trials that ran the code of the best.  [default: all]")
@click.option("--include-imported", is_flag=True, help="Trials of an earlier search or study too.  [default: off]")
@at_option
@csv_option
@json_option
def top(
    log: Path,
    *,
    k: int,
    all_metrics: bool,
    only_completed: bool,
    include_failed: bool,
    include_imported: bool,
    same_code: bool,
    at: int | datetime | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the best trials of the search recorded in LOG, best first.

    With --json in the shape of ClearML's get_top_experiments_details, with --csv a column
    for each objective and parameter, with all digits.
    """
    if at is None:
        state, snapshot = reader.read_state(log)
    else:
        snapshot = reader.read(log)
        state = fold(rows_up_to(snapshot.rows, at))
    rows = ranking.rows(
        state,
        k,
        all_metrics=all_metrics,
        only_completed=only_completed,
        include_failed=include_failed,
        include_imported=include_imported,
        only_same_code=same_code,
    )
    if as_json:
        output.data(output.as_json(rows))
    elif as_csv:
        output.data(csv_text.lines(*ranking.exact_table(state, rows)))
    else:
        output.data(ranking.table(state, rows))
        left = ranking.more(
            state, k, only_completed=only_completed, include_failed=include_failed, include_imported=include_imported
        )
        if left and not same_code:
            output.note(f"{formatting.plural(left, 'trial')} more: -k {k + left}")
    require_whole(log, snapshot)
