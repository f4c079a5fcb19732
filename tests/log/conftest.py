from __future__ import annotations

from pathlib import Path

import pytest
from log_samples import AT, search_created

from eventhpo.log.create import create


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log of a search may come to lie: in a folder of its own."""
    folder = tmp_path / "search"
    folder.mkdir()
    return folder / "search.db"


@pytest.fixture
def log(path: Path) -> Path:
    """A log that holds its first event."""
    create(path, search_created(), AT)
    return path
