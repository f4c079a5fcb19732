"""Progress on stderr: plain lines, on a terminal with rich a table of what runs below them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eventhpo.cli import output
from eventhpo.controller.controller import Tell, tell_nobody
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.views import event_lines, formatting, statuses

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

REFRESH = 0.1  # seconds between two drawings of the table: faster than that nobody reads


@contextlib.contextmanager
def shown(*, quiet: bool) -> Iterator[Tell]:
    """Give what tells of a run on stderr in the way that fits it."""
    if quiet:
        yield tell_nobody
    elif _is_live():
        with _LiveTable() as table:
            yield table
    else:
        yield _plain


def _is_live() -> bool:
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return sys.stderr.isatty() and not dumb and importlib.util.find_spec("rich") is not None


def _plain(rows: Sequence[Recorded], state: State) -> None:
    """Tell each decision in a line."""
    for line in event_lines.lines(rows, state):
        output.note(line.text)


class _LiveTable:
    """Lines as `_plain` tells them, and below them the jobs that run."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  an extra, and only for a terminal
        from rich.live import Live  # noqa: PLC0415

        # No thread: it is drawn when something was committed, so nothing runs next to a controller.
        self._live: Live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._drawn = 0.0
        self._works = True

    def __enter__(self) -> _LiveTable:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def __call__(self, rows: Sequence[Recorded], state: State) -> None:
        if not self._works:
            return
        try:
            self._draw(rows, state)
        except OSError:
            self._works = False  # the terminal is gone; the search is not

    def _draw(self, rows: Sequence[Recorded], state: State) -> None:
        for line in event_lines.lines(rows, state):
            self._live.console.print(line.text, markup=False, highlight=False)
        now = time.monotonic()
        if now - self._drawn >= REFRESH:
            self._drawn = now
            self._live.update(_table(state), refresh=True)


def _table(state: State) -> Table:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=statuses.footer(state), title_justify="left", box=None, pad_edge=False)
    names = [formatting.metric(o) for o in state.search.objectives]
    for head in ("slot", "trial", "status", "iteration", *names, "parameters"):
        least = None if head == "parameters" else len(head)
        table.add_column(escape(head), overflow="ellipsis", no_wrap=True, min_width=least)
    for job in sorted(statuses.running(state), key=lambda r: r.slot):
        values = job.value if isinstance(job.value, list) else [job.value]
        at = "-" if job.iteration is None else str(job.iteration)
        numbers = [escape(formatting.number(v)) for v in values]
        given = escape(formatting.params(state.trials[job.trial].params))
        table.add_row(str(job.slot), str(job.trial), job.status, at, *numbers, given)
    return table
