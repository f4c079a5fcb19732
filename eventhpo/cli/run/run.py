"""The command `eventhpo run`: a new search.

What it does is loaded when it is called: the help must not wait for Optuna.
"""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, author_options, from_option, on_end_option, plain_option, quiet_option
from eventhpo.cli.run.advice import print_advice
from eventhpo.controller.author import Author


@click.command()
@click.argument("search_file", type=FILE)
@click.option("--log", type=FILE, help="The log of the new search, a file that does not exist yet.  [default: NAME.db]")
@click.option(
    "--start-over",
    is_flag=True,
    help="Move what lies at --log of an earlier search to another name first; nothing is deleted.  [default: off]",
)
@from_option
@on_end_option("that of the search file")
@quiet_option
@plain_option
@click.pass_context
@author_options
def run(
    ctx: click.Context,
    /,
    search_file: Path,
    *,
    log: Path | None,
    start_over: bool,
    earlier: tuple[Path, ...],
    on_end: str | None,
    quiet: bool,
    plain: bool,
    author: Author,
) -> None:
    """Run the new search that SEARCH_FILE describes, recorded in the file --log.

    Without --log it is named after the search, in the current folder.

    Ctrl-C ends the controller and leaves its jobs; `eventhpo resume` carries on,
    `eventhpo stop` ends the search.
    """
    from eventhpo.cli.run import run_search, warm_start  # noqa: PLC0415
    from eventhpo.search_file import load  # noqa: PLC0415

    loaded = load(search_file)
    unnamed = log is None
    if log is None:
        log = run_search.default_log(loaded.search.name)
    if not start_over:
        run_search.require_place(log)
    imports = warm_start.read_earlier(earlier, loaded.search)  # before --start-over, which may move one of them
    if start_over:
        run_search.start_over(log)
        run_search.require_place(log)
    if unnamed:
        output.note(f"the log of this search is {log}")
    print_advice(loaded)
    search = run_search.begin(loaded, log, author, on_end, imports)
    if loaded.search.limits.endless:
        output.note("this search has no limit: it runs until it is stopped")
    ctx.exit(run_search.conclude(log, run_search.drive(log, search, author, quiet=quiet, plain=plain)))
