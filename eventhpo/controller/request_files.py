"""The requests that other processes put into the folder of a live controller.

A request is a file `<random id>.json` in `<log>.requests`, whole by its rename. The
controller records it as an input with that id and then deletes it, so a request that
was recorded and not deleted is known again. `eventhpo.controller.send_request` is the other side.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from eventhpo import own_files
from eventhpo.controller.author import other_author
from eventhpo.controller.requests import StopRequest, accepted, decode
from eventhpo.core.fold.events import Event, RequestRefused
from eventhpo.core.fold.state import State
from eventhpo.errors import Usage
from eventhpo.log import paths

SIZE = 65_536  # bytes; a point of a thousand parameters is 30 kB
BATCH = 100  # requests taken at one look, so that a flood of them cannot keep a search from its jobs
SUFFIX = ".json"
_ID = re.compile(r"[0-9a-f]{32}")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FileRequests:
    """The requests that lie in the folder next to the log at *path*; nothing in it ends the search."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a later chdir moves a relative name
        self._folder = paths.requests(path)
        self._stuck: set[str] = set()  # cannot be deleted: not looked at again, or they would be for ever

    def any(self) -> bool:
        """Whether a request may be waiting: one look into the folder, if it is of somebody who may ask."""
        try:
            with os.scandir(self._folder) as entries:
                return self._is_trusted() and any(
                    e.name.endswith(SUFFIX) and e.name not in self._stuck for e in entries
                )
        except OSError:
            return False

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        """Yield the events of each request, oldest first, and what deletes its file once they are committed.

        One that does not fit becomes a `RequestRefused`; known ones, and stops of
        another epoch, are deleted unread. *state* is looked at anew for each.
        """
        for path in self._waiting()[:BATCH]:
            request_id = name_of(path)
            if request_id in state.requests:
                self._delete(path)
                continue
            events = self._events(path, request_id, state)
            if not events:
                self._delete(path)
            for event in events:
                yield event, lambda path=path: self._delete(path)  # type: ignore[misc]

    def _waiting(self) -> list[Path]:
        if not self._is_trusted():
            return []
        try:
            entries = [e for e in os.scandir(self._folder) if e.name.endswith(SUFFIX) and e.name not in self._stuck]
        except OSError:
            return []
        return [Path(e.path) for e in sorted(entries, key=lambda e: (_written(e), e.name))]

    def _is_trusted(self) -> bool:
        return trouble_with_folder(self._path) is None

    def _events(self, path: Path, request_id: str, state: State) -> tuple[Event, ...]:
        """Return what *path* asks for, nothing if it is gone or was meant for another controller."""
        if _ID.fullmatch(request_id) is None:
            return (RequestRefused(request=request_id, why="its name is no request id"),)
        try:
            content, uid = _content(path)
            if not may_ask(self._path, uid):
                return (RequestRefused(request=request_id, why=f"user {uid} may not ask: {WHO_MAY_ASK}"),)
            request = decode(content)
            if isinstance(request, StopRequest) and request.epoch != state.epoch:
                return ()
            return accepted(state, request, request_id, other_author(request.by, request.why, uid))
        except FileNotFoundError:
            return ()  # the process that asked took it back
        except (Usage, OSError, *_UNREADABLE) as error:
            return (RequestRefused(request=request_id, why=str(error)),)

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._stuck.add(path.name)


# ---------------------------------------------------------------- who may ask

WHO_MAY_ASK = "only its owner, root, and the group that the owner gave the requests folder to (chmod 2770) may"


def trouble_with_folder(log: Path) -> str | None:
    """Return why no request in the folder of *log* counts, None if they do or if there is no folder."""
    folder = paths.requests(log)
    try:
        status = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is no folder; move it away"
    if status.st_uid not in _owners(log):
        return f"{folder} is of user {status.st_uid}, and what lies in it is not read; move it away"
    return None


def may_ask(log: Path, uid: int) -> bool:
    """Return whether the user *uid* may ask something of the search of *log*."""
    return uid in _owners(log) or uid in _members(paths.requests(log))


def _owners(log: Path) -> set[int | None]:
    return {own_files.owner_of(log), os.geteuid(), 0}


def _members(folder: Path) -> set[int]:
    """Return the users of the group that *folder* was given to: with setgid and writable, which no umask makes."""
    status = folder.stat()
    if not (status.st_mode & stat.S_ISGID and status.st_mode & stat.S_IWGRP):
        return set()
    named = {user.pw_uid for user in pwd.getpwall() if user.pw_gid == status.st_gid}
    try:
        listed = grp.getgrgid(status.st_gid).gr_mem
    except KeyError:
        return named
    return named | {user.pw_uid for user in pwd.getpwall() if user.pw_name in listed}


def name_of(path: Path) -> str:
    """Return the id of a request by its file; of a foreign one a text that JSON can carry."""
    return path.name.removesuffix(SUFFIX).encode("ascii", "backslashreplace").decode()[:100]


def _written(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0


def _content(path: Path) -> tuple[bytes, int]:
    """Return what *path* holds, and the user id of its owner.

    Raises:
        Usage: it is no file, or too large. OSError: it cannot be read.
    """
    # A pipe of that name would block an open for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Usage("it is no file")
        if status.st_nlink > 1:  # somebody may have linked a file of another user here
            raise Usage("the file has another name too")
        content = file.read(SIZE + 1)
    if len(content) > SIZE:
        raise Usage(f"it is larger than {SIZE} bytes")
    return content, status.st_uid
