"""`eventhpo web`: the page of a running search, live, in a real Chromium."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from eventhpo.log import reader
from replay.report.server import AT_ONCE, allowed_names, is_allowed
from tests.cli.harness import Place, data, invoke
from tests.report import logs
from tests.report.browser import tab
from tests.report.test_page import assert_played_back
from tests.waiting import eventually

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs"


class Served:
    """A server of its own process."""

    def __init__(self, target: Path, *options: str) -> None:
        command = [sys.executable, "-m", "eventhpo", "web", str(target), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rstrip("/").rpartition(":")[2]) if self.url else 0

    def get(self, path: str, host: str | None = None, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        """Ask for *path*; return the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {} if host is None else {"Host": host}
            connection.request(method, path, headers={**named, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def redirected(self) -> str:
        """Return where the front page leads."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/")
            return connection.getresponse().headers["Location"]
        finally:
            connection.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def served(target: Path, *options: str) -> Iterator[Served]:
    server = Served(target, *options)
    try:
        yield server
    finally:
        server.close()


def grown(source: Path, target: Path, seq: int) -> None:
    """Make *target* the log of *source* as it stood at *seq*, as a controller leaves it."""
    log = reader.read(source)
    if not target.exists():
        shutil.copyfile(source, target)
    with sqlite3.connect(target) as db:
        triggers = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        texts = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            db.execute(f'DROP TRIGGER "{name}"')
        db.execute("DELETE FROM event WHERE seq > ?", (seq,))
        with sqlite3.connect(source) as whole:
            columns = "seq, at, epoch, cause, type, v, body, hash"
            (there,) = db.execute("SELECT max(seq) FROM event").fetchone()
            query = f"SELECT {columns} FROM event WHERE seq > ? AND seq <= ? ORDER BY seq"  # noqa: S608
            for row in whole.execute(query, (there, seq)):
                db.execute(f"INSERT INTO event ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        whole.close()
        for text in texts:
            db.execute(text)
    db.close()
    assert log.head.seq >= seq


def test_the_page_follows_a_log_without_being_loaded_again(browser: Browser, search_log: Path, tmp_path: Path) -> None:
    log = tmp_path / "search.db"
    grown(search_log, log, 60)
    with served(log) as server, tab(browser) as page:
        page.open(server.url)
        assert page.run("() => page.report.data.seq") == 60
        page.run("() => { window.kept = 'not loaded again'; }")
        assert_played_back(page, log, [60, 20])
        page.show(60)
        grown(search_log, log, 200)
        page.page.wait_for_function("() => page.report.data.seq === 200")
        page.page.wait_for_function("() => document.documentElement.dataset.drawn === '200'")
        assert_played_back(page, log, [200])
        page.show(30)  # a reader who looks at the past is left there
        last = reader.read(search_log).head.seq
        grown(search_log, log, last)
        page.page.wait_for_function(f"() => page.report.data.seq === {last}")
        assert page.run("() => page.seq") == 30
        assert page.run("() => window.kept") == "not loaded again"
        assert page.errors == []
        assert all(url.startswith(server.url) or url.startswith("data:") for url in page.requests)


def test_why_a_trial_came_out_as_it_did_is_told_when_it_is_asked(browser: Browser, search_log: Path) -> None:
    with served(search_log) as server, tab(browser) as page:
        page.open(server.url)
        page.run("() => choose(9)")
        page.page.locator("#explanation tbody tr").first.wait_for()
        shown = page.run(
            "() => [...document.querySelectorAll('#explanation tbody tr')].map((tr) => tr.cells[2].innerText)"
        )
        printed = [line[19:] for line in invoke("explain", search_log, 9).stdout.splitlines()[2:]]
        assert [" ".join(text.split()) for text in shown] == [" ".join(text.split()) for text in printed]
        assert page.errors == []


def test_the_logs_of_a_folder_are_in_one_list(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    logs.one_trial(tmp_path / "below" / "one.db")
    logs.usual(tmp_path / "usual.db", trials=5)
    logs.one_trial(tmp_path / "<img src=x onerror=alert(1)>.db")
    (tmp_path / "none.db").write_text("no database")
    (tmp_path / "search.db.jobs").mkdir()
    shutil.copyfile(tmp_path / "usual.db", tmp_path / "search.db.jobs" / "inside.db")
    with served(tmp_path) as server, tab(browser) as page:
        page.page.goto(server.url)
        page.page.locator("#logs tbody tr").first.wait_for()
        names = page.run("() => [...document.querySelectorAll('#logs tbody th')].map((th) => th.innerText)")
        assert names == ["<img src=x onerror=alert(1)>.db", "below/one.db", "usual.db"]
        best = data("top", tmp_path / "usual.db", "-k", 1)[0]["trial"]
        cells = page.run("() => [...document.querySelectorAll('#logs tbody tr')][2].innerText")
        assert f"trial {best}:" in cells
        assert "finished" in cells
        page.page.locator("#logs a", has_text="usual.db").click()
        page.drawn()
        assert page.run("() => page.report.data.log") == "usual.db"
        assert page.errors == []


def test_a_damaged_log_is_served_as_far_as_it_is_verified_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    for name in ("cut.db", "cut.db.head"):
        (tmp_path / name).write_bytes((GOLDEN / "must_fail" / name).read_bytes())
    with served(tmp_path / "cut.db") as server:
        status, body = server.get(f"{server.redirected()}data", **{"Accept-Encoding": "identity"})
        assert status == 200
        assert json.loads(gzip.decompress(body))["data"]["damage"]
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE event (seq)")
    db.close()
    with served(foreign) as server:
        status, body = server.get(f"{server.redirected()}data")
        assert status == 503
        assert b"no log of eventhpo" in body


def test_a_log_that_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    result = invoke("web", tmp_path / "missing.db")
    assert result.exit_code == 2
    assert "there is no log" in result.stderr


# ---------------------------------------------------------------- read-only, on this machine, for this machine


def test_only_this_machine_is_answered_and_by_no_name_of_elsewhere(search_log: Path) -> None:
    with served(search_log) as server:
        page = server.redirected()
        assert server.url.startswith("http://127.0.0.1:")
        for host, status in (
            (f"127.0.0.1:{server.port}", 200),
            (f"localhost:{server.port}", 200),
            ("[::1]:80", 200),
            ("evil.example", 403),
            (f"evil.example:{server.port}", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
        ):
            assert server.get(page, host)[0] == status, host
            assert server.get(f"{page}data", host)[0] == status, host


def test_who_can_reach_the_server_is_said(search_log: Path) -> None:
    for host, says in (("127.0.0.1", "only this machine can read it"), ("0.0.0.0", "anyone who reaches this address")):  # noqa: S104
        server = Served(search_log, "--host", host)
        server.get("/list")
        server.process.send_signal(signal.SIGTERM)
        _, err = server.process.communicate(timeout=60)
        assert says in err


def test_a_server_for_others_answers_to_its_own_names_too() -> None:
    assert not is_allowed("gpu-7:8137", allowed_names("127.0.0.1"))
    assert is_allowed("GPU-7:8137", allowed_names("gpu-7"))
    assert is_allowed("10.0.0.7:8137", allowed_names("0.0.0.0"))  # noqa: S104
    assert not is_allowed(None, allowed_names("127.0.0.1"))


def test_it_reads_only_and_only_logs(search_log: Path, tmp_path: Path) -> None:
    log = tmp_path / "search.db"
    shutil.copyfile(search_log, log)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with served(log) as server:
        page = server.redirected()
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert server.get(f"{page}data", method=method)[0] == 501
        for path in (
            "/../search.db",
            "/search.db",
            f"{page}../../search.db",
            "/log/../data",
            "/log/000000000000/",
            "/log//",
        ):
            assert server.get(path)[0] == 404, path
        assert server.get(f"{page}explain?trial=1e9")[0] == 404
        assert server.get(f"{page}explain?trial=999999")[0] == 404
        assert server.get("/" + "a" * 5000)[0] == 414
        assert server.get(page, method="HEAD") == (200, b"")
        assert server.get(f"{page}data")[0] == 200
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_page_that_has_everything_is_sent_nothing(search_log: Path) -> None:
    with served(search_log) as server:
        page = server.redirected()
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", f"{page}data")
        stamp = connection.getresponse().headers["ETag"]
        connection.close()
        assert server.get(f"{page}data", **{"If-None-Match": stamp}) == (304, b"")
        assert server.get(f"{page}data", **{"If-None-Match": '"another"'})[0] == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(search_log: Path, number: signal.Signals, code: int) -> None:
    server = Served(search_log)
    server.get("/list")
    server.process.send_signal(number)
    _, err = server.process.communicate(timeout=60)
    assert server.process.returncode == code
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_named(search_log: Path) -> None:
    with served(search_log) as server:
        result = invoke("web", search_log, "--port", server.port)
        assert result.exit_code == 2
        assert f"port {server.port} cannot be had" in result.stderr
        assert "--port 0" in result.stderr


# ---------------------------------------------------------------- many pages, a running search


def threads_of(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Threads:")]
    return int(line.split()[1])


def test_a_hundred_open_pages_neither_hold_a_running_search_up_nor_grow_without_bound(place: Place) -> None:
    controller = place.running()
    with served(place.log) as server:
        page = server.redirected()
        most, over = [0], threading.Event()

        def look() -> int:
            asked = 0
            while not over.is_set() or asked == 0:
                assert server.get(f"{page}data")[0] == 200
                most[0] = max(most[0], threads_of(server.process.pid))
                asked += 1
            return asked

        with ThreadPoolExecutor(100) as readers:
            answers = [readers.submit(look) for _ in range(100)]
            place.release()
            _, err = controller.communicate(timeout=600)
            over.set()
            assert all(answer.result() >= 1 for answer in answers)
        assert controller.returncode == 0, err
        assert most[0] <= 2 * AT_ONCE  # those that end while others begin, and the libraries' own
    status = place.status()
    assert status["state"] == "finished"
    assert invoke("verify", place.log, "--decide").exit_code == 0


def test_a_search_that_is_killed_and_resumed_is_followed_through(browser: Browser, place: Place) -> None:
    controller = place.running()
    with served(place.log) as server, tab(browser) as page:
        page.open(server.url)
        page.page.wait_for_function("() => page.report.data.verdict[0].includes('still runs')")
        controller.kill()
        controller.communicate()
        page.page.wait_for_function("() => page.report.data.verdict[0].includes('just stops')")
        place.release()
        assert place.call("resume", "search.db", "--quiet").returncode == 0
        page.page.wait_for_function("() => page.standing.state === 'finished'")
        eventually(lambda: page.run("() => page.report.data.controllers.seq.length") == 2, "the second controller")
        assert page.errors == []
