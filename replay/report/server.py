"""A read-only web server for the pages of running searches.

The standard library's `http.server`: it answers six paths and writes nothing. A framework would be one more dependency.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import msgspec

from eventhpo.errors import EventhpoError, Usage
from replay.report.catalogue import LogCatalogue
from replay.report.page import list_page, live_page

AT_ONCE = 32  # requests; the next ones wait in the system's queue
TIMEOUT = 10.0  # seconds that a browser may take to say what it wants
LONGEST_PATH = 400  # characters


class PageServer(ThreadingHTTPServer):
    """Serves the pages of the logs in *catalogue* on *host* and *port*.

    Raises:
        Usage: the address cannot be had.
    """

    daemon_threads = True  # a browser that reads slowly does not keep a server that was told to end
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, catalogue: LogCatalogue, host: str, port: int) -> None:
        self.catalogue = catalogue
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Answerer)
        except (OSError, OverflowError) as error:
            what = getattr(error, "strerror", None) or error
            raise Usage(f"{host} port {port} cannot be had: {what}; --port 0 takes a free port") from error
        self.names = allowed_names(host)

    def server_bind(self) -> None:
        """Take the address, and ask no name server for its name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in a thread of its own, once one is free."""
        self._free.acquire()
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Answer, and let the next request have the thread's place."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that went away."""


def allowed_names(host: str) -> frozenset[str]:
    """Return the names by which a browser may call a server that is bound to *host*, next to addresses."""
    own = {"localhost"}
    if not is_loopback(host):
        own |= {socket.gethostname().lower(), host.lower()}
    return frozenset(own)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at *host*."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_allowed(header: str | None, names: Iterable[str]) -> bool:
    """Whether a request with this `Host` header is meant for us.

    A page from elsewhere can have its name lead to this machine and would then read what a browser here may read. It
    comes with that name. Only an address, or one of our own names, is answered.
    """
    if header is None:
        return False
    host = re.sub(r":\d*$", "", header.strip().lower())
    if host in names:
        return True
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class _Answerer(BaseHTTPRequestHandler):
    """Answers one request."""

    server: PageServer
    server_version = "eventhpo"
    sys_version = ""
    timeout = TIMEOUT

    def do_GET(self) -> None:
        """Answer with a page or its data."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with the headers of a page or its data."""
        self._answer()

    def log_message(self, *args: object) -> None:
        """Write no line for each request: a page asks every two seconds."""

    def _answer(self) -> None:
        if not is_allowed(self.headers.get("Host"), self.server.names):
            self._text(
                HTTPStatus.FORBIDDEN, "this server answers to its address and to localhost, and to no other name"
            )
            return
        url = urlsplit(self.path)
        if len(self.path) > LONGEST_PATH:
            self._text(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
            return
        parts = url.path.split("/")
        match parts:
            case ["", ""]:
                self._front()
            case ["", "list"]:
                self._send(msgspec.json.encode(self.server.catalogue.lines()), "application/json")
            case ["", "log", log_id, ""]:
                name = self.server.catalogue.name(log_id)
                listed = self.server.catalogue.single is None
                self._nothing() if name is None else self._page(live_page(name, listed=listed))
            case ["", "log", log_id, "data"]:
                self._data(log_id)
            case ["", "log", log_id, "explain"]:
                self._explain(log_id, parse_qs(url.query).get("trial", [""])[0])
            case _:
                self._nothing()

    def _front(self) -> None:
        only = self.server.catalogue.single
        if only is None:
            self._page(list_page())
            return
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", f"/log/{only}/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _data(self, log_id: str) -> None:
        followed = self.server.catalogue.followed(log_id)
        if followed is None:
            self._nothing()
            return
        try:
            payload = followed.payload()
        except EventhpoError as error:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            return
        if self.headers.get("If-None-Match") == payload.stamp:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", payload.stamp)
            self.end_headers()
            return
        self._send(payload.packed, "application/json", {"Content-Encoding": "gzip", "ETag": payload.stamp})

    def _explain(self, log_id: str, trial: str) -> None:
        followed = self.server.catalogue.followed(log_id)
        if followed is None or not re.fullmatch(r"[0-9]{1,9}", trial):
            self._nothing()
            return
        try:
            rows = followed.explanation(int(trial))
        except EventhpoError as error:
            self._text(HTTPStatus.NOT_FOUND, str(error))
            return
        self._send(msgspec.json.encode(rows), "application/json")

    def _page(self, page: tuple[str, str]) -> None:
        """Send a page with its policy."""
        text, policy = page
        self._send(text.encode(), "text/html; charset=utf-8", {"Content-Security-Policy": policy})

    def _nothing(self) -> None:
        self._text(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _text(self, status: HTTPStatus, text: str) -> None:
        self._send(text.encode(), "text/plain; charset=utf-8", status=status)

    def _send(
        self,
        content: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-cache"}
        kept_apart = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
        for name, value in (own | kept_apart | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
