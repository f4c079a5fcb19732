"""The server fails where a test says, before or after the effect, and counts what it was asked."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.clearml_server import ClearmlServer
from tests.clearml_server.calling import Client
from tests.waiting import eventually

Send = Callable[..., tuple[int, Any]]


@pytest.fixture
def send(server: ClearmlServer) -> Send:
    """Send a request with a good token, once: HTTP status and answer."""
    client = Client(server.environment(), seconds=30)
    token = server.call("auth.login")["token"]

    def sent(endpoint: str, headers: dict[str, str] | None = None, **body: Any) -> tuple[int, Any]:
        return client.send(endpoint, body, {"Authorization": f"Bearer {token}", **(headers or {})})

    return sent


@pytest.mark.parametrize("effect", ["before", "after"])
@pytest.mark.parametrize("how", ["500", "502", "503", "reset", "half", "no_meta", "not_json"])
def test_a_request_fails_and_its_effect_happens_or_not(
    server: ClearmlServer, send: Send, base: str, how: Any, effect: Any
) -> None:
    fault = server.fail("tasks.clone", how, effect=effect)
    tasks = len(server.state.tasks)
    if how == "no_meta":
        assert "meta" not in send("tasks.clone", task=base)[1]
    else:
        with pytest.raises((OSError, ValueError)):  # the pages of errors are no JSON
            send("tasks.clone", task=base)
    assert len(server.state.tasks) - tasks == (effect == "after")
    assert fault.hits == 1
    assert send("tasks.clone", task=base)[0] == 200


def test_a_slow_answer_comes_when_it_is_released(server: ClearmlServer, send: Send, base: str) -> None:
    fault = server.fail("tasks.get_by_id", "slow")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(send("tasks.get_by_id", task=base)[0]))
    asking.start()
    assert fault.reached.wait(30)
    assert send("tasks.ping", task=base)[0] == 200  # others go on
    assert answers == []
    fault.release()
    asking.join()
    assert answers == [200]


def test_a_hanging_request_ends_with_its_connection(server: ClearmlServer, send: Send, base: str) -> None:
    fault = server.fail("tasks.clone", "hang", effect="after")
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            send("tasks.clone", task=base)
        except OSError as gone:
            failed.append(gone)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: len(server.state.tasks) == 2)
    assert failed == []
    fault.release()
    asking.join()
    assert len(failed) == 1


def test_faults_are_chosen_by_number_by_predicate_and_how_often(server: ClearmlServer, send: Send, base: str) -> None:
    server.fail(server.requests.total + 2, "500")
    server.fail(lambda request: request.headers.get("x-door") == "b", "503", times=None)

    def status(door: str) -> int:
        try:
            return send("tasks.ping", {"X-Door": door}, task=base)[0]
        except ValueError:
            return -1

    assert [status(door) for door in "aaabab"] == [200, -1, 200, -1, 200, -1]
    server.heal()
    assert status("b") == 200


def test_requests_are_counted_by_endpoint_and_header(server: ClearmlServer, send: Send, base: str) -> None:
    for door in ("launch", "launch", "poll"):
        send("tasks.ping", {"X-Eventhpo-Door": door}, task=base)
    send("tasks.get_by_id", task=base)
    assert server.count() == 4
    assert server.count("tasks.ping") == 3
    assert server.count(header="X-Eventhpo-Door") == 3
    assert server.count("tasks.ping", header=("X-Eventhpo-Door", "launch")) == 2
    assert [request.n for request in server.requests.kept] == [1, 2, 3, 4]
    assert server.requests.kept[0].body == {"task": base}


def test_a_server_that_is_down_refuses_and_is_up_again_at_its_url(server: ClearmlServer, send: Send, base: str) -> None:
    url = server.url
    server.down()
    with pytest.raises(ConnectionRefusedError):
        send("tasks.ping", task=base)
    server.up()
    assert server.url == url
    assert send("tasks.ping", task=base)[0] == 200


def test_a_connection_that_is_kept_open_ends_when_the_server_goes_down(server: ClearmlServer) -> None:
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", "/v2.23/tasks.ping")
        connection.getresponse().read()
        server.down()
        assert connection.sock.recv(1) == b""


def test_a_restarted_server_knows_what_it_knew(server: ClearmlServer, send: Send, base: str) -> None:
    server.restart()
    assert send("tasks.get_by_id", task=base)[1]["data"]["task"]["name"] == "base"


def test_unknown_endpoints_and_fields_are_refused_and_kept(server: ClearmlServer, send: Send, base: str) -> None:
    status, answer = send("tasks.fly", task=base)
    assert (status, answer["meta"]["result_code"], answer["meta"]["result_subcode"]) == (404, 404, 0)
    status, answer = send("tasks.ping", task=base, wings=2)
    assert (status, answer["meta"]["result_subcode"]) == (400, 12)
    assert server.refused == ["tasks.fly: no such endpoint", "tasks.ping: wings"]
    server.refused.clear()


def test_an_older_server_does_not_know_the_batched_read() -> None:
    with ClearmlServer(without=frozenset({"events.multi_task_scalar_metrics_iter_histogram"})) as server:
        token = server.call("auth.login")["token"]
        headers = {"Authorization": f"Bearer {token}"}
        name = "events.multi_task_scalar_metrics_iter_histogram"
        status, answer = Client(server.environment()).send(name, {"tasks": ["a"]}, headers)
        assert (status, answer["meta"]["result_msg"]) == (
            404,
            f"Unable to find endpoint for name {name} and version 2.23",
        )
        assert server.refused == []  # it was meant not to know it


@pytest.mark.parametrize("version", ["2.35", "3.0"])
def test_a_newer_version_of_the_api_is_refused(server: ClearmlServer, base: str, version: str) -> None:
    headers = {"Authorization": f"Bearer {server.call('auth.login')['token']}"}
    status, answer = Client(server.environment()).send("tasks.ping", {"task": base}, headers, version)
    assert (status, answer["meta"]["result_msg"]) == (400, "Invalid API version (max. supported version is 2.34)")


@pytest.mark.parametrize(
    ("header", "subcode"),
    [
        ({}, 20),
        ({"Authorization": "Bearer a.b.c"}, 30),
        ({"Authorization": "Basic YTpi"}, 20),
    ],
    ids=["none", "no token", "keys"],
)
def test_a_request_without_a_good_token_is_unauthorized(
    server: ClearmlServer, base: str, header: dict[str, str], subcode: int
) -> None:
    status, answer = Client(server.environment()).send("tasks.ping", {"task": base}, header)
    assert (status, answer["meta"]["result_code"], answer["meta"]["result_subcode"]) == (401, 401, subcode)


def test_wrong_keys_do_not_log_in(server: ClearmlServer) -> None:
    status, answer = Client(server.environment()).send("auth.login", {}, {"Authorization": "Basic YTpi"})
    assert (status, answer["meta"]["result_subcode"]) == (401, 22)


@pytest.mark.parametrize("ended_by", ["command", "clock"])
def test_a_token_ends_and_a_new_one_is_good(server: ClearmlServer, send: Send, base: str, ended_by: str) -> None:
    if ended_by == "command":
        server.expire_tokens()
    else:
        server.clock.advance(31 * 24 * 3600)
    status, answer = send("tasks.ping", task=base)
    assert (status, answer["meta"]["result_subcode"]) == (401, 30)
    assert Client(server.environment()).call("tasks.ping", task=base) == {}


def test_the_date_of_an_answer_and_every_time_kept_are_of_the_servers_clock(server: ClearmlServer, base: str) -> None:
    server.clock.set_off(-86_400)
    kept = server.task(server.call("tasks.clone", task=base)["id"])["created"]
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", "/v2.23/tasks.ping")
        date = connection.getresponse().headers["Date"]
    day = server.clock.now().strftime("%d %b %Y")
    assert day in date
    assert kept.startswith(server.clock.now().strftime("%Y-%m-%d"))


def test_files_are_kept_and_given_back(server: ClearmlServer) -> None:
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("PUT", "/a/b.bin", b"\x00\xff")
        connection.getresponse().read()
        connection.request("GET", "/a/b.bin")
        assert connection.getresponse().read() == b"\x00\xff"
        connection.request("GET", "/a/c.bin")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 404
