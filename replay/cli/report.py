"""The command `report`: a search as one HTML page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, LOG_FILE, at_option
from eventhpo.cli.read.rows import rows_up_to
from replay.cli.written_file import requires_extra, write_new
from replay.postmortem.files_on_disk import look
from replay.verified_rows import verified_rows


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    metavar="FILE",
    help="The page; one that is there is replaced.  [default: the log's name with .html, in this folder]",
)
@at_option
def report(log: Path, target: Path | None, at: int | datetime | None) -> None:
    """Write the search recorded in LOG as one HTML page for people who were not there.

    The page needs no network and no other file: it can be mailed. A slider shows the
    search as of any of its events. Of a damaged log it shows the verified beginning, and
    the exit code is 3. Needs the extra `report`.
    """
    requires_extra("report")
    from replay.report.build import explanations, of_rows  # noqa: PLC0415  the help must not wait for them
    from replay.report.page import content, report_page  # noqa: PLC0415

    files = look(log)  # before the log is read: a controller that ends in between is not taken for killed
    verified = verified_rows(log)
    rows = rows_up_to(verified.rows, at)
    goes_on = len(rows) < len(verified.rows)
    data = of_rows(rows).data(
        log,
        files,
        verified.damage,
        cut=verified.cut and not goes_on,
        goes_on=goes_on,
        explained=explanations(rows),
    )
    page = target or Path(f"{log.stem}.html")
    write_new(page, report_page(content(data)).encode(), log)
    output.data([str(page)])
    verified.require_whole(log)
