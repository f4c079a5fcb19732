"""Logs that are looked at again and again while they grow: only what is new is read, and not more often than pays."""

from __future__ import annotations

import gzip
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.errors import EventhpoError, Usage
from eventhpo.log import reader
from eventhpo.views import formatting, status, statuses, top
from replay.explain.collect import of_rows as explanation_of
from replay.explain.text import table
from replay.postmortem.files_on_disk import FilesOnDisk, look
from replay.report.build import ReportBuilder, of_rows
from replay.report.page import content
from replay.verified_rows import verified_rows

PAUSE = 1.0  # seconds between two looks at a log, however many pages ask
SHARE = 4.0  # of the time that a look took, that passes before the next: a large log takes a fifth of a core at most
EXPLANATIONS = 64  # that are kept: a person reads one trial after the other


class _Paced:
    """Lets one thread at a time look, and none before the last look is old enough."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._not_before = 0.0

    def look(self, read: Callable[[], None]) -> None:
        """Call *read*, unless that was done just now."""
        with self._lock:
            begun = time.monotonic()
            if begun < self._not_before:
                return
            try:
                read()
            finally:
                now = time.monotonic()
                self._not_before = now + max(PAUSE, SHARE * (now - begun))


class LivePayload(msgspec.Struct, frozen=True):
    """What a live page is sent: gzipped JSON, and the stamp by which a page knows that it has it."""

    stamp: str
    packed: bytes


class FollowedLog:
    """A log whose page is open. Any thread may ask; one reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._paced = _Paced()
        self._builder: ReportBuilder | None = None
        self._damage: list[str] = []
        self._cut = False
        self._payload: LivePayload | None = None
        self._problem = ""
        self._explaining = threading.Lock()
        self._explained: OrderedDict[tuple[int, int], list[tuple[str, str, str]]] = OrderedDict()

    def payload(self) -> LivePayload:
        """Return what the page shows now.

        Raises:
            Usage: the log cannot be read now, and was never read before.
        """
        self._paced.look(self._read)
        payload = self._payload
        if payload is None:
            raise Usage(self._problem or f"{self.path.name} is being read")
        return payload

    def _read(self) -> None:
        try:
            files = look(self.path)  # before the log: a controller that ends in between is not taken for killed
            builder = self._grown() or self._anew()
        except EventhpoError as error:
            self._problem = str(error)
            self._builder = None
            return
        held = files.holder is not None and files.holder.epoch == builder.state.epoch
        stamp = f'"{builder.state.search_id[:12]}-{builder.seq}-{int(held)}-{len(self._damage)}"'
        if self._payload is None or self._payload.stamp != stamp:
            self._payload = LivePayload(stamp, self._packed(builder, files))

    def _packed(self, builder: ReportBuilder, files: FilesOnDisk) -> bytes:
        data = builder.data(self.path, files, self._damage, cut=self._cut)
        return gzip.compress(msgspec.json.encode(content(data)), 6, mtime=0)

    def _grown(self) -> ReportBuilder | None:
        """Return the builder with the rows that are new; None if it is to be made anew."""
        builder = self._builder
        if builder is None or self._cut:
            return None
        rows = reader.read(self.path, builder.seq - 1).rows
        if not rows or rows[0].hash != builder.state.head.hash:
            return None  # another log has its name now
        for row in rows[1:]:
            builder.add(row)
        return builder

    def _anew(self) -> ReportBuilder:
        verified = verified_rows(self.path)
        self._damage, self._cut = verified.damage, verified.cut
        self._builder = of_rows(verified.rows)
        return self._builder

    def explanation(self, trial: int) -> list[tuple[str, str, str]]:
        """Return the rows of the explanation of *trial*; one is worked out at a time.

        Raises:
            Usage: there is no such trial.
            DamagedLog, Busy, StorageFailed: the log cannot be read.
        """
        with self._explaining:
            rows = verified_rows(self.path).rows
            key = (trial, rows[-1].seq)
            if key not in self._explained:
                self._explained[key] = list(table(explanation_of(rows, trial)))
                if len(self._explained) > EXPLANATIONS:
                    self._explained.popitem(last=False)
            return self._explained[key]


class ListedLog(msgspec.Struct, frozen=True, kw_only=True):
    """A log as a line of a list."""

    id: str
    name: str
    search: str
    state: str
    trials: str
    best: str
    events: int
    last: str
    problem: str = ""


class SummarisedLog:
    """A log in a list: only its state is kept."""

    def __init__(self, path: Path, log_id: str, name: str) -> None:
        self.path, self._id, self._name = path, log_id, name
        self._paced = _Paced()
        self._state: State | None = None
        self._line = ListedLog(id=log_id, name=name, search="", state="", trials="", best="", events=0, last="")

    def line(self) -> ListedLog:
        """Return the log's line as of now."""
        self._paced.look(self._read)
        return self._line

    def _read(self) -> None:
        try:
            held = look(self.path).holder is not None
            state = self._state = self._grown() or fold(reader.read(self.path).rows)
        except EventhpoError as error:
            self._state = None
            self._line = msgspec.structs.replace(self._line, state="unreadable", problem=formatting.line(str(error)))
            return
        best = top.best(state)
        self._line = ListedLog(
            id=self._id,
            name=self._name,
            search=formatting.line(state.search.name),
            state=status.search_state(state, held=held),
            trials=_counted(statuses.trial_counts(state)),
            best="" if best is None else formatting.line(top.describe_trial(state, state.trials[best.trial])),
            events=state.head.seq,
            last=formatting.rfc3339(state.last_at),
        )

    def _grown(self) -> State | None:
        state, self._state = self._state, None  # a row that does not fit would use it up
        if state is None:
            return None
        rows: list[Recorded] = reader.read(self.path, state.head.seq - 1).rows
        return fold(rows[1:], state) if rows and rows[0].hash == state.head.hash else None


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
