"""Crashes at every point before and after each commit and each call of the backend."""

from __future__ import annotations

import os
from collections.abc import Callable

from eventhpo.controller.controller import Log
from eventhpo.core.fold.events import Event, Head, Recorded

CRASHED = 77  # exit status of a process that crashed where it was told to


class Crashes:
    """Counts the points that a process passes, and ends the process at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self.passed = 0

    def point(self, name: str) -> None:
        """Pass a point; at the one that was asked for, end the process."""
        self.passed += 1
        if self.passed == self._at:
            os._exit(CRASHED)


class CrashingLog:
    """A log whose commits are points to crash at."""

    def __init__(self, log: Log, point: Callable[[str], None]) -> None:
        self._log = log
        self._point = point

    @property
    def head(self) -> Head:
        """The head, committed or not."""
        return self._log.head

    @property
    def epoch(self) -> int:
        """The epoch."""
        return self._log.epoch

    @property
    def pending(self) -> bool:
        """Whether something is not committed."""
        return self._log.pending

    def record(self, event: Event, cause: int | None, at: int) -> Recorded:
        """Record as the log does."""
        return self._log.record(event, cause, at)

    def commit(self) -> None:
        """Commit as the log does, with a point before and one after, if there is something to commit."""
        if not self._log.pending:
            return
        self._point("before commit")
        self._log.commit()
        self._point("after commit")

    def check_lease(self) -> None:
        """Check as the log does."""
        self._log.check_lease()

    def beat(self) -> None:
        """Beat as the log does."""
        self._log.beat()

    def close(self, clean: bool = True) -> bool:
        """Close as the log does."""
        return self._log.close(clean)
