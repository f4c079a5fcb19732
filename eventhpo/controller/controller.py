"""The loop: ask what comes next, do it, record it; commit before every effect and every wait.

There is no recovery code. A controller that is started on a log folds it and
carries on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from eventhpo.controller.author import NOBODY, Author
from eventhpo.controller.clock import Clock
from eventhpo.controller.effects import job_item, observations, perform, poll
from eventhpo.controller.end_command import run_end_command
from eventhpo.controller.host import Machine
from eventhpo.core.fold import deadlines
from eventhpo.core.fold.clocks import ClockReading, elapsed
from eventhpo.core.fold.event_parts import AttemptId
from eventhpo.core.fold.events import (
    ClockTicked,
    ControllerStarted,
    EffectFailed,
    EndCommandRan,
    Event,
    Head,
    Recorded,
    StopAsked,
)
from eventhpo.core.fold.evolve import evolve, fold
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.candidates import Candidates
from eventhpo.core.scheduler.decide import attempts, next_action
from eventhpo.core.search.spec import MINUTE
from eventhpo.jobs.protocol import JobBackend, PollResult, Refused
from eventhpo.log.writer import open_writer
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.optuna_adapter.user_classes import NOTHING, UserClasses


class Log(Protocol):
    """The door to the log, as a controller uses it."""

    @property
    def head(self) -> Head:
        """The last row, committed or not."""
        ...

    @property
    def epoch(self) -> int:
        """This controller's epoch."""
        ...

    @property
    def pending(self) -> bool:
        """Whether something is recorded and not committed."""
        ...

    def record(self, event: Event, cause: int | None, at: int) -> Recorded:
        """Give *event* its seq and hash and keep it for the next `commit`."""
        ...

    def commit(self) -> None:
        """Append all that is kept in one transaction, or none of it."""
        ...

    def check_lease(self) -> None:
        """Return if the log is still ours."""
        ...

    def beat(self) -> None:
        """Keep the head file within a second of the last commit."""
        ...

    def close(self, clean: bool = True) -> bool:
        """Let go; return whether the log rests as one quiet file."""
        ...


class Requests(Protocol):
    """What others ask of a live controller."""

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        """Yield the event of each request, and what to call when it is committed."""
        ...

    def any(self) -> bool:
        """Whether there may be one."""
        ...


# told of rows that were committed and the state after them; of no rows before each look at the jobs
Tell: TypeAlias = Callable[[Sequence[Recorded], State], None]


def tell_nobody(rows: Sequence[Recorded], state: State) -> None:
    """Tell nobody of *rows*."""


STOPPING = 60_000_000  # microseconds that a stopped run watches its jobs; agents and grace periods take 10 s
SOON = 1.0  # seconds between two looks at what seems to be due by the jobs' clock


# runs the command for the end of a search, unless the second argument becomes true before it is over
RunsEndCommand: TypeAlias = Callable[[State, Callable[[], bool]], EndCommandRan | None]


class NoRequests:
    """Nobody asks."""

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        """Yield nothing."""
        return iter(())

    def any(self) -> bool:
        """Return False."""
        return False


class Controller:
    """Drives one search on one log; used by one thread, but for `interrupt`."""

    def __init__(
        self,
        log: Log,
        state: State,
        jobs: JobBackend,
        clock: Clock,
        *,
        requests: Requests | None = None,
        tell: Tell = tell_nobody,
        own: UserClasses = NOTHING,
        author: Author = NOBODY,
        end_command: RunsEndCommand | None = None,
    ) -> None:
        self.state = state
        self.guard = threading.RLock()  # held while an event is folded; other threads take it to read the state
        self._log = log
        self._jobs = jobs
        self._clock = clock
        self._requests = requests or NoRequests()
        self._tell = tell
        self._author = author  # of what is recorded without naming an author: by a signal, or by the script
        self._end_command = end_command
        self._asker = OptunaAdapter(state, own)
        self._candidates = Candidates(state)
        self._untold: list[Recorded] = []
        self._quiet = 0  # polls in a row that saw nothing
        self._behind = False  # the last poll left something unread
        self._polled: deadlines.Now | None = None  # both clocks, as of the last poll
        self._interrupted: StopAsked | None = None

    def interrupt(self, stop: StopAsked) -> None:
        """End this run as *stop* says, as soon as the step under way is over; from any thread or signal."""
        self._interrupted = self._interrupted or stop
        self._clock.wake()

    def run(self) -> actions.Rest:
        """Carry the search on until it is finished or this run is to end; return which.

        Raises:
            Busy: the log was taken over. StorageFailed: it cannot be written.
        """
        while True:
            action = self.next()
            if not isinstance(action, actions.Rest):
                self.do(action)
                continue
            self.commit()
            if not self._take_requests():
                return action

    def see_stops_through(self) -> None:
        """Watch the jobs that this run told to stop, and tell those again that run on, until all are over.

        It ends after `STOPPING` at the latest, and at once for a request or an interruption.
        Nothing of it is recorded: a stop does no harm twice, and the next controller reads how
        the jobs ended.
        """
        since, over = self._clock.read(), set[AttemptId]()
        while elapsed(since, self._clock.read()) < STOPPING:
            stopping = [a for a in attempts(self.state) if a.stop_sent and a.live and a.job_id is not None]
            watched = [job_item(self.state, a, "poll") for a in stopping if (a.trial, a.number) not in over]
            if not watched or self._meanwhile():
                return
            self._clock.wait(self._jobs.shortest_wait, None, self._meanwhile)
            self._log.check_lease()
            answer = self._jobs.poll(watched, self.state.search.objectives)
            if isinstance(answer, Refused):
                continue
            over |= {(u.trial, u.attempt) for u in answer.seen if u.ended is not None or u.ending}
            running = [self.state.attempt(u.trial, u.attempt) for u in answer.seen if u.runs_on]
            self._jobs.stop([job_item(self.state, attempt, "stop") for attempt in running])

    def next(self) -> actions.Action:
        """Return what comes next; an interruption is recorded first."""
        if self._interrupted is not None:
            stop, self._interrupted = self._interrupted, None
            self.record(stop, None)
        return next_action(self.state, self._candidates)

    def do(self, action: actions.Action) -> None:
        """Carry out *action*, which `next` has just returned, and record what comes of it."""
        match action:
            case actions.Decide(event=event):
                self.record(event, self.state.last_input)
            case actions.Suggest() | actions.Judge():
                for decision in self._asker.answer(action):
                    self.record(decision, self.state.last_input)
            case actions.Draft() | actions.Launch() | actions.Stop() | actions.Cancel():
                self._perform(action)
            case actions.Poll() | actions.Wait():
                self._look(action)
            case actions.RunEndCommand():
                self._run_end_command()
            case actions.Rest():
                raise AssertionError("a rest is no step")

    def _perform(self, action: actions.Effect) -> None:
        self.commit()
        self._log.check_lease()
        for event, cause in perform(self.state, action, self._jobs, self._clock.read()):
            self.record(event, cause)
        self._quiet = 0

    def _run_end_command(self) -> None:
        """Run the command for the end of the search, and record how it exited.

        What was recorded is committed first, so a controller that is killed here leaves a log
        whose next controller runs the command once more.
        """
        assert self._end_command is not None, "this controller was made without a way to run a command"
        self.commit()
        self._log.check_lease()
        ran = self._end_command(self.state, lambda: self._interrupted is not None)
        if ran is not None:
            self.record(ran, None)

    # ------------------------------------------------------------ looking

    def _look(self, action: actions.Poll | actions.Wait) -> None:
        self.commit()
        self._log.beat()
        self._tell((), self.state)  # a view that left out the newest rows, because others had just come, catches up
        if self._take_requests():
            return
        self._wait()
        if self._interrupted is not None or self._requests.any():
            return
        self._log.check_lease()  # a poll also ends what is left of lost jobs: no more of that once we were taken over
        now = self._clock.read()
        cause = self.state.head.seq
        if isinstance(action, actions.Poll):
            answer = poll(self.state, action, self._jobs)
            if isinstance(answer, Refused):
                self._poll_failed(answer, now, cause)
                return
            self._observe(answer, now, cause)
        else:
            self._tick(deadlines.Now(now, self.state.jobs_clock), cause)
        self._quiet = 0 if self._log.pending else self._quiet + 1

    def _observe(self, answer: PollResult, now: ClockReading, cause: int) -> None:
        self._polled = deadlines.Now(now, ClockReading(answer.clock, answer.boot_clock))
        self._behind = any(update.more for update in answer.seen)
        for event in list(observations(self.state, answer, now)):
            self.record(event, cause)
        if not any(update.ending for update in answer.seen):  # what has ended has ended before any limit
            self._tick(self._polled, cause)

    def _tick(self, now: deadlines.Now, cause: int) -> None:
        """Record a tick if something was due before this poll began."""
        if any(item.reached for item in deadlines.deadlines(self.state, now)):
            tick = ClockTicked(
                clock=now.ours.wall,
                jobs_clock=now.jobs.wall,
                boot_clock=now.ours.boot,
                jobs_boot_clock=now.jobs.boot,
            )
            self.record(tick, cause)

    def _poll_failed(self, answer: Refused, now: ClockReading, cause: int) -> None:
        before = self.state.poll_failure
        self._behind = False  # what is unread waits for the back-off: no hot loop
        self.record(
            EffectFailed(
                effect="poll",
                count=1 if before is None else before.count + 1,
                error=answer.error,
                in_doubt=answer.in_doubt,
                clock=now.wall,
                boot_clock=now.boot,
            ),
            cause,
        )

    def _wait(self) -> None:
        if self._behind:
            return
        period = self.state.limits.pool_period_min * MINUTE / 1e6
        seconds = min(self._jobs.shortest_wait * 2 ** min(self._quiet, 20), self._jobs.longest_wait, period)
        self._clock.wait(seconds, self._next_due(), self._meanwhile)

    def _meanwhile(self) -> bool:
        self._log.beat()
        return self._interrupted is not None or self._requests.any()

    def _next_due(self) -> int | None:
        """Return in how many microseconds something is due; never at once, since the jobs' clock is a guess."""
        soon = round(min(self._jobs.shortest_wait, SOON) * 1e6)
        return min((max(d.left, soon) for d in deadlines.deadlines(self.state, self._now())), default=None)

    def _now(self) -> deadlines.Now:
        """Return our clock and the jobs' clock now.

        Between two polls the jobs' clock is taken to go on as ours does; before the first poll it is ours.
        """
        ours = self._clock.read()
        before = self._polled
        return deadlines.Now(ours, ours if before is None else before.jobs.later(elapsed(before.ours, ours)))

    # ------------------------------------------------------------ recording

    def record(self, event: Event, cause: int | None) -> None:
        """Append *event* to the rows and fold it; `commit` writes it."""
        with self.guard:
            row = self._log.record(self._author.sign(event), cause, self._clock.now())
            self.state = evolve(self.state, row)
            self._candidates.tell(row.event)
            self._asker.tell(row.event)
            self._untold.append(row)

    @property
    def settled(self) -> bool:
        """Whether all that was recorded is written."""
        return not self._log.pending

    def commit(self) -> None:
        """Write what was recorded, then tell of it."""
        self._log.commit()
        committed, self._untold = self._untold, []
        if committed:
            self._tell(committed, self.state)

    def _take_requests(self) -> bool:
        """Record what others ask, commit it, and let them know; whether there was anything."""
        if not self._requests.any():
            return False
        self._log.check_lease()  # they may be meant for a controller that took over
        answered = []
        for event, done in self._requests.read(self.state):
            self.record(event, None)
            answered.append(done)
        self.commit()
        for done in answered:
            done()
        return bool(answered)

    def close(self, *, clean: bool = True) -> bool:
        """Let go of the log and of the backend; return whether the log rests as one quiet file."""
        self._jobs.close()
        return self._log.close(clean)


def nothing_before(state: State, rows: Sequence[Recorded]) -> Sequence[Event]:
    """Return no events: most backends have nothing to say before a controller begins."""
    return ()


def start_of(clock: Clock, machine: Machine) -> ControllerStarted:
    """Return the row that a writer on *machine* begins its epoch with."""
    now = clock.read()
    started = ControllerStarted(
        host=machine.host,
        pid=machine.pid,
        boot=machine.boot,
        clock=now.wall,
        fingerprint=fingerprint(),
        boot_clock=now.boot,
    )
    return machine.author.sign(started)


@contextmanager
def opened(
    path: Path,
    jobs_for: Callable[[State], JobBackend],
    clock: Clock,
    machine: Machine,
    *,
    take_over: bool = False,
    before: Callable[[State, Sequence[Recorded]], Sequence[Event]] = nothing_before,
    wrap: Callable[[Log], Log] = lambda log: log,
    requests: Requests | None = None,
    tell: Tell = tell_nobody,
    make: type[Controller] = Controller,
    own: UserClasses = NOTHING,
) -> Iterator[Controller]:
    """Hold the log at *path* as its one controller; end well unless an error comes through.

    *before* sees the log before anything is appended to it; it may raise and leave it as
    it is, or return inputs that are written with the start of the controller: of a job that
    the log had lost, a start without it would make a fork.
    *own* are the sampler and pruner of a user's own classes, as the search recorded them.

    Raises:
        Busy, DamagedLog, StorageFailed, Usage: as `eventhpo.log.writer.open_writer`.
    """
    started = start_of(clock, machine)
    folded: list[State] = []

    def look(rows: list[Recorded]) -> Sequence[Event]:
        folded.append(fold(rows))
        return [machine.author.sign(event) for event in before(folded[0], rows)]

    log, rows = open_writer(path, started, clock.now(), take_over=take_over, check=look)
    wrapped_log = wrap(log)
    try:
        state = folded[0]
        start, *inputs = rows[state.head.seq :]
        state = evolve(state, start)
        for row in inputs:
            state = evolve(state, row)
        if inputs:
            tell(inputs, state)
        controller = make(
            wrapped_log,
            state,
            jobs_for(state),
            clock,
            requests=requests,
            tell=tell,
            own=own,
            author=machine.author,
            end_command=partial(run_end_command, path),
        )
        yield controller
    except BaseException:
        wrapped_log.close(clean=False)
        raise
    controller.close()
