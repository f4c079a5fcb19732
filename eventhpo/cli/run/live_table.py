"""Progress of a search: plain lines with a time, on a terminal with rich a live view below the lines."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from eventhpo.cli import output
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.views import event_lines, formatting
from eventhpo.views.live_view import BudgetBar, LiveView, live_view, render_bar, render_summary, render_time

if TYPE_CHECKING:  # the controller loads Optuna, which a reader must not wait for
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from eventhpo.controller.controller import Tell

TICK = 1.0  # seconds between two drawings if nothing happens: its clock goes on
REFRESH = 0.1  # seconds between two drawings of the view: faster than that nobody reads
SUMMARY = 300_000_000  # microseconds between two lines with best and budget: a night has a hundred of them
_BAR = 20  # characters of a budget bar
_WIDEST = 20  # columns of a cell, but for the parameters
_KEPT = 500  # newest lines that are kept for a screen that is drawn anew


@contextlib.contextmanager
def shown(*, quiet: bool, plain: bool = False) -> Iterator[Tell]:
    """Give what tells of a run on stderr: nothing if *quiet*, a live view on a terminal unless *plain*, else lines."""
    if quiet:
        yield _tell_nobody
    elif is_live() and not plain:
        with LiveTable() as table:
            yield table
    else:
        yield PlainLines()


def _tell_nobody(_rows: Sequence[Recorded], _state: State) -> None:
    """Say nothing."""


def is_live() -> bool:
    """Whether stderr is a terminal that can be drawn on, and rich is installed."""
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return sys.stderr.isatty() and not dumb and importlib.util.find_spec("rich") is not None


class PlainLines:
    """A line for each decision, with its time (UTC); now and then one with best and budget."""

    def __init__(self) -> None:
        self._summed_up: int | None = None  # the time of the last summary, at first of the first event

    def __call__(self, rows: Sequence[Recorded], state: State) -> None:
        """Tell of *rows*, which were committed together; *state* is that after them."""
        for line in event_lines.lines(rows, state):
            output.note(f"{_stamp(line.at)}  {line.text}")
        if self._summed_up is None:
            self._summed_up = state.last_at
        elif state.last_at - self._summed_up >= SUMMARY:
            self._summed_up = state.last_at
            output.note(f"{_stamp(state.last_at)}  {render_summary(live_view(state))}")


def _stamp(at: int) -> str:
    return f"{formatting.rfc3339(at)[:19]}Z"


class LiveTable:
    """Lines as `PlainLines` tells them, without the time, and the live view below them.

    After the terminal was resized the screen is drawn anew: what a narrower window wraps, and how,
    is the terminal's own affair, so nobody knows which rows the old view takes.
    """

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  an extra, and only for a terminal

        self._console = Console(stderr=True)
        self._live: Live = self._new_live()
        self._size = self._console.size
        self._told: deque[str] = deque(maxlen=_KEPT)
        self._state: State | None = None
        self._drawn = 0.0
        self._stale = False  # something new came too soon after the last drawing
        self._works = True
        self._drawing = False
        self._before: Any = None

    def _new_live(self) -> Live:
        from rich.live import Live  # noqa: PLC0415

        # No thread: it is drawn when something was committed, so nothing runs next to a controller.
        return Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGWINCH, self._resized)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGWINCH, self._before)
        with contextlib.suppress(OSError):
            self._live.stop()

    def __call__(self, rows: Sequence[Recorded], state: State) -> None:
        """Tell of *rows*, which were committed together; *state* is that after them."""
        self._state = state
        if not rows and not self._is_due():
            return
        lines = [output.printable(line.text) for line in event_lines.lines(rows, state)]
        self._guarded(lambda: self._draw(lines))

    def _is_due(self) -> bool:
        """Whether the view is to be drawn although nothing is new: to catch up, or for its clock."""
        since = time.monotonic() - self._drawn
        return since >= (REFRESH if self._stale else TICK)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        if not self._drawing:  # else the drawing under way, or the next one, sees the new size
            self._guarded(lambda: self._draw([]))

    def _guarded(self, draw: Callable[[], None]) -> None:
        if not self._works:
            return
        self._drawing = True
        try:
            draw()
            if self._console.size != self._size:  # resized meanwhile
                self._draw([])
        except OSError:
            self._works = False  # the terminal is gone; the search is not
        finally:
            self._drawing = False

    def _draw(self, lines: Sequence[str]) -> None:
        if self._console.size != self._size:
            self._draw_anew()
        self._told.extend(lines)
        for line in lines:
            self._console.print(line, markup=False, highlight=False)
        self._stale = time.monotonic() - self._drawn < REFRESH
        if not self._stale:
            self._show_view()

    def _draw_anew(self) -> None:
        """Clear the screen, and write on it the newest lines that it has room for, and the view."""
        from rich.control import Control  # noqa: PLC0415

        self._live.stop()
        self._size = width, height = self._console.size
        self._console.control(Control.clear(), Control.home())
        room = height - (0 if self._state is None else rows_of(self._view())) - 1
        for line in _newest(self._told, room, width):
            self._console.print(line, markup=False, highlight=False)
        self._live = self._new_live()
        self._live.start()
        self._show_view()

    def _view(self) -> LiveView:
        assert self._state is not None
        return live_view(self._state, time.time_ns() // 1000)

    def _show_view(self) -> None:
        self._drawn = time.monotonic()
        if self._state is not None:
            self._live.update(picture(self._view(), self._console.encoding), refresh=True)


def _newest(lines: Sequence[str], room: int, width: int) -> list[str]:
    """Return the last of *lines* that fit into *room* rows of *width* characters."""
    from rich.cells import cell_len  # noqa: PLC0415

    shown: list[str] = []
    for line in reversed(lines):
        room -= max(1, math.ceil(cell_len(line) / width))
        if room < 0:
            break
        shown.insert(0, line)
    return shown


# ---------------------------------------------------------------- drawing


def picture(view: LiveView, encoding: str = "utf-8") -> Group:
    """Return *view* for rich: no line is wrapped, so it is right at every width. Other *encoding*s get no blocks."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    unicode = encoding.lower().startswith("utf")

    def text(content: str, style: str = "") -> Text:
        return Text(content, style=style, no_wrap=True, overflow="ellipsis" if unicode else "crop")

    return Group(
        text(view.title, "bold"),
        *(text(line) for line in (_jobs(view, unicode=unicode) if view.running else ())),
        text(f"best     {view.best}", "bold"),
        *(text(f"pruned   {line}") for line in view.pruned),
        *(text(f"budget   {_drawn(bar, unicode=unicode)}  {render_bar(bar)}") for bar in view.bars),
        text(f"time     {render_time(view)}"),
    )


def _drawn(bar: BudgetBar, *, unicode: bool) -> str:
    filled = round(bar.share * _BAR)
    return ("█" if unicode else "#") * filled + ("░" if unicode else ".") * (_BAR - filled)


def rows_of(view: LiveView) -> int:
    """Return how many rows the picture of *view* takes."""
    return 3 + len(view.pruned) + len(view.bars) + (1 + len(view.running) if view.running else 0)


def _jobs(view: LiveView, *, unicode: bool) -> Iterator[str]:
    """Yield the table of running jobs; the parameters come last, so they alone are cut in a narrow window."""
    heads = ["slot", "trial", "status", "iter", *view.metrics, *(["curve"] if unicode else []), "parameters"]
    table = [heads]
    for job in view.running:
        at = "-" if job.iteration is None else str(job.iteration)
        spark = [job.spark] if unicode else []
        table.append([str(job.slot), str(job.trial), job.status, at, *job.values, *spark, job.params])
    widths = [min(max(cell_width(row[column]) for row in table), _WIDEST) for column in range(len(heads) - 1)]
    for *cells, params in table:
        yield "  ".join([*map(cell_of_width, cells, widths), params])


def cell_width(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def cell_of_width(text: str, width: int) -> str:
    """Return *text* filled or cut to *width* columns of a terminal."""
    from rich.cells import set_cell_size  # noqa: PLC0415

    return set_cell_size(text, width)
