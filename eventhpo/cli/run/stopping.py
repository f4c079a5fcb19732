"""End a search: by its live controller, or, where there is none, from here."""

from __future__ import annotations

import threading
from pathlib import Path

from eventhpo.cli import output
from eventhpo.cli.run import live_table, run_search
from eventhpo.controller.author import Author
from eventhpo.controller.controller import Controller, Tell, tell_nobody
from eventhpo.controller.recorded_state import state_of
from eventhpo.controller.requests import STOP_WHY, StopRequest
from eventhpo.controller.send_request import ask_holder, signed
from eventhpo.core.fold.events import StopAsked
from eventhpo.core.fold.evolve import evolve
from eventhpo.core.fold.state import State
from eventhpo.errors import Busy, Usage
from eventhpo.log import lease, reader
from eventhpo.views import conclusion

_PAUSE = 0.1
_ROUNDS = 5  # controllers that come and go while we try: more than that is somebody else's loop


def stop(log: Path, author: Author, *, take_over: bool, quiet: bool) -> int:
    """End the search at *log* and wait until it is over; return the exit code of the command.

    Raises:
        Busy: a controller holds it and does not answer. DamagedLog, StorageFailed,
        Usage: as `drive.drive`.
    """
    state = state_of(log)
    if state.finished is not None:
        output.note(f"the search is {state.finished.state} already")
        return _over(log, state)
    for _ in range(_ROUNDS):
        if not take_over:
            state = _by_its_controller(log, state, author, quiet=quiet)
            if state.finished is not None:
                return _over(log, state)
        try:
            outcome = run_search.drive(
                log,
                state.search,
                author,
                recorded=state,
                launches=False,
                quiet=quiet,
                take_over=take_over,
                first=lambda controller: _ask(controller, author),
            )
        except Busy:
            if take_over or lease.holder(log) is None:
                raise
            continue  # somebody resumed it just now
        return run_search.conclude(log, outcome) if outcome.signal is not None else _over(log, outcome.state)
    raise Busy(f"{log} is taken up again and again by others; stop what resumes it")


def _ask(controller: Controller, author: Author) -> None:
    if controller.state.stop_asked is None and controller.state.finished is None:
        controller.record(StopAsked(scope="search", why=author.why or STOP_WHY), None)


def _over(log: Path, state: State) -> int:
    """Print the end; that a search ended by failures is no failure of `stop`."""
    output.data(conclusion.render_end(log, state))
    return 0


def _by_its_controller(log: Path, state: State, author: Author, *, quiet: bool) -> State:
    """Ask the controller that holds *log* and wait for its end; return the newest state."""
    if state.stop_asked is None:
        try:
            row = ask_holder(log, lambda epoch: signed(StopRequest(epoch=epoch), author))
        except Usage:  # it has finished in the meantime
            return _newest(log, state)
        if row is None:
            return _newest(log, state)
        output.note(f"{lease.holder(log) or 'the controller'} stops its jobs")
    with live_table.shown(quiet=quiet) as tell:
        return _wait(log, state, tell)


def _wait(log: Path, state: State, tell: Tell) -> State:
    """Follow the log until the search has finished or nobody holds it any more."""
    pause = threading.Event()
    while True:
        held = lease.holder(log) is not None  # before the log is read, or its last rows could be missed
        state = _newest(log, state, tell)
        if state.finished is not None or not held:
            return state
        pause.wait(_PAUSE)


def _newest(log: Path, state: State, tell: Tell = tell_nobody) -> State:
    rows = reader.read(log, state.head.seq).rows
    for row in rows:
        state = evolve(state, row)
    tell(rows, state)
    return state
