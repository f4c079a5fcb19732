"""optuna-dashboard on a log: it reads the log as it grows, and nothing that would change it is passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from eventhpo.errors import StorageFailed, not_installed
from eventhpo.study.loaded_study import LogStorage

_READS = {"GET", "HEAD", "OPTIONS"}


def application(log: Path) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application of the dashboard on *log*; a request that may write is answered with 403.

    Raises:
        Usage: optuna-dashboard is not installed, or there is no such log.
        DamagedLog: the log is damaged.
    """
    try:
        from optuna_dashboard import wsgi  # noqa: PLC0415  an extra
    except ImportError as error:
        raise not_installed("optuna-dashboard is", "dashboard") from error
    dashboard: Callable[..., Iterable[bytes]] = wsgi(LogStorage(log, follow=True))

    def read_only(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _READS:
            return dashboard(environ, start_response)
        body = b'{"reason": "the log is shown read-only"}'
        start_response("403 Forbidden", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return read_only


class _DashboardServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        """Say nothing of each request."""


def serve(log: Path, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve the dashboard until the process is ended; *tell* gets its address when it listens.

    Raises:
        StorageFailed: the address cannot be listened at.
    """
    app = application(log)
    try:
        server = make_server(host, port, app, server_class=_DashboardServer, handler_class=_Quiet)
    except OSError as error:
        raise StorageFailed(f"cannot listen at {host}:{port}: {error}; choose another --port") from error
    with server:
        tell(f"http://{host}:{server.server_port}/dashboard/ (read-only, {_reach(host)})")
        server.serve_forever()


def _reach(host: str) -> str:
    return "this machine only" if host in ("127.0.0.1", "localhost", "::1") else "everybody who reaches it sees it"
