"""Drive a backend as a controller does, and keep of its answers what a log would keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from eventhpo.core.fold.curve import Curve
from eventhpo.jobs.local.host import boot_id
from eventhpo.jobs.protocol import (
    POINTS,
    Bound,
    BoundJob,
    CancelOutcome,
    DraftOutcome,
    DraftRequest,
    Ended,
    Item,
    JobUpdate,
    LaunchOutcome,
    Outcome,
    PollResult,
    Queued,
    Refused,
    Started,
    StopOutcome,
)
from eventhpo.testing.backends import Behaviour, Place
from eventhpo.testing.waiting import eventually


@dataclass
class Watched:
    """A bound job and all that the backend said of it; `job` is what the next call passes."""

    job: BoundJob
    points: list[tuple[int, float]] = field(default_factory=list)
    starts: list[Started] = field(default_factory=list)
    ended: Ended | None = None

    @property
    def reports(self) -> list[tuple[int, float]]:
        """All that the job is to report."""
        return list(Behaviour.of(self.job.params).reports)

    def launched(self, answer: LaunchOutcome) -> None:
        """Take in the answer to a launch."""
        if isinstance(answer, Started):
            self.starts.append(answer)
            self.job = changed(self.job, started=True)

    def take(self, seen: JobUpdate) -> None:
        """Take in the update of a poll.

        Raises:
            AssertionError: it breaks a promise, so that no controller could use it.
        """
        key, cursor = self.job.key, self.job.cursor
        assert seen.to >= cursor, f"{key}: the cursor goes back from {cursor} to {seen.to}"
        if seen.refused is not None:
            has_content = seen.curves or seen.started or seen.ended or seen.to != cursor
            assert not has_content, f"{key}: it could not be looked at, and is told of all the same: {seen}"
            self.job = changed(self.job, failures=self.job.failures + 1)
            return
        new = points_of(seen)
        assert len(new) <= POINTS, f"{key}: {len(new)} points in one poll"
        assert not new or seen.to > cursor, f"{key}: points without a step of the cursor, they would come again"
        self.points += new
        self.starts += [seen.started] if seen.started is not None else []
        self.ended = seen.ended or self.ended
        started = self.job.started or seen.started is not None
        known = (curve_of(self.points),)
        self.job = changed(self.job, cursor=seen.to, points=len(self.points), known=known, started=started, failures=0)

    def forgotten(self) -> Watched:
        """Return the job as it is in a log whose last event of it is that it was bound."""
        nothing = (curve_of([]),)
        return Watched(changed(self.job, cursor=0, points=0, known=nothing, started=False, stopping=False, failures=0))


class BackendDriver:
    """Makes the calls of a controller one by one, and repeats calls that are refused."""

    def __init__(self, place: Place, patience: float) -> None:
        self.place = place
        self.patience = patience
        self.backend = place.backend()

    def crash(self) -> None:
        """Go on with a new backend that remembers nothing."""
        self.backend = self.place.backend()

    # ---------------------------------------------------------------- intents

    def intent(self, behaviour: Behaviour, trial: int = 0, *, look: bool = False) -> DraftRequest:
        """Return the intent of a first attempt that behaves so."""
        return DraftRequest(
            trial=trial,
            attempt=0,
            key=f"eventhpo:{self.place.search_id}:17-89abcdef:{trial}.0",
            params=behaviour.params,
            slot=trial,
            before=None,
            look=look,
            failures=0,
        )

    def retry(self, watched: Watched, behaviour: Behaviour) -> DraftRequest:
        """Return the intent of the attempt after the one of *watched*."""
        key = f"{watched.job.key.rpartition('.')[0]}.{watched.job.attempt + 1}"
        first = self.intent(behaviour, watched.job.trial)
        return changed(first, attempt=watched.job.attempt + 1, key=key, before=watched.job.job_id)

    def draft(self, *drafts: DraftRequest) -> list[DraftOutcome]:
        """Draft; repeat what is refused."""
        return self._ask(self.backend.draft, drafts)

    def bound(self, draft: DraftRequest) -> Bound:
        """Draft one intent and return its job."""
        [answer] = self.draft(draft)
        assert isinstance(answer, Bound), f"{draft.key}: the draft was answered with {answer}"
        return answer

    def bind(self, behaviour: Behaviour, trial: int = 0) -> Watched:
        """Draft a job that behaves so."""
        draft = self.intent(behaviour, trial)
        return watched(draft, self.bound(draft).job_id)

    def cancel(self, *drafts: DraftRequest) -> list[CancelOutcome]:
        """Cancel; repeat what is refused."""
        return self._ask(self.backend.cancel, drafts)

    # ---------------------------------------------------------------- jobs

    def launch(self, *jobs: Watched, bad: Watched | None = None) -> list[LaunchOutcome]:
        """Launch; repeat what is refused, except the *bad* job."""
        answers = self._ask(self.backend.launch, [job.job for job in jobs], None if bad is None else bad.job)
        for job, answer in zip(jobs, answers, strict=True):
            job.launched(answer)
        return answers

    def run(self, behaviour: Behaviour, trial: int = 0) -> Watched:
        """Draft and launch a job that behaves so."""
        job = self.bind(behaviour, trial)
        [answer] = self.launch(job)
        assert isinstance(answer, Queued | Started), f"{job.job.key}: the launch was answered with {answer}"
        return job

    def stop(self, *jobs: Watched, bad: Watched | None = None) -> list[StopOutcome]:
        """Stop; repeat what is refused, except the *bad* job."""
        for job in jobs:
            job.job = changed(job.job, stopping=True)
        return self._ask(self.backend.stop, [job.job for job in jobs], None if bad is None else bad.job)

    # ---------------------------------------------------------------- looking

    def poll(self, *jobs: Watched) -> list[JobUpdate | None]:
        """Poll once and return the update of each job, None for a job without one."""
        polled = self.insist(lambda: self._polled(jobs), "a poll that is not refused")
        names = [(job.job.trial, job.job.attempt) for job in jobs]
        seen = {(update.trial, update.attempt): update for update in polled.seen}
        assert len(seen) == len(polled.seen), f"a poll tells twice of one job: {polled}"
        assert seen.keys() <= set(names), f"a poll tells of a job that it was not asked for: {polled}"
        expected = {(self.place.objective.title, self.place.objective.series)}
        others = {(c.title, c.series) for update in polled.seen for c in update.curves} - expected
        assert not others, f"a poll tells of objectives that it was not asked for: {others}"
        return [seen.get(name) for name in names]

    def _polled(self, jobs: Sequence[Watched]) -> PollResult | None:
        answer = self.backend.poll([job.job for job in jobs], [self.place.objective])
        return None if isinstance(answer, Refused) else answer

    def look(self, *jobs: Watched) -> None:
        """Poll once, if there is anything to look at, and take in what was told."""
        for job, seen in zip(jobs, self.poll(*jobs) if jobs else (), strict=True):
            if seen is not None:
                job.take(seen)

    def until(self, condition: Callable[[], object], what: str, *jobs: Watched) -> None:
        """Look until *condition* is met; jobs that are over are left out."""

        def met() -> bool:
            self.look(*(job for job in jobs if job.ended is None))
            return bool(condition())

        self.insist(met, what)

    def follow(self, *jobs: Watched) -> None:
        """Look until each job is over."""
        self.until(lambda: all(job.ended for job in jobs), f"the end of {_keys(jobs)}", *jobs)

    def reported(self, *jobs: Watched) -> None:
        """Look until each job has been seen to start and to report all that it is to report."""
        self.until(
            lambda: all(job.starts and len(job.points) >= len(job.reports) for job in jobs),
            f"all reports of {_keys(jobs)}",
            *jobs,
        )

    # ---------------------------------------------------------------- insisting

    def _ask(
        self, effect: Callable[[Sequence[Item]], Sequence[Outcome]], items: Sequence[Item], bad: Item | None = None
    ) -> list[Outcome]:
        answers = list(effect(items))
        assert len(answers) == len(items), f"{len(answers)} answers to {len(items)} items: {answers}"
        return [
            answer if item is bad else self._insist(effect, item, answer)
            for item, answer in zip(items, answers, strict=True)
        ]

    def _insist(self, effect: Callable[[Sequence[Item]], Sequence[Outcome]], item: Item, answer: Outcome) -> Outcome:
        """Ask for *item* again, as a controller does, until it is not refused."""

        def asked() -> bool:
            nonlocal item, answer
            if isinstance(answer, Refused):
                item = again(item, answer)
                [answer] = effect([item])
            return not isinstance(answer, Refused)

        self.insist(asked, f"an answer for {item.key} that is no refusal")
        return answer

    def insist(self, condition: Callable[[], Outcome | None], what: str) -> Outcome:
        """Return the first truthy answer of *condition*."""
        answer = eventually(condition, what, deadline=self.patience, step=self.backend.shortest_wait)
        assert answer is not None
        return answer


def again(item: Item, refused: Refused) -> Item:
    """Return *item* as it is passed again after a refusal."""
    doubt = {"look": item.look or refused.in_doubt} if isinstance(item, DraftRequest) else {}
    return changed(item, failures=item.failures + 1, **doubt)


def watched(draft: DraftRequest, job_id: str) -> Watched:
    """Return the bound job of an intent."""
    job = BoundJob(
        trial=draft.trial,
        attempt=draft.attempt,
        key=draft.key,
        job_id=job_id,
        params=draft.params,
        slot=draft.slot,
        started=False,
        stopping=False,
        lost=False,
        cursor=0,
        points=0,
        failures=0,
        boot=boot_id(),
        known=(curve_of([]),),
    )
    return Watched(job)


def changed(item: Item, **fields: object) -> Item:
    """Return *item* with other *fields*."""
    return msgspec.structs.replace(item, **fields)


def curve_of(points: Sequence[tuple[int, float]]) -> Curve:
    """Return the curve that a log has of these points."""
    curve = Curve()
    list(curve.add(points))
    return curve


def points_of(seen: JobUpdate) -> list[tuple[int, float]]:
    """Return the points of all curves in *seen*."""
    return [point for curve in seen.curves for point in zip(curve.iterations, curve.values, strict=True)]


def _keys(jobs: Sequence[Watched]) -> str:
    return ", ".join(job.job.key for job in jobs)
