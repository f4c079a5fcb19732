"""Drive a search on this machine to its rest, under signals, and say how it came out.

It loads Optuna, so commands that only read leave it alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from eventhpo.asking.fingerprint import fingerprint
from eventhpo.cli import output, progress
from eventhpo.cli.progress import Tell
from eventhpo.cli.signals import Signals
from eventhpo.clock import SystemClock
from eventhpo.controller import Controller, opened
from eventhpo.core import rank
from eventhpo.core.events import PointEnqueued, SearchCreated
from eventhpo.core.spec import POLICY, LocalCommand, Scalar, Search
from eventhpo.core.state import State
from eventhpo.errors import Busy, Usage
from eventhpo.load import Loaded
from eventhpo.log.create import create, refuse_what_is_there
from eventhpo.log.filesystem import refuse_shared
from eventhpo.machine import this_machine
from eventhpo.place import Place, place_of
from eventhpo.requests import FileRequests
from eventhpo.views import status, top, words

TAIL = 20  # lines of a failed job's output: a traceback's end
_TAIL_BYTES = 65_536


class Outcome(msgspec.Struct, frozen=True):
    """How a run came out: the last state, and the exit code of the signal that ended it, if one did."""

    state: State
    signal: int | None
    name: str = ""


# ---------------------------------------------------------------- before anything is created


def require_place(log: Path) -> None:
    """Return if a new log may be made at *log*.

    Raises:
        Usage: something of a search lies there, or the folder cannot be written or is shared.
    """
    refuse_what_is_there(log)
    refuse_shared(log)
    if not os.access(log.resolve().parent, os.W_OK | os.X_OK):
        raise Usage(f"{log} cannot be created: {log.resolve().parent} cannot be written by you")


# ---------------------------------------------------------------- running


def begin(loaded: Loaded, log: Path) -> Search:
    """Make the log of a new search; the points that its file tries first are in it from the start.

    Raises:
        Usage: it cannot run where its file says. Unanswered: that place does not answer.
    """
    search, warnings = place_of(loaded.search, log).described(loaded.search)
    for warning in warnings:
        output.note(f"note: {warning}")
    event = SearchCreated(search_id=secrets.token_hex(16), search=search, policy=POLICY, fingerprint=fingerprint())
    create(log, event, SystemClock().now(), [PointEnqueued(params=trial) for trial in loaded.trials])
    return search


def drive(
    log: Path,
    search: Search,
    *,
    quiet: bool,
    take_over: bool = False,
    adopt: bool = False,
    first: Callable[[Controller], None] = lambda _: None,
) -> Outcome:
    """Carry the search on until it rests or a signal ends the run; *first* records what was asked.

    Raises:
        Busy, DamagedLog, StorageFailed, Usage: as `controller.opened`.
    """
    place = place_of(search, log, adopt=adopt)
    if isinstance(search.jobs, LocalCommand):
        place.described(search)  # its command may have gone since
    with Signals() as signals:
        with progress.shown(quiet=quiet) as tell, _opened(log, place, tell, take_over=take_over) as controller:
            first(controller)
            signals.guard(controller)
            rest = controller.run()
        if rest.why == "finished" or controller.state.finished is not None:
            return Outcome(controller.state, None)
        return Outcome(controller.state, signals.code, signals.first.name if signals.first else "")


def reopen(log: Path, search: Search, first: Callable[[Controller], None], *, take_over: bool) -> None:
    """Record what *first* asks and do nothing else: for a search that only its script can carry on.

    Raises:
        Busy, DamagedLog, StorageFailed, Usage: as `controller.opened`.
    """
    with _opened(log, place_of(search, log), lambda *_: None, take_over=take_over) as controller:
        first(controller)
        controller.commit()


@contextlib.contextmanager
def _opened(log: Path, place: Place, tell: Tell, *, take_over: bool) -> Iterator[Controller]:
    held = opened(
        log,
        lambda state: place.open(log, state),
        SystemClock(),
        this_machine(),
        take_over=take_over,
        before=place.before,
        requests=FileRequests(log),
        tell=tell,
    )
    with contextlib.ExitStack() as stack:
        try:
            controller = stack.enter_context(held)
        except Busy as busy:
            if take_over:
                raise
            way_on = output.command("resume", log, "--take-over")
            raise Busy(f"{busy}; if it is frozen: {way_on}") from busy
        yield controller


# ---------------------------------------------------------------- how it came out


def conclude(log: Path, outcome: Outcome) -> int:
    """Say how a run came out; return the exit code of its command."""
    if outcome.signal is not None:
        _say_both_ways_on(log, outcome)
        return outcome.signal
    return conclude_search(log, outcome.state)


def conclude_search(log: Path, state: State) -> int:
    """Print the end of a search that is over; return the exit code of its command."""
    failed = state.ending is not None and state.ending.reason == "failures"
    if failed:
        for text in last_output(state):
            output.note(text)
    if state.finished is not None and state.finished.reason == "space" and (again := _again(log, state)):
        output.note(again)
    with contextlib.suppress(BrokenPipeError):
        output.data(ended(log, state))
    return int(failed)


def _again(log: Path, state: State) -> str | None:
    """Return how a point whose trial failed is tried again once its script is mended, None if none failed."""
    failed = [t for t in state.trials if t.finished is not None and t.finished.state == "failed"]
    if not failed:
        return None
    named = [shlex.quote(f"{name}={_typed(value)}") for name, value in failed[0].params.items()]
    count = words.plural(len(failed), "trial")
    return (
        f"{count} failed; to try such a point again, as that of trial {failed[0].number}:\n"
        f"  {output.command('enqueue', log, *named)}\n"
        f"  {output.command('resume', log)}"
    )


def _typed(value: Scalar) -> str:
    """Return *value* as `eventhpo enqueue` reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def ended(log: Path, state: State) -> Iterator[str]:
    """Yield the last lines of a search: how it ended, its best trial, where the log is."""
    why = status.ending_of(state)
    if state.finished is not None and why is not None:
        yield f"{state.finished.state}: {status.ending(why)}"
    best = next(iter(rank.top(state, 1)), None)
    if best is not None and None not in rank.values(state, best):
        yield f"best: {top.summary(state, best)}"
    else:
        yield "best: no trial has a value"
    yield f"log: {log}"


def _say_both_ways_on(log: Path, outcome: Outcome) -> None:
    left = sum(a.live and a.launched for t in outcome.state.active.values() for a in t.attempts)
    go_on = f"{words.plural(left, 'job')} {'goes' if left == 1 else 'go'} on" if left else "no job is running"
    output.note(
        f"interrupted by {outcome.name}: {go_on}\n"
        f"  carry the search on:  {output.command('resume', log)}\n"
        f"  end it:               {output.command('stop', log)}"
    )


def last_output(state: State) -> Iterator[str]:
    """Yield the last lines of what the newest failed job printed, and where it lies."""
    found = [t for t in state.trials if t.finished is not None and t.finished.state == "failed" and t.last is not None]
    for trial in reversed(found):
        path = status.output(trial.last) if trial.last is not None else None
        if trial.finished is None or path is None:
            continue
        yield f"trial {trial.number} failed: {words.line(trial.finished.why)}"
        lines = tail(Path(path))
        last = f"the last {words.plural(len(lines), 'line')} of {path}:"
        yield last if lines else f"it printed nothing ({path} is empty)"
        yield from (f"  | {text}" for text in lines)
        return


def tail(path: Path) -> list[str]:
    """Return the last `TAIL` lines of *path* without control characters; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [words.line(one) for one in deque(text.splitlines(), TAIL)]
