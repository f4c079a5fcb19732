"""The log as an artifact of the optimizer task: for a controller on an agent, whose disk does not last."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eventhpo.core.fold.event_families import UserInput
from eventhpo.core.fold.events import Recorded, SearchFinished, TrialFinished
from eventhpo.errors import DamagedLog, EventhpoError
from eventhpo.jobs.clearml.session import Denied, Silent
from eventhpo.log.backup import backup
from eventhpo.log.verify import examine

logger = logging.getLogger("eventhpo.optimizer")

NAME = "eventhpo-log"
AFTER_NEWS = 30.0  # seconds between two uploads that a finished trial or a person's act asks for
EVERY = 5.0  # minutes between two uploads of anything that is new, unless told otherwise
AT_THE_END = 120.0  # seconds that the last upload may take
_NEWS = (TrialFinished, SearchFinished, UserInput)


class LogArtifact:
    """Keeps a copy of the log with its task; one thread uploads, and a failure ends no search.

    Args:
        task: The optimizer's `clearml.Task`.
        log: The log on this disk.
        every: Minutes after which anything that is new is uploaded.
        require_ours: Raises unless the task is still this controller's, so that a newer copy is not replaced.
    """

    def __init__(self, task: Any, log: Path, every: float, require_ours: Callable[[], None] = lambda: None) -> None:
        self._task, self._log, self._every = task, log, every * 60
        self._require_ours = require_ours
        self._changed = threading.Condition()
        self._recorded = 0  # seq of the newest row that was told of
        self._uploaded = 0  # seq up to which the copy goes
        self._asked = True  # news came since the last upload; the first copy is news
        self._last = -self._every  # when the last upload began, by the monotonic clock
        self._closed = False
        self._failing = False
        self._thread: threading.Thread | None = None

    def fetch(self) -> bool:
        """Put the copy that the task has in the place of a log that is not here; return whether it has one.

        Raises:
            DamagedLog: the copy is damaged.
        """
        self._task.reload()
        artifact = self._task.artifacts.get(NAME)
        if artifact is None:
            return False
        copy = Path(artifact.get_local_copy(extract_archive=False, raise_on_error=True, force_download=True))
        verification = examine(copy)
        if any(check.damage for check in verification.checks):
            wrong = next(check for check in verification.checks if check.damage)
            raise DamagedLog(
                f"the artifact {NAME} of task {self._task.id} is damaged ({wrong.name}: {wrong.detail}); to begin a "
                f"new search, delete the artifact or name another log"
            )
        fresh = self._log.with_name(f".{self._log.name[:100]}.fetched")
        shutil.copyfile(copy, fresh)
        fresh.replace(self._log)
        self._uploaded = verification.head.seq
        logger.warning(
            "%s was not here: it was fetched from the task's artifact %s, up to event %d; jobs that were made after "
            "that are taken up",
            self._log,
            NAME,
            verification.head.seq,
        )
        return True

    def note(self, rows: Sequence[Recorded]) -> None:
        """Take in that *rows* were recorded; the copy is renewed when it is due."""
        if not rows:
            return
        with self._changed:
            self._recorded = rows[-1].seq
            self._asked = self._asked or any(isinstance(row.event, _NEWS) for row in rows)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="eventhpo-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Upload what is new, and end; returns after `AT_THE_END` seconds at the latest."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(AT_THE_END)
        with self._changed:
            self._thread, self._closed, self._asked = None, False, True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (pause := self._pause()) > 0:
                    self._changed.wait(pause)
                closing = self._closed
                due = self._recorded > self._uploaded
                self._asked = False
            if due:
                self._last = time.monotonic()
                self._upload()
            if closing:
                return

    def _pause(self) -> float:
        """Return the seconds until the next upload is due."""
        if self._recorded <= self._uploaded:
            return self._every
        wait = min(AFTER_NEWS, self._every) if self._asked else self._every
        return self._last + wait - time.monotonic()

    def _upload(self) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / self._log.name
                head = backup(self._log, copy)
                self._require_ours()
                about = {"seq": head.seq, "hash": head.hash}
                done = self._task.upload_artifact(NAME, artifact_object=str(copy), metadata=about, wait_on_upload=True)
        except (EventhpoError, Silent, Denied, OSError, ValueError, RuntimeError) as error:
            self._tell(str(error))
            return
        if not done:
            self._tell("the SDK could not upload it")
            return
        self._failing, self._uploaded = False, head.seq

    def _tell(self, why: str) -> None:
        if not self._failing:
            logger.warning("the log could not be uploaded to its task: %s; the search goes on, and tries again", why)
        self._failing = True
