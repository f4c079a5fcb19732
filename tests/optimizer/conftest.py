"""A place for searches by the class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.optimizer.harness import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a script; nothing of it is left running, and its log is walked."""
    found = Place(tmp_path.resolve())
    yield found
    found.close()
