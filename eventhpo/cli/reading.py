"""Commands that only read: status, top, events, verify. They load neither Optuna nor a terminal library."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
import msgspec

from eventhpo.cli import arguments, follow_log, output
from eventhpo.core.fold.codec import TYPES
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import LocalCommand
from eventhpo.core.validation.mistakes import nearest
from eventhpo.errors import DamagedLog, Failed, StorageFailed
from eventhpo.jobs.command_folder import output_of
from eventhpo.log import lease, missing_wal, paths, reader
from eventhpo.log.reader import Snapshot
from eventhpo.views import as_of, event_lines
from eventhpo.views import status as view
from eventhpo.views import top as ranking
from eventhpo.views.status import LogHolder

FILE = click.Path(path_type=Path, readable=False)  # whether it can be read is the reader's to say: exit code 5


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | datetime | None:
    try:
        return None if text is None else as_of.moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


at_option = click.option(
    "--at",
    metavar="N|TIME",
    callback=_moment,
    help="As of event N, or of the last event at or before an ISO TIME (UTC unless it says otherwise).  [default: now]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.  [default: lines of text]")


@click.command()
@click.argument("log", type=FILE)
@at_option
@json_option
def status(log: Path, at: int | datetime | None, as_json: bool) -> None:
    """Say where the search recorded in LOG stands.

    Its state, budget, best trial, running jobs, and what is wrong, a fact a line. The
    chain of the log is checked, and a log whose chain is broken is not shown.
    """
    controller = None if at is not None else _holder(log)  # before the log: an end in between is no interruption
    snapshot = reader.read(log)
    rows = up_to(snapshot.rows, at)
    state = fold(rows)
    if at is None:
        found = view.status(state, controller, _notes(log, state, snapshot, held=controller is not None))
    else:
        found = view.status(state, None, as_of=as_of.named(rows[-1]))
    failed = [
        msgspec.structs.replace(one, output=None if one.output is None else output_of(one.output, log))
        for one in found.failed
    ]
    found = msgspec.structs.replace(found, failed=failed)
    output.data(output.as_json(found) if as_json else view.text(state, found))
    _require_whole(log, snapshot)


def up_to(rows: Sequence[Recorded], at: int | datetime | None) -> Sequence[Recorded]:
    """Return *rows* up to *at*, and say which event that is; all of them without one."""
    if at is None:
        return rows
    found = as_of.rows_at(rows, at)
    last = as_of.named(found[-1])
    output.note(f"as of event {last.seq} of {rows[-1].seq}, {last.at}")
    return found


def _holder(log: Path) -> LogHolder | None:
    try:
        found = lease.holder(log)
    except OSError as error:
        raise StorageFailed(f"{paths.lock(log)} cannot be looked at: {error.strerror}") from error
    return None if found is None else LogHolder(found.host, found.pid, found.epoch)


def _notes(log: Path, state: State, snapshot: Snapshot, *, held: bool) -> list[str]:
    """Return what is unusual beside the log; nothing of it keeps anybody from reading."""
    notes = []
    if snapshot.contradiction is not None:
        notes.append(snapshot.contradiction)
    if snapshot.outside.head is None:
        notes.append(f"{snapshot.outside.why}: whether the log lost its tail cannot be told")
    if not held and paths.wal(log).exists():
        notes.append(f"the log is not at rest as one file: copy {paths.wal(log).name} with it")
    return notes + missing(log, state)


def missing(log: Path, state: State) -> list[str]:
    """Return what should lie beside the log and does not."""
    notes = []
    if state.epoch and not paths.lock(log).exists():
        notes.append(f"there is no lock file {paths.lock(log).name}: whether a controller runs cannot be told")
    local = isinstance(state.search.jobs, LocalCommand)
    if local and any(t.attempts for t in state.trials) and not paths.jobs(log).is_dir():
        notes.append(f"there is no job folder {paths.jobs(log).name}: outputs and checkpoints are gone")
    return notes


def _require_whole(log: Path, snapshot: Snapshot) -> None:
    """Return unless rows are missing, or may be.

    Raises:
        DamagedLog: the log contradicts its head file; what was printed is what is left.
        Failed: it may be a copy that lacks its last rows.
    """
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{log}: {snapshot.contradiction}; what was printed is what is left of it")
    if snapshot.unproven is not None:
        raise Failed(f"{snapshot.unproven}; {missing_wal.way_on(log)}")


@click.command()
@click.argument("log", type=FILE)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="Rows.")
@click.option("--all-metrics", is_flag=True, help="Every series that was reported.  [default: the objective]")
@click.option("--only-completed", is_flag=True, help="Completed trials.  [default: running and pruned ones too]")
@click.option("--include-failed", is_flag=True, help="Failed and aborted trials too.  [default: off]")
@click.option("--include-imported", is_flag=True, help="Trials of another study too.  [default: off]")
@at_option
@json_option
def top(
    log: Path,
    *,
    k: int,
    all_metrics: bool,
    only_completed: bool,
    include_failed: bool,
    include_imported: bool,
    at: int | datetime | None,
    as_json: bool,
) -> None:
    """List the best trials of the search recorded in LOG, best first.

    With --json in the shape of ClearML's get_top_experiments_details.
    """
    snapshot = reader.read(log)
    state = fold(up_to(snapshot.rows, at))
    rows = ranking.rows(
        state,
        k,
        all_metrics=all_metrics,
        only_completed=only_completed,
        include_failed=include_failed,
        include_imported=include_imported,
    )
    output.data(output.as_json(rows) if as_json else ranking.table(state, rows))
    _require_whole(log, snapshot)


def _known_type(_ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in TYPES:
            near = nearest(name, TYPES)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(TYPES)}"
            raise click.BadParameter(f"{name} is no type of event; {hint}")
    return names


@click.command()
@click.argument("log", type=FILE)
@click.option(
    "--type",
    "types",
    multiple=True,
    callback=_known_type,
    metavar="TYPE",
    help="Only this type; repeatable.  [default: all]",
)
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="Only what concerns this trial.  [default: all]")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="SEQ",
    help="Only events behind this one.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with new events until the search is over.  [default: off]")
@at_option
@json_option
def events(
    log: Path,
    *,
    types: tuple[str, ...],
    trial: int | None,
    after: int,
    follow: bool,
    at: int | datetime | None,
    as_json: bool,
) -> None:
    """List the events of the search recorded in LOG, an event a line.

    With --json each line is an object: seq, at, epoch, cause, type, v, and the fields
    of the event beside them.
    """
    if follow and at is not None:
        raise click.UsageError("--follow shows what comes, --at what was: only one of them")
    shown = event_lines.as_json if as_json else event_lines.as_text
    for snapshot in follow_log.follow(log, after) if follow else [_behind(log, after, at)]:
        rows = (row for row in snapshot.rows if not types or type(row.event).__name__ in types)
        output.data(shown(row) for row in rows if trial is None or event_lines.concerns(row.event, trial))
        _require_whole(log, snapshot)


def _behind(log: Path, after: int, at: int | datetime | None) -> Snapshot:
    if at is None:
        return follow_log.behind(log, after)
    snapshot = reader.read(log)  # from the beginning: a time may lie before *after*
    rows = [row for row in up_to(snapshot.rows, at) if row.seq > after]
    return msgspec.structs.replace(snapshot, rows=rows)


@click.command()
@click.argument("log", type=FILE)
@click.option(
    "--head", "expect", metavar="SEQ:HASH", help="A head that was written down: it must be in the log.  [default: none]"
)
@click.option("--decide", is_flag=True, help="Decide every decision again, with the samplers of today.  [default: off]")
@json_option
@click.pass_context
def verify(ctx: click.Context, log: Path, expect: str | None, decide: bool, as_json: bool) -> None:
    """Check the log LOG: file, chain, decode, fold, head; the verdict is the last line.

    Exit code 0 if every check is ok, 3 if the log is damaged, 1 if it is whole and a
    check that was asked for fails.
    """
    from eventhpo.cli import verifying  # noqa: PLC0415  the other commands do without

    found = verifying.verified(log, None if expect is None else arguments.head(expect), decide=decide)
    for note in found.notes:
        output.note(f"note: {note}")
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code too
        output.data(output.as_json(found) if as_json else verifying.text(found))
    ctx.exit(found.code)
