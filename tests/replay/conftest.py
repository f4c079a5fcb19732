from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search on real jobs; nothing of it is left running."""
    place = Place(tmp_path)
    yield place
    place.close()
