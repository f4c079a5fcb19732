"""Drive a search on this machine to its rest, under signals, and say how it came out.

It loads Optuna, so commands that only read leave it alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from eventhpo.cli import output
from eventhpo.cli.run import live_table
from eventhpo.cli.run.on_end import set_end_command
from eventhpo.cli.run.signals import Signals
from eventhpo.controller.author import Author
from eventhpo.controller.clock import SystemClock
from eventhpo.controller.controller import Controller, Tell, opened, tell_nobody
from eventhpo.controller.host import this_machine
from eventhpo.controller.request_files import FileRequests
from eventhpo.core.fold.events import EndCommandSet, Event, PointEnqueued, SearchCreated, TrialsImported
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import ending
from eventhpo.core.search.gpus import Gpus
from eventhpo.core.search.spec import POLICY, LocalCommand, Scalar, Search, option
from eventhpo.errors import Busy, DeviceTaken, EventhpoError, Starting, Usage
from eventhpo.jobs.backend_choice import BackendChoice, backend_choice
from eventhpo.jobs.command_folder import output_of
from eventhpo.jobs.local.folder import running_folders
from eventhpo.log import paths
from eventhpo.log.create import create, refuse_what_is_there
from eventhpo.log.filesystem import refuse_shared
from eventhpo.log.lease import Holder
from eventhpo.log.move_aside import move_aside
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.search_file import Loaded
from eventhpo.views import conclusion, formatting


class RunOutcome(msgspec.Struct, frozen=True):
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


_OTHER = re.compile(r"[^\w.-]+")  # what does not go into the name of a log


def default_log(name: str) -> Path:
    """Return the log of a search called *name* in the current folder: its letters, digits, `.`, `_` and `-`."""
    return Path(f"{_OTHER.sub('-', name).strip('.-') or 'search'}.db")


def start_over(log: Path) -> None:
    """Move what lies at *log* of an earlier search to another name, and say to which.

    Raises:
        Busy: a controller holds it. Usage: jobs of it run.
    """
    if running := running_folders(paths.jobs(log)):
        jobs = formatting.plural(len(running), "job")
        raise Usage(f"{jobs} of the search at {log} still run; end them first: {output.command('stop', log)}")
    machine = this_machine()
    moved = move_aside(log, Holder(machine.host, machine.pid))
    if moved is not None:
        output.note(f"the earlier search at {log} was moved to {moved}")


# ---------------------------------------------------------------- running


def begin(
    loaded: Loaded, log: Path, author: Author, on_end: str | None = None, imports: Sequence[TrialsImported] = ()
) -> Search:
    """Make the log of *author*'s new search; the points that its file tries first are in it from the start.

    *on_end* is the command for the end of the search, by default that of its file; *imports*
    are the trials that it imports from earlier searches.

    Raises:
        Usage: it cannot run where its file says. Unanswered: that place does not answer.
    """
    search, warnings = backend_choice(loaded.search, log).described(loaded.search)
    for warning in warnings:
        output.note(f"note: {warning}")
    event = SearchCreated(search_id=secrets.token_hex(16), search=search, policy=POLICY, fingerprint=fingerprint())
    commands: list[Event] = []
    if on_end is not None:
        commands.append(set_end_command(on_end))
    elif loaded.on_end is not None:
        commands.append(EndCommandSet(command=loaded.on_end, folder=str(loaded.path.resolve().parent)))
    points = [author.sign(PointEnqueued(params=trial)) for trial in loaded.trials]
    create(log, author.sign(event), SystemClock().now(), [*map(author.sign, (*commands, *imports)), *points])
    return search


def drive(
    log: Path,
    search: Search,
    author: Author,
    *,
    quiet: bool,
    plain: bool = False,
    recorded: State | None = None,
    take_over: bool = False,
    adopt: bool = False,
    folder: Path | None = None,
    gpus: Gpus | None = None,
    launches: bool = True,
    first: Callable[[Controller], None] = lambda _: None,
) -> RunOutcome:
    """Carry the search on until it rests or a signal ends the run; *first* records what was asked.

    *recorded* is what the log says so far, if it is not new; *folder* where its command is
    to run from now on, *gpus* the devices of each slot from now on. Without *launches* no job
    will be started, so the command may be gone, and no device is taken.

    Raises:
        Busy, DamagedLog, StorageFailed, Usage: as `controller.opened`.
    """
    place = backend_choice(search, log, adopt=adopt, folder=folder, recorded=recorded, gpus=gpus, launches=launches)
    if isinstance(search.jobs, LocalCommand) and launches:
        place.described(search)  # its command may have gone since
    for text in () if recorded is None else place.remarks(recorded):
        output.note(text)
    with Signals() as signals:
        with (
            live_table.shown(quiet=quiet, plain=plain) as tell,
            _opened(log, place, tell, author, take_over=take_over) as controller,
        ):
            first(controller)
            signals.guard(controller)
            rest = controller.run()
        _sign(log, controller.state.search, author)
        if rest.why == "finished" or controller.state.finished is not None:
            return RunOutcome(controller.state, None)
        return RunOutcome(controller.state, signals.code, signals.first.name if signals.first else "")


def _sign(log: Path, search: Search, author: Author) -> None:
    """Sign the log that was just put to rest, if its search says with which key; a failure is told and ends nothing."""
    if search.sign is None:
        return
    from eventhpo.log import signature  # noqa: PLC0415  most searches do without

    try:
        statement = signature.sign(log, Path(search.sign), author.by, ask=False)
    except EventhpoError as error:
        output.note(f"the log is not signed: {error}; sign it with {output.command('sign', log, '--key', search.sign)}")
    else:
        output.note(f"signed: up to event {statement.seq} ({paths.sig(log).name})")


def reopen(log: Path, state: State, author: Author, first: Callable[[Controller], None], *, take_over: bool) -> None:
    """Record what *first* asks and do nothing else: for a search that only its script can carry on.

    Raises:
        Busy, DamagedLog, StorageFailed, Usage: as `controller.opened`.
    """
    with _opened(
        log, backend_choice(state.search, log, recorded=state, launches=False), tell_nobody, author, take_over=take_over
    ) as controller:
        first(controller)
        controller.commit()


@contextlib.contextmanager
def _opened(log: Path, place: BackendChoice, tell: Tell, author: Author, *, take_over: bool) -> Iterator[Controller]:
    held = opened(
        log,
        lambda state: place.open(log, state),
        SystemClock(),
        this_machine(author),
        take_over=take_over,
        before=place.before,
        requests=FileRequests(log),
        tell=tell,
    )
    with contextlib.ExitStack() as stack:
        try:
            controller = stack.enter_context(held)
        except Busy as busy:
            if take_over or isinstance(busy, Starting | DeviceTaken):
                raise
            way_on = output.command("resume", log, "--take-over")
            raise Busy(f"{busy}; if it is frozen: {way_on}") from busy
        yield controller


# ---------------------------------------------------------------- how it came out


def conclude(log: Path, outcome: RunOutcome) -> int:
    """Say how a run came out; return the exit code of its command."""
    if outcome.signal is not None:
        _say_both_ways_on(log, outcome)
        return outcome.signal
    code = conclude_search(log, outcome.state)
    if code and (correction := conclusion.missing_objective(outcome.state)) is not None:
        output.note(correction)
    if code and ending.to_raise(outcome.state):
        say_way_on(log, outcome.state)
    return code


def conclude_search(log: Path, state: State) -> int:
    """Print the end of a search that is over; return the exit code of its command."""
    bad = conclusion.is_bad(state)
    if bad:
        for text in conclusion.last_output(state, lambda path: output_of(path, log)):
            output.note(text)
    if state.finished is not None and state.finished.reason == "space" and (again := _again(log, state)):
        output.note(again)
    with contextlib.suppress(BrokenPipeError):
        output.data(conclusion.render_end(log, state))
    return int(bad)


def _again(log: Path, state: State) -> str | None:
    """Return how a point whose trial failed is tried again once its script is mended, None if none failed."""
    failed = [t for t in state.trials if t.finished is not None and t.finished.state == "failed"]
    if not failed:
        return None
    named = [shlex.quote(f"{name}={_typed(value)}") for name, value in failed[0].params.items()]
    count = formatting.plural(len(failed), "trial")
    return (
        f"{count} failed; to try such a point again, as that of trial {failed[0].number}:\n"
        f"  {output.command('enqueue', log, *named)}\n"
        f"  {output.command('resume', log)}"
    )


def _typed(value: Scalar) -> str:
    """Return *value* as `eventhpo enqueue` reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def say_way_on(log: Path, state: State) -> None:
    """Say what lets a finished search go on: the limits to raise, or a point of somebody's own."""
    names = ending.to_raise(state)
    if names:
        options = [f"{option(name)} N" for name in names]
        output.note(f"the search has finished; raise what ended it: {output.command('resume', log, *options)}")
    else:
        output.note(
            "the search has finished: all points of its space were tried; a point of your own lets it go on: "
            f"{output.command('enqueue', log, 'NAME=VALUE')}, then {output.command('resume', log)}"
        )


def _say_both_ways_on(log: Path, outcome: RunOutcome) -> None:
    live = [a for t in outcome.state.active.values() for a in t.attempts if a.live]
    left = sum(a.launched for a in live)
    go_on = f"{formatting.plural(left, 'job')} {'goes' if left == 1 else 'go'} on" if left else "no job is running"
    if made := len(live) - left:
        go_on += f", and {formatting.plural(made, 'job')} that {'is' if made == 1 else 'are'} made will start then"
    output.note(
        f"interrupted by {outcome.name}: {go_on}\n"
        f"  carry the search on:  {output.command('resume', log)}\n"
        f"  end it:               {output.command('stop', log)}"
    )
