"""The door to time: what the clock says, and waiting that a signal ends."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Protocol

SLICE = 0.5  # seconds; a request is looked for, and the head file kept, at least once a second


class Clock(Protocol):
    """Our clock. Microseconds since 1970, UTC."""

    def now(self) -> int:
        """Return the time."""
        ...

    def wait(self, seconds: float, until: int | None, meanwhile: Callable[[], bool]) -> None:
        """Return after *seconds*, at the time *until* if that comes first, or when woken.

        *meanwhile* is called at least once a second, and at least once; what it
        answers is whether the wait is over.
        """
        ...

    def wake(self) -> None:
        """End the wait that is under way, or the next one."""
        ...


class SystemClock:
    """The machine's clock; `wake` may be called from any thread and from a signal handler."""

    def __init__(self) -> None:
        # An Event's lock is not reentrant: `wake` in a signal handler inside `wait` would block for ever.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()

    def now(self) -> int:
        """Return the time."""
        return time.time_ns() // 1000

    def wait(self, seconds: float, until: int | None, meanwhile: Callable[[], bool]) -> None:
        """Wait in slices; a clock that is set back cannot make the wait longer than *seconds*."""
        if until is not None:
            seconds = min(seconds, (until - self.now()) / 1e6)
        end = time.monotonic() + seconds
        while not meanwhile():
            left = end - time.monotonic()
            if left <= 0 or self._woken(min(left, SLICE)):
                break
        while not self._wakes.empty():
            self._wakes.get_nowait()

    def wake(self) -> None:
        """End the wait that is under way, or the next one."""
        self._wakes.put(None)

    def _woken(self, seconds: float) -> bool:
        """Whether somebody calls `wake` within *seconds*, or did before."""
        try:
            self._wakes.get(timeout=seconds)
        except queue.Empty:
            return False
        return True
