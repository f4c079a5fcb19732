"""A server, and a user's place on it; the SDK in this process is told of it."""

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
def place(tmp_path: Path) -> Iterator[Place]:
    """A base task on a server; at the end its log is decided again, and no task ran twice."""
    with ClearmlServer(queues=("default", "hpo")) as server, mock.patch.dict(os.environ, server.environment()):
        InterfaceBase._default_session = None  # the SDK keeps one for the life of a process
        found = Place(server, tmp_path)
        yield found
        found.close()
        assert server.refused == []
    InterfaceBase._default_session = None
