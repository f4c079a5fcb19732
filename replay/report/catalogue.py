"""The logs that a server shows: one, or those of a folder; found by an id, never by a path that a browser sends."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from eventhpo.views import formatting
from replay.report.followed_log import FollowedLog, ListedLog, SummarisedLog

DEPTH = 3  # folders below the one that is shown
MOST_LOGS = 200  # in a list
MOST_LOOKED_AT = 20_000  # names in folders: a home directory ends the search, and not the server
MOST_FOLLOWED = 8  # logs whose whole data is kept: those whose pages were asked for last
_SQLITE = b"SQLite format 3\0"
_PASSED_OVER = (".jobs", ".requests")  # what lies next to a log and holds none


class LogCatalogue:
    """The logs in *target*, which is a log or a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._lock = threading.Lock()
        self._summarised: dict[str, SummarisedLog] = {}
        self._followed: OrderedDict[str, FollowedLog] = OrderedDict()

    @property
    def single(self) -> str | None:
        """The id of the one log that is shown, None for a folder."""
        return None if self.target.is_dir() else _id(self.target.name)

    def lines(self) -> list[ListedLog]:
        """Return a line for each log, by name."""
        logs = self._logs()
        with self._lock:
            self._summarised = {
                log_id: self._summarised.get(log_id) or SummarisedLog(path, log_id, self._name(path))
                for log_id, path in logs.items()
            }
            summarised = list(self._summarised.values())
        return [log.line() for log in summarised]

    def name(self, log_id: str) -> str | None:
        """Return the name of the log with *log_id*, None if there is none."""
        path = self._logs().get(log_id)
        return None if path is None else self._name(path)

    def followed(self, log_id: str) -> FollowedLog | None:
        """Return the log with *log_id* to be followed, None if there is none."""
        with self._lock:
            if log_id in self._followed:
                self._followed.move_to_end(log_id)
                return self._followed[log_id]
        path = self._logs().get(log_id)
        if path is None:
            return None
        with self._lock:
            followed = self._followed.setdefault(log_id, FollowedLog(path))
            if len(self._followed) > MOST_FOLLOWED:
                self._followed.popitem(last=False)
            return followed

    def _name(self, path: Path) -> str:
        shown = path.name if self.single is not None else os.path.relpath(path, self.target)
        return formatting.line(shown.encode("utf-8", "backslashreplace").decode())

    def _logs(self) -> dict[str, Path]:
        if self.single is not None:
            return {self.single: self.target}
        found = sorted(_databases(self.target))[:MOST_LOGS]
        return {_id(os.path.relpath(path, self.target)): path for path in found}


def _id(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _databases(folder: Path) -> Iterator[Path]:
    """Yield the SQLite files in *folder* and the folders below it; links are not followed."""
    left, looked_at = [(folder, 0)], 0
    while left:
        place, depth = left.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue  # a folder that this user may not read has no log to show
        for entry in entries:
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                return
            if entry.name.startswith(".") or entry.name.endswith(_PASSED_OVER):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < DEPTH:
                    left.append((Path(entry.path), depth + 1))
            elif entry.name.endswith(".db") and entry.is_file(follow_symlinks=False) and _is_sqlite(entry.path):
                yield Path(entry.path)


def _is_sqlite(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
