"""What a controller has handed on, in a file next to its log: jobs that were called back, trials that were reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from time import monotonic
from typing import Any

SUFFIX = ".delivered"
NAME = "eventhpo-delivered"  # the artifact of it, where the log is kept with the task


class Delivered:
    """Lines `called <task id>` and `reported <number of trials>`; the file is only appended to.

    A call is noted after it was made. So a crash between both repeats one call and loses none. Task ids are
    unique, so a file that lies next to another log changes nothing; without the file all is handed on again.

    Args:
        log: The log.
        task: The task with which the log is kept; a folder without the file takes it from there. None without one.
        every: Seconds between two uploads.
    """

    def __init__(self, log: Path, task: Any = None, every: float = 30.0) -> None:
        real = log.resolve()
        self._path, self._task = real.with_name(real.name + SUFFIX), task
        self._changed, self._every, self._next = False, every, 0.0
        self.called: set[str] = set()
        self.reported = 0
        if task is not None and not self._path.exists():
            self._fetch()
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(*line.partition(" ")[::2])

    def _fetch(self) -> None:
        self._task.reload()
        artifact = self._task.artifacts.get(NAME)
        if artifact is not None:
            copy = artifact.get_local_copy(extract_archive=False, raise_on_error=True, force_download=True)
            shutil.copyfile(copy, self._path)

    def _take(self, kind: str, text: str) -> None:
        if kind == "called":
            self.called.add(text)
        elif kind == "reported" and text.isdecimal():
            self.reported = int(text)

    def note_called(self, task_id: str) -> None:
        """Note that the callback for *task_id* has returned."""
        self._note("called", task_id)

    def note_reported(self, trials: int) -> None:
        """Note that the curves have been sent for the first *trials* trials."""
        self._note("reported", str(trials))

    def _note(self, kind: str, text: str) -> None:
        self._take(kind, text)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{kind} {text}\n")
        self._changed = True

    def upload(self, *, now: bool = False) -> None:
        """Keep the file with the task, if the log is kept there, the file has changed, and it is time, or *now*."""
        if self._task is not None and self._changed and (now or monotonic() >= self._next):
            self._changed, self._next = False, monotonic() + self._every
            self._task.upload_artifact(NAME, artifact_object=str(self._path), wait_on_upload=True)
