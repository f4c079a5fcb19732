"""`python -m tests.clearml_server --port 0 --state FILE`: the server as a process, its url on the first line."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.clearml_server.server import ClearmlServer


def main() -> None:
    options = argparse.ArgumentParser(prog="tests.clearml_server", description="A ClearML server for tests.")
    options.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    options.add_argument("--state", type=Path, default=None, help="keep everything in this file (default: nowhere)")
    options.add_argument("--queue", action="append", default=None, help="make this queue (default: default)")
    options.add_argument("--without", action="append", default=[], help="an endpoint that this server does not have")
    asked = options.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = ClearmlServer(
        port=asked.port, state=asked.state, queues=asked.queue or ("default",), without=frozenset(asked.without)
    )
    with server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
