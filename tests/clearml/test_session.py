"""One request, one answer or none: in each of the ways in which the SDK's own session sends it again."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from eventhpo.errors import Usage
from eventhpo.jobs.clearml import session
from eventhpo.jobs.clearml.session import Denied, Nothing, Server, Silent
from eventhpo.jobs.clearml.tasks import Tasks
from eventhpo.testing.waiting import eventually
from tests.clearml_server import ClearmlServer, auth, http
from tests.clearml_server.failing import How

BROKEN: list[How] = ["500", "502", "503", "reset", "half", "no_meta", "not_json"]
DRIP = 0.05  # seconds between two bytes of an answer that never ends


class _Id(msgspec.Struct):
    id: str


def connected(server: ClearmlServer) -> Server:
    """A session that is logged in."""
    found = Server("test")
    found.call("tasks.get_all", {"id": ["0"]}, Nothing)
    server.requests.clear()
    return found


# ---------------------------------------------------------------- what is sent once


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_answer_is_seen_after_one_request_and_leaves_it_in_doubt(server: ClearmlServer, how: How) -> None:
    base = server.make_task("base")
    ours = connected(server)
    before = len(server.state.tasks)
    server.fail("tasks.clone", how, effect="after", times=None)
    with pytest.raises(Silent) as seen:
        ours.call("tasks.clone", {"task": base}, _Id)
    assert seen.value.in_doubt
    assert server.count("tasks.clone") == server.count() == 1
    assert len(server.state.tasks) == before + 1


def test_an_answer_that_does_not_come_in_time_leaves_it_in_doubt(
    server: ClearmlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have done the work: here it has."""
    monkeypatch.setattr(session, "READ", 0.2)
    base = server.make_task("base")
    ours = connected(server)
    server.fail("tasks.clone", "hang", effect="after", times=None)
    with pytest.raises(Silent) as seen:
        ours.call("tasks.clone", {"task": base}, _Id)
    assert seen.value.in_doubt
    assert server.count("tasks.clone") == 1


def test_an_answer_that_drips_is_given_up_when_its_time_is_over(
    server: ClearmlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece comes in time, and the whole never does."""
    monkeypatch.setattr(session, "TOTAL", 0.5)
    ours = connected(server)
    with listening(drips) as (url, connections):
        monkeypatch.setattr(ours._session, "_Session__host", url)
        with pytest.raises(Silent, match=r"takes longer than 0\.5 s"):
            ours.call("tasks.get_all", {}, Nothing)
    assert len(connections) == 1


def test_an_answer_without_end_is_given_up(server: ClearmlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = connected(server)
    monkeypatch.setattr(session, "LONGEST", 100)
    with pytest.raises(Silent, match="longer than 100 bytes"):
        ours.call("tasks.get_all", {}, Nothing)


@pytest.mark.parametrize(
    ("fields", "parameters", "tags"),
    [
        ({"tags": None, "hyperparams": None, "last_metrics": None, "name": None, "status": None}, {}, []),
        (
            {"tags": ["a"], "hyperparams": {"General": None, "Args": {"x": {"name": None, "value": "1"}}}},
            {"Args/x": "1"},
            ["a"],
        ),
        ({"last_metrics": {"t": {"s": {"metric": None, "variant": None, "value": None}}}}, {}, []),
    ],
    ids=["a field", "a section", "a metric"],
)
def test_a_field_that_is_null_is_one_that_is_not_there(
    fields: dict[str, object], parameters: dict[str, str], tags: list[str]
) -> None:
    """A server may say null of what a task never had."""
    answer = msgspec.Raw(msgspec.json.encode({"tasks": [{"id": "a", **fields}]}))
    [task] = session._read("tasks.get_all", answer, Tasks).tasks
    assert (task.parameters, task.tags, task.name) == (parameters, tags, "")


def test_what_is_neither_null_nor_what_it_should_be_cannot_be_read() -> None:
    with pytest.raises(Silent, match="its answer cannot be read"):
        session._read("tasks.get_all", msgspec.Raw(b'{"tasks": [{"id": 7, "tags": null}]}'), Tasks)


def test_a_server_that_is_not_there_did_nothing(server: ClearmlServer) -> None:
    ours = connected(server)
    server.down()
    with pytest.raises(Silent) as seen:
        ours.call("tasks.get_all", {}, Nothing)
    assert not seen.value.in_doubt


def test_a_server_that_speaks_no_tls_is_tried_once(server: ClearmlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(hangs_up) as (url, connections):
        monkeypatch.setenv("CLEARML_API_HOST", url.replace("http:", "https:"))
        with pytest.raises(Silent):
            Server("test").call("tasks.get_all", {}, Nothing)
    assert len(connections) == 1


def test_what_the_server_refuses_it_has_not_done(server: ClearmlServer) -> None:
    with pytest.raises(Denied) as seen:
        connected(server).call("tasks.clone", {"task": "0" * 32}, _Id)
    assert (seen.value.code, seen.value.subcode) == (400, 101)
    assert server.count("tasks.clone") == 1


def test_an_answer_that_is_no_answer_to_this_question_leaves_it_in_doubt(server: ClearmlServer) -> None:
    with pytest.raises(Silent, match="cannot be read") as seen:
        connected(server).call("tasks.get_all", {}, _Id)
    assert seen.value.in_doubt


def test_an_answer_without_date_is_none(server: ClearmlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = connected(server)
    head = http.Handler._head
    monkeypatch.setattr(http.Handler, "_head", lambda *args: head(*args).replace(b"Date:", b"X-Date:"))
    with pytest.raises(Silent, match="no Date"):
        ours.call("tasks.get_all", {}, Nothing)


def test_requests_are_posts_that_carry_our_mark(server: ClearmlServer) -> None:
    Server("5ea4c4").call("tasks.get_all", {}, Nothing)
    assert {(r.http_method, r.headers["x-eventhpo-door"]) for r in server.requests.kept} == {("POST", "5ea4c4")}
    assert [r.endpoint for r in server.requests.kept] == ["auth.login", "tasks.get_all"]


def test_the_time_limits_are_those_of_the_page() -> None:
    assert (session.CONNECT, session.READ, session.TOTAL) == (5.0, 20.0, 60.0)


# ---------------------------------------------------------------- the login


def test_a_token_that_is_too_old_costs_one_login_and_the_request_again(server: ClearmlServer) -> None:
    ours = connected(server)
    server.expire_tokens()
    ours.call("tasks.get_all", {}, Nothing)
    assert [r.endpoint for r in server.requests.kept] == ["tasks.get_all", "auth.login", "tasks.get_all"]


@pytest.mark.parametrize("days", [-1, 1])
def test_a_token_is_as_old_as_the_server_says(server: ClearmlServer, days: int) -> None:
    server.clock.set_off(days * 86_400)
    ours = connected(server)
    answer = ours.call("tasks.get_all", {}, Nothing)
    assert server.count("auth.login") == 0
    assert abs(answer.clock / 1e6 - server.clock.now().timestamp()) < 5


def test_credentials_that_are_refused_are_a_no(server: ClearmlServer) -> None:
    ours = connected(server)
    server.api.options.access_key = "another"
    with pytest.raises(Denied, match="does not let us in"):
        Server("test").call("tasks.get_all", {}, Nothing)
    server.expire_tokens()
    with pytest.raises(Denied, match="does not let us in"):
        ours.call("tasks.get_all", {}, Nothing)
    assert server.count("auth.login") == 2


@pytest.mark.parametrize("how", BROKEN)
def test_a_login_without_a_proper_answer_is_no_no(server: ClearmlServer, how: How) -> None:
    """And leaves nothing in doubt: the request itself was not sent, or was refused."""
    server.fail("auth.login", how, times=None)
    with pytest.raises(Silent) as seen:
        Server("test").call("tasks.get_all", {}, Nothing)
    assert not seen.value.in_doubt
    assert server.count("auth.login") == server.count() == 1


@pytest.mark.parametrize("how", BROKEN)
def test_a_new_token_without_a_proper_answer_leaves_nothing_in_doubt(server: ClearmlServer, how: How) -> None:
    ours = connected(server)
    server.expire_tokens()
    server.fail("auth.login", how, times=None)
    with pytest.raises(Silent) as seen:
        ours.call("tasks.get_all", {}, Nothing)
    assert not seen.value.in_doubt
    assert [r.endpoint for r in server.requests.kept] == ["tasks.get_all", "auth.login"]


def test_no_vault_of_the_server_is_read(server: ClearmlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server has them, the SDK's session asks for them in its constructor, and changes the configuration."""
    monkeypatch.delenv("CLEARML_DISABLE_VAULT_SUPPORT")
    encode = auth._encode
    monkeypatch.setattr(auth, "_encode", lambda claims: encode(claims | {"feature_set": "advanced"}))
    Server("test").call("tasks.get_all", {}, Nothing)
    assert server.count("users.get_vaults") == 0
    sdk()
    assert server.count("users.get_vaults") == 1
    server.refused.clear()


def test_offline_mode_is_refused_and_names_local_jobs(server: ClearmlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from clearml.backend_api import Session

    monkeypatch.setattr(Session, "_offline_mode", True)
    with pytest.raises(Usage, match=r"offline mode.*LocalJobs"):
        Server("test").call("tasks.get_all", {}, Nothing)
    assert server.count() == 0


def test_without_a_configuration_it_says_how_to_get_one() -> None:
    code = """
from eventhpo.jobs.clearml.session import Server, Nothing
from eventhpo.errors import Usage
try:
    Server("test").call("tasks.get_all", {}, Nothing)
except Usage as error:
    print(error)
"""
    env = {"CLEARML_CONFIG_FILE": "/nowhere", "HOME": "/nowhere", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "clearml-init" in ran.stdout
    assert "LocalJobs" in ran.stdout


# ---------------------------------------------------------------- negative controls: the SDK's own session


def sdk():  # type: ignore[no-untyped-def]
    from clearml.backend_api import Session

    return Session()


def asked_by_the_sdk(base: str) -> Callable[[], object]:
    """Clone by the transport that `Task.clone` goes through."""
    from clearml.backend_api.services import tasks
    from clearml.backend_interface.base import InterfaceBase

    own = sdk()
    return lambda: InterfaceBase._send(own, tasks.CloneRequest(task=base), ignore_errors=True)


@pytest.mark.parametrize("how", ["502", "503", "reset", "half", "no_meta"])
def test_the_sdks_session_clones_again_and_again(server: ClearmlServer, how: How) -> None:
    """Each of these clones was made: a second job beside the first."""
    base = server.make_task("base")
    ask = asked_by_the_sdk(base)
    before = len(server.state.tasks)
    fault = server.fail("tasks.clone", how, effect="after", times=None)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    eventually(lambda: fault.hits >= 3, "three clones", deadline=20)
    server.heal()
    thread.join(20)
    assert not thread.is_alive()
    assert len(server.state.tasks) >= before + 3


def test_the_sdks_session_waits_five_minutes_for_an_answer() -> None:
    from clearml.backend_api import Session

    assert Session._session_timeout == (10.0, 300.0)


def test_the_sdks_session_tries_tls_for_ever(server: ClearmlServer) -> None:
    code = "from clearml.backend_api import Session; Session(http_retries_config=dict(total=0, connect=0))"
    with listening(hangs_up) as (url, connections):
        env = server.environment(CLEARML_API_HOST=url.replace("http:", "https:"), PATH="", HOME="/nowhere")
        asking = subprocess.Popen(
            [sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            eventually(lambda: len(connections) >= 3, "three connections", deadline=30)
        finally:
            asking.kill()
            asking.wait()


# ---------------------------------------------------------------- servers that are none


def drips(connection: socket.socket, closing: threading.Event) -> None:
    """Begin an answer, and go on with it a byte at a time."""
    connection.recv(2**16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not closing.wait(DRIP):
        connection.sendall(b"{")


def hangs_up(connection: socket.socket, closing: threading.Event) -> None:
    """Answer a hello of TLS with something else."""
    connection.recv(2**16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@contextlib.contextmanager
def listening(
    serve: Callable[[socket.socket, threading.Event], None],
) -> Iterator[tuple[str, list[socket.socket]]]:
    """A port at which each connection is served by *serve*; gives its address and the connections so far."""
    connections: list[socket.socket] = []
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                serve(connection, closing)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        finally:
            closing.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
