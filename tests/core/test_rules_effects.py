"""Effects: found again by key, never twice, tried again after a back-off; clocks; requests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.controller.effects import draft_item
from eventhpo.core.fold.deadlines import Now, back_off, deadlines
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ClockTicked,
    ControllerStarted,
    EffectFailed,
    Event,
    InheritanceClaimed,
    JobBound,
    JobCreated,
    JobEnded,
    JobReturned,
    JobStarted,
    JobStopSent,
    LimitsChanged,
    MetricObserved,
    PointEnqueued,
    SearchEnding,
    SearchFinished,
    StopAsked,
    TrialFinished,
)
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import MINUTE, LimitChanges, Objective, Scalar
from eventhpo.jobs import protocol
from eventhpo.jobs.protocol import BoundJob, DraftRequest, PollResult, Refused
from eventhpo.log.reader import read
from eventhpo.testing.searches import ScriptedRequests, search
from eventhpo.testing.simulated import SECOND, Script, Scripts, SimulatedClock, SimulatedJobs
from tests.core.random_searches import scripts as random_scripts
from tests.core.rules import Hand, Log, deeds, each, ended, line, observed, run
from tests.core.worlds import controlled, left_at_each
from tests.crash.scenarios import SCENARIOS
from tests.memory import MEMORY

GOOD = each(Script(points=line(0.5, 0.4)))
LEAVE = StopAsked(scope="run", jobs="leave")
NO_ANSWER = "no answer"


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def scenario(path: Path, name: str) -> Log:
    found = SCENARIOS[name]()
    return run(path, found.search, found.scripts, cut=found.cut, inputs=found.inputs, asks=found.asks)


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("name", ["failures and retries", "refused effects", "a user's points"])
def test_a_key_names_the_row_before_its_intent_and_can_be_derived_again_from_the_log(tmp_path: Path, name: str) -> None:
    log = scenario(tmp_path / "s.db", name)
    intents = log.rows_of(JobCreated)
    for row in intents:
        before = log.rows[row.seq - 2]
        event = row.event
        assert isinstance(event, JobCreated)
        name_of_row = f"{before.seq}-{before.hash[:8]}"
        assert event.key == f"eventhpo:{log.state.search_id[:12]}:{name_of_row}:{event.trial}.{event.attempt}"
    assert len({e.key for e in log.of(JobCreated)}) == len(intents)


def test_a_start_of_a_controller_changes_the_next_key_and_nothing_else() -> None:
    hand = Hand(search(num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.5)), ended(0, how="failed"), then=False)
    hand.step(hand.action())
    before = hand.action()
    hand.start()
    after = hand.action()
    assert isinstance(before, actions.Decide)
    assert isinstance(after, actions.Decide)
    assert isinstance(before.event, JobCreated)
    assert isinstance(after.event, JobCreated)
    assert before.event.key != after.event.key
    assert msgspec.structs.replace(after.event, key=before.event.key) == before.event


# ---------------------------------------------------------------- looking for what may be there


def opening(workers: int = 1, *, refused: Sequence[tuple[str, int]] = (), in_doubt: bool = False) -> Hand:
    """Return a search whose job 0 runs and that has just opened *workers* more, some effects of which were refused."""
    hand = Hand(search(num_concurrent_workers=1, total_max_jobs=9))
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=1 + workers)), None)
    for effect, trial in refused:
        hand.refuse(effect, trial, in_doubt=in_doubt)
    hand.said = hand.carry_on()
    return hand


def looks(hand: Hand) -> bool:
    return draft_item(hand.state, hand.state.attempt(1, 0), "draft").look


def test_an_intent_of_this_epoch_is_drafted_without_a_look() -> None:
    hand = Hand(search(num_concurrent_workers=1))
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=2)), None)
    while not isinstance(action := hand.action(), actions.Draft):
        hand.step(action)
    assert action == actions.Draft(((1, 0),))
    assert not looks(hand)
    hand.start()  # whoever held the lease before may have got as far as to create it
    assert hand.action() == action
    assert looks(hand)


def test_a_draft_that_was_refused_without_doubt_is_not_looked_for() -> None:
    assert not looks(opening(refused=[("draft", 1)]))


def test_an_intent_whose_draft_was_in_doubt_once_is_looked_for_until_it_is_found_or_made() -> None:
    hand = opening(refused=[("draft", 1)], in_doubt=True)
    assert looks(hand)
    hand.refuse("draft", 1, count=2)
    hand.later(ours=9)
    assert hand.poll(hand.tick()) == ["Draft 1.0"]
    assert looks(hand)  # the second answer was clear, the first was not
    hand.later(ours=9)
    assert hand.poll(hand.tick()) == ["Draft 1.0", "Launch 1.0"]
    hand.log()


class NeverLooks(SimulatedJobs):
    """Creates without a look."""

    def draft(self, drafts: Sequence[DraftRequest]) -> list[protocol.DraftOutcome]:
        return super().draft([msgspec.structs.replace(d, look=False) for d in drafts])


def drafts_of(path: Path) -> list[str]:
    return [d.key for d in deeds(path) if d.what == "draft"]


def test_a_draft_in_doubt_is_adopted_and_not_made_again(tmp_path: Path) -> None:
    doubtful = each(Script(points=line(0.5), refusals={"draft": 3}, in_doubt=True))
    path = tmp_path / "s.db"
    log = run(path, search(total_max_jobs=2), doubtful)
    assert drafts_of(path) == [e.key for e in log.of(JobCreated)]
    assert [e.count for e in log.of(EffectFailed, 0)] == [1, 2, 3]
    blind = tmp_path / "blind.db"  # control: a backend that does not look makes it four times
    controlled(blind, search(total_max_jobs=1), doubtful, backend=lambda led, s, c, state: NeverLooks(led, s, c))
    assert len(drafts_of(blind)) == 4


def test_only_the_bound_job_is_ever_launched_and_only_behind_its_receipt(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    log = scenario(path, "refused effects")
    launched = {d.job_id for d in deeds(path) if d.what == "launch"}
    assert launched <= {e.job_id for e in log.of(JobBound)}
    assert len(launched) == sum(d.what == "launch" for d in deeds(path))
    for started in log.of(JobStarted):
        created, bound, start = (
            log.seq(kind, started.trial, started.attempt) for kind in (JobCreated, JobBound, JobStarted)
        )
        assert created < bound < start


def test_open_intents_go_stage_by_stage_and_one_that_waits_holds_up_no_other() -> None:
    hand = opening(3, refused=[("draft", 2), ("launch", 1)])
    assert hand.said[-2:] == ["Draft 1.0 2.0 3.0", "Launch 1.0 3.0"]
    log = hand.log()
    done = [row.event for row in log.rows if isinstance(row.event, JobBound | EffectFailed | JobStarted)]
    stages = [(type(event), event.trial) for event in done]
    assert stages[2:] == [(JobBound, 1), (EffectFailed, 2), (JobBound, 3), (EffectFailed, 1), (JobStarted, 3)]
    hand.later(ours=1)
    assert hand.poll(hand.tick()) == ["Draft 2.0", "Launch 1.0 2.0"]
    hand.log()


# ---------------------------------------------------------------- a launch in doubt


def test_a_launch_in_doubt_never_fails_for_good_it_ends_as_lost_and_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    what = search(total_max_jobs=1, max_failures_per_trial=0, max_lost_per_trial=1)
    silent = Script(refusals={"launch": 9}, in_doubt=True, launch_fails_at=2, queued=True)

    def scripts(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        return Script(points=line(0.5, 0.4, 0.3)) if attempt else silent

    log = controlled(path, what, scripts, backend=lambda led, s, c, state: Unseen(led, s, c))
    assert [e.how for e in log.of(JobEnded, 0, 0)] == ["lost"]
    assert [e.attempt for e in log.of(JobCreated)] == [0, 1]  # by the limit of losses, not that of failures
    behind = log.after(log.seq(JobStarted, 0, 1))
    assert next_action(behind) == actions.Poll(((0, 0), (0, 1)))


class Unseen(SimulatedJobs):
    """Sees nothing of first attempts."""

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult:
        return super().poll([job for job in jobs if job.attempt], objectives)


def test_a_launch_that_fails_for_good_without_a_doubt_is_a_failure_and_not_watched(tmp_path: Path) -> None:
    what = search(total_max_jobs=1, max_failures_per_trial=1)
    log = run(tmp_path / "s.db", what, each(Script(refusals={"launch": 9}, launch_fails_at=2)))
    assert [e.how for e in log.of(JobEnded)] == ["launch_failed", "launch_failed"]
    assert [e.iterations for e in log.of(BudgetUpdated)] == [0, 0]
    assert log.one(TrialFinished).state == "failed"
    assert not log.state.attempt(0, 0).watched


def test_a_bound_attempt_that_shows_itself_started_is_launched_and_no_launch_follows(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    log = run(path, search(total_max_jobs=1), each(Script(points=line(0.5), refusals={"launch": 9}, in_doubt=True)))
    assert [e.effect for e in log.of(EffectFailed)] == ["launch"]
    assert log.seq(EffectFailed) < log.seq(JobStarted)
    assert log.ends() == [("completed", (0.5,))]
    assert sum(d.what == "launch" for d in deeds(path)) == 1


# ---------------------------------------------------------------- failures and back-off


def test_a_back_off_doubles_from_a_second_to_five_minutes_and_stays_there() -> None:
    seconds = [back_off(count) / SECOND for count in range(1, 13)]
    assert seconds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert back_off(10**9) == 300 * SECOND


def test_each_effect_has_a_count_of_its_own_in_each_attempt(tmp_path: Path) -> None:
    script = Script(points=line(0.5, 0.4, 0.3, 0.2), refusals={"draft": 2, "launch": 3, "stop": 4}, hangs=True)
    what = search(num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=2)
    log = run(tmp_path / "s.db", what, each(script), cut=1)
    for trial in (0, 1):
        counted = [(e.effect, e.count) for e in log.of(EffectFailed, trial)]
        times = {"draft": 2, "launch": 3, "stop": 4}
        assert counted == [(effect, n) for effect, most in times.items() for n in range(1, most + 1)]


def held_back(log: Log) -> None:
    """Assert that between a failure and the next try of that effect there is a tick behind its back-off."""
    for row in log.rows_of(EffectFailed):
        event = row.event
        assert isinstance(event, EffectFailed)
        ready = event.clock + back_off(event.count)
        again = [
            r
            for r in log.rows_of(EffectFailed, event.trial, event.attempt)
            if r.seq > row.seq and r.event.effect == event.effect  # type: ignore[union-attr]
        ]
        if again:
            ticks = [e.clock for e in log.of(ClockTicked)]
            between = [r.event.clock for r in log.rows_of(ClockTicked) if row.seq < r.seq < again[0].seq]  # type: ignore[union-attr]
            assert ticks
            assert any(clock >= ready for clock in between), row


@pytest.mark.parametrize("seed", range(12))
def test_no_effect_is_tried_again_before_a_tick_behind_its_back_off(memory: Path, seed: int) -> None:
    what = search(num_concurrent_workers=3, total_max_jobs=6, max_iteration_per_job=4, time_limit_per_job=5.0)
    chosen = random_scripts(seed)

    def refusing(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        refusals = {"draft": trial % 3, "launch": seed % 3, "stop": 2, "cancel": 1, "poll": (trial + seed) % 3}
        return msgspec.structs.replace(chosen(trial, attempt, params), refusals=refusals)

    log = run(memory / "s.db", what, refusing)
    assert log.of(EffectFailed)
    held_back(log)


def test_while_an_effect_is_held_back_it_is_not_due_and_everything_else_is() -> None:
    hand = opening(refused=[("launch", 1)])
    assert hand.action() == actions.Poll(((0, 0), (1, 0)))
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=3)), None)
    assert hand.carry_on() == ["TrialSuggested 2", "JobCreated 2.0 slot 2", "Draft 2.0", "Launch 2.0"]
    hand.later(ours=1)
    assert hand.poll(hand.tick()) == ["Launch 1.0"]
    hand.log()


def test_a_stop_is_never_given_up_and_its_back_off_grows_up_to_a_cap(tmp_path: Path) -> None:
    deaf = Script(points=line(0.5, 0.4, 0.3, 0.2), refusals={"stop": 14}, hangs=True)
    log = run(tmp_path / "s.db", search(total_max_jobs=1, max_iteration_per_job=2), each(deaf))
    failures, ticks = log.of(EffectFailed), log.of(ClockTicked)
    assert [(e.effect, e.count) for e in failures] == [("stop", n) for n in range(1, 15)]
    waits = [tick.clock - failure.clock for failure, tick in zip(failures, ticks, strict=True)]
    assert waits[4:] == [back_off(n) for n in range(5, 15)]
    held_back(log)
    assert log.seq(JobStopSent) > log.rows_of(EffectFailed)[-1].seq
    assert log.one(SearchFinished).reason == "budget"


def test_a_cancel_is_tried_again_until_it_works() -> None:
    hand = opening(refused=[("draft", 1)])
    hand.poll(ended(0, how="stopped"), then=False)
    hand.record(StopAsked(scope="search"), None)
    hand.refuse("cancel", 1)
    assert hand.carry_on()[-2:] == ["SearchEnding stop", "Cancel 1.0"]
    assert hand.action() == actions.Wait()
    hand.later(ours=1)
    assert hand.poll(hand.tick())[0] == "Cancel 1.0"
    assert hand.said[-1] == "SearchFinished stop"
    hand.log()


def test_a_job_that_ends_by_itself_needs_no_stop_any_more() -> None:
    hand = Hand(search(max_iteration_per_job=1, total_max_jobs=1))
    hand.refuse("stop", 0)
    hand.poll(observed(0, 0, line(0.5, 0.4)))
    assert hand.said == ["JobsContinued 0.0@1", "Stop 0.0"]
    hand.poll(ended(0))
    assert hand.said[-1] == "SearchFinished budget"
    assert list(deadlines(hand.state, hand.now)) == []
    hand.log()


def test_the_count_of_failures_survives_the_process(memory: Path) -> None:
    what = search(total_max_jobs=1, max_iteration_per_job=2)
    script = each(Script(points=line(0.5, 0.4, 0.3, 0.2), refusals={"draft": 2, "launch": 2, "stop": 3}, hangs=True))
    alone = run(memory / "alone.db", what, script)
    counts = [(e.effect, e.count) for e in alone.of(EffectFailed)]
    assert counts == [(e, n) for e, most in (("draft", 2), ("launch", 2), ("stop", 3)) for n in range(1, most + 1)]
    for log in left_at_each(memory, range(3, alone.rows[-1].seq), LEAVE, what, script):
        assert [(e.effect, e.count) for e in log.of(EffectFailed)] == counts
        held_back(log)


# ---------------------------------------------------------------- polls that fail


class Unreachable(SimulatedJobs):
    """Cannot be polled for a while: at a given number of observed points, so many times in a row."""

    def __init__(self, ledger: Path, scripts: Scripts, clock: SimulatedClock, state: State, at: dict[int, int]) -> None:
        super().__init__(ledger, scripts, clock)
        self._state, self._at, self.asked = state, at, 0

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:  # type: ignore[override]
        self.asked += 1
        points = sum(job.points for job in jobs)
        failure = self._state.poll_failure
        if (0 if failure is None else failure.count) < self._at.get(points, 0):
            return Refused(error=NO_ANSWER)
        return super().poll(jobs, objectives)


def unreachable(at: dict[int, int]) -> Callable[[Path, Scripts, SimulatedClock, State], SimulatedJobs]:
    return lambda ledger, scripts, clock, state: Unreachable(ledger, scripts, clock, state, at)


def test_a_poll_that_fails_backs_off_and_begins_to_count_anew_once_one_has_worked(tmp_path: Path) -> None:
    script = each(Script(points=line(0.5, 0.4, 0.3, 0.2)))
    log = controlled(tmp_path / "s.db", search(total_max_jobs=1), script, backend=unreachable({0: 2, 2: 3}))
    assert [(e.effect, e.trial, e.count) for e in log.of(EffectFailed)] == [("poll", None, n) for n in (1, 2, 1, 2, 3)]
    held_back(log)
    assert log.ends() == [("completed", (0.2,))]


@pytest.mark.parametrize(
    "seen",
    [
        JobStarted(trial=1, attempt=0, started_at=1),
        JobReturned(trial=0, attempt=0),
        JobEnded(trial=2, attempt=0, how="failed"),
        JobEnded(trial=0, attempt=0, how="stopped"),
        InheritanceClaimed(trial=0, attempt=1, iteration=1),
        observed(2, 0, line(0.5)),
    ],
)
def test_whatever_a_poll_saw_shows_that_it_worked(seen: Event) -> None:
    hand = opening(2, refused=[("launch", 1)])
    hand.poll(ended(0, how="lost"))
    hand.poll(EffectFailed(effect="poll", count=1, error=NO_ANSWER, clock=hand.clock))
    assert hand.action() == actions.Wait()
    hand.later(ours=0.02)
    hand.refuse("launch", 1, count=2)
    hand.poll(hand.tick())
    assert hand.state.poll_failure is not None
    hand.poll(seen, then=False)
    assert hand.state.poll_failure is None


def test_a_poll_that_could_not_look_at_one_job_has_worked_and_counts_for_that_job() -> None:
    hand = opening()
    hand.poll(EffectFailed(effect="poll", count=1, error=NO_ANSWER, clock=hand.clock))
    hand.later(ours=1)
    hand.poll(hand.tick())
    hand.poll(EffectFailed(effect="poll", trial=1, attempt=0, count=1, error="cannot be read", clock=hand.clock))
    assert hand.state.poll_failure is None
    assert hand.action() == actions.Poll(((0, 0),))
    hand.later(ours=1)
    hand.poll(hand.tick())
    assert hand.action() == actions.Poll(((0, 0), (1, 0)))
    hand.poll(JobEnded(trial=1, attempt=0, how="lost"))
    assert hand.state.attempt(1, 0).failures == {}
    hand.log()


def test_the_receipt_of_an_effect_says_nothing_of_polls() -> None:
    hand = opening(refused=[("launch", 1)])
    hand.poll(EffectFailed(effect="poll", count=5, error=NO_ANSWER, clock=hand.clock))
    hand.later(ours=0.02)
    assert hand.poll(hand.tick()) == ["Launch 1.0"]  # its own second is over, the poll's sixteen are not
    assert hand.action() == actions.Wait()
    hand.log()


def test_a_poll_that_fails_holds_up_no_effect() -> None:
    hand = Hand(search(num_concurrent_workers=1, total_max_jobs=9))
    hand.poll(EffectFailed(effect="poll", count=9, error=NO_ANSWER, clock=hand.clock))
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=2)), None)
    assert hand.carry_on() == ["TrialSuggested 1", "JobCreated 1.0 slot 1", "Draft 1.0", "Launch 1.0"]
    hand.record(StopAsked(scope="search"), None)
    assert hand.carry_on() == ["SearchEnding stop", "Stop 0.0 1.0"]
    assert hand.action() == actions.Wait()
    hand.log()


class OftenAsked(SimulatedClock):
    """Can be asked for the time a thousand times between two waits, and no more."""

    asked = 0

    def now(self) -> int:
        self.asked += 1
        if self.asked > 1000:
            raise AssertionError("the loop does not wait")
        return super().now()

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        self.asked = 0
        super().wait(seconds, due, meanwhile)


class More(Unreachable):
    """Has always more to read at once."""

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:  # type: ignore[override]
        answer = super().poll(jobs, objectives)
        if isinstance(answer, Refused):
            return answer
        seen = (msgspec.structs.replace(s, more=s.ended is None) for s in answer.seen)
        return msgspec.structs.replace(answer, seen=tuple(seen))


def test_a_poll_that_fails_with_more_to_read_is_waited_for_and_no_hot_loop(tmp_path: Path) -> None:
    clock = OftenAsked()
    log = controlled(
        tmp_path / "s.db",
        search(total_max_jobs=1),
        each(Script(points=line(0.5, 0.4, 0.3, 0.2))),
        backend=lambda ledger, scripts, c, state: More(ledger, scripts, c, state, {2: 3}),
        clock=clock,
    )
    assert [e.count for e in log.of(EffectFailed)] == [1, 2, 3]
    held_back(log)


def test_the_count_of_failed_polls_survives_the_process(tmp_path: Path) -> None:
    hand = Hand(search())
    hand.poll(EffectFailed(effect="poll", count=3, error=NO_ANSWER, clock=hand.clock))
    hand.start()
    assert hand.action() == actions.Wait()
    assert hand.state.poll_failure is not None
    assert (hand.state.poll_failure.count, hand.state.poll_failure.until) == (3, hand.clock + 4 * SECOND)


# ---------------------------------------------------------------- clocks


TICKING = ("time limit", "compute limit", "wall limit", "refused effects")


@pytest.mark.parametrize("name", TICKING)
def test_a_tick_stands_only_where_something_is_due_and_behind_the_observations_of_its_poll(
    memory: Path, name: str
) -> None:
    log = scenario(memory / "s.db", name)
    ticks = log.rows_of(ClockTicked)
    assert ticks
    for row in ticks:
        before, event = log.before(row.seq), row.event
        assert isinstance(event, ClockTicked)
        assert any(item.reached for item in deadlines(before, Now.of(event)))
        behind = log.rows[row.seq] if row.seq < len(log.rows) else None
        assert behind is None or behind.cause != row.cause
        after = log.after(row.seq)
        assert not any(item.reached for item in deadlines(after, Now.of(event)))


class Elsewhere(SimulatedClock):
    """The clock of a backend: ours, and so much more."""

    def __init__(self, ours: SimulatedClock, more: int) -> None:
        super().__init__()
        self._ours, self._more = ours, more

    def now(self) -> int:
        return self._ours.now() + self._more


@pytest.mark.parametrize("name", ["time limit", "compute limit", "wall limit"])
def test_what_the_clock_of_the_jobs_shows_is_never_compared_with_ours(memory: Path, name: str) -> None:
    found = SCENARIOS[name]()

    def logged(more: int) -> list[Event]:
        log = controlled(
            memory / f"{more}.db",
            found.search,
            found.scripts,
            backend=lambda ledger, scripts, clock, state: SimulatedJobs(ledger, scripts, Elsewhere(clock, more)),
        )
        return [_plain(row.event, more) for row in log.rows if not isinstance(row.event, JobCreated)]

    alike = logged(0)
    hours = 3600 * SECOND
    for more in (-1000 * hours, 5 * hours):
        assert logged(more) == alike


def _plain(event: Event, more: int) -> Event:
    """Return *event* with the backend's times as if its clock were ours."""
    times = {"jobs_clock", "started_at", "finished_at"} & set(event.__struct_fields__)
    return msgspec.structs.replace(
        event, **{name: getattr(event, name) - more for name in times if getattr(event, name)}
    )


def test_wall_time_goes_by_our_clock_and_compute_time_by_the_clock_of_the_jobs() -> None:
    hand = Hand(search(wall_time_limit=10.0, compute_time_limit=10.0))
    hand.later(jobs=9.99, ours=9.99)
    assert not any(item.reached for item in deadlines(hand.state, hand.now))
    hand.later(jobs=0.01)
    assert hand.poll(hand.tick())[0] == "SearchEnding compute_time_limit"
    other = Hand(search(wall_time_limit=10.0, compute_time_limit=10.0))
    other.later(ours=10)
    assert other.poll(other.tick())[0] == "SearchEnding wall_time_limit"


class SlowPolls(SimulatedJobs):
    """Takes ten minutes for its first poll."""

    def __init__(self, ledger: Path, scripts: Scripts, clock: Jumping) -> None:
        super().__init__(ledger, scripts, clock)
        self._jumping = clock

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult:
        answer = super().poll(jobs, objectives)
        self._jumping.jump(10 * MINUTE)
        return answer


class Jumping(SimulatedClock):
    """Goes on by what it is told, once."""

    more = 0

    def jump(self, microseconds: int) -> None:
        self.more = self.more or microseconds

    def now(self) -> int:
        return super().now() + self.more


def test_what_comes_due_while_a_poll_is_under_way_waits_for_the_next_poll(tmp_path: Path) -> None:
    clock = Jumping()
    log = controlled(
        tmp_path / "s.db",
        search(total_max_jobs=None, wall_time_limit=5.0),
        each(Script(points=line(0.5, 0.4, 0.3, 0.2, 0.1))),
        backend=lambda ledger, scripts, c, state: SlowPolls(ledger, scripts, clock),
        clock=clock,
    )
    first, second = log.rows_of(MetricObserved)[:2]
    tick = log.rows_of(ClockTicked)[0]
    assert first.cause != tick.cause
    assert (second.cause, second.seq) == (tick.cause, tick.seq - 1)
    assert log.one(SearchEnding).reason == "wall_time_limit"


class SetBack(SimulatedClock):
    """Is set back by an hour once its log has so many steps."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def now(self) -> int:
        back = self._state is not None and self._state.steps >= self._at
        return super().now() - (3600 * SECOND if back else 0)


def test_a_back_off_ends_when_our_clock_is_set_back_behind_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    script = each(Script(points=line(0.5), refusals={"draft": 3}))
    alone = run(path, search(total_max_jobs=1), script)
    at = alone.rows_of(EffectFailed)[2].seq - 1  # the steps behind it: a start of a controller is no step
    log = controlled(tmp_path / "back.db", search(total_max_jobs=1), script, clock=SetBack(at))
    failure = log.of(EffectFailed)[2]
    tick = next(r.event for r in log.rows_of(ClockTicked) if r.seq > log.rows_of(EffectFailed)[2].seq)
    assert isinstance(tick, ClockTicked)
    assert tick.clock < failure.clock
    assert log.ends() == [("completed", (0.5,))]


def test_a_clock_that_is_set_back_makes_no_wall_time_negative_and_no_tick_for_nothing() -> None:
    hand = Hand(search(wall_time_limit=60.0, compute_time_limit=60.0))
    hand.later(ours=-600, jobs=-600)
    assert not any(item.reached for item in deadlines(hand.state, hand.now))
    hand.poll(hand.tick())
    assert hand.said == []
    assert not any(item.reached for item in deadlines(hand.state, hand.now))
    hand.later(ours=660)
    assert hand.poll(hand.tick())[0] == "SearchEnding wall_time_limit"


# ---------------------------------------------------------------- requests


def point(n: int) -> Event:
    return PointEnqueued(params={"General/x": 0.5}, request=f"r{n}")


def test_requests_are_read_only_where_the_controller_would_poll_or_rest_and_then_it_is_asked_again(
    memory: Path,
) -> None:
    what = search(num_concurrent_workers=2, total_max_jobs=3, max_iteration_per_job=2)
    steps = len(run(memory / "alone.db", what, GOOD).rows) - 1
    for at in range(1, steps + 1):
        asks = [(at, point(1)), (at, LimitsChanged(changes=LimitChanges(total_max_jobs=4), request="r2"))]
        log = run(memory / f"{at}.db", what, GOOD, asks=asks)
        (row,) = log.rows_of(PointEnqueued)
        assert isinstance(next_action(log.before(row.seq)), actions.Poll | actions.Wait | actions.Rest)
        assert log.seq(LimitsChanged) == row.seq + 1
        assert row.cause is None
        assert len(log.of(TrialFinished)) == 4


class Answering(ScriptedRequests):
    """Looks, when a request is said to be done, whether it is in the log for others to read."""

    def __init__(self, path: Path, asks: Sequence[tuple[int, Event]]) -> None:
        super().__init__(asks)
        self._path = path
        self.committed: list[bool] = []

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        for event, _ in super().read(state):
            yield event, lambda event=event: self.committed.append(self._is_there(event))  # type: ignore[misc]

    def _is_there(self, event: Event) -> bool:
        return any(row.event == event for row in read(self._path).rows)


def test_a_request_is_answered_when_it_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    requests = Answering(path, [(3, point(1)), (3, point(2)), (20, point(3))])
    log = controlled(path, search(total_max_jobs=4), GOOD, requests=requests)
    assert requests.committed == [True, True, True]
    assert [e.request for e in log.of(PointEnqueued)] == ["r1", "r2", "r3"]


def test_a_request_that_is_in_the_log_is_known_and_not_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    controlled(path, search(total_max_jobs=2), GOOD, requests=ScriptedRequests([(3, point(1))]))
    log = controlled(path, search(total_max_jobs=2), GOOD, requests=ScriptedRequests([(3, point(1))]))
    assert len(log.of(PointEnqueued)) == 1
    assert len(log.of(ControllerStarted)) == 2


def test_a_stop_that_is_asked_for_while_the_controller_waits_ends_the_search_before_another_poll(
    tmp_path: Path,
) -> None:
    stop = StopAsked(scope="search", request="r1")
    hanging = each(Script(points=line(0.5), hangs=True))
    log = run(tmp_path / "s.db", search(), hanging, asks=[(7, stop)])
    asked = log.seq(StopAsked)
    assert isinstance(log.rows[asked].event, SearchEnding)
    assert isinstance(log.rows[asked + 1].event, JobStopSent)
