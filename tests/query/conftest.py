from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import logs

GOLDEN = Path(__file__).parents[2] / "fixtures"
GOLDEN_LOGS = sorted([*(GOLDEN / "logs").glob("*.db"), *(GOLDEN / "studies").glob("*.db")])


@pytest.fixture(scope="session")
def search_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 24 trials: pruned, failed, retried and lost ones among them."""
    return logs.usual(tmp_path_factory.mktemp("log") / "search.db")
