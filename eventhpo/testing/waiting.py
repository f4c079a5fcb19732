"""Wait for something to become true: the one place in tests where time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0  # seconds: only a test that fails takes that long
STEP = 0.005  # seconds between two looks


def eventually(
    condition: Callable[[], T], what: str = "the condition", *, deadline: float = DEADLINE, step: float = STEP
) -> T:
    """Return the first truthy answer of *condition*, asked every *step* seconds for *deadline* seconds.

    Raises:
        AssertionError: there was none before the deadline.
    """
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {deadline:g} s"
        pause.wait(step)
    return answer
