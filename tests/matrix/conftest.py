from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix.elsewhere import Elsewhere


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    """Another process, one for all tests of a worker: it imports Optuna once."""
    with Elsewhere() as process:
        yield process
