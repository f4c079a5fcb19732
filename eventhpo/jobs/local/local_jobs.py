"""Jobs as processes on this machine: a folder for each attempt, a runner for each job.

The folder of an attempt shows which effects were done, so a controller may be killed
between any two lines here and ask again. `folder` says what the files mean.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.search.placeholders import words
from eventhpo.core.search.spec import Objective
from eventhpo.errors import DeviceTaken, StorageFailed
from eventhpo.jobs.local.folder import AttemptFolder, Locks, NeverStarted, as_json
from eventhpo.jobs.local.gpu_locks import DeviceLocks
from eventhpo.jobs.local.host import boot_id, read_clocks
from eventhpo.jobs.local.launch import CHILDREN, environment, spawn
from eventhpo.jobs.local.provenance import Surroundings
from eventhpo.jobs.local.reconcile import job_id_of
from eventhpo.jobs.local.watch import Watch, by_itself, never_started
from eventhpo.jobs.protocol import (
    Bound,
    BoundJob,
    CancelOutcome,
    DraftOutcome,
    DraftRequest,
    Ended,
    Item,
    LaunchOutcome,
    Outcome,
    PollResult,
    Refused,
    Started,
    StopOutcome,
    Stopping,
)

GRACE = 10.0  # seconds between TERM and KILL: a checkpoint of some gigabytes gets written
START = 5.0  # seconds that one `launch` waits for its tickets; a runner takes 11 ms
STEP = 0.002  # seconds between two looks for a ticket
REAP = 1.0  # seconds between two rounds for ended runners: 1 ms for 1,000 of them
FRUITLESS = 3  # runners that ended without a start before a launch fails for good
HESITANT = 8  # launches with a runner that lives and does not start before it is given up


class PendingLaunch(NamedTuple):
    """A launch without a ticket so far; `runner` is None if a runner of another process may be starting it."""

    job: BoundJob
    folder: AttemptFolder
    runner: int | None


class LocalBackend:
    """The backend of processes on this machine; `JobBackend` states its promises.

    *command* is run in *folder* without a shell, `{slot}` and `{Section/name}` in it
    replaced. *jobs_folder* holds a folder for each attempt. A job that is told to
    stop gets TERM, and KILL *grace* seconds later. *clocks* are this machine's. *gpus* are
    the locks on the devices of the search, if it names any: each job sees those of its slot.
    *data*, *record_diff* and *search_file* are those of `LocalCommand`, the last as `file`.
    """

    shortest_wait = 0.01
    longest_wait = 0.1  # 32 jobs that do nothing: 0.3 % of a core more than with 0.25

    def __init__(
        self,
        command: tuple[str, ...],
        folder: str,
        jobs_folder: Path,
        *,
        grace: float = GRACE,
        start: float = START,
        clocks: Callable[[], ClockReading] = read_clocks,
        gpus: DeviceLocks | None = None,
        data: tuple[str, ...] = (),
        record_diff: bool = False,
        search_file: str = "",
    ) -> None:
        self._command = command
        self._folder = Path(folder).absolute()
        self._jobs_folder = jobs_folder.absolute()
        self._grace = grace
        self._start = start
        self._surroundings = Surroundings(self._folder, data, record_diff=record_diff, search_file=search_file)
        self._clocks = clocks
        self._gpus = gpus
        self._watch = Watch(clocks)
        self._folders: dict[str, AttemptFolder] = {}
        self._reaped = time.monotonic()

    # ---------------------------------------------------------------- effects

    def draft(self, drafts: Sequence[DraftRequest]) -> list[DraftOutcome]:
        """Make each attempt's folder with its parameters; start nothing."""
        return [self._or_refuse(self._draft, draft) for draft in drafts]

    def cancel(self, drafts: Sequence[DraftRequest]) -> list[CancelOutcome]:
        """Remove the folders that unbound intents may have created."""
        return [self._or_refuse(self._cancel, draft) for draft in drafts]

    def stop(self, jobs: Sequence[BoundJob]) -> list[StopOutcome]:
        """Ask each runner to stop its job; a job that has not started never starts."""
        return [self._or_refuse(self._stop, job) for job in jobs]

    def launch(self, jobs: Sequence[BoundJob]) -> list[LaunchOutcome]:
        """Start a runner for each job that has none, then wait for their tickets together."""
        CHILDREN.reap()
        answers = [self._or_refuse(self._begin, job) for job in jobs]
        deadline = time.monotonic() + self._start
        while any(isinstance(answer, PendingLaunch) for answer in answers) and time.monotonic() < deadline:
            time.sleep(STEP)
            answers = [self._go_on(answer) if isinstance(answer, PendingLaunch) else answer for answer in answers]
        return [self._hesitate(answer) if isinstance(answer, PendingLaunch) else answer for answer in answers]

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        """Read what each job did after its cursor; refused if the system does not even let us look."""
        now = self._clocks()
        self._reap()
        try:
            seen = self._watch.seen([(job, self._folder_of(job.job_id)) for job in jobs], objectives)
        except OSError as error:
            return Refused(error=str(error))
        self._forget(jobs)
        return PollResult(clock=now.wall, seen=seen, boot_clock=now.boot)

    def close(self) -> None:
        """Reap runners that have ended, and let go of the GPUs; other runners, their jobs and their GPUs go on."""
        CHILDREN.reap()
        if self._gpus is not None:
            self._gpus.close()

    # ---------------------------------------------------------------- one item at a time

    def _or_refuse(self, effect: Callable[[Item], Outcome], item: Item) -> Outcome | Refused:
        """Return the outcome of *effect* for *item*, a refusal if the system raised an error."""
        try:
            return effect(item)
        except (OSError, ValueError) as error:
            return Refused(error=f"{item.key}: {error}")

    def _folder_of(self, job_id: str) -> AttemptFolder:
        folder = self._folders.get(job_id)
        if folder is None:
            folder = self._folders[job_id] = AttemptFolder(self._jobs_folder / job_id)
        return folder

    def _forget(self, jobs: Sequence[BoundJob]) -> None:
        """Drop the cache of folders when most of it belongs to jobs that are over."""
        if len(self._folders) > 2 * len(jobs) + 100:
            self._folders.clear()

    def _reap(self) -> None:
        if time.monotonic() - self._reaped >= REAP:
            CHILDREN.reap()
            self._reaped = time.monotonic()

    def _draft(self, draft: DraftRequest) -> DraftOutcome:
        folder = self._folder_of(job_id_of(draft.key))
        params = folder.drafted() if draft.look else None
        if params is None:
            folder.create(draft.params, draft.before)
        elif params != as_json(draft.params):
            return Refused(error=f"{folder.params} holds other parameters than the intent {draft.key}")
        command = words(self._command, draft.params, draft.slot)
        provenance, texts = self._surroundings.of(command)
        return Bound(job_id=folder.job_id, adopted=params is not None, provenance=provenance, texts=texts)

    def _cancel(self, draft: DraftRequest) -> CancelOutcome:
        folder = self._folder_of(job_id_of(draft.key))
        why = "cancelled before it was bound"
        if folder.exists():
            folder.close_for_good("cancelled", why, self._clocks().wall)
            ticket = folder.ticket()
            if ticket is not None and ticket.never is None:
                return Refused(error=f"{folder.path} has started although it was never bound")
            folder.remove()
        return Ended(how="cancelled", why=why)

    def _stop(self, job: BoundJob) -> StopOutcome:
        folder = self._folder_of(job.job_id)
        if not folder.exists():
            return Stopping()  # a poll ends what runs without its folder, as lost
        if not job.started and not folder.has_ticket():
            if job.boot != boot_id():
                return _restarted()
            folder.close_for_good("cancelled", "stopped before it started", self._clocks().wall)
        return self._stop_started(job, folder)

    def _stop_started(self, job: BoundJob, folder: AttemptFolder) -> StopOutcome:
        never = never_started(folder, folder.ticket())
        if never is not None:
            return never
        end = folder.exit()
        if end is not None:
            return Stopping(over=by_itself(end))
        folder.ask_to_stop(self._clocks(), job.settled)
        return Stopping()

    # ---------------------------------------------------------------- launching

    def _begin(self, job: BoundJob) -> PendingLaunch | LaunchOutcome:
        """Start a runner unless there is one; return the outcome at once if it is clear already."""
        folder = self._folder_of(job.job_id)
        if not folder.exists():
            return self._without_folder(job, folder)
        known = self._by_ticket(folder)
        if known is not None:
            return known
        if job.boot != boot_id():
            return _restarted()
        locks = folder.take_locks()
        if locks is None:
            return PendingLaunch(job, folder, None)
        with locks:
            return self._by_ticket(folder) or self._spawn(job, folder, locks)

    def _without_folder(self, job: BoundJob, folder: AttemptFolder) -> LaunchOutcome:
        if job.boot != boot_id():
            return _restarted()
        why = f"its folder {folder.path} is gone"
        if job.failures + 1 >= FRUITLESS:
            return Ended(how="launch_failed", why=why)  # the folder is never made again, nor is a ticket without it
        return Refused(error=why)

    def _by_ticket(self, folder: AttemptFolder) -> Started | Ended | None:
        """Return the outcome that the ticket states; None if there is no ticket."""
        if not folder.has_ticket():
            return None
        ticket = folder.ticket()
        if ticket is None:
            return None
        never = never_started(folder, ticket)
        if never is not None:
            return never
        return Started(ticket.at, ticket.since_boot) if ticket.at else _restarted()

    def _spawn(self, job: BoundJob, folder: AttemptFolder, locks: Locks) -> PendingLaunch | LaunchOutcome:
        """Start a runner that inherits *locks*."""
        command = words(self._command, job.params, job.slot)
        if self._gpus is not None and not self._gpus.has(job.slot):
            return self._give_up(folder, "launch_failed", f"gpus has no entry for its slot {job.slot} any more")
        try:
            devices, inherited = ((), ()) if self._gpus is None else self._gpus.of(job.slot)
        except (DeviceTaken, StorageFailed) as error:
            return Refused(error=f"{job.key}: {error}")  # it waits until the device is free
        try:
            variables = environment(job, folder, os.environ, devices)
            runner = spawn(
                folder,
                self._folder,
                command=command,
                variables=variables,
                locks=locks,
                grace=self._grace,
                also=inherited,
            )
        except (OSError, ValueError) as error:
            return self._fruitless(
                PendingLaunch(job, folder, None), FRUITLESS, f"its runner cannot be started: {error}"
            )
        CHILDREN.add(runner)
        return PendingLaunch(job, folder, runner)

    def _go_on(self, waiting: PendingLaunch) -> PendingLaunch | LaunchOutcome:
        """Look again for the ticket; if there is none, whether the runner has ended without it."""
        return self._or_refuse(lambda _: self._look_again(waiting), waiting.job)

    def _look_again(self, waiting: PendingLaunch) -> PendingLaunch | LaunchOutcome:
        if waiting.runner is None:
            return self._begin(waiting.job)
        gone = CHILDREN.is_gone(waiting.runner)
        known = self._by_ticket(waiting.folder)
        if known is not None or not gone:
            return known or waiting
        return self._fruitless(waiting, FRUITLESS, "its runner ended without starting it")

    def _hesitate(self, waiting: PendingLaunch) -> LaunchOutcome:
        why = f"its runner lives, but has not started it within {self._start:g} s"
        return self._or_refuse(lambda _: self._fruitless(waiting, HESITANT, why), waiting.job)

    def _fruitless(self, waiting: PendingLaunch, tries: int, why: str) -> LaunchOutcome:
        """Refuse the launch; after *tries* in a row take the ticket, so that no late runner can start the job."""
        if waiting.job.failures + 1 < tries:
            return Refused(error=f"{waiting.job.key}: {why}; see {waiting.folder.output}")
        return self._give_up(waiting.folder, "launch_failed", f"{why}, {tries} times; see its output")

    def _give_up(self, folder: AttemptFolder, never: NeverStarted, why: str) -> LaunchOutcome:
        folder.close_for_good(never, why, self._clocks().wall)
        return self._by_ticket(folder) or Refused(error=f"{folder.path} cannot be closed: its ticket vanished")


def _restarted() -> Ended:
    """Return the end after a restart of the machine: nobody knows if the job had started, so it is lost."""
    return Ended(how="lost", why="the machine was restarted before its start was in the log")
