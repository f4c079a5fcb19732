"""The command `web`: the page of a search, live."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE
from eventhpo.cli.run.signals import Signals
from eventhpo.log import reader
from replay.cli.written_file import requires_extra


@click.command()
@click.argument("log", type=LOG_FILE, metavar="LOG|FOLDER")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to serve at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8137,
    show_default=True,
    metavar="N",
    help="The port; 0 takes a free one.",
)
def web(log: Path, host: str, port: int) -> None:
    """Serve the page of `eventhpo report` live, for a browser on this machine.

    The page follows LOG while the search runs. Of a FOLDER all logs in it are listed. Only
    this machine can open it, unless --host says otherwise. Ctrl-C ends it. Nothing is
    written; the search is not slowed. Needs the extra `report`.
    """
    if not log.is_dir():
        reader.require_file(log)
    requires_extra("web")
    from replay.report.catalogue import LogCatalogue  # noqa: PLC0415  the help must not wait for them
    from replay.report.server import PageServer, is_loopback  # noqa: PLC0415

    with Signals(), PageServer(LogCatalogue(log), host, port) as server:
        shown = f"[{host}]" if ":" in host else host
        output.data([f"http://{shown}:{server.server_port}/"])
        who = "only this machine" if is_loopback(host) else "anyone who reaches this address"
        output.note(f"{who} can read it; Ctrl-C ends it")
        server.serve_forever(poll_interval=0.1)
