"""The pages that teach: what they say to write and to call is done, and they show what it prints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clearml.users import falling
from tests.clearml_server import ClearmlServer
from tests.cli.harness import invoke
from tests.guides.page import ROOT, Command, commands, missing, run

DOCS = ROOT / "docs"


@contextmanager
def clearml_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server with a queue, a base task, whose id is `BASE_TASK_ID`, and jobs that fall to their learning rate."""
    with ClearmlServer(queues=("default",)) as server:
        base = server.make_task(
            "base",
            project="research",
            hyperparams={"General": {"lr": 0.1, "kind": "a"}},
            script={"repository": "", "entry_point": "train.py", "diff": "print(1)", "branch": "main"},
        )
        server.script(falling)
        for name, value in {**server.environment(), "BASE_TASK_ID": base}.items():
            monkeypatch.setenv(name, value)
        yield


def problems(page: str, folder: Path) -> list[str]:
    """Return what a page shows and its commands did not print."""
    ran = list(run(DOCS / f"{page}.md", folder))
    assert ran
    return [f"$ {command.words}: {line}\n{command.printed}" for command in ran for line in missing(command)]


@pytest.fixture(scope="session")
def first_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page of the first search was followed, as the pages after it take it."""
    folder = tmp_path_factory.mktemp("first")
    assert problems("first-search", folder) == []
    return folder


@pytest.mark.parametrize("page", ["watch-and-show", "choose-a-pruner"])
def test_the_pages_after_the_first_search_do_what_they_show(page: str, first_search: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(first_search, tmp_path / "first")
    assert problems(page, folder) == []


def test_a_search_survives_a_real_kill_as_its_page_shows(tmp_path: Path) -> None:
    assert problems("survive-a-crash", tmp_path) == []


def test_a_log_that_was_handed_over_answers_as_its_page_shows(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fixtures" / "logs", tmp_path / "fixtures" / "logs")
    assert problems("handed-a-log", tmp_path) == []


def test_each_worker_has_its_devices_and_no_second_search_does_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTHPO_GPU_LOCKS", str(tmp_path / "locks"))  # of this test, not of the machine
    assert problems("on-gpus", tmp_path) == []


def test_a_script_of_clearml_runs_with_one_import_changed_as_its_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clearml_server(monkeypatch):
        assert problems("from-clearml", tmp_path) == []


def test_a_line_that_a_command_does_not_print_is_seen() -> None:
    """Negative control."""
    printed = ["state       finished", "trials      12: 12 completed"]
    assert missing(Command("status", ["state finished", "...", "trials 7: 7 completed"], printed)) == []
    assert missing(Command("status", ["trials 7: 7 completed", "state finished"], printed)) == ["state finished"]
    assert missing(Command("status", ["state stopped"], printed)) == ["state stopped"]
    assert list(commands("$ a b\nc\n$ d\n")) == [("a b", ["c"]), ("d", [])]


def test_the_search_of_the_readme_is_sound(tmp_path: Path) -> None:
    (search,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    (tmp_path / "search.toml").write_text(search)
    (tmp_path / "train.py").write_text("")
    result = invoke("check", tmp_path / "search.toml")
    assert result.exit_code == 0, result.output
    assert "budget      360 iterations" in result.stdout
