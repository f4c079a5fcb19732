"""Who carries a search on, for an act that was recorded without a controller."""

from __future__ import annotations

from pathlib import Path

from eventhpo.cli import output
from eventhpo.controller.recorded_state import state_of
from eventhpo.log import lease


def say_who_carries_on(log: Path, what: str) -> None:
    """Write to stderr by what command or script the search at *log* is carried on, after *what*; nothing if one is.

    Nothing either of a study, which has no jobs.
    """
    if lease.holder(log) is not None or (state := state_of(log, of_study=True)).study is not None:
        return
    search = state.search
    output.note(f"{what} {'the script that made the search' if search.needs_script else output.command('resume', log)}")
