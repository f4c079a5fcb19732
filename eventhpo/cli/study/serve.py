"""The command `eventhpo serve`: the one writer of a study, for workers on any machine."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.arguments import scalar
from eventhpo.cli.options import FILE
from eventhpo.core.validation.durations import duration
from eventhpo.core.validation.validators import Wrong


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else duration(1, "seconds", 1e9).read(scalar(text))
    except Wrong as wrong:
        raise click.BadParameter(f"found {text}, expected {wrong}") from None


@click.command()
@click.argument("log", type=FILE)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=13000, show_default=True, help="The port; 0 takes a free one."
)
@click.option(
    "--lease",
    metavar="TIME",
    callback=_seconds,
    help="Time for which a worker with Optuna's own client may be silent before its trial goes back: seconds, "
    "or as 45s, 10m, 1h.  [default: for ever; eventhpo.connect renews a lease of 600 s by itself]",
)
def serve(log: Path, host: str, port: int, lease: float | None) -> None:
    """Serve the study LOG to workers, by Optuna's gRPC protocol.

    A worker connects with eventhpo.connect("HOST:PORT"), or with optuna.storages.GrpcStorageProxy. There is no
    authentication: everybody who reaches the address can write. Needs the extra serve: pip install 'eventhpo[serve]'.
    """
    from eventhpo.study.serve import StudyServer  # noqa: PLC0415  it loads Optuna and grpc

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = StudyServer(log, host, port, lease)
    server.start()
    reach = "this machine only" if host in ("127.0.0.1", "localhost", "::1") else "without authentication"
    output.data([f"{log} is served at {host}:{server.port} ({reach}); Ctrl-C or SIGTERM ends it"])
    if not log.exists():
        output.note(
            f"there is no {log} yet: optuna.create_study of a worker makes it; for eventhpo.connect make it first, "
            "with eventhpo.create_study"
        )
    ended.wait()
    server.stop()
