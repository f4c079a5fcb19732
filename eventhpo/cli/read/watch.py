"""The command `eventhpo watch`: the live view of a search, from another terminal."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, plain_option
from eventhpo.cli.read.rows import require_whole
from eventhpo.cli.read.status import holder, unattended
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import evolve, fold
from eventhpo.core.fold.state import State
from eventhpo.log import lease, reader
from eventhpo.views import formatting
from eventhpo.views import status as status_view

if TYPE_CHECKING:  # the controller loads Optuna, which a reader must not wait for
    from eventhpo.controller.controller import Tell

_PAUSE = 0.5  # seconds between two looks: each opens the log anew, for about a millisecond
_BEFORE = 200  # newest events that are told of at the start: some decisions, whatever the log's length


@click.command()
@click.argument("log", type=LOG_FILE)
@plain_option
@click.option(
    "--json", "as_json", is_flag=True, help="The status as a line of JSON at each change.  [default: lines of text]"
)
def watch(log: Path, plain: bool, as_json: bool) -> None:
    """Watch the search recorded in LOG until nobody runs it any more.

    Shows what `eventhpo run` shows: decisions as lines and, on a terminal with the extra
    `live`, best, running jobs, prunes, budget and time left below them. It only reads, and
    never slows the search. Ctrl-C ends the watching, not the search.

    When the controller dies, it says so, names the command that carries the search on, and ends.
    """
    from eventhpo.cli.run import live_table  # noqa: PLC0415  the help must not wait for them
    from eventhpo.cli.run.signals import Signals  # noqa: PLC0415
    from eventhpo.views import conclusion  # noqa: PLC0415

    with Signals():
        held = lease.holder(log) is not None  # before the log is read, or its last rows could be missed
        snapshot = reader.read(log)
        state = fold(snapshot.rows)
        pause = threading.Event()
        rows: Sequence[Recorded] = snapshot.rows[-_BEFORE:]
        with _json_lines(log) if as_json else live_table.shown(quiet=False, plain=plain) as tell:
            tell(rows, state)
            while held and state.finished is None:
                pause.wait(_PAUSE)
                held = lease.holder(log) is not None
                rows = reader.read(log, state.head.seq).rows
                for row in rows:
                    state = evolve(state, row)
                tell(rows, state)
    if not as_json:
        output.data(conclusion.render_end(log, state))
    if state.finished is None:
        output.note(_interrupted(log, state))
    require_whole(log, snapshot)


@contextlib.contextmanager
def _json_lines(log: Path) -> Iterator[Tell]:
    """Give what writes the status of the search to stdout, a line of JSON, when it is told of a row.

    Of a search that nobody runs any more it writes one more line at the end.
    """
    newest: list[State] = []

    def line(state: State) -> None:
        controller = holder(log)
        now = None if controller is None else time.time_ns() // 1000
        current = status_view.status(state, controller, now=now, unattended=unattended(log, state, controller))
        output.data([msgspec.json.encode(current).decode()])

    def tell(rows: Sequence[Recorded], state: State) -> None:
        if rows:
            line(state)
        newest[:] = [state]

    yield tell
    if newest and newest[0].finished is None:
        line(newest[0])


def _interrupted(log: Path, state: State) -> str:
    """Say that nobody runs the search, what its jobs do meanwhile, and how it goes on."""
    left = unattended(log, state, None)
    count = None if left is None else left.processes
    jobs = f"; {formatting.plural(count, 'job')} {'runs' if count == 1 else 'run'} on" if count else ""
    gone = f"controller {state.pid} on {state.host} is gone{jobs}\n" if state.pid else ""
    return f"{gone}interrupted: nobody runs this search; carry on: {output.command('resume', log)}"
