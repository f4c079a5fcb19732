"""Signals that end a run: the first one is obeyed, the rest are heard and change nothing."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Protocol

from eventhpo.core.fold.events import StopAsked

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptible(Protocol):
    """What a signal ends: a controller."""

    def interrupt(self, stop: StopAsked) -> None:
        """End the run as *stop* says."""
        ...


class Signals:
    """While the block lasts a signal ends the run and leaves its jobs; before `guard` it ends the command.

    One that is ignored stays so: `nohup` means SIGHUP, a shell's `&` SIGINT.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self._controller: Interruptible | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def guard(self, controller: Interruptible) -> None:
        """Let signals end *controller*'s run from here on."""
        self._controller = controller

    @property
    def code(self) -> int:
        """The exit code of a command that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.first or signal.SIGINT)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self.first = self.first or signal.Signals(number)
        if self._controller is None:
            raise KeyboardInterrupt(self.code)  # nothing is under way that a crash could not interrupt
        self._controller.interrupt(StopAsked(scope="run", jobs="leave", why=self.first.name))
