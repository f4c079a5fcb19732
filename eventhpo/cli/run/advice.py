"""Advice on a search file, as notes on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventhpo.cli import output
from eventhpo.core.advice import advice
from eventhpo.core.search.spec import LocalCommand

if TYPE_CHECKING:
    from eventhpo.search_file import Loaded


def print_advice(loaded: Loaded) -> None:
    """Write to stderr what is unwise in the search file *loaded*, a note each."""
    from eventhpo.jobs.command_folder import missing_script  # noqa: PLC0415  the help must not wait for it

    for text in advice(loaded.search, len(loaded.trials)):
        output.note(f"note: {text}")
    jobs = loaded.search.jobs
    if isinstance(jobs, LocalCommand) and (script := missing_script(jobs)) is not None:
        output.note(f"note: command: {script} is not in {jobs.folder}, where the jobs run")
