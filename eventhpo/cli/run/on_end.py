"""The option --on-end as an act."""

from __future__ import annotations

from pathlib import Path

from eventhpo.controller.author import text
from eventhpo.core.fold.events import EndCommandSet
from eventhpo.errors import Usage


def set_end_command(on_end: str) -> EndCommandSet:
    """Return the act that --on-end stands for: its command is run in the folder where it was given.

    Raises:
        Usage: it is empty, or has characters that a log cannot show.
    """
    command = None if on_end == "none" else text("--on-end", on_end)
    if command is not None and not command.strip():
        raise Usage("--on-end: expected a command, or none")
    return EndCommandSet(command=command, folder=str(Path.cwd()))
