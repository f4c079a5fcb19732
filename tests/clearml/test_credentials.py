"""Keys of the server are in no error, whatever the server, the SDK or a proxy says: a log keeps errors for good."""

from __future__ import annotations

import base64
import re
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.events import EffectFailed
from eventhpo.jobs.clearml.credentials import Credentials
from eventhpo.jobs.clearml.session import Denied, Nothing, Server, Silent
from tests.clearml.harness import Hours, base_task, begin, falling, of, run, unhurried
from tests.clearml_server import ClearmlServer, auth
from tests.clearml_server.endpoints import Api
from tests.clearml_server.errors import ApiError

PROXY_KEY = "hunter2-of-a-proxy"


class _Echo(BaseHTTPRequestHandler):
    """Refuses, and repeats all that it was sent."""

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()
        told = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
        self.wfile.write(f'{{"meta": {{"result_code": 401, "result_msg": "no {told} here"}}, "data": {{}}}}'.encode())

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_login_that_is_refused_names_neither_keys_nor_the_password_of_the_address(
    server: ClearmlServer, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARML_API_HOST", f"http://proxy:{PROXY_KEY}@{echo}")
    with pytest.raises((Denied, Silent)) as refused:
        Server("test").call("tasks.get_all", {}, Nothing)
    text = str(refused.value)
    assert "no ***" in text
    assert echo in text  # the address itself is named
    options = server.api.options
    assert not any(secret in text for secret in (PROXY_KEY, options.access_key, options.secret_key))


def test_a_log_keeps_the_error_of_an_effect_without_the_keys_that_the_server_repeats(
    server: ClearmlServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: set[str] = set()

    def authorize(api: Api, header: str | None, name: str) -> None:
        auth_of_server(api, header, name)
        if name == "tasks.clone" and not tokens:
            token = str(header).split()[1]
            tokens.add(token)
            raise ApiError(400, 12, f"validation of {token}, {api.options.access_key}:{api.options.secret_key} failed")

    auth_of_server = auth.authorize
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    monkeypatch.setattr(auth, "authorize", authorize)
    run(path, clock=Hours(server))
    (failed,) = of(path, EffectFailed)
    assert "validation of ***, ***:*** failed" in failed.error
    with sqlite3.connect(path) as db:
        text = "\n".join(db.iterdump())
    assert not any(secret in text for secret in (*tokens, server.api.options.secret_key))


@pytest.mark.parametrize(
    "address", ["https://me:pa%24s@hpo.example/api", "git+ssh://token@git.example", "http://a:b@c"]
)
def test_an_address_is_shown_without_who_calls(address: str) -> None:
    shown = Credentials().hide(f"no answer from {address}.")
    assert shown == f"no answer from {re.sub('//.*@', '//***@', address)}."


def test_what_is_no_key_stays() -> None:
    credentials = Credentials()
    credentials.remember(None, {"Authorization": "Bearer abc"})
    assert credentials.hide("abc https://example.org/a@b") == "abc https://example.org/a@b"
