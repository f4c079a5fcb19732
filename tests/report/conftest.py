from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.cli.harness import Place
from tests.report import logs
from tests.report.browser import Tab, launched, tab
from tests.report.logs import reported


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Tab]:
    with tab(browser, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture(scope="session")
def search_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 24 trials: pruned, failed, retried and lost ones among them."""
    return logs.usual(tmp_path_factory.mktemp("log") / "search.db")


@pytest.fixture(scope="session")
def search_page(search_log: Path) -> Path:
    return reported(search_log)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search on real jobs; nothing of it is left running."""
    place = Place(tmp_path)
    yield place
    place.close()
