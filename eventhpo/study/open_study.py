"""One study that this process has open for writing: its log, its state, and when what was recorded is committed.

A process has each log open once, for all that ask for it (`open_study`): the lease is the process's.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from optuna.distributions import BaseDistribution

from eventhpo.controller.host import this_machine
from eventhpo.controller.request_files import FileRequests
from eventhpo.core.fold.events import (
    ControllerStarted,
    Event,
    Recorded,
    RequestRefused,
    SearchCreated,
    TrialCancelled,
)
from eventhpo.core.fold.evolve import evolve, fold
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_events import LateCall, ParameterSuggested, PointJudged, TrialLost, TrialTold
from eventhpo.core.fold.study_state import StudyState, StudyTrial
from eventhpo.core.search.spec import StudyJobs, to_num
from eventhpo.errors import Busy, DamagedLog, EventhpoError, StorageFailed, Usage
from eventhpo.log import create as logs
from eventhpo.log.writer import open_writer
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.study.frozen_trials import FrozenTrials

LOOK = 1.0  # seconds between two looks for requests of other processes
COMMIT_WITHIN = 0.1  # seconds for which a report or an attribute of a trial in this process may wait for the disk


class HeldPoint(NamedTuple):
    """A report that is not recorded yet."""

    attempt: int
    step: int
    value: float


class Decider(Protocol):
    """What a study's storage asks for the parts of a row that the study's sampler decided."""

    def parameter_event(
        self, trial: StudyTrial, name: str, internal: float, kind: BaseDistribution
    ) -> tuple[ParameterSuggested, int | None]:
        """Return the event of a parameter that the trial has now, and its cause."""
        ...

    def told_event(self, trial: StudyTrial, event: TrialTold) -> tuple[TrialTold, int | None]:
        """Return *event* with what the sampler did when the trial was told, and its cause."""
        ...


class OpenStudy:
    """The one writer of a study's log; every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        machine = this_machine()
        self._author = machine.author
        started = ControllerStarted(
            host=machine.host, pid=machine.pid, boot=machine.boot, clock=now(), fingerprint=fingerprint()
        )
        try:
            self._writer, rows = open_writer(path, machine.author.sign(started), now(), check=_require_study)
        except Busy as error:
            raise Busy(
                f"{error}. A study is written by one process; for several, end that one, let `eventhpo serve {path}` "
                f'write it, and have each of them use `eventhpo.connect("HOST:PORT")`'
            ) from error
        self._writer.be_of_study()
        self.path = path
        self.state: State = fold(rows)
        self.study: StudyState = _study_of(self.state)
        self.trials = FrozenTrials(self.study)
        self.lock = threading.RLock()
        self._pid = os.getpid()
        self._due = threading.Condition(self.lock)
        self._committing = threading.Lock()
        self._failed: Exception | None = None
        self._closed = False
        self._idle = False  # whether the flusher waits for something to commit
        self._held: dict[int, HeldPoint] = {}  # by trial: reports that wait for the pruner's answer
        self.decider: Decider | None = None  # of a study whose decisions are recorded
        self._requests = FileRequests(path.resolve())
        self._give_back_the_lost()
        self._flusher = threading.Thread(target=self._flush, name=f"commits of {self.path.name}", daemon=True)
        self._flusher.start()

    @property
    def usable(self) -> bool:
        """Whether this process has the log open."""
        return not self._closed and self._pid == os.getpid()

    # ---------------------------------------------------------------- recording

    @property
    def head(self) -> int:
        """The seq of the last row, committed or not."""
        return self._writer.head.seq

    def record(self, event: Event, cause: int | None = None, *, durable: bool = False) -> Recorded:
        """Record *event* and fold it in; with *durable* it is on the disk when this returns.

        Raises:
            StorageFailed: the log cannot be written any more.
        """
        return self._record(self._author.sign(event), cause, durable=durable)

    def _record(self, event: Event, cause: int | None, *, durable: bool) -> Recorded:
        with self.lock:
            self._require_open()
            self.record_held()
            row = self._writer.record(event, cause, now())
            try:
                self.state = evolve(self.state, row)
            except DamagedLog as error:
                self._failed = error  # a row that no reader can fold is never committed
                raise
            if durable:
                self.commit()
            else:
                self._commit_soon()
            return row

    def hold(self, trial: StudyTrial, step: int, value: float) -> None:
        """Keep a report until the pruner is asked about it, or anything else is recorded: both are one row."""
        with self.lock:
            self._require_open()
            self.record_held()
            self._held[trial.number] = HeldPoint(trial.attempt, step, value)
            self._commit_soon()

    def held(self, number: int) -> HeldPoint | None:
        """Return the report of a trial that is held back."""
        return self._held.get(number)

    def take_held(self, number: int) -> HeldPoint | None:
        """Return the report of a trial that is held back, for the caller to record; those of others are recorded."""
        point = self._held.pop(number, None)
        self.record_held()
        return point

    def record_held(self) -> None:
        """Record the reports that are held back, without an answer of the pruner."""
        while self._held:
            number, point = self._held.popitem()
            value = to_num(point.value)
            self.record(PointJudged(trial=number, attempt=point.attempt, step=point.step, value=value))

    def commit(self) -> None:
        """Have all that was recorded on the disk."""
        with self.lock:
            self._require_open()
            self.record_held()
            self._writer.commit()
            self._writer.beat()

    def make_durable(self) -> None:
        """Return when all that was recorded before this call is on the disk; callers at a time share a commit."""
        with self.lock:
            self.record_held()
            seq = self.head
        with self._committing:
            if self._writer.committed.seq < seq:
                self.commit()

    def _commit_soon(self) -> None:
        if self._idle:  # a wake-up for each row would cost more than the row
            self._idle = False
            self._due.notify()

    def _flush(self) -> None:
        """Commit what is recorded, a little later, and take requests, until the study is closed."""
        with self.lock:
            while not self._closed:
                self._idle = True
                due = self._due.wait_for(lambda: self._closed or self._writer.pending or bool(self._held), LOOK)
                self._idle = False
                if due:
                    self._due.wait_for(lambda: self._closed, COMMIT_WITHIN)
                if self._closed:
                    return
                try:
                    self.commit()
                    self._take_requests()
                except Exception as error:  # noqa: BLE001  the thread that calls next is told
                    self._failed = error
                    return

    def _take_requests(self) -> None:
        """Record what other processes ask of this study, as `eventhpo note` and `eventhpo cancel`."""
        if not self._requests.any():
            return
        for event, done in self._requests.read(self.state):
            self._record(self._unless_it_runs(event), None, durable=True)
            done()

    def _unless_it_runs(self, event: Event) -> Event:
        if not isinstance(event, TrialCancelled):
            return event
        trial = self.study.trials[event.trial]
        if trial.state != "running" or not (trial.worker or trial.epoch == self._writer.epoch):
            return event
        runner = f"worker {trial.worker}" if trial.worker else f"process {self._pid}, which has the log open"
        why = f"trial {trial.number} runs in {runner}: only that can end it. End that process, then cancel the trial"
        return RequestRefused(request=event.request or "", why=why)

    def _require_open(self) -> None:
        if os.getpid() != self._pid:
            raise Busy(
                f"{self.path} belongs to the process that opened it ({self._pid}), and this one is a fork: "
                f'serve the study (`eventhpo serve {self.path}`) and `eventhpo.connect("HOST:PORT")` in each process'
            )
        if self._failed is not None:
            raise StorageFailed(f"{self.path} cannot be written: {self._failed}") from self._failed
        if self._closed:
            raise Usage(f"{self.path} was closed")

    # ---------------------------------------------------------------- attempts that are gone

    def _give_back_the_lost(self) -> None:
        """Have each trial that ran in a process which is gone asked for again."""
        for trial in list(self.study.trials):
            if trial.state == "running" and trial.loop and not trial.worker:
                self.lose(trial, "the process that ran it is gone")
        if self._writer.pending:
            self._writer.commit()

    def lose(self, trial: StudyTrial, why: str) -> None:
        """Record that the process of a running trial is gone: the trial waits to be asked for again."""
        with self.lock:
            lost = TrialLost(trial=trial.number, attempt=trial.attempt, trial_id=self.study.next_id, why=why)
            self.record(lost, durable=True)

    def give_back(self, why: str) -> None:
        """Have each trial that this process runs in `Study.optimize` asked for again."""
        with self.lock:
            for trial in list(self.study.trials):
                if trial.state == "running" and trial.loop and not trial.worker and trial.epoch == self._writer.epoch:
                    self.lose(trial, why)

    def late(self, trial_id: int, call: str, detail: str = "") -> None:
        """Note a call for an attempt that was lost."""
        number, attempt = self.study.ids[trial_id]
        self.record(LateCall(trial=number, attempt=attempt, trial_id=trial_id, call=call, detail=detail), durable=True)

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Commit what is recorded and let the log rest; a second call does nothing."""
        with self.lock:
            if self._closed or os.getpid() != self._pid:
                return
            if self._failed is None:
                self.record_held()
            self._closed = True
            self._due.notify_all()
            self._writer.close(clean=self._failed is None)
        _OPEN.pop(self.path.resolve(), None)


def now() -> int:
    """Return the time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def _require_study(rows: list[Recorded]) -> tuple[Event, ...]:
    first = rows[0].event
    if isinstance(first, SearchCreated) and not isinstance(first.search.jobs, StudyJobs):
        raise Usage(
            f"this log is of a search with jobs ({first.search.name}), not of a study: go on with `eventhpo resume`, "
            "read it as a study with `eventhpo.load_study`"
        )
    return ()


def _study_of(state: State) -> StudyState:
    assert state.study is not None
    return state.study


# ---------------------------------------------------------------- one for each log and process

_OPEN: dict[Path, OpenStudy] = {}
_OPENING = threading.Lock()


def open_study(path: Path, make: Callable[[], SearchCreated] | None = None) -> OpenStudy:
    """Return the study at *path*, opened for writing by this process; with *make* it is created if there is no file.

    Raises:
        Busy: another process has it.
        Usage: there is no such file, or it is no log of a study.
        DamagedLog, StorageFailed: as `open_writer`.
    """
    with _OPENING:
        opened = _OPEN.get(path.resolve())
        if opened is not None and opened._pid == os.getpid():
            return opened
        if make is not None and not path.exists():
            logs.create(path, this_machine().author.sign(make()), now())
        opened = _OPEN[path.resolve()] = OpenStudy(path)
        return opened


def _close_all() -> None:
    """Let the logs rest when the interpreter ends; what keeps one from it is logged, and the others are closed."""
    for opened in list(_OPEN.values()):
        try:
            opened.close()
        except EventhpoError as error:
            logging.getLogger("eventhpo").error("%s", error)  # noqa: TRY400  a line for people


atexit.register(_close_all)
