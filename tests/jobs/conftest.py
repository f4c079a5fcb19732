from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.jobs.local.folder import AttemptFolder
from tests.jobs.harness import ROOT, Place, processes_with, start_of


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place whose jobs can import eventhpo; what they leave running is ended behind the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    place = Place(tmp_path)
    yield place
    for pid in [*_started(place), *processes_with(f"eventhpo:{place.search_id}:")]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _started(place: Place) -> Iterator[int]:
    """Each job by its ticket: one that is just becoming its command shows no environment."""
    for path in place.jobs_folder.glob("*/started.json"):
        ticket = AttemptFolder(path.parent).ticket()
        if ticket is not None and ticket.pid and start_of(ticket.pid) == ticket.start:
            yield ticket.pid
