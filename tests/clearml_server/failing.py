"""Failing on command: which request fails, how, and whether its effect happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.clearml_server.counting import Request

How = Literal["500", "502", "503", "reset", "half", "no_meta", "not_json", "slow", "hang"]
Effect = Literal["before", "after"]
When = Callable[[Request], bool] | int | str


@dataclass
class Fault:
    """Fails requests that *when* names (a predicate, a request's number, or an endpoint), *times* of them (None: all).

    *effect* "before": it fails and nothing happens (a "slow" one happens late); "after": only the answer is lost.
    "slow" answers well after *seconds*, or when released; "hang" never answers: the connection closes when released.
    """

    when: When
    how: How
    effect: Effect = "before"
    times: int | None = 1
    seconds: float | None = None
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False

    def matches(self, request: Request) -> bool:
        if self.cancelled or (self.times is not None and self.hits >= self.times):
            return False
        if isinstance(self.when, int):
            return request.n == self.when
        if isinstance(self.when, str):
            return request.endpoint == self.when
        return self.when(request)

    def release(self) -> None:
        """Let those go on that wait."""
        self.released.set()

    def cancel(self) -> None:
        """Fail no further request, and let those go on that wait."""
        self.cancelled = True
        self.release()


def chosen(faults: list[Fault], request: Request) -> Fault | None:
    """The first fault that matches, counted as hit."""
    for fault in faults:
        if fault.matches(request):
            fault.hits += 1
            fault.reached.set()
            return fault
    return None
