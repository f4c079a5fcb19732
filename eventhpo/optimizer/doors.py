"""Where the jobs of the class run, as its user says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eventhpo.core.spec import LocalCommand
from eventhpo.core.state import State
from eventhpo.jobs.local import LocalJobs as Door
from eventhpo.log import beside


class LocalJobs:
    """Jobs as processes on this machine: *command* without a shell, run in *folder* (the present one).

    `{Section/name}` and `{slot}` in the command are replaced; see docs/jobs.md for what
    a job is given.
    """

    def __init__(self, command: Sequence[str], folder: str | Path | None = None) -> None:
        if isinstance(command, str) or not command:
            raise ValueError(f'command is {command!r}; expected a list of words, as ["python", "train.py"]')
        self.command = tuple(map(str, command))
        self.folder = str(Path(folder or ".").absolute())

    def spec(self) -> LocalCommand:
        """Return what the log records of it."""
        return LocalCommand(command=self.command, folder=self.folder)

    def open(self, log: Path, state: State) -> Door:
        """Return the door for the search whose log lies at *log*."""
        recorded = state.search.jobs
        assert isinstance(recorded, LocalCommand)
        return Door(recorded.command, recorded.folder, beside.jobs(log))
