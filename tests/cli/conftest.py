from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import Place, simulated


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search on real jobs; nothing of it is left running."""
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a finished search on simulated jobs, at rest."""
    path = tmp_path / "search.db"
    simulated(path)
    return path
