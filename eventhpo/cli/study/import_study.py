"""The command `eventhpo import`: a study of Optuna's own storages becomes a log."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE


@click.command("import")
@click.argument("source")
@click.argument("name", required=False)
@click.option("-o", "--output", "target", type=FILE, required=True, help="The log to make; it must not exist.")
def import_study(source: str, name: str | None, target: Path) -> None:
    """Write the Optuna study NAME of SOURCE, an RDB URL or a journal file, into a new log.

    NAME may be left out if SOURCE has one study. States, values, curves, attributes, distributions and enqueued
    trials come along; trials that run in SOURCE count as failed. Verdicts and seeds are not known to Optuna's
    storages, so they are unknown here.
    """
    from eventhpo.study.import_study import import_study as run  # noqa: PLC0415  it loads Optuna

    imported = run(source, name, target)
    unfinished = (
        f", {imported.unfinished} of them unfinished in the source and failed here" if imported.unfinished else ""
    )
    output.data([f"{target} holds the study {imported.name}: {imported.trials} trials{unfinished}"])
