"""A real Chromium, headless, that notes what a page must not do: an error, or a request to anywhere."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def chromium() -> str:
    """Return where Chromium is: a test of the page cannot do without, and does not skip."""
    named = os.environ.get("CHROMIUM")
    places = [named] if named else [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    found = next((place for place in places if place), None)
    assert found is not None, "no Chromium: apt-get install chromium, or set CHROMIUM to a browser"
    return found


class Tab:
    """A page, its console errors and its requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))

    def open(self, target: Path | str) -> Tab:
        self.page.goto(target.as_uri() if isinstance(target, Path) else target)
        self.drawn()
        return self

    def drawn(self) -> None:
        """Wait until the charts show the event that the page stands at."""
        self.page.wait_for_function("() => document.documentElement.dataset.drawn === String(page.seq)")

    def show(self, seq: int) -> None:
        """Move the slider."""
        self.page.locator("#slider").fill(str(seq))
        self.drawn()

    def run(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    @property
    def outside(self) -> list[str]:
        """The requests that are not the page's own file."""
        return [url for url in self.requests if not url.startswith(("file://", "data:", "blob:"))]


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Give a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(browser: Browser, **options: Any) -> Iterator[Tab]:
    """Give a page in a profile of its own."""
    context: BrowserContext = browser.new_context(**options)
    try:
        yield Tab(context.new_page())
    finally:
        context.close()
