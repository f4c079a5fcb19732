"""The command `eventhpo replay`: decide a log again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option
from eventhpo.errors import DamagedLog
from eventhpo.log import reader

if TYPE_CHECKING:
    from replay.decide.report import Report


@click.command()
@click.argument("logs", type=LOG_FILE, nargs=-1, required=True, metavar="LOG...")
@click.option("--all", "go_on", is_flag=True, help="Go on after a divergence.  [default: end at the first]")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share a log; the report is the same.",
)
@click.option(
    "--sampler",
    metavar="MODULE:ATTRIBUTE",
    help="Your own sampler, for logs whose sampler is not Optuna's; others are refused with it.  "
    "[default: such suggestions are left out]",
)
@click.option(
    "--pruner",
    metavar="MODULE:ATTRIBUTE",
    help="Your own pruner, likewise.  [default: such verdicts are left out]",
)
@click.option(
    "--oracle",
    is_flag=True,
    help="Ask Optuna's own pruners for each verdict.  [default: the same rules on sorted columns, which are faster]",
)
@at_option
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.  [default: lines of text]")
@click.pass_context
def replay(
    ctx: click.Context,
    logs: Sequence[Path],
    *,
    go_on: bool,
    processes: int,
    sampler: str | None,
    pruner: str | None,
    oracle: bool,
    at: int | datetime | None,
    as_json: bool,
) -> None:
    """Let today's code decide each LOG again, and say where it comes to something else.

    A decision must equal the recorded one bit for bit, and none may be missing; on another
    platform than the recorder's, its floats may be equal up to rounding, which is counted
    and listed apart. Needs nothing but the log. The verdict is the last line: exit code 0
    if all is as recorded, or equal up to rounding, 1 if it is not, 3 if a log is damaged.
    """
    from replay import redecide_many  # noqa: PLC0415  `eventhpo --help` does without
    from replay.decide import render  # noqa: PLC0415  likewise

    for log in logs:
        with contextlib.suppress(DamagedLog):  # which is a verdict
            reader.require_file(log)
    verdicts, found = [], []
    with redecide_many(
        logs,
        raise_on_divergence=False,
        all=go_on,
        processes=processes,
        sampler=sampler,
        pruner=pruner,
        at=at,
        oracle=oracle,
    ) as reports:
        for report in _aside(reports):
            verdicts.append(report.verdict)
            if as_json:
                found.append(render.report_for_json(report))
            else:
                _print(render.render_report(report))
    if as_json:
        _print(output.as_json(render.AllShown(found, render.worst(verdicts))))
    elif len(logs) > 1:
        _print([render.describe_verdicts(verdicts)])
    ctx.exit(render.CODES[render.worst(verdicts)])


def _aside(reports: Iterator[Report]) -> Iterator[Report]:
    """Yield *reports*; what a sampler of the user's own prints meanwhile goes to stderr."""
    while True:
        with contextlib.redirect_stdout(sys.stderr):
            report = next(reports, None)
        if report is None:
            return
        yield report


def _print(lines: Iterable[str]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code too
        output.data(lines)
