"""The promises of a backend, one test each: subclass `JobsContract` for a backend of your own.

    from eventhpo.testing.contract import Behaviour, JobsContract, Place

    class Cluster(Place):
        def backend(self): ...          # the backend; called again: the backend after a crash
        def runs(self, key): ...     # how often the job with this key has begun
        def made(self, key): ...     # how many jobs there are with this key

    class TestCluster(JobsContract):
        @pytest.fixture
        def place(self, tmp_path):
            return Cluster(tmp_path)

The jobs do what their parameters say, see `Behaviour`. A slow backend gets more
`patience`.
"""

from __future__ import annotations

from typing import ClassVar

from eventhpo.jobs.protocol import (
    POINTS,
    Bound,
    CancelOutcome,
    Ended,
    JobUpdate,
    LaunchOutcome,
    Queued,
    Started,
    StopOutcome,
    Stopping,
)
from eventhpo.testing.backends import Behaviour, Place
from eventhpo.testing.driver import BackendDriver, Watched, changed, points_of, watched
from eventhpo.testing.waiting import DEADLINE

__all__ = ["Behaviour", "JobsContract", "Place"]

SHORT = Behaviour(3)
HANGING = Behaviour(3, "hang")


class JobsContract:
    """Each promise of `JobBackend` as a test of the backend that the fixture `place` gives.

    A subclass defines that fixture: a new `Place` for each test. Nothing else has to be
    overridden. A test fails if it waits longer than `patience` seconds.
    """

    patience: ClassVar[float] = DEADLINE

    def driver(self, place: Place) -> BackendDriver:
        """Return the driver that asks the backend of *place*."""
        return BackendDriver(place, self.patience)

    # ---------------------------------------------------------------- draft

    def test_a_draft_makes_a_job_and_does_not_start_it(self, place: Place) -> None:
        """It is there once, has not begun, and could still be stopped before its start."""
        ask = self.driver(place)
        job = ask.bind(SHORT)
        ask.look(job)
        assert not job.starts
        assert not job.points
        assert place.made(job.job.key) == 1
        is_cancelled(*ask.stop(job))
        assert place.runs(job.job.key) == 0

    def test_a_draft_with_look_adopts_the_job_of_its_key(self, place: Place) -> None:
        """Each look after each crash finds the same job, and there is no second one."""
        ask = self.driver(place)
        first = ask.bound(ask.intent(SHORT))
        assert not first.adopted
        for _ in range(2):
            ask.crash()
            adopted = ask.bound(ask.intent(SHORT, look=True))
            assert adopted.adopted, "the job of the key is there, and is not said to be adopted"
            assert adopted.job_id == first.job_id
        assert place.made(ask.intent(SHORT).key) == 1

    def test_a_draft_with_look_makes_the_job_if_there_is_none(self, place: Place) -> None:
        """A crash may have come before the draft, too."""
        ask = self.driver(place)
        other = ask.bound(ask.intent(SHORT))
        made = ask.bound(ask.intent(SHORT, trial=1, look=True))
        assert not made.adopted
        assert made.job_id != other.job_id
        assert place.made(ask.intent(SHORT, trial=1).key) == 1

    def test_a_retry_is_a_job_of_its_own(self, place: Place) -> None:
        """The previous attempt, with the same parameters, is not taken for it."""
        ask = self.driver(place)
        first = ask.run(Behaviour(2, "exit 1"))
        ask.follow(first)
        draft = ask.retry(first, SHORT)
        second = watched(draft, ask.bound(changed(draft, look=True)).job_id)
        assert second.job.job_id != first.job.job_id
        ask.launch(second)
        ask.follow(second)
        ends_as(second, "completed")
        assert place.runs(second.job.key) == place.runs(first.job.key) == 1

    # ---------------------------------------------------------------- launch

    def test_a_job_that_is_launched_twice_starts_once(self, place: Place) -> None:
        """The second launch finds that it was started."""
        ask = self.driver(place)
        job = ask.bind(HANGING)
        ask.launch(job)
        ask.launch(job.forgotten())
        runs_once(ask, job)

    def test_a_job_that_is_launched_again_behind_a_crash_starts_once(self, place: Place) -> None:
        """Not only the memory of the backend keeps it from a second start."""
        ask = self.driver(place)
        job = ask.bind(HANGING)
        ask.launch(job)
        ask.crash()
        [answer] = ask.launch(job.forgotten())
        assert isinstance(answer, Queued | Started)
        runs_once(ask, job)

    def test_a_job_that_is_over_is_not_started_again(self, place: Place) -> None:
        """A crash may have come between its start and the receipt, and lasted."""
        ask = self.driver(place)
        job = ask.run(SHORT)
        ask.follow(job)
        ask.crash()
        late = job.forgotten()
        ask.launch(late)
        ask.follow(late)
        assert late.ended == job.ended
        assert late.points == job.points
        assert place.runs(job.job.key) == 1

    def test_the_start_of_a_job_is_told_once(self, place: Place) -> None:
        """By the launch or by a poll; and again only if it was not recorded."""
        ask = self.driver(place)
        job = ask.run(HANGING)
        ask.reported(job)
        ask.stop(job)
        ask.follow(job)
        assert len(job.starts) == 1, f"the start is told {len(job.starts)} times"
        ask.crash()
        late = job.forgotten()
        ask.follow(late)
        assert late.starts == job.starts

    # ---------------------------------------------------------------- poll

    def test_the_same_cursor_gets_the_same_answer_or_more_of_it(self, place: Place) -> None:
        """From the same backend, and from the one after a crash."""
        ask = self.driver(place)
        job = ask.run(Behaviour(7))

        def told_alike() -> bool:
            [first] = ask.poll(job)
            [second] = ask.poll(job)
            ask.crash()
            [third] = ask.poll(job)
            is_same_or_more(first, second)
            is_same_or_more(first, third)
            if first is not None:
                job.take(first)
            return job.ended is not None

        ask.insist(told_alike, "the end")
        assert job.points == job.reports

    def test_points_come_in_order_and_each_once(self, place: Place) -> None:
        """Each poll brings the points after its cursor; nothing more comes with the end."""
        ask = self.driver(place)
        job = ask.run(Behaviour(9, "hang"))
        ask.reported(job)
        assert job.points == job.reports
        ask.stop(job)
        ask.follow(job)
        assert job.points == job.reports

    def test_a_poll_brings_no_more_points_than_it_may(self, place: Place) -> None:
        """The others come in the next polls, even if all of them could be read at once."""
        ask = self.driver(place)
        job = ask.run(Behaviour(POINTS + 1))
        ask.follow(job)  # counts the points of each poll
        ask.crash()
        again = job.forgotten()
        ask.follow(again)
        assert again.points == job.points == job.reports

    def test_an_end_is_told_when_every_report_was_read(self, place: Place) -> None:
        """Nobody polls after an end: later reports would be lost."""
        ask = self.driver(place)
        jobs = [ask.run(Behaviour(points), trial) for trial, points in enumerate((0, 1, 8))]
        ask.follow(*jobs)
        assert [job.points for job in jobs] == [job.reports for job in jobs]

    def test_an_end_that_was_not_recorded_is_told_again(self, place: Place) -> None:
        """After a crash, and after all reports before it."""
        ask = self.driver(place)
        job = ask.run(SHORT)
        ask.follow(job)
        ask.crash()
        [seen] = ask.poll(job)
        assert seen is not None
        assert seen.ended == job.ended
        assert not points_of(seen)

    def test_a_job_that_exits_with_0_has_completed(self, place: Place) -> None:
        """All its reports come before its end."""
        ask = self.driver(place)
        job = ask.run(SHORT)
        ask.follow(job)
        ends_as(job, "completed")

    def test_a_job_that_exits_with_1_has_failed(self, place: Place) -> None:
        """All its reports come before its end."""
        ask = self.driver(place)
        job = ask.run(Behaviour(3, "exit 1"))
        ask.follow(job)
        ends_as(job, "failed")

    # ---------------------------------------------------------------- stop

    def test_a_running_job_that_is_stopped_ends_and_a_poll_tells_it(self, place: Place) -> None:
        """The answer says only that it was told to stop."""
        ask = self.driver(place)
        job = ask.run(HANGING)
        ask.reported(job)
        assert job.ended is None
        assert ask.stop(job) == [Stopping()]
        ask.follow(job)
        ends_as(job, "stopped")

    def test_a_stop_that_is_asked_again_behind_a_crash_changes_nothing(self, place: Place) -> None:
        """It was told, or is over."""
        ask = self.driver(place)
        job = ask.run(HANGING)
        ask.reported(job)
        ask.stop(job)
        ask.crash()
        assert ask.stop(job) == [Stopping()]
        ask.follow(job)
        assert ask.stop(job) == [Stopping()]
        ends_as(job, "stopped")

    def test_a_job_that_is_over_is_not_changed_by_a_stop(self, place: Place) -> None:
        """A verdict may come too late."""
        ask = self.driver(place)
        job = ask.run(SHORT)
        ask.follow(job)
        assert ask.stop(job) == [Stopping(over=True)]
        late = Watched(job.job, points=list(job.points))
        ask.follow(late)
        assert late.ended == job.ended
        ends_as(late, "completed")

    def test_a_job_that_is_stopped_before_its_start_never_starts(self, place: Place) -> None:
        """Each stop answers that it is cancelled, and no launch starts it."""
        ask = self.driver(place)
        job = ask.bind(SHORT)
        is_cancelled(*ask.stop(job))
        ask.crash()
        is_cancelled(*ask.stop(job))
        is_not_started(*ask.backend.launch([job.forgotten().job]))
        assert place.runs(job.job.key) == 0

    # ---------------------------------------------------------------- cancel

    def test_a_cancel_removes_what_an_unbound_intent_made(self, place: Place) -> None:
        """A crash lost the receipt of the draft; a second crash may lose the receipt of the cancel."""
        ask = self.driver(place)
        draft = ask.intent(SHORT)
        job = watched(draft, ask.bound(draft).job_id)
        for _ in range(2):
            ask.crash()
            is_cancelled(*ask.cancel(changed(draft, look=True)))
            assert place.made(draft.key) == 0
        is_not_started(*ask.backend.launch([job.job]))
        assert place.runs(draft.key) == 0

    def test_a_cancel_of_an_intent_that_made_nothing_is_a_cancel(self, place: Place) -> None:
        """It leaves other jobs alone."""
        ask = self.driver(place)
        other = ask.bind(SHORT)
        is_cancelled(*ask.cancel(ask.intent(SHORT, trial=1)))
        assert place.made(ask.intent(SHORT, trial=1).key) == 0
        assert place.made(other.job.key) == 1

    # ---------------------------------------------------------------- crashes

    def test_all_that_is_asked_again_behind_a_crash_gives_what_was_done(self, place: Place) -> None:
        """A controller without any receipt gets the same job, the same start, the same points and the same end."""
        ask = self.driver(place)
        job = ask.run(HANGING)
        ask.reported(job)
        ask.stop(job)
        ask.follow(job)
        ask.crash()
        adopted = ask.bound(ask.intent(HANGING, look=True))
        again = watched(ask.intent(HANGING), adopted.job_id)
        ask.launch(again)
        ask.stop(again)
        ask.follow(again)
        assert (adopted.adopted, adopted.job_id) == (True, job.job.job_id)
        assert again.starts == job.starts
        assert again.points == job.points
        assert again.ended == job.ended
        assert place.made(job.job.key) == place.runs(job.job.key) == 1

    def test_jobs_go_on_when_the_backend_is_closed(self, place: Place) -> None:
        """The next controller finds them running."""
        ask = self.driver(place)
        job = ask.run(HANGING)
        ask.backend.close()
        ask.crash()
        ask.reported(job)
        assert job.ended is None
        ask.stop(job)
        ask.follow(job)
        ends_as(job, "stopped")

    # ---------------------------------------------------------------- many jobs

    def test_outcomes_come_in_the_order_of_the_items(self, place: Place) -> None:
        """A poll names its jobs."""
        ask = self.driver(place)
        drafts = [ask.intent(Behaviour(2 + trial, "hang"), trial) for trial in (2, 0, 1)]
        jobs = [watched(draft, bound_id(answer)) for draft, answer in zip(drafts, ask.draft(*drafts), strict=True)]
        assert [bound_id(answer) for draft in drafts for answer in ask.draft(changed(draft, look=True))] == [
            job.job.job_id for job in jobs
        ]
        first, never, last = jobs
        is_cancelled(*ask.stop(never))
        answers = ask.backend.launch([never.job, first.job, last.job])
        is_not_started(answers[0])
        assert [isinstance(answer, Ended) for answer in answers[1:]] == [False, False]
        ask.launch(first, last)
        ask.reported(first, last)
        stopped = ask.stop(first, never, last)
        assert [isinstance(answer, Stopping) for answer in stopped] == [True, False, True]
        is_cancelled(stopped[1])
        ask.follow(first, last)
        ends_as(first, "stopped")
        ends_as(last, "stopped")

    def test_one_bad_job_does_not_spoil_the_answers_of_the_others(self, place: Place) -> None:
        """Wherever it is among them, and whatever the backend says of it."""
        ask = self.driver(place)
        first, bad, last = (ask.bind(HANGING, trial) for trial in range(3))
        bad.job = place.spoil(bad.job)
        ask.launch(bad, first, last, bad=bad)
        ask.until(lambda: first.points == last.points == first.reports, "all reports of the others", first, bad, last)
        answers = ask.stop(first, last, bad, bad=bad)
        assert answers[:2] == [Stopping(), Stopping()]
        ask.until(lambda: first.ended and last.ended, "the end of the others", bad, last, first)
        ends_as(first, "stopped")
        ends_as(last, "stopped")
        assert place.runs(first.job.key) == place.runs(last.job.key) == 1

    def test_the_waits_between_two_polls_are_in_order(self, place: Place) -> None:
        """The loop doubles the shorter one until it is as long as the longer one."""
        backend = place.backend()
        assert 0 < backend.shortest_wait <= backend.longest_wait


def runs_once(ask: BackendDriver, job: Watched) -> None:
    """Stop a job that hangs and follow it to its end; assert that it ran once and reported each point once."""
    ask.reported(job)
    ask.stop(job)
    ask.follow(job)
    assert job.points == job.reports
    times = ask.place.runs(job.job.key)
    assert times == 1, f"{job.job.key} ran {times} times"


def is_cancelled(answer: StopOutcome | CancelOutcome) -> None:
    """Assert that the answer is the end of a job that never started."""
    assert isinstance(answer, Ended), f"a cancel is answered with {answer}"
    assert answer.how == "cancelled", f"a cancel is answered with {answer}"


def is_not_started(answer: LaunchOutcome) -> None:
    """Assert that the answer does not say that the job runs or will run."""
    assert not isinstance(answer, Queued | Started), f"a job that never starts is answered with {answer}"


def ends_as(job: Watched, how: str) -> None:
    """Assert that the job has ended as *how* says, after all its reports."""
    assert job.ended is not None
    assert job.points == job.reports
    assert job.ended.how == how, f"{job.job.key} ended as {job.ended}"


def bound_id(answer: object) -> str:
    """Return the job id of the answer to a draft."""
    assert isinstance(answer, Bound), f"a draft is answered with {answer}"
    return answer.job_id


def is_same_or_more(first: JobUpdate | None, second: JobUpdate | None) -> None:
    """Assert that *second* begins with all that *first* tells."""
    if first is None or first.refused is not None:
        return
    assert second is not None, "what was told once is not told again"
    if second.refused is not None:
        return
    first_points, second_points = points_of(first), points_of(second)
    assert second_points[: len(first_points)] == first_points, "the same cursor gets other points"
    assert second.to >= first.to
    assert first.started in (None, second.started)
    assert first.ended in (None, second.ended)
