"""The command `eventhpo resume`: carry on a recorded search.

What it does is loaded when it is called: the help must not wait for Optuna.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import click
import msgspec

from eventhpo.cli import arguments, output
from eventhpo.cli.options import FILE, author_options, on_end_option, plain_option, quiet_option
from eventhpo.cli.run.limit_options import limit_options
from eventhpo.cli.run.on_end import set_end_command
from eventhpo.controller.author import Author
from eventhpo.controller.recorded_state import state_of
from eventhpo.core.fold.events import EndCommandSet, SearchReopened
from eventhpo.core.fold.state import State
from eventhpo.core.search.gpus import Gpus
from eventhpo.core.search.spec import LimitChanges, LocalCommand
from eventhpo.errors import Usage
from eventhpo.log import lease
from eventhpo.views import formatting

if TYPE_CHECKING:
    from eventhpo.controller.controller import Controller


@click.command()
@click.argument("log", type=FILE)
@limit_options
@click.option("--reopen", is_flag=True, help="Go on with a search that was stopped.  [default: off]")
@click.option("--take-over", is_flag=True, help="Take the log from a controller that is frozen.  [default: off]")
@click.option(
    "--adopt",
    is_flag=True,
    help="Take up again the jobs that a log which lost its tail does not know, and leave the tasks of another copy of "
    "it.  [default: off]",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="NEW",
    help="Run the command in this folder from now on.  [default: where it lies, seen from LOG]",
)
@click.option(
    "--gpus",
    metavar="LIST",
    help="The devices of each worker from now on, as 0,1 or [[0,1],[2,3]]; none: no devices.  [default: as it is]",
)
@on_end_option("as the log has it")
@quiet_option
@plain_option
@click.pass_context
@author_options
def resume(
    ctx: click.Context,
    /,
    log: Path,
    *,
    reopen: bool,
    take_over: bool,
    adopt: bool,
    folder: Path | None,
    gpus: str | None,
    on_end: str | None,
    quiet: bool,
    plain: bool,
    author: Author,
    **limits: str | None,
) -> None:
    """Carry on the search recorded in LOG.

    Jobs that still run are taken up again. New limits are recorded, and a finished
    search goes on with them; where a controller is at work, it is told of them. A
    finished search without new limits is left as it is.
    """
    changes = arguments.limits(limits)
    devices = None if gpus is None else arguments.gpus(gpus)
    end_command = None if on_end is None else set_end_command(on_end)
    state = state_of(log)
    _tell_of_a_changed_file(log, state, folder)
    if (
        state.finished is not None
        and not reopen
        and not adopt
        and not (state.end_command_due or end_command is not None)
        and not (changes.given() and state.finished.state == "finished")
    ):
        ctx.exit(_over(log, state, changes))
    here = not reopen and not take_over and folder is None and devices is None
    if here and lease.holder(log) is not None and _tell_the_controller(log, changes, end_command, author):
        return
    if state.paused is not None and state.finished is None:
        output.note(
            f"the search is paused since event {state.paused}: nothing is started until "
            f"{output.command('unpause', log)}"
        )
    asked = _Wanted(changes, end_command, reopen)
    hold = _Hold(take_over=take_over, adopt=adopt, folder=folder, gpus=devices)
    ctx.exit(_carry_on(log, state, author, asked, hold, quiet=quiet, plain=plain))


def _over(log: Path, state: State, changes: LimitChanges) -> int:
    """Say that the search is over; return the exit code of its end."""
    from eventhpo.cli.run import run_search  # noqa: PLC0415

    if state.finished is not None and state.finished.state == "stopped":
        way_on = f"the search is stopped; to go on: {output.command('resume', log, '--reopen')}"
        if changes.given():
            raise Usage(f"{way_on}, together with the new limits")
        output.note(way_on)
    else:
        run_search.say_way_on(log, state)
    return run_search.conclude_search(log, state)


def _tell_the_controller(log: Path, changes: LimitChanges, end_command: EndCommandSet | None, author: Author) -> bool:
    """Ask the controller at work for what is new; return whether there was anything to ask."""
    from eventhpo.controller.requests import EndCommandRequest, LimitsRequest  # noqa: PLC0415
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    told = []
    if changes.given():
        row = ask(log, LimitsRequest(changes=changes), author)
        told.append(f"new limits: {formatting.params(changes.given())} (event {row.seq})")
    if end_command is not None:
        row = ask(log, EndCommandRequest(command=end_command.command, folder=end_command.folder), author)
        told.append(f"at the end is run: {formatting.line(end_command.command or 'nothing')} (event {row.seq})")
    if not told:
        return False
    who = lease.holder(log)
    goes_on = f"{who} goes on with them" if who is not None else f"go on with {output.command('resume', log)}"
    output.data(f"{text}; {goes_on}" for text in told)
    return True


class _Wanted(NamedTuple):
    """What is recorded before the search goes on."""

    changes: LimitChanges
    end_command: EndCommandSet | None
    reopen: bool


class _Hold(TypedDict):
    """How the log is opened, and what is said of its jobs' place."""

    take_over: bool
    adopt: bool
    folder: Path | None
    gpus: Gpus | None


def _carry_on(log: Path, state: State, author: Author, asked: _Wanted, hold: _Hold, *, quiet: bool, plain: bool) -> int:
    from eventhpo.cli.run import run_search  # noqa: PLC0415
    from eventhpo.controller.requests import LimitsRequest, accepted  # noqa: PLC0415
    from eventhpo.optuna_adapter.user_classes import require_buildable  # noqa: PLC0415

    changes, end_command, reopen = asked

    def first(controller: Controller) -> None:
        if end_command is not None:
            controller.record(end_command, None)
        if reopen and (controller.state.ending is not None or controller.state.stop_asked is not None):
            controller.record(SearchReopened(), None)
        if changes.given():
            for event in accepted(controller.state, LimitsRequest(changes=changes), None):
                controller.record(event, None)
        elif not reopen and controller.state.stop_asked is not None:
            output.note("the search was asked to stop, and is stopped now; --reopen lets it go on")

    if reopen and state.search.needs_script:
        run_search.reopen(log, state, author, first, take_over=hold["take_over"])
        output.note("the search is open again; to go on, run the script that made it")
        return 0
    only_ends = state.finished is not None and not (reopen or changes.given() or hold["adopt"])
    if not only_ends:
        require_buildable(state.search)
    if changes.given() and not reopen:
        accepted(
            _with_gpus(state, hold["gpus"]), LimitsRequest(changes=changes), None
        )  # what cannot be leaves no trace
    outcome = run_search.drive(
        log, state.search, author, recorded=state, quiet=quiet, plain=plain, first=first, launches=not only_ends, **hold
    )
    return run_search.conclude(log, outcome)


def _with_gpus(state: State, gpus: Gpus | None) -> State:
    """Return *state* as it is once its slots have *gpus*."""
    jobs = state.search.jobs
    if gpus is None or not isinstance(jobs, LocalCommand):
        return state
    changed = copy.copy(state)
    changed.search = msgspec.structs.replace(state.search, jobs=msgspec.structs.replace(jobs, gpus=gpus))
    return changed


def _tell_of_a_changed_file(log: Path, state: State, folder: Path | None) -> None:
    from eventhpo.cli.run.changed_search_file import changed_keys  # noqa: PLC0415
    from eventhpo.jobs.command_folder import today  # noqa: PLC0415

    search, jobs = state.search, state.search.jobs
    if isinstance(jobs, LocalCommand):
        search = msgspec.structs.replace(search, jobs=today(jobs, log, folder, state))
    for path, keys in changed_keys(search):
        output.note(f"{path} has changed since the search began; not used: {', '.join(keys)}")
