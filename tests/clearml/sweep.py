"""Searches on the test server whose controllers are killed, or not answered, at each of their requests.

Run by hand, it does more than the tests and prints what it found:

    python -m tests.clearml.sweep --jobs 8 --workers 3 --double 100

A run here is a function of its log. The server's clock stands still, the controller's
goes by the rows (`SimulatedClock`), and a job goes on as far as the log has read it
(`Agent`). So a search that was only killed comes to the very rows of one that was left
alone, but for restarts and what is drawn anew: keys and ids (`rows`). One whose answers
were lost has failed effects and their back-offs beside them, in which other jobs go on;
of that the outcome of each trial is compared (`outcomes`), with pruners that look at one
curve only. `faults` holds of all of them, whatever they were compared with.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import msgspec

from eventhpo.controller.controller import Controller, nothing_before, opened
from eventhpo.core.fold.event_parts import JobExtras
from eventhpo.core.fold.events import (
    DrivenByHand,
    Event,
    JobCreated,
    JobRequested,
    LaunchRequested,
    MetricObserved,
    SearchCreated,
    StopAsked,
)
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.job_key import read_key
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import POLICY, ComponentConfig, Limits, Objective, Search
from eventhpo.errors import EventhpoError, Unanswered
from eventhpo.jobs.clearml import watch
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.clearml.session import MARK, Server, ServerAnswer, Silent
from eventhpo.jobs.protocol import BoundJob, PollResult, Refused
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.testing.crashes import CRASHED, Crashes
from eventhpo.testing.searches import ScriptedRequests
from eventhpo.testing.simulated import SimulatedClock
from tests.clearml.harness import MACHINE, METRIC, base_task, search
from tests.clearml_server import ClearmlServer
from tests.clearml_server.calling import Client
from tests.clearml_server.events import SCALAR
from tests.clearml_server.people import FORCED
from tests.clearml_server.state import State as Kept
from tests.crash.normal import difference, normal_log
from tests.memory import MEMORY

T = TypeVar("T")
HOWS = ("reset", "502", "half", "no_meta", "not_json")  # ways in which an answer is lost
SEARCH_ID = "ab" * 16


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """What a job does: a value for each iteration, *step* of them a poll, then its end."""

    values: Sequence[float] = (0.5, 0.4)
    step: int = 1
    end: str = "completed"  # or "failed", or "watchdog": the server gives it up
    apart: bool = False  # the end comes a poll after the last point


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A search, what its attempts do, and what users put in; times are steps of its log."""

    search: Mapping[str, Any]
    play: Callable[[int, int], Play]
    inputs: Sequence[Event] = ()
    asks: Sequence[tuple[int, Event]] = ()
    slots: int = 99  # jobs that the agent runs at a time
    alike: bool = True  # whether its outcome is the same when effects are late

    def of(self, base: str) -> Search:
        return search(base, **self.search)


def limits(jobs: int, workers: int, **more: Any) -> Limits:
    return Limits(num_concurrent_workers=workers, total_max_jobs=jobs, **more)


class Agent:
    """Runs the jobs that a poll is about, just before it: each goes on as far as the log has read it.

    So a poll that is asked again, since its answer did not reach the log, is answered alike.
    """

    def __init__(self, jobs: ClearmlBackend, scenario: Scenario) -> None:
        self._jobs = jobs
        self._play = scenario.play
        self._slots = scenario.slots
        self._client = Client(os.environ)
        self.draft, self.launch, self.stop, self.cancel = jobs.draft, jobs.launch, jobs.stop, jobs.cancel
        self.close, self.longest_wait, self.shortest_wait = jobs.close, jobs.longest_wait, jobs.shortest_wait

    def poll(self, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> PollResult | Refused:
        fields = ["id", "status", "last_iteration"]
        ids = [job.job_id for job in jobs]
        found = {t["id"]: t for t in self._client.call("tasks.get_all", id=ids, only_fields=fields)["tasks"]}
        running = [job for job in jobs if found[job.job_id]["status"] == "in_progress"]
        # what the log does not know to be over still has its slot, also if this poll is asked again
        self._take(self._slots - sum((job.started or job in running) and not job.stopping for job in jobs))
        for job in running:
            if job.started:
                self._go_on(job, found[job.job_id]["last_iteration"])
        return self._jobs.poll(jobs, objectives)

    def _take(self, free: int) -> None:
        """Start what waits in the queue, in its order."""
        [queue] = self._client.call("queues.get_all", only_fields=["id"])["queues"]
        for _ in range(free):
            entry = self._client.call("queues.get_next_task", queue=queue["id"]).get("entry")
            if entry is None:
                return
            self._client.call("tasks.started", task=entry["task"])

    def _go_on(self, job: BoundJob, done: int) -> None:
        play = self._play(job.trial, job.attempt)
        to = min(job.points + play.step, len(play.values))
        event = {"type": SCALAR, "task": job.job_id, "metric": METRIC.title, "variant": METRIC.series}
        new = [event | {"iter": at, "value": play.values[at - 1]} for at in range(done + 1, to + 1)]
        if new:
            self._client.log(new)
        if to == len(play.values) and (job.points == to or not play.apart):
            reason = FORCED if play.end == "watchdog" else play.end
            end = "stopped" if play.end == "watchdog" else play.end
            self._client.call(f"tasks.{end}", task=job.job_id, status_reason=reason, status_message=reason)


# ---------------------------------------------------------------- what is done to a controller


class Plan(msgspec.Struct, frozen=True):
    """Which backend request's answer is lost, and how; at which point behind that, or of all, the controller dies."""

    lost: int | None = None
    how: str = "reset"
    crash: int | None = None


class Points(Crashes):
    """Points to crash at; with *behind* those are counted that come behind a lost answer."""

    def __init__(self, at: int | None = None, *, behind: bool = False) -> None:
        super().__init__(at)
        self.counts = not behind

    def point(self, name: str) -> None:
        if self.counts:
            super().point(name)


class Hooked(Server):
    """A server with a point to crash at before and after each request."""

    def __init__(self, mark: str, points: Points) -> None:
        super().__init__(mark)
        self._points = points

    def call(self, endpoint: str, body: Mapping[str, object], kind: type[T]) -> ServerAnswer[T]:
        self._points.point(f"before {endpoint}")
        try:
            return super().call(endpoint, body, kind)
        except Silent:
            self._points.counts = True
            raise
        finally:
            self._points.point(f"after {endpoint}")


class World:
    """A test server that can be set back to its beginning, and a scenario on it."""

    def __init__(
        self,
        server: ClearmlServer,
        folder: Path,
        scenario: Scenario,
        *,
        make: type[Controller] = Controller,
        surveys: bool = True,
    ) -> None:
        self.server, self.folder, self.scenario = server, folder, scenario
        self.make, self.surveys = make, surveys
        self.base = base_task(server)
        server.clock.freeze()
        self._begin = server.state.to_json()
        self._made = 0
        self.expected: list[object] = []

    def begin(self) -> Path:
        """Set the server back; return where the log of another run is to lie."""
        self.server.api.state = Kept.from_json(self._begin)
        self.server.heal()
        self.server.requests.clear()
        self._made += 1
        return self.folder / f"{self._made}.db"

    def finish(self, path: Path, points: Points | None = None) -> State:
        """Start controllers on the log at *path*, made if it is not there, until the search is over."""
        passed = points or Points()
        for _ in range(9):
            try:
                state = self._run(path, lambda mark: Hooked(mark, passed))
            except Unanswered:
                continue
            if state.finished is not None:
                return state
        raise AssertionError("the search does not end")

    def _run(self, path: Path, server: Callable[[str], Server]) -> State:
        place = ClearmlChoice(server=server)
        if not path.exists():
            described, _ = place.described(self.scenario.of(self.base))
            created = SearchCreated(search_id=SEARCH_ID, search=described, policy=POLICY, fingerprint={})
            create(path, created, 1, self.scenario.inputs)
        clock, requests = SimulatedClock(), ScriptedRequests(self.scenario.asks)

        def jobs_for(state: State) -> Agent:
            clock.attach(state)
            requests.attach(state)
            return Agent(place.open(path, state), self.scenario)

        before = place.before if self.surveys else nothing_before
        with opened(path, jobs_for, clock, MACHINE, before=before, requests=requests, make=self.make) as controller:
            controller.run()
            return controller.state

    def run(self, plan: Plan) -> tuple[Path, bool]:
        """Run the scenario as *plan* has it and, after a crash, on to its end; whether all of it came about."""
        path = self.begin()
        fault = None
        if plan.lost is not None:
            numbered = lambda request: MARK.lower() in request.headers and self.server.count(header=MARK) == plan.lost  # noqa: E731
            fault = self.server.fail(numbered, plan.how, effect="after")
        crashed = plan.crash is None or self.crash(path, plan.crash, behind=plan.lost is not None)
        if crashed:
            self.finish(path)
        return path, crashed and (fault is None or fault.hits == 1)

    def crash(self, path: Path, at: int, *, behind: bool = False) -> bool:
        """Run controllers in a child that ends at its *at*-th point; whether it came to that."""
        with warnings.catch_warnings():
            # From 3.12 on Python warns of the server's threads; the child uses nothing of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                self.finish(path, Points(at, behind=behind))
            except BaseException:  # noqa: BLE001 - a child must not return into pytest
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, CRASHED), f"the child ended with {status}"
        return status == CRASHED

    def left_alone(self) -> tuple[Path, int, list[str]]:
        """Return the log of a search that nobody disturbed, how many points it passed, and its requests' endpoints."""
        path, points = self.begin(), Points()
        self.finish(path, points)
        assert self.faults(path) == []
        self.expected = outcomes(path, self.scenario, self.server)
        ours = [request.endpoint for request in self.server.requests.kept if MARK.lower() in request.headers]
        return path, points.passed, ours

    # ------------------------------------------------------------ what came of it

    def faults(self, path: Path) -> list[str]:
        """Return what is wrong between the log and what the server saw, whatever was done to the controller."""
        rows = read(path, verify=True).rows
        state = fold(rows)
        intents = {row.event.key for row in rows if isinstance(row.event, JobCreated)}
        bound = {a.job_id: a for trial in state.trials for a in trial.attempts if a.job_id is not None}
        tag = f"eventhpo:{SEARCH_ID[:12]}"
        ours = {task["id"]: task for task in self.server.state.tasks.values() if tag in task["tags"]}
        keys = Counter(key.text for task in ours.values() for key in (read_key(t, tag) for t in task["tags"]) if key)
        found = [f"{key} has {n} tasks" for key, n in keys.items() if n > 1]
        found += [f"{key} has a task and no intent" for key in keys if key not in intents]
        found += [f"task {one} was {done} {n} times" for done, one, n in self._repeated()]
        found += [f"task {one} is bound to nothing" for one in ours if one not in bound]
        found += [f"task {one} of trial {a.trial} is lost" for one, a in bound.items() if one not in ours]
        found += [f"task {one} is left {t['status']}" for one, t in ours.items() if t["status"] in LEFT]
        queued = [entry["task"] for queue in self.server.state.queues.values() for entry in queue["entries"]]
        found += [f"task {one} is left in its queue" for one in ours if one in queued]
        observed = [row.event for row in rows if isinstance(row.event, MetricObserved)]
        for one, attempt in bound.items():
            mine = [e for e in observed if (e.trial, e.attempt) == (attempt.trial, attempt.number)]
            log = [point for e in mine for point in zip(e.iterations, e.values, strict=True)]
            told = [(row[2], row[3]) for row in self.server.state.scalars.get(one, [])]
            found += [f"task {one} reported {told}, in the log {log}"] if log != told else []
        return found + self.server.refused

    def _repeated(self) -> Iterator[tuple[str, str, int]]:
        for endpoint, done in (("tasks.enqueue", "enqueued"), ("tasks.started", "started")):
            sent = Counter(r.body["task"] for r in self.server.requests.kept if r.endpoint == endpoint)
            yield from ((done, one, n) for one, n in sent.items() if n > 1)

    def parted(self, alone: Path, plan: Plan) -> tuple[str | None, bool]:
        """Run *plan* and return where it differs from the search left alone, or is wrong; and whether it came about."""
        try:
            path, done = self.run(plan)
        except (AssertionError, EventhpoError) as error:
            return f"{type(error).__name__}: {error}", True
        if not done:
            return None, False
        wrong = self.faults(path)
        if wrong:
            return "; ".join(wrong), True
        if plan.lost is None and (apart := difference(rows(alone), rows(path))) is not None:
            return apart, True
        mine, other = self.expected, outcomes(path, self.scenario, self.server)
        return (None if mine == other else f"{mine}\n  {other}"), True

    def often(self, alone: Path, points: Sequence[int]) -> str | None:
        """Crash at each of *points*, one controller after the other, then let it end; return what is wrong."""
        path = self.begin()
        for at in points:
            self.crash(path, at)
        self.finish(path)
        return "; ".join(self.faults(path)) or difference(rows(alone), rows(path))


LEFT = ("created", "queued", "in_progress")
_RANDOM = re.compile(r"eventhpo:[0-9a-f]{12}:\d+-[0-9a-f]{8}(?=:)|\b[0-9a-f]{32}\b")


def rows(path: Path) -> list[tuple[int | None, str, str]]:
    """Return the rows of a log but restarts, keys and the server's ids named by order."""
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"name {len(names)}")

    return [(cause, kind, _RANDOM.sub(named, body)) for cause, kind, body in normal_log(path)]


def outcomes(path: Path, scenario: Scenario, server: ClearmlServer) -> list[object]:
    """Return what each trial, its tasks and the search came to, wherever in the log."""
    state = fold(read(path).rows)
    assert state.finished is not None
    if not scenario.alike:
        return [state.finished.reason]
    names = {a.job_id: f"{a.trial}.{a.number}" for trial in state.trials for a in trial.attempts}
    found: list[object] = [state.finished.reason, state.totals.charged]
    for trial in state.trials:
        assert trial.finished is not None
        found.append((trial.params, trial.finished.state, trial.finished.values))
        for a in trial.attempts:
            task = server.state.tasks[str(a.job_id)]
            parent = names.get(task["parent"], task["parent"])
            found.append((a.ended and a.ended.how, a.curves[0].values, a.charge, a.late, parent))
            found.append([_RANDOM.sub("key", tag) for tag in task["tags"]])
            found.append([task.get(field) for field in OF_A_TASK])
    return found


OF_A_TASK = ("status", "status_reason", "status_message", "name", "comment", "hyperparams", "script", "project")


@contextmanager
def world(scenario: Scenario, **changes: Any) -> Iterator[World]:
    """A server of its own, to which the SDK of this process is configured, and a folder in memory."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as name,
        ClearmlServer() as server,
        mock.patch.dict(os.environ, server.environment()),
        mock.patch.object(watch, "HANDED_OVER", -2 * watch.SECOND),  # the server's clock stands still, and has no parts
    ):
        yield World(server, Path(name), scenario, **changes)


# ---------------------------------------------------------------- scenarios


PRUNER = ComponentConfig("ThresholdPruner", {"upper": 2.0})  # looks at one curve only


def plain(trial: int, attempt: int) -> Play:
    return Play(apart=trial == 0)


def pruned(trial: int, attempt: int) -> Play:
    return Play(values=(0.5, 8.0, 0.5) if trial == 1 else (0.5, 0.25))


def failing(trial: int, attempt: int) -> Play:
    """Trial 0 fails once, behind a point."""
    return Play(values=(0.5,), end="failed", apart=True) if (trial, attempt) == (0, 0) else Play(values=(0.25, 0.125))


def lost(trial: int, attempt: int) -> Play:
    """The server gives the first attempt of trial 1 up."""
    return Play(values=(0.5,), end="watchdog") if (trial, attempt) == (1, 0) else Play(values=(0.25,))


def waiting(trial: int, attempt: int) -> Play:
    """Trial 0 ends, trial 1 is at it for ever, and others wait in the queue."""
    return Play(values=(0.5,) * (1 if trial == 0 else 99))


SCENARIOS: dict[str, Scenario] = {
    "plain": Scenario(search={"limits": limits(3, 2), "max_iteration_per_job": 2}, play=plain),
    "pruned": Scenario(
        search={"limits": limits(2, 2), "max_iteration_per_job": 3, "pruner": PRUNER},
        play=pruned,
    ),
    "failed and tried again": Scenario(
        search={"limits": limits(3, 2, max_failures_per_trial=1), "max_iteration_per_job": 2}, play=failing
    ),
    "lost and tried again": Scenario(
        search={"limits": limits(2, 2, max_lost_per_trial=1), "max_iteration_per_job": 1}, play=lost
    ),
    "stopped": Scenario(
        search={"limits": limits(4, 3), "max_iteration_per_job": 99},
        play=waiting,
        slots=2,
        asks=((24, StopAsked(scope="search", why="a person", request="r1")),),
        alike=False,
    ),
    "by hand": Scenario(
        search={"limits": limits(2, 1), "max_iteration_per_job": 2},
        play=plain,
        inputs=(DrivenByHand(),),
        asks=(
            (
                2,
                JobRequested(
                    request="r1",
                    params={"General/lr": 0.75},
                    extras=JobExtras(task_overrides={"script.branch": "tried"}, tags=("by-hand",)),
                ),
            ),
            (5, LaunchRequested(trial=0, attempt=0)),
            (9, DrivenByHand(by_hand=False)),
        ),
    ),
}


def larger(jobs: int, workers: int) -> Scenario:
    """A search of every kind of job, pruned by its own curves."""

    def play(trial: int, attempt: int) -> Play:
        kinds = (plain, pruned, failing, lost)
        return kinds[trial % 4](trial % 4 if trial % 4 != 2 else 0, attempt)

    what = {
        "limits": limits(jobs, workers, max_failures_per_trial=1, max_lost_per_trial=1),
        "max_iteration_per_job": 3,
        "pruner": PRUNER,
    }
    return Scenario(search=what, play=play)


# ---------------------------------------------------------------- by hand


def plans(points: int, requests: Sequence[str], *, every: bool = False) -> Iterator[Plan]:
    """Yield what is done to a search of so many points and these requests: crashes, lost answers, and both.

    Of the ways to lose an answer each request meets one, or *every* one; of the points
    behind a lost answer (it is told of, the next request is sent, it is answered) each
    meets one of the last two, or all.
    """
    yield from (Plan(crash=at) for at in range(1, points + 1))
    for n, endpoint in enumerate(requests, 1):
        possible = HOWS[:3] if endpoint == "auth.login" else HOWS  # a login that is answered with nonsense is refused
        hows = possible if every else (possible[n % len(possible)],)
        yield from (Plan(lost=n, how=how) for how in hows)
        yield from (Plan(lost=n, how=hows[0], crash=at) for at in ((1, 2, 3) if every else (2 + n % 2,)))


def main() -> None:
    """Print what was found at every request of every scenario and of a larger search."""
    parser = argparse.ArgumentParser(description="Kill a controller, or lose its answers, at each request.")
    parser.add_argument("--jobs", type=int, default=8, help="of the larger search (8)")
    parser.add_argument("--workers", type=int, default=3, help="of the larger search (3)")
    parser.add_argument("--double", type=int, default=100, help="runs with two to four crashes at random (100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the name of one search (all)")
    args = parser.parse_args()
    wrong = 0
    searches = {**SCENARIOS, "larger": larger(args.jobs, args.workers)}
    for name, scenario in searches.items() if args.only is None else [(args.only, searches[args.only])]:
        with world(scenario) as one:
            alone, points, requests = one.left_alone()
            done: Counter[str] = Counter()
            chance = random.Random(args.seed)
            for plan in plans(points, requests, every=True):
                found, came = one.parted(alone, plan)
                done["crashes" if plan.lost is None else "answers lost" if plan.crash is None else "both"] += came
                wrong += _told(name, plan, found)
            for _ in range(args.double if name == "larger" else 0):
                found = one.often(alone, [chance.randint(1, points) for _ in range(chance.randint(2, 4))])
                done["several crashes"] += 1
                wrong += _told(name, Plan(), found)
        counts = ", ".join(f"{n} {what}" for what, n in done.items())
        sys.stdout.write(f"{name}: {points} points, {len(requests)} requests: {counts}, {wrong} wrong so far\n")
        sys.stdout.flush()


def _told(name: str, plan: Plan, found: str | None) -> bool:
    if found is not None:
        sys.stdout.write(f"{name}, {plan}: {found}\n")
        sys.stdout.flush()
    return found is not None


if __name__ == "__main__":
    main()
