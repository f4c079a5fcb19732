"""The command `eventhpo status`: where a search stands."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from pathlib import Path

import click
import msgspec

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option, json_option
from eventhpo.cli.read.rows import missing_files, require_whole, rows_up_to
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import LocalCommand
from eventhpo.errors import StorageFailed
from eventhpo.jobs.command_folder import output_of
from eventhpo.log import lease, paths, reader
from eventhpo.log.reader import Snapshot
from eventhpo.views import as_of
from eventhpo.views import status as view
from eventhpo.views.status import LogHolder, Unattended


@click.command()
@click.argument("log", type=LOG_FILE)
@at_option
@json_option
def status(log: Path, at: int | datetime | None, as_json: bool) -> None:
    """Say where the search recorded in LOG stands.

    Its state, budget, best trial, running jobs, and what is wrong, a fact a line. The
    chain of the log is checked, and a log whose chain is broken is not shown.
    """
    controller = None if at is not None else holder(log)  # before the log: an end in between is no interruption
    if at is None:
        state, snapshot = reader.read_state(log)
        notes = _notes(log, state, snapshot, held=controller is not None)
        now = None if controller is None else time.time_ns() // 1000
        current = view.status(state, controller, notes, now=now, unattended=unattended(log, state, controller))
    else:
        snapshot = reader.read(log)
        rows = rows_up_to(snapshot.rows, at)
        state = fold(rows)
        current = view.status(state, None, as_of=as_of.named(rows[-1]))
    failed = [
        msgspec.structs.replace(failure, output=None if failure.output is None else output_of(failure.output, log))
        for failure in current.failed
    ]
    current = msgspec.structs.replace(current, failed=failed)
    output.data(output.as_json(current) if as_json else view.render_status(state, current))
    require_whole(log, snapshot)


def holder(log: Path) -> LogHolder | None:
    """Return who holds the log, None if nobody does.

    Raises:
        StorageFailed: its lock cannot be looked at.
    """
    try:
        lease_holder = lease.holder(log)
    except OSError as error:
        raise StorageFailed(f"{paths.lock(log)} cannot be looked at: {error.strerror}") from error
    return None if lease_holder is None else LogHolder(lease_holder.host, lease_holder.pid, lease_holder.epoch)


def unattended(log: Path, state: State, controller: LogHolder | None) -> Unattended | None:
    """Return what lives of a search that nobody runs and how it goes on; None if it runs or is over."""
    if controller is not None or state.finished is not None or state.study is not None:
        return None
    processes = None
    if isinstance(state.search.jobs, LocalCommand):
        from eventhpo.jobs.local.folder import running_folders  # noqa: PLC0415  most logs are read without it

        with contextlib.suppress(OSError):  # the jobs of another user may be closed to us
            processes = len(running_folders(paths.jobs(log)))
    return Unattended(processes, output.command("resume", log))


def _notes(log: Path, state: State, snapshot: Snapshot, *, held: bool) -> list[str]:
    """Return notes on the files next to the log; none of them keeps anybody from reading."""
    notes = []
    if snapshot.contradiction is not None:
        notes.append(snapshot.contradiction)
    if snapshot.outside.head is None:
        notes.append(f"{snapshot.outside.why}: whether the log lost its tail cannot be told")
    if not held and state.end_command_due:
        notes.append("the command for the end of the search has not run yet: `eventhpo resume` runs it")
    if not held and paths.wal(log).exists():
        notes.append(f"the log is not at rest as one file: copy {paths.wal(log).name} with it")
    return notes + missing_files(log, state)
