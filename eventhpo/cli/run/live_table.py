"""Progress of a search: plain lines with a time, on a terminal with rich a live view below the lines."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eventhpo.cli import output
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.views import event_lines, formatting
from eventhpo.views.live_view import BudgetBar, LiveView, live_view, render_bar, render_summary, render_time

if TYPE_CHECKING:  # the controller loads Optuna, which a reader must not wait for
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from eventhpo.controller.controller import Tell

REFRESH = 0.1  # seconds between two drawings of the view: faster than that nobody reads
SUMMARY = 300_000_000  # microseconds between two lines with best and budget: a night has a hundred of them
_BAR = 20  # characters of a budget bar


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
    """Lines as `PlainLines` tells them, without the time, and the live view below them."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  an extra, and only for a terminal
        from rich.live import Live  # noqa: PLC0415

        # No thread: it is drawn when something was committed, so nothing runs next to a controller.
        self._live: Live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._drawn = 0.0
        self._works = True

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def __call__(self, rows: Sequence[Recorded], state: State) -> None:
        """Tell of *rows*, which were committed together; *state* is that after them."""
        if not self._works:
            return
        try:
            self._draw(rows, state)
        except OSError:
            self._works = False  # the terminal is gone; the search is not

    def _draw(self, rows: Sequence[Recorded], state: State) -> None:
        for line in event_lines.lines(rows, state):
            self._live.console.print(output.printable(line.text), markup=False, highlight=False)
        now = time.monotonic()
        if now - self._drawn >= REFRESH:
            self._drawn = now
            view = live_view(state, time.time_ns() // 1000)
            self._live.update(picture(view, self._live.console.encoding), refresh=True)


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
        *([_jobs(view, unicode=unicode)] if view.running else []),
        text(f"best     {view.best}", "bold"),
        *(text(f"pruned   {line}") for line in view.pruned),
        *(text(f"budget   {_drawn(bar, unicode=unicode)}  {render_bar(bar)}") for bar in view.bars),
        text(f"time     {render_time(view)}"),
    )


def _drawn(bar: BudgetBar, *, unicode: bool) -> str:
    filled = round(bar.share * _BAR)
    return ("█" if unicode else "#") * filled + ("░" if unicode else ".") * (_BAR - filled)


def _jobs(view: LiveView, *, unicode: bool) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for head in ("slot", "trial", "status", "iter", *view.metrics, "curve" if unicode else "", "parameters"):
        least = None if head in ("parameters", *view.metrics) else len(head)
        table.add_column(Text(head), overflow="ellipsis", no_wrap=True, min_width=least)
    for job in view.running:
        at = "-" if job.iteration is None else str(job.iteration)
        cells = [str(job.slot), str(job.trial), job.status, at, *job.values, job.spark if unicode else "", job.params]
        table.add_row(*map(Text, cells))
    return table
