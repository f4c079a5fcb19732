"""A place with jobs on this machine, scripts for them, and a ledger of what really ran."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from eventhpo.core.search.spec import Objective, Scalar
from eventhpo.jobs.local.folder import AttemptFolder, Ticket
from eventhpo.jobs.local.host import boot_id
from eventhpo.jobs.local.local_jobs import LocalBackend
from eventhpo.jobs.local.reconcile import job_id_of
from eventhpo.jobs.protocol import Bound, BoundJob, DraftRequest, Ended, JobUpdate, PollResult, Started, Stopping
from tests.waiting import eventually

ACCURACY = Objective("validation", "accuracy", "max")
Item = TypeVar("Item", DraftRequest, BoundJob)
ROOT = Path(__file__).parents[2]

LEDGER = """
import os
with open("ledger", "a") as file:
    file.write(os.environ["EVENTHPO_KEY"] + "\\n")
"""
FOREVER = """
import signal
while True:
    signal.pause()
"""


class Place:
    """A folder with a script `train.py`, and the backend to jobs that run it."""

    def __init__(self, folder: Path, search_id: str = "", start: float = 20.0) -> None:
        self.folder = folder
        self.search_id = search_id or secrets.token_hex(6)
        self.jobs_folder = folder / "search.db.jobs"
        self.grace = 10.0
        self.start = start
        self.command: tuple[str, ...] = ("python", "train.py")

    def script(self, text: str, name: str = "train.py") -> None:
        (self.folder / name).write_text(textwrap.dedent(text))

    def backend(self) -> LocalBackend:
        """As a controller that has just been started has it."""
        return LocalBackend(self.command, str(self.folder), self.jobs_folder, grace=self.grace, start=self.start)

    def key(self, trial: int = 0, attempt: int = 0) -> str:
        return f"eventhpo:{self.search_id}:17-89abcdef:{trial}.{attempt}"

    def draft(self, trial: int = 0, attempt: int = 0, params: dict[str, Scalar] | None = None) -> DraftRequest:
        return DraftRequest(
            trial=trial,
            attempt=attempt,
            key=self.key(trial, attempt),
            params={"General/lr": 0.5} if params is None else params,
            slot=3,
            before=job_id_of(self.key(trial, attempt - 1)) if attempt else None,
            look=False,
            failures=0,
        )

    def bound(self, trial: int = 0, attempt: int = 0, params: dict[str, Scalar] | None = None) -> BoundJob:
        draft = self.draft(trial, attempt, params)
        [bound] = self.backend().draft([draft])
        assert isinstance(bound, Bound), bound
        return a_job(draft)

    def started(self, trial: int = 0, attempt: int = 0, params: dict[str, Scalar] | None = None) -> BoundJob:
        job = self.bound(trial, attempt, params)
        [started] = self.backend().launch([job])
        assert isinstance(started, Started), started
        return changed(job, started=True)

    def attempt(self, job: BoundJob) -> AttemptFolder:
        return AttemptFolder(self.jobs_folder / job.job_id)

    def ticket(self, job: BoundJob) -> Ticket:
        ticket = self.attempt(job).ticket()
        assert ticket is not None
        return ticket

    def ended(self, job: BoundJob, backend: LocalBackend | None = None) -> Ended:
        return self.watched(job, backend)[-1]

    def watched(self, job: BoundJob, backend: LocalBackend | None = None) -> tuple[list[JobUpdate], Ended]:
        """Poll *job* as a controller does until it is over; return all that was seen, and the end."""
        backend = self.backend() if backend is None else backend
        sight: list[JobUpdate] = []

        def over() -> Ended | None:
            nonlocal job
            seen = look(backend, job)
            sight.append(seen)
            points = job.points + sum(len(curve.iterations) for curve in seen.curves)
            job = changed(job, cursor=seen.to, points=points, started=job.started or seen.started is not None)
            return seen.ended

        ended = eventually(over, "the end of the job")
        assert ended is not None
        return sight, ended

    def stop(self, job: BoundJob) -> BoundJob:
        [answer] = self.backend().stop([job])
        assert isinstance(answer, Stopping), answer
        return changed(job, stopping=True)

    def says(self, name: str) -> str:
        """Return what a job wrote into the file *name*, once it is there."""
        return eventually(lambda: content(self.folder / name), name)

    def ledger(self) -> Counter[str]:
        """Return how often each attempt ran, by key."""
        path = self.folder / "ledger"
        return Counter(path.read_text().split()) if path.exists() else Counter()


def content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def check_ledger(ledger: Counter[str]) -> None:
    """No attempt ran twice."""
    twice = [name for name, times in ledger.items() if times > 1]
    assert not twice, f"ran more than once: {twice}"


def a_job(draft: DraftRequest) -> BoundJob:
    return BoundJob(
        trial=draft.trial,
        attempt=draft.attempt,
        key=draft.key,
        job_id=job_id_of(draft.key),
        params=draft.params,
        slot=draft.slot,
        started=False,
        stopping=False,
        lost=False,
        cursor=0,
        points=0,
        failures=0,
        boot=boot_id(),
    )


def changed(item: Item, **fields: object) -> Item:
    return msgspec.structs.replace(item, **fields)


def look(backend: LocalBackend, job: BoundJob) -> JobUpdate:
    polled = backend.poll([job], [ACCURACY])
    assert isinstance(polled, PollResult), polled
    [seen] = polled.seen
    return seen


def points(sight: list[JobUpdate]) -> list[tuple[int, float]]:
    """Return the objective's points in all that was seen."""
    return [
        point for seen in sight for curve in seen.curves for point in zip(curve.iterations, curve.values, strict=True)
    ]


def processes_with(name: str) -> list[int]:
    """Return the live processes whose environment carries the key *name*."""
    return [pid for pid in _pids() if f"EVENTHPO_KEY={name}".encode() in environment_of(pid)]


def is_running(pid: int) -> bool:
    """Whether *pid* lives, a zombie not counted."""
    return _stat(pid)[:1] not in ([], [b"Z"])


def start_of(pid: int) -> int | None:
    """Return when *pid* began, in clock ticks since boot."""
    found = _stat(pid)
    return int(found[19]) if found else None


def _stat(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)


def controller(place: Place) -> list[str]:
    """Return the command of a controller in another process that launches the jobs named on its command line."""
    code = """
    import sys
    from pathlib import Path
    from tests.jobs.harness import Place, a_job
    place = Place(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
    jobs = [a_job(place.draft(int(trial))) for trial in sys.argv[4:]]
    print("ready", flush=True)
    sys.stdin.readline()
    print(place.backend().launch(jobs), flush=True)
    """
    return [sys.executable, "-c", textwrap.dedent(code), str(place.folder), place.search_id, str(place.start)]


def _pids() -> Iterator[int]:
    yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def key_and_value(backend: LocalBackend, job: BoundJob) -> list[tuple[int, float]]:
    """Return the points that one poll sees."""
    return points([look(backend, job)])


def started_by(ticket: Ticket) -> Started:
    """Return the start as the backend tells it that found *ticket*."""
    return Started(ticket.at, ticket.since_boot)
