"""The command `plot`: one chart of a search as a picture."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, LOG_FILE, at_option
from eventhpo.cli.read.rows import rows_up_to
from eventhpo.errors import Usage
from replay.cli.written_file import requires_extra, write_new
from replay.verified_rows import verified_rows

if TYPE_CHECKING:
    from replay.report.picture import PictureFormat

# As in replay/report/charts.py, which is not loaded for the help; a test compares them.
KINDS = ("history", "curves", "timeline", "parallel", "importance", "slice", "budget", "pareto")


@click.command()
@click.argument("log", type=LOG_FILE)
@click.argument("kind", type=click.Choice(KINDS))
@click.option("-o", "--output", "target", type=FILE, required=True, metavar="FILE", help="The picture: .svg or .png.")
@click.option(
    "--scale",
    type=click.FloatRange(0.1, 10),
    default=2.0,
    show_default=True,
    metavar="X",
    help="Pixels of a PNG for each of an SVG.",
)
@at_option
def plot(log: Path, kind: str, target: Path, scale: float, at: int | datetime | None) -> None:
    """Draw a chart of the search recorded in LOG, for papers and slides.

    KIND is one of the charts of `eventhpo report`. Of a damaged log its verified beginning
    is drawn, and the exit code is 3. Needs the extra `report`.
    """
    form = target.suffix.lower().removeprefix(".")
    if form not in ("svg", "png"):
        raise Usage(f"{target}: the name of a picture ends with .svg or .png")
    requires_extra("plot")
    from replay.report.build import of_rows  # noqa: PLC0415  the help must not wait for them
    from replay.report.charts import Kind  # noqa: PLC0415
    from replay.report.picture import draw  # noqa: PLC0415

    verified = verified_rows(log)
    rows = rows_up_to(verified.rows, at)
    data = of_rows(rows).data(log, damage=verified.damage, goes_on=len(rows) < len(verified.rows))
    write_new(target, draw(data, cast("Kind", kind), cast("PictureFormat", form), scale), log)
    output.data([str(target)])
    verified.require_whole(log)
