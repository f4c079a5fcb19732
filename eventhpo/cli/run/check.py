"""The command `eventhpo check`: what a search file would do.

What it does is loaded when it is called: the help must not wait for Optuna.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, from_option
from eventhpo.cli.run.advice import print_advice


@click.command()
@click.argument("search_file", type=FILE)
@from_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.  [default: lines of text]")
def check(search_file: Path, earlier: tuple[Path, ...], as_json: bool) -> None:
    """Say what SEARCH_FILE would do; create nothing.

    The space, the budget and the first five suggestions, or all that is wrong with the
    file. A file without a seed gets another one in each run, and other suggestions.
    """
    from eventhpo.cli.run import preview, warm_start  # noqa: PLC0415
    from eventhpo.jobs.backend_choice import backend_choice  # noqa: PLC0415
    from eventhpo.search_file import load  # noqa: PLC0415

    loaded = load(search_file)
    imports = warm_start.read_earlier(earlier, loaded.search)
    print_advice(loaded)
    search, warnings = backend_choice(loaded.search).described(loaded.search, dry=True)
    for warning in warnings:
        output.note(f"note: {warning}")
    loaded = replace(loaded, search=search)
    previewed = preview.preview(loaded, imports)
    output.data(output.as_json(previewed) if as_json else preview.render_preview(loaded, previewed))
