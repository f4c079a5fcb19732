"""The command `eventhpo`: each subcommand is loaded when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

from eventhpo.cli import output
from eventhpo.cli.help_pages import PAGES, epilog
from eventhpo.core.validation.closest import closest
from eventhpo.errors import DamagedLog, EventhpoError
from eventhpo.replay_package import sister

# Groups and their commands in the order of the help. A command is the function of its name in the module of its name,
# loaded when it is asked for: reading commands must not pay for what running ones import.
_GROUPS = {
    "Run a search": (
        "eventhpo.cli.run",
        ("new", "demo", "check", "run", "resume", "stop", "enqueue", "cancel", "pause", "unpause", "note"),
    ),
    "Read a log": ("eventhpo.cli.read", ("status", "watch", "top", "events", "verify")),
    "Replay a log": ("replay.cli", ("explain", "replay", "postmortem", "diff", "whatif")),
    "Show a search": ("replay.cli", ("report", "plot", "web", "evidence")),
    "Query a log": ("replay.cli", ("prunes", "sql", "tables")),
    "An Optuna study": ("eventhpo.cli.study", ("serve", "import", "dashboard")),
    "Keep a log": ("eventhpo.cli.keep", ("backup", "seal", "salvage", "sign")),
}
_READING = ("Read a log", "Replay a log", "Show a search", "Query a log", "Keep a log")
# What code meets in a log of which each row can be read and that no search could have come to.
_CONTRADICTION = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_TRACEBACK = "EVENTHPO_TRACEBACK"  # in the environment: let such an error through; the tests set it
COMMAND_GROUPS = {title: names for title, (_, names) in _GROUPS.items()}
_NAMED_OTHERWISE = {"import": "import_study"}  # a module cannot have the name of a statement
_COMMANDS = {
    name: f"{package}.{_NAMED_OTHERWISE.get(name, name)}" for package, names in _GROUPS.values() for name in names
}


def _missing(name: str, error: EventhpoError) -> click.Command:
    """Return a command that only raises *error*, so that the help can list it with the others."""

    def refuse() -> None:
        raise error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    text = "Not available here: call it to see why."
    return click.Command(name, callback=refuse, short_help=text, help=text, context_settings=anything)


def _summary(name: str) -> str:
    return PAGES[name].summary if name in PAGES else ""  # tests/house/test_commands.py finds one that is missing


# Options that a person looks for at a command that cannot have them, and what to do instead.
_ELSEWHERE = {
    ("resume", "--from"): "A search imports trials when it begins: `eventhpo run NEW.toml --from OLD.db` begins one.",
}


def _with_the_closest(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return *error* with the option that was meant, if one is close, or where it belongs."""
    elsewhere = None if error.ctx is None else _ELSEWHERE.get((error.ctx.info_name or "", error.option_name))
    if elsewhere is not None:
        return click.NoSuchOption(error.option_name, elsewhere, ctx=error.ctx)
    options = error.ctx.command.get_params(error.ctx) if error.ctx is not None else []
    known = [name.removeprefix("--") for option in options for name in option.opts if name.startswith("--")]
    near = closest(error.option_name.removeprefix("--"), known) if error.option_name.startswith("--") else None
    if near is None:
        return click.NoSuchOption(error.option_name, ctx=error.ctx)
    message = f"No such option {error.option_name!r}. Did you mean '--{near}'?"
    return click.NoSuchOption(error.option_name, message, ctx=error.ctx)


def _contradiction(error: Exception) -> str:
    """Return that the rows of a log contradict each other, as *error* shows, and where the code met that."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    return (
        f"the rows of this log contradict each other ({type(error).__name__} in {place}); `eventhpo verify` checks it. "
        f"If eventhpo wrote it so, that is a fault of eventhpo: report it, with what {_TRACEBACK}=1 shows"
    )


def _end_if_module_is_cut(ctx: click.Context, error: Exception) -> None:
    """End the command if *error* is that Python could not read a module that it had compiled."""
    from eventhpo.cli.compiled_modules import cut_module  # noqa: PLC0415  only after such an error

    if (failure := cut_module(error)) is not None:
        output.error(f"Error: {failure}")
        ctx.exit(failure.code)


@contextlib.contextmanager
def _progress_bar() -> Iterator[None]:
    """Have long walks over a log drawn on stderr, if it is a terminal."""
    from eventhpo.cli.progress import ProgressBar, wanted  # noqa: PLC0415  the help must not wait for it

    if not wanted():
        yield
        return
    from eventhpo.core.fold.progress import told_to  # noqa: PLC0415

    bar = ProgressBar()
    try:
        with told_to(bar):
            yield
    finally:
        bar.clear()


class _Commands(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        home = _COMMANDS[cmd_name]
        load = sister if home.startswith("replay.") else importlib.import_module
        try:
            command = cast(click.Command, getattr(load(home), home.rpartition(".")[2]))
        except EventhpoError as error:
            return _missing(cmd_name, error)
        command.epilog = command.epilog or epilog(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in COMMAND_GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, _summary(name)) for name in names], col_max=max(map(len, _COMMANDS)))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [CompletionItem(name, help=_summary(name)) for name in _COMMANDS if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)  # click's own would load each command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _with_the_closest(error) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = closest(args[0], _COMMANDS)
            ctx.fail(f"No such command {args[0]!r}.{f' Did you mean {near!r}?' if near else ''}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        output.complete()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends nothing
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _progress_bar():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _with_the_closest(error) from None
        except EventhpoError as error:
            output.error(f"Error: {error}")
            ctx.exit(error.code)
        except (EOFError, *_CONTRADICTION) as error:
            _end_if_module_is_cut(ctx, error)
            if isinstance(error, EOFError):
                raise
            reads = ctx.invoked_subcommand in {name for group in _READING for name in COMMAND_GROUPS[group]}
            if not reads or os.environ.get(_TRACEBACK):
                raise
            output.error(f"Error: {_contradiction(error)}")
            ctx.exit(DamagedLog.code)
        except BrokenPipeError:
            ctx.exit(0)  # who asked has seen enough
        except KeyboardInterrupt as stop:
            ctx.exit(stop.args[0] if stop.args else 130)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 a check failed or the search ended by failures, 2 usage, 3 damaged, "
    "4 busy, 5 storage, 130 Ctrl-C, 143 SIGTERM.",
)
@click.version_option(package_name="eventhpo", message="%(package)s %(version)s")
def main() -> None:
    """Search hyper-parameters on an event log that survives kill -9."""
