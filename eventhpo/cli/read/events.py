"""The command `eventhpo events`: the events, one a line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
import msgspec

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, TRIAL, at_option, csv_option, json_option
from eventhpo.cli.read import follow_log
from eventhpo.cli.read.rows import require_whole, rows_up_to
from eventhpo.core.fold.codec import TYPES
from eventhpo.core.validation.closest import closest
from eventhpo.log import reader
from eventhpo.log.reader import Snapshot
from eventhpo.views import csv_text, event_lines


def _known_type(_ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in TYPES:
            near = closest(name, TYPES)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(TYPES)}"
            raise click.BadParameter(f"{name} is no type of event; {hint}")
    return names


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option(
    "--type",
    "types",
    multiple=True,
    callback=_known_type,
    metavar="TYPE",
    help="Only this type; repeatable.  [default: all]",
)
@click.option("--trial", type=TRIAL, metavar="N", help="Only what concerns this trial.  [default: all]")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="SEQ",
    help="Only events after this one.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with new events until the search is over.  [default: off]")
@at_option
@csv_option
@json_option
def events(
    log: Path,
    *,
    types: tuple[str, ...],
    trial: int | None,
    after: int,
    follow: bool,
    at: int | datetime | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the events of the search recorded in LOG, an event a line.

    With --json each line is an object: seq, at, epoch, cause, type, v, and the fields
    of the event next to them. With --csv: seq, at, epoch, cause, type, trial, attempt, text.
    """
    if follow and at is not None:
        raise click.UsageError("--follow shows what comes, --at what was: only one of them")
    render = event_lines.as_json if as_json else event_lines.as_csv if as_csv else event_lines.as_text
    if as_csv and not as_json:
        output.data(csv_text.lines(event_lines.COLUMNS, ()))
    for snapshot in follow_log.follow(log, after) if follow else [_rows_after(log, after, at)]:
        rows = (row for row in snapshot.rows if not types or type(row.event).__name__ in types)
        output.data(render(row) for row in rows if trial is None or event_lines.concerns(row.event, trial))
        require_whole(log, snapshot)


def _rows_after(log: Path, after: int, at: int | datetime | None) -> Snapshot:
    if at is None:
        return follow_log.rows_after(log, after)
    snapshot = reader.read(log)  # from the beginning: a time may lie before *after*
    rows = [row for row in rows_up_to(snapshot.rows, at) if row.seq > after]
    return msgspec.structs.replace(snapshot, rows=rows)
