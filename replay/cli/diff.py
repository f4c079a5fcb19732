"""The command that says where two searches part."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.reading import FILE, at_option, json_option, up_to
from replay.diff import text
from replay.diff.report import diff as compared
from replay.verified_rows import verified_rows


@click.command()
@click.argument("a", type=FILE, metavar="LOG")
@click.argument("b", type=FILE, metavar="LOG")
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
    one, other = verified_rows(a), verified_rows(b)
    sides = [up_to(side.rows, at) for side in (one, other)]
    found = compared(sides[0], sides[1], (str(a), str(b)), (one.damage, other.damage))
    output.data(output.as_json(found) if as_json else text.text(found))
    one.require_whole(a)
    other.require_whole(b)
    ctx.exit(int(found.parting is not None))
