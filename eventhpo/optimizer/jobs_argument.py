"""Where the jobs of the class run, as its user says it; `eventhpo.jobs.backend_choice` opens what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eventhpo.core.search.gpus import EXPECTED
from eventhpo.core.search.gpus import gpus as kind_of_gpus
from eventhpo.core.search.spec import ClearmlTasks, LocalCommand
from eventhpo.core.validation.validators import Wrong
from eventhpo.errors import Usage
from eventhpo.search_file.declared_data import undeclarable


class LocalJobs:
    """Jobs as processes on this machine: *command* without a shell, run in *folder* (the present one).

    `{Section/name}` and `{slot}` in the command are replaced; see docs/jobs.md for what
    a job is given. *gpus* are the devices of each worker slot, as [0, 1] or [[0, 1], [2, 3]].
    *data* are files whose digests the log keeps with each job; with *record_diff* it keeps the
    text of what the git tree changes of its commit, and not only its digest.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: str | Path | None = None,
        *,
        gpus: Sequence[int | Sequence[int]] = (),
        data: Sequence[str | Path] = (),
        record_diff: bool = False,
    ) -> None:
        if isinstance(command, str) or not command:
            raise ValueError(f'command is {command!r}; expected a list of words, as ["python", "train.py"]')
        self.command = tuple(map(str, command))
        self.folder = str(Path(folder or ".").absolute())
        if isinstance(data, str):
            raise Usage(f"data is {data!r}; expected a list of files, as ['train.csv']")
        self.data = tuple(map(str, data))
        self.record_diff = bool(record_diff)
        try:
            self.gpus = kind_of_gpus().read(list(gpus)) if gpus is not None and len(gpus) else ()
        except (TypeError, Wrong):
            raise Usage(f"gpus is {gpus!r}, expected {EXPECTED}") from None

    def spec(self) -> LocalCommand:
        """Return what the log records of it."""
        for name in self.data:
            if (expected := undeclarable(Path(self.folder), name)) is not None:
                raise Usage(f"data names {name!r}; expected {expected}")
        return LocalCommand(
            command=self.command, folder=self.folder, gpus=self.gpus, data=self.data, record_diff=self.record_diff
        )


class ClearmlQueue:
    """Jobs as tasks on a ClearML server: clones of the base task, sent to *execution_queue*.

    *new_parameters* are those that the base task does not have and its script reads all the same.
    """

    def __init__(self, base_task_id: str, execution_queue: str, new_parameters: Sequence[str] = ()) -> None:
        if isinstance(new_parameters, str):
            raise Usage(f"new_parameters is {new_parameters!r}; expected a list of names")
        self._new_parameters = tuple(map(str, new_parameters))
        self._base_task_id = base_task_id
        self._execution_queue = execution_queue

    def spec(self) -> ClearmlTasks:
        """Return what is asked for; the log also records what the server says of it."""
        return ClearmlTasks(
            base_task_id=self._base_task_id,
            execution_queue=self._execution_queue,
            new_parameters=self._new_parameters,
        )
