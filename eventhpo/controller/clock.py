"""The door to time: what the clock says, and waiting that a signal ends."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Protocol

from eventhpo.core.fold.clocks import BootClock, ClockReading
from eventhpo.jobs.local.host import boot_id

SLICE = 0.5  # seconds; a request is looked for, and the head file kept, at least once a second


class Clock(Protocol):
    """Our clock. Wall time is microseconds since 1970, UTC."""

    def now(self) -> int:
        """Return the wall time, for people."""
        ...

    def read(self) -> ClockReading:
        """Return the wall time and the boot clock, from which durations are taken."""
        ...

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        """Return after *seconds*, after *due* microseconds if that is sooner, or when woken.

        *meanwhile* is called at least once a second, and at least once; what it
        answers is whether the wait is over.
        """
        ...

    def wake(self) -> None:
        """End the wait that is under way, or the next one."""
        ...


class SystemClock:
    """The machine's clock; `wake` may be called from any thread and from a signal handler.

    Its boot clock goes on while the machine is suspended: limits of wall time and
    back-offs are time that passes for people and servers.
    """

    def __init__(self) -> None:
        # An Event's lock is not reentrant: `wake` in a signal handler inside `wait` would block for ever.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()

    def now(self) -> int:
        """Return the wall time."""
        return time.time_ns() // 1000

    def read(self) -> ClockReading:
        """Return the wall time and the time since the machine's boot."""
        boot = boot_id()
        since = BootClock(boot, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000) if boot else None
        return ClockReading(self.now(), since)

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        """Wait in slices, by a clock that cannot be set."""
        if due is not None:
            seconds = min(seconds, due / 1e6)
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
