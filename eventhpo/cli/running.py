"""Commands that run a search or ask something of one: check, run, resume, stop, enqueue.

What they do is loaded when they are called: the help must not wait for Optuna.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click
import msgspec

from eventhpo.cli import arguments, output
from eventhpo.controller.recorded_state import state_of
from eventhpo.core.advice import advice
from eventhpo.core.fold.events import PointEnqueued, SearchReopened
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import LimitChanges, Limits, LocalCommand, option
from eventhpo.errors import Usage
from eventhpo.log import lease
from eventhpo.views import formatting

if TYPE_CHECKING:
    from eventhpo.controller.controller import Controller
    from eventhpo.search_file import Loaded

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)

_LIMITS = {
    "num_concurrent_workers": "Jobs that run at a time.",
    "total_max_jobs": "Budget in jobs of max_iteration_per_job; without that, number of trials.",
    "pool_period_min": "Longest wait between two looks at the jobs, in minutes.",
    "time_limit_per_job": "Minutes after which a job is stopped.",
    "compute_time_limit": "Minutes summed over all jobs after which the search ends.",
    "wall_time_limit": "Minutes since its first start after which the search ends.",
    "max_failures_per_trial": "Retries of a trial whose job failed.",
    "max_lost_per_trial": "Retries of a trial whose job was lost.",
    "max_failed_trials": "Failed trials that end the search.",
    "target_value": "Value of a completed trial that ends the search.",
    "patience": "Completed trials without a gain that end the search.",
    "max_trials": "Number of trials, whatever budget is left.",
}


def limit_options(command: F) -> F:
    """Give *command* an option for each limit of a search."""
    for name in reversed(Limits.__struct_fields__):
        lifted = getattr(Limits(), name) is None
        metavar = "N|none" if lifted else "N"
        text = f"{_LIMITS[name]}{' none lifts it.' if lifted else ''}  [default: as it is]"
        command = click.option(option(name), name, metavar=metavar, help=text)(command)
    return command


quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.  [default: off]")


@click.command()
@click.argument("search_file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.  [default: lines of text]")
def check(search_file: Path, as_json: bool) -> None:
    """Say what SEARCH_FILE would do; create nothing.

    The space, the budget and the first five suggestions, or all that is wrong with the
    file. A file without a seed gets another one in each run, and other suggestions.
    """
    from eventhpo.cli import preview  # noqa: PLC0415
    from eventhpo.jobs.backend_choice import backend_choice  # noqa: PLC0415
    from eventhpo.search_file import load  # noqa: PLC0415

    loaded = load(search_file)
    _tell_advice(loaded)
    search, warnings = backend_choice(loaded.search).described(loaded.search, dry=True)
    for warning in warnings:
        output.note(f"note: {warning}")
    loaded = replace(loaded, search=search)
    found = preview.preview(loaded)
    output.data(output.as_json(found) if as_json else preview.text(loaded, found))


@click.command()
@click.argument("search_file", type=FILE)
@click.option("--log", type=FILE, required=True, help="The log of the new search, a file that does not exist yet.")
@quiet_option
@click.pass_context
def run(ctx: click.Context, search_file: Path, log: Path, quiet: bool) -> None:
    """Run the new search that SEARCH_FILE describes, recorded in the file --log.

    Ctrl-C ends the controller and leaves its jobs; `eventhpo resume` carries on,
    `eventhpo stop` ends the search.
    """
    from eventhpo.cli import run_search  # noqa: PLC0415
    from eventhpo.search_file import load  # noqa: PLC0415

    loaded = load(search_file)
    run_search.require_place(log)
    _tell_advice(loaded)
    search = run_search.begin(loaded, log)
    if loaded.search.limits.endless:
        output.note("this search has no limit: it runs until it is stopped")
    ctx.exit(run_search.conclude(log, run_search.drive(log, search, quiet=quiet)))


def _tell_advice(loaded: Loaded) -> None:
    for text in advice(loaded.search, len(loaded.trials)):
        output.note(f"note: {text}")


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
@quiet_option
@click.pass_context
def resume(
    ctx: click.Context,
    /,
    log: Path,
    *,
    reopen: bool,
    take_over: bool,
    adopt: bool,
    folder: Path | None,
    quiet: bool,
    **limits: str | None,
) -> None:
    """Carry on the search recorded in LOG.

    Jobs that still run are taken up again. New limits are recorded, and a finished
    search goes on with them; where a controller is at work, it is told of them. A
    finished search without new limits is left as it is.
    """
    changes = arguments.limits(limits)
    state = state_of(log)
    _tell_of_a_changed_file(log, state, folder)
    if (
        state.finished is not None
        and not reopen
        and not adopt
        and not (changes.given() and state.finished.state == "finished")
    ):
        ctx.exit(_over(log, state, changes))
    if changes.given() and not reopen and not take_over and folder is None and lease.holder(log) is not None:
        _tell_the_controller(log, changes)
        return
    held = _Hold(take_over=take_over, adopt=adopt, folder=folder)
    ctx.exit(_carry_on(log, state, changes, held, reopen=reopen, quiet=quiet))


def _over(log: Path, state: State, changes: LimitChanges) -> int:
    """Say that the search is over; return the exit code of its end."""
    from eventhpo.cli import run_search  # noqa: PLC0415

    if state.finished is not None and state.finished.state == "stopped":
        way_on = f"the search is stopped; to go on: {output.command('resume', log, '--reopen')}"
        if changes.given():
            raise Usage(f"{way_on}, with the new limits beside it")
        output.note(way_on)
    else:
        run_search.say_way_on(log, state)
    return run_search.conclude_search(log, state)


def _tell_the_controller(log: Path, changes: LimitChanges) -> None:
    from eventhpo.controller.requests import LimitsRequest  # noqa: PLC0415
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    row = ask(log, LimitsRequest(changes=changes))
    who = lease.holder(log)
    goes_on = f"{who} goes on with them" if who is not None else f"go on with {output.command('resume', log)}"
    output.data([f"new limits: {formatting.params(changes.given())} (event {row.seq}); {goes_on}"])


class _Hold(TypedDict):
    """How the log is opened, and what is said of its jobs' place."""

    take_over: bool
    adopt: bool
    folder: Path | None


def _carry_on(log: Path, state: State, changes: LimitChanges, held: _Hold, *, reopen: bool, quiet: bool) -> int:
    from eventhpo.cli import run_search  # noqa: PLC0415
    from eventhpo.controller.requests import LimitsRequest, accepted  # noqa: PLC0415
    from eventhpo.optuna_adapter.user_classes import require_buildable  # noqa: PLC0415

    def first(controller: Controller) -> None:
        if reopen and (controller.state.ending is not None or controller.state.stop_asked is not None):
            controller.record(SearchReopened(), None)
        if changes.given():
            for event in accepted(controller.state, LimitsRequest(changes=changes), None):
                controller.record(event, None)
        elif not reopen and controller.state.stop_asked is not None:
            output.note("the search was asked to stop, and is stopped now; --reopen lets it go on")

    if reopen and state.search.needs_script:
        run_search.reopen(log, state, first, take_over=held["take_over"])
        output.note("it is open again; to go on, run the script that made the search")
        return 0
    require_buildable(state.search)
    if changes.given() and not reopen:
        accepted(state, LimitsRequest(changes=changes), None)  # what cannot be leaves no trace
    outcome = run_search.drive(log, state.search, recorded=state, quiet=quiet, first=first, **held)
    return run_search.conclude(log, outcome)


def _tell_of_a_changed_file(log: Path, state: State, folder: Path | None) -> None:
    from eventhpo.cli.changed_search_file import changed_keys  # noqa: PLC0415
    from eventhpo.jobs.command_folder import today  # noqa: PLC0415

    search, jobs = state.search, state.search.jobs
    if isinstance(jobs, LocalCommand):
        search = msgspec.structs.replace(search, jobs=today(jobs, log, folder, state))
    for path, keys in changed_keys(search):
        output.note(f"{path} has changed since; not used: {', '.join(keys)}")


@click.command()
@click.argument("log", type=FILE)
@click.option("--take-over", is_flag=True, help="Take the log from a controller that is frozen.  [default: off]")
@quiet_option
@click.pass_context
def stop(ctx: click.Context, log: Path, take_over: bool, quiet: bool) -> None:
    """End the search recorded in LOG for good; its running jobs are stopped.

    A controller that is at work is asked to, and waited for; without one the jobs
    are stopped from here.
    """
    from eventhpo.cli import stopping  # noqa: PLC0415

    ctx.exit(stopping.stop(log, take_over=take_over, quiet=quiet))


@click.command()
@click.argument("log", type=FILE)
@click.argument("point", nargs=-1, required=True, metavar="NAME=VALUE...")
def enqueue(log: Path, point: tuple[str, ...]) -> None:
    """Have a point of your own tried next in the search recorded in LOG.

    A value is read as in a search file, else as text; a name without a section
    stands in General. Parameters that are left out are sampled.
    """
    from eventhpo.controller.requests import EnqueueRequest  # noqa: PLC0415
    from eventhpo.controller.send_request import ask  # noqa: PLC0415

    state = state_of(log)
    row = ask(log, EnqueueRequest(params=arguments.point(state.search, point)))
    if isinstance(row.event, PointEnqueued):
        output.data([f"enqueued: {formatting.params(row.event.params)} (event {row.seq})"])
    if lease.holder(log) is None:
        goes_on = "the script that made the search" if state.search.needs_script else output.command("resume", log)
        output.note(f"it is tried next by {goes_on}")
