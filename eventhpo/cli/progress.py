"""A progress bar on stderr, for walks over a log that take more than two seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click

DELAY = 2.0  # seconds before a bar is shown
PERIOD = 0.1  # seconds between two drawings


class ProgressBar:
    """Draws how far a walk is, and erases itself when the walk is over.

    Args:
        clock: Seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._what: str | None = None  # the walk under way
        self._since = self._drawn = 0.0
        self._bar: Any = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take in that the walk *what* has come *done* items of *total* far."""
        now = self._clock()
        if done >= total:
            self.clear()
            self._what = None
            return
        if what != self._what:
            self.clear()
            self._what, self._since, self._drawn = what, now, 0.0
        if now - self._since < DELAY or now - self._drawn < PERIOD:
            return
        self._drawn = now
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=what, file=sys.stderr)
            self._bar.start = time.time() - (now - self._since)  # its time left goes by the whole walk
        self._bar.make_step(done - self._bar.pos)
        sys.stderr.write(f"\r{self._bar.format_progress_line()}\x1b[K")  # click's own drawing hides the cursor
        sys.stderr.flush()

    def clear(self) -> None:
        """Erase the bar: what is printed next has the line to itself."""
        if self._bar is not None:
            self._bar = None
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def wanted() -> bool:
    """Whether stderr is a terminal on which a line can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
