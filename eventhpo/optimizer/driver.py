"""One search: one thread at a time drives it, any thread may ask it.

The thread that has the turn drives the controller. Wishes of other threads go into an
inbox that the controller reads before it polls; such a thread waits for the log's answer.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from eventhpo.controller.clock import SystemClock
from eventhpo.controller.controller import Controller, Requests, Tell, opened
from eventhpo.controller.host import this_machine
from eventhpo.core.fold.events import DrivenByHand, Event, Recorded, StopAsked
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.errors import Busy, DeviceTaken, Starting
from eventhpo.jobs.protocol import JobBackend
from eventhpo.optuna_adapter.user_classes import UserClasses

T = TypeVar("T")
Build = Callable[[State], Sequence[Event]]

PAUSE = 0.1  # seconds; what another thread did is told at once, that it let go of the turn is not
PAUSES = (actions.Poll, actions.Wait, actions.Rest)  # where nothing is left to decide


class Inbox:
    """Wishes of other threads, read together with the requests that come as files."""

    def __init__(self, files: Requests) -> None:
        self._files = files
        self._wishes: deque[Build] = deque()

    def put(self, build: Build) -> None:
        """Have the controller record the events that *build* returns for its state."""
        self._wishes.append(build)

    def withdraw(self, build: Build) -> bool:
        """Take a wish back; return whether it was still waiting."""
        try:
            self._wishes.remove(build)
        except ValueError:
            return False
        return True

    def any(self) -> bool:
        """Whether a wish or a request is waiting."""
        return bool(self._wishes) or self._files.any()

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        """Yield what is asked for, wishes first."""
        while self._wishes:
            for event in self._wishes.popleft()(state):
                yield event, lambda: None
        yield from self._files.read(state)


class SearchDriver:
    """Opens the log when it is first needed, and closes it when the search rests."""

    def __init__(
        self,
        path: Path,
        jobs_for: Callable[[State], JobBackend],
        *,
        before: Callable[[State, Sequence[Recorded]], Sequence[Event]],
        files: Requests,
        take_over: bool,
        prepare: Callable[[Controller], None],
        tell: Tell,
        after_turn: Callable[[], None],
        own: UserClasses,
    ) -> None:
        self._path = path
        self._jobs_for = jobs_for
        self._before = before
        self._take_over = take_over
        self._prepare = prepare
        self._tell = tell
        self._after_turn = after_turn  # called by a thread that has let go of the turn: it may have missed a stop
        self._own = own
        self._turn = threading.RLock()
        self._news = threading.Condition()
        self._inbox = Inbox(files)
        self._clock = SystemClock()
        self._held = contextlib.ExitStack()
        self._controller: Controller | None = None
        self._last: State | None = None
        self._closings = 0  # how often the log was let go of
        self._stopped = False

    # ------------------------------------------------------------ reading

    @contextlib.contextmanager
    def reading(self) -> Iterator[State | None]:
        """Give the state to read, from any thread; None before there is one."""
        controller = self._controller
        if controller is None:
            yield self._last
            return
        with controller.guard:
            yield controller.state

    # ------------------------------------------------------------ driving

    @contextlib.contextmanager
    def driving(self) -> Iterator[Controller]:
        """Have the turn, with the log open.

        Raises:
            Busy, DamagedLog, StorageFailed, Usage: as `eventhpo.controller.controller.opened`.
        """
        self._turn.acquire()
        try:
            yield self._open()
        except BaseException as error:
            if not isinstance(error, GeneratorExit):
                self._drop(error)
            raise
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._turn.release()
        if not self.has_turn:
            self._after_turn()

    def _open(self) -> Controller:
        if self._controller is None:
            held = opened(
                self._path,
                self._jobs_for,
                self._clock,
                this_machine(),
                take_over=self._take_over,
                before=self._before,
                requests=self._inbox,
                tell=self._announce,
                own=self._own,
            )
            try:
                controller = self._held.enter_context(held)
            except Busy as error:
                raise busy_hint(error, self._path) from error
            self._prepare(controller)
            controller.commit()
            self._controller, self._last = controller, controller.state
            self._stopped = False
        return self._controller

    def _announce(self, rows: Sequence[Recorded], state: State) -> None:
        self._tell(rows, state)
        with self._news:
            self._news.notify_all()

    def close(self) -> None:
        """Close the log; the last state stays readable."""
        with self._turn:
            self._controller = None
            self._held.close()
        self._announce_closing()

    def _drop(self, error: BaseException) -> None:
        """Drop the log after *error*, without a clean end: the next controller finds out what was done."""
        self._controller = None
        with contextlib.suppress(type(error)):  # the caller of this method raises it
            self._held.__exit__(type(error), error, error.__traceback__)
        self._held = contextlib.ExitStack()
        self._announce_closing()

    def _announce_closing(self) -> None:
        with self._news:
            self._closings += 1
            self._news.notify_all()

    def interrupt(self, stop: StopAsked) -> None:
        """End the run that is under way, from any thread; do nothing if there is none or it is ending already."""
        controller = self._controller
        if controller is not None and controller.state.run_stop is None:
            controller.interrupt(stop)

    def end(self, stop: StopAsked, *, wait: bool) -> None:
        """End the run and close the log, once no thread drives it; with *wait*, wait for that.

        Without *wait*, a thread that drives ends the run itself, or calls `after_turn` after its turn.
        """
        if self.has_turn or self._controller is None or not self._turn.acquire(blocking=wait):
            return
        try:
            if self._controller is not None:
                with self.driving():
                    self.interrupt(stop)
                    self.advance()
                self.close()
                self._stopped = True
        finally:
            self._let_go()

    @property
    def stopped(self) -> bool:
        """Whether `end` closed the log, and it was not opened again."""
        return self._stopped

    def mode(self, *, by_hand: bool) -> None:
        """Have suggestions come by themselves or, *by_hand*, only on request. The thread must have the turn."""
        controller = self._open()
        if controller.state.by_hand != by_hand:
            controller.record(DrivenByHand(by_hand=by_hand), None)

    def advance(self, stop: Callable[[actions.Action], bool] = lambda action: False) -> actions.Action:
        """Do what is due until only waiting is left, or *stop* returns True; return the next action."""
        controller = self._open()
        while True:
            action = controller.next()
            if isinstance(action, PAUSES) or stop(action):
                controller.commit()
                return action
            controller.do(action)

    def until(self, answer: Callable[[State], object]) -> None:
        """Do what is due until *answer* finds something; waits only for the back-off of what failed."""
        controller = self._open()
        while answer(controller.state) is None:
            action = self.advance(lambda _: answer(controller.state) is not None)
            if answer(controller.state) is not None or isinstance(action, actions.Rest):
                return
            controller.do(action)

    def stop_now(self) -> None:
        """Carry out the stops that are due, and nothing else."""
        controller = self._open()
        while isinstance(action := controller.next(), actions.Stop | actions.Cancel):
            controller.do(action)
        controller.commit()

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Take the turn if no other thread has it; yield whether it was taken."""
        taken = self._turn.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._let_go()

    # ------------------------------------------------------------ asking

    @property
    def has_turn(self) -> bool:
        """Whether this thread has the turn."""
        return self._turn._is_owned()  # type: ignore[attr-defined,no-any-return]

    def ask(
        self,
        build: Build,
        answer: Callable[[State], T | None],
        act: Callable[[], None],
        *,
        by_hand: bool = False,
        keep: bool = True,
    ) -> T | None:
        """Have what *build* makes of the state recorded, and return what *answer* finds in the state then.

        Where nobody drives, this thread does, *by_hand* if the wish is for a job: *act*
        carries on as far as the wish needs; unless *keep*, a log that it opened is let go of.
        Else the driving thread takes it up, and this one waits until the answer is there;
        if the driver lets go of the log before that, the wish is taken back.
        """
        with self.turn() as taken:
            if taken:
                return self._answer_now(build, answer, act, by_hand, keep)
        closings = self._closings
        self._inbox.put(build)
        self._clock.wake()
        while True:
            with self._news:
                reply = self._written(answer)
                if reply is not None or self._closings != closings:
                    self._inbox.withdraw(build)
                    return reply
                self._news.wait(PAUSE)
            with self.turn() as taken:
                if taken:  # nobody reads the inbox any more
                    waiting = self._inbox.withdraw(build)
                    return self._answer_now(build if waiting else lambda state: (), answer, act, by_hand, keep)

    def _answer_now(
        self, build: Build, answer: Callable[[State], T | None], act: Callable[[], None], by_hand: bool, keep: bool
    ) -> T | None:
        opens = self._controller is None
        with self.driving() as controller:
            if by_hand:
                self.mode(by_hand=True)
            if events := build(controller.state):
                for event in events:
                    controller.record(event, None)
                controller.commit()
            act()
            controller.commit()
            reply = answer(controller.state)
        if opens and not keep:
            self.close()
        return reply

    def _written(self, answer: Callable[[State], T | None]) -> T | None:
        """Return what *answer* finds in the state, None while some of its events are not yet committed."""
        controller = self._controller
        with self.reading() as state:
            lost = controller is not None and not controller.settled
            return None if state is None or lost else answer(state)


def busy_hint(error: Busy, path: Path) -> Busy:
    """Return *error* with the way on for a script: the same log, taken over."""
    if isinstance(error, Starting | DeviceTaken):
        return error
    return Busy(f"{error}; if that one is frozen, pass take_over=True for {path}")
