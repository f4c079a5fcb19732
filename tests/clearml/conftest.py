"""A server that the SDK of this process talks to, a folder for a log, and a user's place on the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from clearml.backend_interface.base import InterfaceBase

from tests.clearml.users import Place
from tests.clearml_server import ClearmlServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClearmlServer]:
    with ClearmlServer(queues=("default", "hpo")) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
        assert running.refused == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A base task on a server; at the end its log is decided again, and no task ran twice."""
    with ClearmlServer(queues=("default", "hpo")) as server, mock.patch.dict(os.environ, server.environment()):
        InterfaceBase._default_session = None  # the SDK keeps one for the life of a process
        found = Place(server, tmp_path)
        yield found
        found.close()
        assert server.refused == []
    InterfaceBase._default_session = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK's own reading of its configuration warns, of pyparsing."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
