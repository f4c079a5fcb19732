"""What a person is told: names that may be new, links to tasks, and an address that is not the API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import ClearmlTasks, Search, UniformParameterRange
from eventhpo.errors import Unanswered, Usage
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.views import status, top
from tests.clearml.harness import Hours, base_task, begin, falling, our_tasks, rows, run, search, unhurried
from tests.clearml_server import ClearmlServer, Script

FULL_EDIT = "_allow_omegaconf_edit_"


def of_names(base: str, *names: str, new: tuple[str, ...] = ()) -> Search:
    """A search of those parameters."""
    space = tuple(UniformParameterRange(name=n, min_value=0.0, max_value=1.0) for n in names)
    jobs = ClearmlTasks(base_task_id=base, execution_queue="default", new_parameters=new)
    return search(base, space=space, jobs=jobs)


# ---------------------------------------------------------------- names


def test_a_hydra_parameter_need_not_be_on_a_base_task_that_ran_without_overrides(
    server: ClearmlServer, path: Path
) -> None:
    """The SDK stores the section with one parameter then, and makes an override of each that a clone has."""
    base = server.make_task("base", hyperparams={"Hydra": {FULL_EDIT: False}, "Args": {"data": "a"}})
    server.script(lambda task: Script.curve("validation", "loss", [0.5], end="completed"))
    begin(path, of_names(base, "Hydra/model.lr"))
    run(path, clock=Hours(server))
    assert all(float(t["hyperparams"]["Hydra"]["model.lr"]["value"]) <= 1.0 for t in our_tasks(server))
    assert all(t["hyperparams"]["Hydra"][FULL_EDIT]["value"] == "False" for t in our_tasks(server))


def test_and_is_refused_where_the_sdk_would_ignore_it(server: ClearmlServer) -> None:
    base = server.make_task("base", hyperparams={"Hydra": {FULL_EDIT: True, "model.lr": 0.1}})
    with pytest.raises(Usage, match=r"_allow_omegaconf_edit_ = True.*would not notice Hydra/model\.lr"):
        ClearmlChoice().described(of_names(base, "Hydra/model.lr"))


@pytest.mark.parametrize("name", ["Hydra/model.lr", "Args/lr", "dropout"])
def test_another_name_that_is_not_there_is_refused_unless_a_person_insists(server: ClearmlServer, name: str) -> None:
    base = server.make_task("base", hyperparams={"Args": {"data": "a"}})
    with pytest.raises(Usage, match="name it in new_parameters"):
        ClearmlChoice().described(of_names(base, name))
    found, _ = ClearmlChoice().described(of_names(base, name, new=(name,)))
    assert isinstance(found.jobs, ClearmlTasks)
    with pytest.raises(Usage, match="has no parameter General/other"):
        ClearmlChoice().described(of_names(base, name, "General/other", new=(name,)))


# ---------------------------------------------------------------- links


def test_task_ids_and_links_stand_in_status_and_top(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 1, end=None))
    clock = Hours(server, then=lambda waits: clock.stop() if waits == 3 else None)
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1))
    run(path, clock=clock)
    state = fold(rows(path))
    [task] = our_tasks(server)
    web = f"/projects/*/experiments/{task['id']}/output/log"
    found = status.status(state, None)
    assert found.running[0].link is not None
    assert found.running[0].link.endswith(web)
    lines = status.render_status(state, found)
    assert sum(web in line for line in lines) == 2, "the best, and the one that runs"
    [row] = top.rows(state)
    assert (row.task_id, row.link) == (task["id"], found.running[0].link)
    head, line, *_ = top.table(state, [row])
    assert head.endswith("task")
    assert line.endswith(web)


def test_a_log_that_does_not_know_the_address_shows_the_ids(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server, 1))
    begin(path, unhurried(base_task(server), 1, total_max_jobs=1))
    state = run(path, clock=Hours(server))
    state.search = msgspec.structs.replace(state.search, jobs=msgspec.structs.replace(state.search.jobs, web=""))
    [row] = top.rows(state)
    assert row.link is None
    assert top.table(state, [row])[1].endswith(str(row.task_id))


# ---------------------------------------------------------------- addresses


class _Page(BaseHTTPRequestHandler):
    """A web page, as nginx serves ClearML's: nothing can be posted to it."""

    def do_POST(self) -> None:
        self.send_response(405)
        self.end_headers()
        self.wfile.write(b"<html><h1>405 Not Allowed</h1></html>")

    def log_message(self, *said: Any) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_address_that_is_not_the_api_is_said_to_be_none(
    server: ClearmlServer, page: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = search(base_task(server))
    monkeypatch.setenv("CLEARML_API_HOST", page)
    with pytest.raises(Unanswered) as refused:
        begin(path, what)
    said = str(refused.value)
    assert f"{page} is not the API of a ClearML server" in said
    assert "HTTP 405" in said
    assert "CLEARML_API_HOST" in said
    assert "not the web page (8080)" in said
    assert not path.exists()
