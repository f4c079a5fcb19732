"""The command `eventhpo`: each subcommand is loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

import click

from eventhpo.cli import output
from eventhpo.core.validation.mistakes import nearest
from eventhpo.errors import EventhpoError
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
    "Show a search": ("replay.cli", ("report", "plot", "web")),
    "Query a log": ("replay.cli", ("prunes", "sql", "tables")),
    "An Optuna study": ("eventhpo.cli.study", ("serve", "import", "dashboard")),
    "Keep a log": ("eventhpo.cli.keep", ("backup", "seal", "salvage", "sign")),
}
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


class _Commands(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        home = _COMMANDS[cmd_name]
        load = sister if home.startswith("replay.") else importlib.import_module
        try:
            return cast(click.Command, getattr(load(home), home.rpartition(".")[2]))
        except EventhpoError as error:
            return _missing(cmd_name, error)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, _COMMANDS))
        for title, (_, names) in _GROUPS.items():
            commands = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl([(name, c.get_short_help_str(width)) for name, c in commands if c is not None])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = nearest(args[0], _COMMANDS)
            hint = f" Did you mean {near!r}?" if near else f" There are: {', '.join(_COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        output.complete()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends nothing
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EventhpoError as error:
            output.error(f"Error: {error}")
            ctx.exit(error.code)
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
