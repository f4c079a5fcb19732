"""Asking something of a search: its live controller is asked, or, where there is none, the log is written.

Either way the request has an id that stands in the log with its answer, so whatever
dies in between, it is taken once.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from eventhpo import own_files
from eventhpo.controller.author import Author, this_author
from eventhpo.controller.clock import SystemClock
from eventhpo.controller.controller import start_of
from eventhpo.controller.host import this_machine
from eventhpo.controller.recorded_state import state_of
from eventhpo.controller.request_files import SUFFIX, WHO_MAY_ASK, trouble_with_folder
from eventhpo.controller.requests import Request, accepted, encode
from eventhpo.core.fold.events import Event, Recorded, RequestRefused, request_of
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import Simulated, StudyJobs
from eventhpo.errors import Busy, Starting, StorageFailed, Usage
from eventhpo.jobs.backend_choice import backend_choice
from eventhpo.log import chain, lease, paths, reader, refusal, sql
from eventhpo.log.lease import Holder
from eventhpo.log.writer import open_writer

R = TypeVar("R", bound=Request)

PATIENCE = 30.0  # seconds; a live controller looks once a second, a launch may keep it for five
_PAUSE = 0.05


def ask(path: Path, request: Request, author: Author | None = None, *, patience: float = PATIENCE) -> Recorded:
    """Have *request* of *author* (by default this process's user) taken into the log at *path*, once; return its row.

    Raises:
        Usage: it does not fit the search; the text says what would.
        Busy: a controller holds the log and does not answer within *patience* seconds.
        DamagedLog, StorageFailed: the log cannot be read or written.
    """
    accepted(state_of(path, of_study=True), request, None)  # what cannot be leaves no trace
    author = author or this_author()
    request = signed(request, author)
    request_id = secrets.token_hex(16)
    deadline = time.monotonic() + patience
    while True:
        row = ask_holder(path, lambda _: request, request_id=request_id, patience=deadline - time.monotonic())
        if row is not None:
            return row
        try:
            return _write(path, request, request_id, author)
        except Busy:  # somebody started a controller just now
            if time.monotonic() >= deadline:
                raise


def signed(request: R, author: Author) -> R:
    """Return *request* with the name and the reason of *author*."""
    return msgspec.structs.replace(request, by=author.by, why=author.why)


def ask_holder(
    path: Path,
    request: Callable[[int], Request],
    *,
    request_id: str | None = None,
    patience: float = PATIENCE,
) -> Recorded | None:
    """Have the controller that holds the log take *request* (a function of its epoch); None if there is none.

    Raises:
        Usage: it was refused, and why.
        Busy: the controller does not answer within *patience* seconds; the request is withdrawn.
        StorageFailed: the request cannot be written.
    """
    asking = _Asking(path, request_id or secrets.token_hex(16))
    deadline = time.monotonic() + patience
    pause = threading.Event()
    try:
        while (holder := lease.holder(path)) is not None:
            if holder.epoch is not None and not asking.waits():
                if (row := asking.answer()) is not None:
                    return row
                asking.put(request(holder.epoch))
            elif (row := asking.answer()) is not None:
                return row
            if time.monotonic() >= deadline:
                asking.withdraw()
                return asking.answer() or _no_answer(path, holder, patience)
            pause.wait(_PAUSE)
        asking.withdraw()
        return asking.answer()
    finally:
        asking.withdraw()


def _no_answer(path: Path, holder: Holder, patience: float) -> Recorded:
    if holder.starting:
        raise Starting(
            f"{path} is being opened by {holder}, which was not done within {patience:.0f} s, and the request was "
            f"withdrawn; ask again, or end that process ({holder.pid}) if it is frozen"
        )
    raise Busy(
        f"{path} is held by {holder}, which did not answer within {patience:.0f} s, and the request was withdrawn; "
        f"if it is frozen: eventhpo resume {shlex.quote(str(path))} --take-over"
    )


class _Asking:
    """One request on its way: its file, and how far the log was read for its answer."""

    def __init__(self, path: Path, request_id: str) -> None:
        self._path = path
        self._id = request_id
        self._folder = paths.requests(path)
        self._file = self._folder / f"{request_id}{SUFFIX}"
        self._seen = reader.consult(path, lambda db: _last(db, path))

    def waits(self) -> bool:
        """Whether nobody has taken the file yet."""
        return self._file.exists()

    def put(self, request: Request) -> None:
        """Put the request's file where a controller finds it whole."""
        fresh = self._file.with_name(f"{self._file.name}.tmp")
        if (trouble := trouble_with_folder(self._path)) is not None:
            raise StorageFailed(f"{trouble}; nothing was asked")
        try:
            self._make_folder()
            own_files.write_new(fresh, encode(request))
            fresh.chmod(0o644)  # the controller may be of another user, and the umask does not know of it
            fresh.replace(self._file)
        except PermissionError as error:
            raise StorageFailed(
                f"{self._folder} cannot be written by you, so nothing was asked: {WHO_MAY_ASK}"
            ) from error
        except OSError as error:
            raise StorageFailed(
                f"{self._folder} cannot be written ({refusal.why(error, self._file)}), so nothing was asked"
            ) from error

    def _make_folder(self) -> None:
        """Make the folder for the owner of the log alone, if there is none."""
        try:
            self._folder.mkdir(mode=0o700)
        except FileExistsError:
            return
        if os.geteuid() == 0 and (owner := own_files.owner_of(self._path)):
            os.chown(self._folder, owner, -1)

    def withdraw(self) -> None:
        """Take the file back, if it is still there."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"{self._file} cannot be taken back ({error.strerror})") from error

    def answer(self) -> Recorded | None:
        """Return the row that answers the request, None as long as there is none.

        Raises:
            Usage: it was refused.
        """
        for row in reader.read(self._path, self._seen).rows:
            self._seen = row.seq
            if request_of(row.event) == self._id:
                if isinstance(row.event, RequestRefused):
                    raise Usage(row.event.why)
                return row
        return None


def _last(db: sqlite3.Connection, path: Path) -> int:
    chain.recognise(db, path)
    end = sql.head(db)
    return 0 if end is None else end.seq


def _write(path: Path, request: Request, request_id: str, author: Author) -> Recorded:
    """Take the lease and record *request*, unless a controller that is gone by now has."""
    clock, machine = SystemClock(), this_machine(author)

    def look(rows: list[Recorded]) -> Sequence[Event]:
        state = fold(rows)
        # A row more would make a log that lost its tail a fork: its jobs tell.
        if not isinstance(state.search.jobs, Simulated | StudyJobs):
            backend_choice(state.search, path, launches=False).before(state, rows)
        return ()

    writer, rows = open_writer(path, start_of(clock, machine), clock.now(), check=look)
    try:
        state: State = fold(rows)
        for row in rows:
            if request_of(row.event) == request_id and not isinstance(row.event, RequestRefused):
                return row
        *before, answer = accepted(state, request, request_id, author)
        for event in before:
            writer.record(event, None, clock.now())
        return writer.record(answer, None, clock.now())
    finally:
        writer.close()
