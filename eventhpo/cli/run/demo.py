"""The command `demo`: a real search on this machine, without network."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.core.fold.state import State
from eventhpo.errors import StorageFailed, Usage, not_installed
from eventhpo.log import refusal

_FILES = ("search.toml", "train.py")


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("eventhpo-demo"),
    show_default=True,
    help="New folder for search file, script and log.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.  [default: off]")
@click.pass_context
def demo(ctx: click.Context, folder: Path, quiet: bool) -> None:
    """Run a real search: an MLP on scikit-learn's digits, two jobs at a time, under a minute.

    Search file and script are copied into --folder, for you to change and run again.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise not_installed("the demo trains with scikit-learn, which is", "demo")
    from eventhpo.cli.run import run_search  # noqa: PLC0415
    from eventhpo.controller.author import this_author  # noqa: PLC0415
    from eventhpo.search_file import load  # noqa: PLC0415

    log, author = folder / "search.db", this_author()
    _copy_into(folder, log)
    loaded = load(folder / "search.toml")
    run_search.require_place(log)
    outcome = run_search.drive(log, run_search.begin(loaded, log, author), author, quiet=quiet)
    code = run_search.conclude(log, outcome)
    if outcome.signal is None:
        output.data(summary(log, outcome.state))
    ctx.exit(code)


def _copy_into(folder: Path, log: Path) -> None:
    """Make *folder* with the files of the demo, or refuse one that is in use."""
    if log.exists():
        raise Usage(f"{log} exists already; go on with `{output.command('resume', log)}`, or choose another --folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Usage(f"{folder} is in use; choose another --folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / name).write_bytes(resources.files("eventhpo.demo").joinpath(name).read_bytes())
    except OSError as error:
        raise StorageFailed(f"{folder} cannot be written: {refusal.why(error, folder)}") from error


def summary(log: Path, state: State) -> Iterator[str]:
    """Yield what the demo ends with: the top five, what the budget went to, three commands to try."""
    from eventhpo.views import budget_use, top  # noqa: PLC0415

    yield ""
    yield from top.table(state, top.rows(state, 5))
    yield ""
    yield from budget_use.render_spent(budget_use.spent(state))
    yield ""
    yield "to try on it:"
    yield f"  {output.command('top', log, '-k', '3', '--json')}"
    yield f"  {output.command('events', log, '--type', 'JobPruned')}"
    more = round(1.5 * (state.limits.total_max_jobs or 0))
    yield f"  {output.command('resume', log, '--total-max-jobs', str(more))}   # a larger budget"
