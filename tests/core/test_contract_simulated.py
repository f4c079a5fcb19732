"""The contract of a backend, kept by simulated jobs; each backend that breaks it is found by the right tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.search.spec import Objective, Scalar
from eventhpo.jobs.protocol import (
    POINTS,
    Bound,
    BoundJob,
    CancelOutcome,
    DraftOutcome,
    DraftRequest,
    Ended,
    JobUpdate,
    LaunchOutcome,
    PollResult,
    Refused,
    Started,
    StopOutcome,
    Stopping,
)
from eventhpo.testing.contract import Behaviour, JobsContract, Place
from eventhpo.testing.simulated import Deed, Ledger, Script, SimulatedClock, SimulatedJobs


class Simulation(Place):
    """Simulated jobs on a ledger; *kind* is the backend to them."""

    def __init__(self, folder: Path, kind: type[SimulatedJobs] = SimulatedJobs, *, queued: bool = False) -> None:
        super().__init__()
        self._path = folder / "jobs.ledger"
        self._kind = kind
        self._queued = queued
        self._spoilt: set[int] = set()

    def backend(self) -> SimulatedJobs:
        return self._kind(self._path, self._script, SimulatedClock(), cut=self._cut)

    def runs(self, key: str) -> int:
        return len(self._deeds("launch", key))

    def made(self, key: str) -> int:
        removed = {deed.job_id for deed in self._deeds("cancel", key)}
        return len({deed.job_id for deed in self._deeds("draft", key)} - removed)

    def spoil(self, job: BoundJob) -> BoundJob:
        self._spoilt.add(job.trial)
        return job

    def _deeds(self, what: str, key: str) -> list[Deed]:
        return [deed for deed in Ledger(self._path).deeds() if deed.what == what and deed.key == key]

    def _script(self, trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        behaviour = Behaviour.of(params)
        return Script(
            points=behaviour.reports,
            how="failed" if behaviour.then == "exit 1" else "completed",
            hangs=behaviour.then == "hang",
            ends_apart=self._queued,
            queued=self._queued,
            refusals=dict.fromkeys(("launch", "stop"), 99) if trial in self._spoilt else {},
        )

    def _cut(self, trial: int, attempt: int, cursor: int) -> int:
        """Two points in a poll, and as many as it may bring once the beginning was read."""
        return 2 if cursor < 8 else POINTS


class TestSimulatedJobs(JobsContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Simulation:
        return Simulation(tmp_path)


class TestQueuedJobs(JobsContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Simulation:
        return Simulation(tmp_path, queued=True)


# ---------------------------------------------------------------- negative controls


class StartsTwice(SimulatedJobs):
    def _launch(self, item: BoundJob, script: Script) -> LaunchOutcome:
        self._do("launch", item, item.job_id)
        return Started(self._clock.now())


class RemembersStarts(SimulatedJobs):
    """Starts once, as long as it lives."""

    def _launch(self, item: BoundJob, script: Script) -> LaunchOutcome:
        mine = self.__dict__.setdefault("mine", set())
        if item.job_id not in mine:
            mine.add(item.job_id)
            self._do("launch", item, item.job_id)
        return Started(self._clock.now())


class NeverLooks(SimulatedJobs):
    def _draft(self, item: DraftRequest, script: Script) -> DraftOutcome:
        return super()._draft(msgspec.structs.replace(item, look=False), script)


class AdoptsAnything(SimulatedJobs):
    def _draft(self, item: DraftRequest, script: Script) -> DraftOutcome:
        found = self.ledger.find("draft") if item.look else None
        return super()._draft(item, script) if found is None else Bound(job_id=found.job_id, adopted=True)


class StartsDrafts(SimulatedJobs):
    def _draft(self, item: DraftRequest, script: Script) -> DraftOutcome:
        bound = super()._draft(item, script)
        if isinstance(bound, Bound) and not bound.adopted:
            self._do("launch", item, bound.job_id)
        return bound


class StartsTheStopped(SimulatedJobs):
    def _launch(self, item: BoundJob, script: Script) -> LaunchOutcome:
        if self.ledger.find("launch", job_id=item.job_id) is None:
            self._do("launch", item, item.job_id)
        return Started(self._clock.now())


class LeavesTheCancelled(SimulatedJobs):
    def _cancel(self, item: DraftRequest, script: Script) -> Ended:
        return Ended(how="cancelled")


class CancelsOnlyWhatIsThere(SimulatedJobs):
    def _cancel(self, item: DraftRequest, script: Script) -> CancelOutcome:
        found = self.ledger.find("draft", key=item.key)
        return Refused(error="no such job") if found is None else super()._cancel(item, script)


class DoesNotStop(SimulatedJobs):
    def _stop(self, item: BoundJob, script: Script) -> StopOutcome:
        return Stopping()


class StopsWhatIsOver(SimulatedJobs):
    def _is_over(self, item: BoundJob, script: Script) -> bool:
        return False

    def _end(self, script: Script, *, natural: bool, stopped: bool) -> Ended | None:
        return Ended(how="stopped") if stopped else super()._end(script, natural=natural, stopped=stopped)


class Backwards(SimulatedJobs):
    def draft(self, drafts: Sequence[DraftRequest]) -> list[DraftOutcome]:
        return super().draft(drafts)[::-1]


class Raises(SimulatedJobs):
    def launch(self, jobs: Sequence[BoundJob]) -> list[LaunchOutcome]:
        answers = super().launch(jobs)
        if len(answers) > 1 and not isinstance(answers[0], Started):
            raise AssertionError("one of them is bad")
        return answers


class Sees(SimulatedJobs):
    """Tells what it saw in another way."""

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult:
        polled = super().poll(jobs, objectives)
        asked = {(job.trial, job.attempt): job for job in jobs}
        seen = [self.tell(asked[one.trial, one.attempt], one) for one in polled.seen]
        return PollResult(clock=polled.clock, seen=tuple(seen))

    def tell(self, job: BoundJob, seen: JobUpdate) -> JobUpdate:
        return seen


class LosesAPoint(Sees):
    def tell(self, job: BoundJob, seen: JobUpdate) -> JobUpdate:
        curves = [
            msgspec.structs.replace(curve, iterations=curve.iterations[1:], values=curve.values[1:])
            for curve in seen.curves
            if job.cursor == 2
        ]
        return msgspec.structs.replace(seen, curves=tuple(curves)) if curves else seen


class RepeatsAPoint(Sees):
    def tell(self, job: BoundJob, seen: JobUpdate) -> JobUpdate:
        return msgspec.structs.replace(seen, to=job.cursor + 1) if seen.to == job.cursor + 2 else seen


class TellsStartsAgain(Sees):
    def tell(self, job: BoundJob, seen: JobUpdate) -> JobUpdate:
        return msgspec.structs.replace(seen, started=Started(self._clock.now()))


class EndsTooSoon(Sees):
    def tell(self, job: BoundJob, seen: JobUpdate) -> JobUpdate:
        done = seen.to >= len(self._scripts(job.trial, job.attempt, job.params).points) // 2
        return msgspec.structs.replace(seen, ended=Ended(how="completed")) if done and seen.ended is None else seen


class ForgetsWhatItTold(Sees):
    """Each point once in the life of the backend."""

    def tell(self, job: BoundJob, seen: JobUpdate) -> JobUpdate:
        told = self.__dict__.setdefault("told", {})
        first = told.setdefault((job.job_id, job.cursor), self)
        told[job.job_id, job.cursor] = None
        return seen if first is self else msgspec.structs.replace(seen, curves=())


class TellsTooMuch(SimulatedJobs):
    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult:
        self._cut = lambda trial, attempt, cursor: 2 * POINTS
        return super().poll(jobs, objectives)


class TakesItsJobsAlong(SimulatedJobs):
    def close(self) -> None:
        for deed in self.ledger.deeds():
            if deed.what == "launch":
                self.ledger.add(msgspec.structs.replace(deed, what="stop"))


class NeverWaits(SimulatedJobs):
    longest_wait = 0.0


TESTS = {name for name in dir(JobsContract) if name.startswith("test_")}
ADOPTS = "test_a_draft_with_look_adopts_the_job_of_its_key"
AGAIN = "test_all_that_is_asked_again_behind_a_crash_gives_what_was_done"
BAD = "test_one_bad_job_does_not_spoil_the_answers_of_the_others"
CANCELLED = "test_a_cancel_removes_what_an_unbound_intent_made"
CLOSED = "test_jobs_go_on_when_the_backend_is_closed"
COMPLETED = "test_a_job_that_exits_with_0_has_completed"
DRAFT = "test_a_draft_makes_a_job_and_does_not_start_it"
END_AGAIN = "test_an_end_that_was_not_recorded_is_told_again"
END_LAST = "test_an_end_is_told_when_every_report_was_read"
FAILED = "test_a_job_that_exits_with_1_has_failed"
MAKES = "test_a_draft_with_look_makes_the_job_if_there_is_none"
MANY = "test_a_poll_brings_no_more_points_than_it_may"
NEVER = "test_a_job_that_is_stopped_before_its_start_never_starts"
NOTHING = "test_a_cancel_of_an_intent_that_made_nothing_is_a_cancel"
ORDER = "test_outcomes_come_in_the_order_of_the_items"
OVER = "test_a_job_that_is_over_is_not_started_again"
POINT = "test_points_come_in_order_and_each_once"
RELAUNCHED = "test_a_job_that_is_launched_again_behind_a_crash_starts_once"
RETRY = "test_a_retry_is_a_job_of_its_own"
SAME = "test_the_same_cursor_gets_the_same_answer_or_more_of_it"
START = "test_the_start_of_a_job_is_told_once"
STOP = "test_a_running_job_that_is_stopped_ends_and_a_poll_tells_it"
STOP_AGAIN = "test_a_stop_that_is_asked_again_behind_a_crash_changes_nothing"
TOO_LATE = "test_a_job_that_is_over_is_not_changed_by_a_stop"
TWICE = "test_a_job_that_is_launched_twice_starts_once"
WAITS = "test_the_waits_between_two_polls_are_in_order"

BROKEN: dict[type[SimulatedJobs], tuple[set[str], set[str]]] = {  # which tests turn red, and which others do not
    StartsTwice: ({TWICE, RELAUNCHED, OVER, AGAIN}, {DRAFT, ADOPTS, POINT, STOP}),
    RemembersStarts: ({RELAUNCHED, OVER, AGAIN}, {TWICE, DRAFT, POINT, STOP}),
    NeverLooks: ({ADOPTS, AGAIN}, {MAKES, TWICE, POINT, STOP}),
    AdoptsAnything: ({MAKES, RETRY}, {ADOPTS, AGAIN, TWICE}),
    StartsDrafts: ({DRAFT, NEVER, CANCELLED}, {ADOPTS, TWICE, POINT, STOP}),
    StartsTheStopped: ({NEVER, CANCELLED}, {DRAFT, TWICE, STOP}),
    LeavesTheCancelled: ({CANCELLED}, TESTS - {CANCELLED}),
    CancelsOnlyWhatIsThere: ({NOTHING}, TESTS - {NOTHING}),
    DoesNotStop: ({STOP, STOP_AGAIN, NEVER, CLOSED}, {COMPLETED, FAILED, OVER}),
    StopsWhatIsOver: ({TOO_LATE}, TESTS - {TOO_LATE}),
    Backwards: ({ORDER}, TESTS - {ORDER}),
    Raises: ({BAD}, TESTS - {BAD, ORDER}),
    LosesAPoint: ({POINT, SAME, END_LAST, COMPLETED, FAILED, MANY}, {DRAFT, ADOPTS, NEVER, CANCELLED}),
    RepeatsAPoint: ({POINT, SAME, END_LAST, COMPLETED, FAILED}, {DRAFT, ADOPTS, NEVER, CANCELLED}),
    TellsStartsAgain: ({START}, TESTS - {START, AGAIN}),
    EndsTooSoon: ({END_LAST, END_AGAIN, COMPLETED, FAILED}, {DRAFT, ADOPTS, NEVER, CANCELLED}),
    ForgetsWhatItTold: ({SAME}, TESTS - {SAME}),
    TellsTooMuch: ({MANY}, TESTS - {MANY}),
    TakesItsJobsAlong: ({CLOSED}, TESTS - {CLOSED}),
    NeverWaits: ({WAITS}, TESTS - {WAITS}),
}


class Impatient(JobsContract):
    """For tests that are to fail: simulated jobs need no time at all."""

    patience = 0.2


def fails(contract: JobsContract, test: str, folder: Path, kind: type[SimulatedJobs]) -> bool:
    """Whether the backend *kind* fails *test* of *contract*."""
    folder.mkdir()
    try:
        getattr(contract, test)(Simulation(folder, kind))
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_backend_that_breaks_a_promise_fails_its_tests_and_no_others(
    kind: type[SimulatedJobs], tmp_path: Path
) -> None:
    red, green = BROKEN[kind]
    assert {test for test in red if fails(Impatient(), test, tmp_path / test, kind)} == red
    assert not {test for test in green if fails(JobsContract(), test, tmp_path / test, kind)}


def test_each_test_of_the_contract_is_failed_by_some_backend() -> None:
    assert {test for red, _ in BROKEN.values() for test in red} == TESTS


def test_a_backend_of_ones_own_can_be_tested_without_pytest() -> None:
    """A subclass needs it for its fixture; the contract itself does not, nor do the simulated jobs."""
    code = """
import sys
sys.modules["pytest"] = None
import eventhpo.testing.contract, eventhpo.testing.searches
"""
    subprocess.run([sys.executable, "-c", code], check=True)
