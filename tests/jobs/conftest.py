from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.harness import ROOT, Place, processes_with


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place whose jobs can import eventhpo; what they leave running is ended behind the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    place = Place(tmp_path)
    yield place
    for pid in processes_with(f"eventhpo:{place.search_id}:"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
