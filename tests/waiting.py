"""Wait for something to become true: the one place in the tests where time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0  # seconds: only a test that fails takes that long
STEP = 0.005  # seconds between two looks


def eventually(condition: Callable[[], T], what: str = "the condition") -> T:
    """Return the first truthy answer of *condition*.

    Raises:
        AssertionError: there was none before the deadline.
    """
    end = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {DEADLINE:g} s"
        pause.wait(STEP)
    return answer
