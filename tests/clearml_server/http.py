"""HTTP: reads a request, gives it to the server, writes the answer, or what a fault makes of it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.clearml_server.endpoints import new_id
from tests.clearml_server.errors import ApiError
from tests.clearml_server.failing import Fault

if TYPE_CHECKING:
    from tests.clearml_server.server import ClearmlServer

SERVICES = (
    "auth|tasks|events|queues|projects|workers|models|users|server|organization|reports|pipelines|storage|login|debug"
)
CALL = re.compile(rf"^(?:/api)?(?:/v(?P<version>\d+(?:\.\d+)?))?/(?P<name>(?:{SERVICES})\.\w+)$")
MOST_BYTES = 64 * 1024 * 1024  # of one request


class Listener(ThreadingHTTPServer):
    """Listens at an address; closes the connections that are open when it stops."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: ClearmlServer) -> None:
        self.clearml = server
        self.open: set[socket.socket] = set()
        super().__init__(address, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error here; anything else is shown by the server."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - names of the standard library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: requests are kept by the server."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            self.close_connection = True
            return
        data = self.rfile.read(length)
        path = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = CALL.match(path.path)
        if call:
            name, version = call["name"], call["version"] or ""
            fault, finish = self.server.clearml.answer(
                name, version, headers, data, {k: v[-1] for k, v in parse_qs(path.query).items()}, self.command
            )
        else:
            name = f"files.{self.command.lower()}"
            fault, finish = self.server.clearml.file(unquote(path.path), name, headers, data)
        self._finish(fault, finish)

    def _finish(self, fault: Fault | None, finish: Any) -> None:
        if fault is None:
            return self._write(*finish())
        status, content, kind = finish() if fault.effect == "after" else (200, b"", "application/json")
        match fault.how:
            case "500" | "502" | "503":
                return self._write(int(fault.how), b"<html>" + fault.how.encode() + b"</html>", "text/html")
            case "reset":
                return self._reset()
            case "half":
                content = content or json.dumps(envelope("", "", ApiError(200, 0, "OK"))).encode()
                return self._half(status, content, kind)
            case "no_meta":
                return self._write(200, b'{"data": {}}', "application/json")
            case "not_json":
                return self._write(200, b"<html>It works!</html>", "text/html")
            case "slow":
                fault.released.wait(fault.seconds)
                return self._write(*(finish() if fault.effect == "before" else (status, content, kind)))
            case "hang":
                fault.released.wait(fault.seconds)
                self.close_connection = True
                return None

    def _head(self, status: int, length: int, kind: str) -> bytes:
        date = self.server.clearml.clock.date_header()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Server: clearml", f"Date: {date}"]
        lines += [f"Content-Type: {kind}", f"Content-Length: {length}", "", ""]
        return "\r\n".join(lines).encode()

    def _write(self, status: int, content: bytes, kind: str) -> None:
        body = b"" if self.command == "HEAD" else content
        with contextlib.suppress(OSError):  # one write: two would wait for a delayed acknowledgement
            self.wfile.write(self._head(status, len(content), kind) + body)

    def _half(self, status: int, content: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(self._head(status, len(content), kind) + content[: len(content) // 2])
        self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The reader's own handle of the socket has to go too, or nothing is sent.
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


def envelope(name: str, version: str, result: ApiError, data: Any = None, actual: str = "1.0") -> dict[str, Any]:
    """The answer's frame: meta and data."""
    trx = new_id()
    return {
        "meta": {
            "id": trx,
            "trx": trx,
            "endpoint": {"name": name, "requested_version": version, "actual_version": actual},
            "result_code": result.code,
            "result_subcode": result.subcode,
            "result_msg": result.message,
            "error_stack": None,
            "error_data": {},
        },
        "data": {} if data is None else data,
    }
