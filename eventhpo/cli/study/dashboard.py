"""The command `eventhpo dashboard`: optuna-dashboard on a log, live and read-only."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="The port; 0 takes a free one."
)
def dashboard(log: Path, host: str, port: int) -> None:
    """Show LOG in optuna-dashboard, as it grows; what would change it is answered with 403.

    Needs the extra dashboard: pip install 'eventhpo[dashboard]'.
    """
    from eventhpo.study.dashboard import serve  # noqa: PLC0415  it loads the dashboard

    serve(log, host, port, lambda url: output.data([f"{log}: {url}"]))
