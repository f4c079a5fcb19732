"""The command `eventhpo watch`: the live view of a search, from another terminal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, plain_option
from eventhpo.cli.read.rows import require_whole
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import evolve, fold
from eventhpo.log import lease, reader

_PAUSE = 0.5  # seconds between two looks: each opens the log anew, for about a millisecond
_BEFORE = 200  # newest events that are told of at the start: some decisions, whatever the log's length


@click.command()
@click.argument("log", type=LOG_FILE)
@plain_option
def watch(log: Path, plain: bool) -> None:
    """Watch the search recorded in LOG until nobody runs it any more.

    Shows what `eventhpo run` shows: decisions as lines and, on a terminal with the extra
    `live`, best, running jobs, prunes, budget and time left below them. It only reads, and
    never slows the search. Ctrl-C ends the watching, not the search.
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
        with live_table.shown(quiet=False, plain=plain) as tell:
            tell(rows, state)
            while held and state.finished is None:
                pause.wait(_PAUSE)
                held = lease.holder(log) is not None
                rows = reader.read(log, state.head.seq).rows
                for row in rows:
                    state = evolve(state, row)
                tell(rows, state)
    output.data(conclusion.render_end(log, state))
    if state.finished is None:
        output.note(f"interrupted: nobody runs this search; carry on: {output.command('resume', log)}")
    require_whole(log, snapshot)
