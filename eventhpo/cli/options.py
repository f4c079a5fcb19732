"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from eventhpo.views import as_of

FILE = click.Path(path_type=Path)
LOG_FILE = click.Path(path_type=Path, readable=False)  # the reader says that it cannot be read: exit code 5, not 2


class _TrialNumber(click.IntRange):
    name = "trial number"  # as an error calls what was expected


TRIAL = _TrialNumber(min=0)


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

csv_option = click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout.  [default: lines of text]")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.  [default: lines of text]")


def author_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options --by and --why; it gets them as its argument `author`."""

    @click.option("--by", default="", metavar="NAME", help="Who asks, as the log has it.  [default: login@host]")
    @click.option("--why", default="", metavar="TEXT", help="The reason, as the log has it.  [default: none]")
    @functools.wraps(command)
    def by_an_author(*args: Any, by: str, why: str, **others: Any) -> Any:
        from eventhpo.controller.author import this_author  # noqa: PLC0415  reading commands do without

        return command(*args, author=this_author(by, why), **others)

    return by_an_author


def on_end_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --on-end, whose help says *default*."""
    text = "Have a shell run COMMAND when the search has finished; none: nothing."
    return click.option("--on-end", metavar="COMMAND", help=f"{text}  [default: {default}]")


quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.  [default: off]")
plain_option = click.option("--plain", is_flag=True, help="Lines with a time, no live view.  [default: off]")
from_option = click.option(
    "--from",
    "earlier",
    type=FILE,
    multiple=True,
    metavar="OLD",
    help="The log of an earlier search: its finished trials are known to the sampler from the start. It may be given "
    "several times.  [default: none]",
)
