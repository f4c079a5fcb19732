"""A running server, and tasks on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clearml_server import ClearmlServer


@pytest.fixture
def server() -> Iterator[ClearmlServer]:
    with ClearmlServer(queues=("default", "hpo")) as running:
        yield running
        assert running.refused == []


@pytest.fixture
def base(server: ClearmlServer) -> str:
    return server.make_task(
        "base",
        script={"repository": "", "entry_point": "train.py", "diff": "print(1)", "working_dir": "."},
        container={"image": "nvidia"},
        hyperparams={"General": {"lr": 0.1, "epochs": 3}, "Args": {"x": 1}},
        tags=["of-base"],
        system_tags=["development"],
        comment="a base",
    )
