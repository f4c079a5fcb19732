"""Arguments and options that several commands share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.views import as_of

FILE = click.Path(path_type=Path)
LOG_FILE = click.Path(path_type=Path, readable=False)  # the reader says that it cannot be read: exit code 5, not 2


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | datetime | None:
    try:
        return None if text is None else as_of.moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


at_option = click.option(
    "--at",
    metavar="N|TIME",
    callback=_moment,
    help="As of event N, or of the last event at or before an ISO TIME (UTC unless it says otherwise).  [default: now]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.  [default: lines of text]")

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.  [default: off]")
