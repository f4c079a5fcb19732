"""How many requests the backend makes, for each thing that it does and in an hour: docs/clearml.md, Requests.

They are counted at the server, by the header that the backend alone sends. Hours pass by
waiting: the controller's clock and the server's are moved on together, and jobs live by
the server's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eventhpo.controller.controller import Controller, opened
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.events import SearchCreated, StopAsked
from eventhpo.core.search.spec import POLICY, ClearmlTasks, Limits, Search
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.other_controllers import SLACK
from eventhpo.jobs.clearml.session import MARK
from eventhpo.log.create import create
from tests.clearml.harness import MACHINE, METRIC, base_task, search
from tests.clearml_server import ClearmlServer
from tests.clearml_server.clock import stored
from tests.clearml_server.events import SCALAR

# The SDK reads its configuration by names that its parser has given up.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SEARCH_ID = "ab" * 16
BEGIN = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = 3600.0
MULTI = "events.multi_task_scalar_metrics_iter_histogram"
LEAVE = StopAsked(scope="run", jobs="leave", why="the test is over")
ABORT = StopAsked(scope="run", jobs="abort", why="a person")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClearmlServer]:
    with ClearmlServer() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        running.clock.freeze(BEGIN)
        yield running
        assert running.refused == []


class Hours:
    """Time that passes only in waits, here and at the server, and the jobs that live in it.

    Jobs start in the first wait after they are queued, unless `agent` is off; `every`
    so many seconds the first of them reports a point; `signs` of life come with each wait.
    """

    def __init__(self, server: ClearmlServer) -> None:
        self.server = server
        self.elapsed = 0.0
        self.ends = 0.0  # in the first wait
        self.stop = LEAVE
        self.agent = self.signs = True
        self.every: float | None = None
        self.first = 0.0  # seconds that the first wait takes, whatever was asked for
        self.at_hours: list[int] = []  # requests so far at each full hour
        self.polls: list[float] = []  # when waits ended
        self.controller: Controller | None = None
        self._points: Counter[str] = Counter()

    def now(self) -> int:
        return round((BEGIN.timestamp() + self.elapsed) * 1_000_000)

    def read(self) -> ClockReading:
        return ClockReading(self.now())

    def wait(self, seconds: float, due: int | None, meanwhile: Callable[[], bool]) -> None:
        meanwhile()
        if self.agent:
            self._start()
        if self.elapsed >= self.ends:
            assert self.controller is not None
            self.controller.interrupt(self.stop)
            return
        if self.first:
            seconds, self.first = self.first, 0.0
        elif due is not None:
            seconds = min(seconds, due / 1e6)
        hours = int((self.elapsed + seconds) // HOUR) - int(self.elapsed // HOUR)
        self.at_hours += [self.server.count(header=MARK)] * hours
        self.elapsed += seconds
        self.server.clock.advance(seconds)
        self.polls.append(self.elapsed)
        self._live()

    def wake(self) -> None:
        """Nothing waits for real."""

    def _start(self) -> None:
        [queue] = self.server.state.queues.values()
        while entry := self.server.call("queues.get_next_task", queue=queue["id"]).get("entry"):
            self.server.call("tasks.started", task=entry["task"])

    def _live(self) -> None:
        now = self.server.clock.now()
        running = [task for task in self.server.state.tasks.values() if task["status"] == "in_progress"]
        for task in running if self.signs else ():
            task["last_update"] = stored(now)
        for task in running[:1] if self.signs else ():  # what one of them reports is enough to be seen
            self._report(task["id"], (now - datetime.fromisoformat(task["started"])).total_seconds())

    def _report(self, task: str, age: float) -> None:
        due = 0 if self.every is None else int(age // self.every)
        new = range(self._points[task] + 1, due + 1)
        self._points[task] += len(new)
        event = {"type": SCALAR, "task": task, "metric": METRIC.title, "variant": METRIC.series, "value": 0.5}
        if new:
            self.server.call("events.add_batch", lines=[event | {"iter": at} for at in new])


def small(server: ClearmlServer, workers: int, **tasks: str) -> Search:
    base = base_task(server)
    return search(
        base,
        limits=Limits(num_concurrent_workers=workers, total_max_jobs=workers, pool_period_min=2.0),
        jobs=ClearmlTasks(**{"base_task_id": base, "execution_queue": "default"} | tasks),
        max_iteration_per_job=None,
    )


def begun(path: Path, what: Search) -> None:
    described, _ = ClearmlChoice().described(what)
    create(path, SearchCreated(search_id=SEARCH_ID, search=described, policy=POLICY, fingerprint={}), 1)


def drive(path: Path, hours: Hours, *, first: StopAsked | None = None) -> None:
    """Drive the search at *path* as a controller that was just started; *hours*, or *first*, ends its run."""
    place = ClearmlChoice()
    with opened(path, lambda state: place.open(path, state), hours, MACHINE, before=place.before) as controller:
        hours.controller = controller
        if first is not None:
            controller.interrupt(first)
        controller.run()


@contextmanager
def counted(server: ClearmlServer) -> Iterator[Counter[str]]:
    """Requests of the backend, by endpoint, when the block is over."""
    server.requests.clear()
    found: Counter[str] = Counter()
    yield found
    assert server.requests.total < 10**6
    found.update(request.endpoint for request in server.requests.kept if MARK.lower() in request.headers)
    assert found.total() == server.count(header=MARK), "more than are kept"


@pytest.fixture
def hours(server: ClearmlServer) -> Hours:
    return Hours(server)


# ---------------------------------------------------------------- beginnings


@pytest.mark.parametrize(
    ("tasks", "requests"),
    [
        ({}, {"auth.login": 1, "tasks.get_all": 1, "queues.get_all": 1}),
        ({"execution_queue": "by id"}, {"auth.login": 1, "tasks.get_all": 1, "queues.get_all": 2}),
        ({"project": "eventhpo"}, {"auth.login": 1, "tasks.get_all": 1, "queues.get_all": 1, "projects.get_all": 1}),
        (
            {"project": "new"},
            {
                "auth.login": 1,
                "tasks.get_all": 1,
                "queues.get_all": 1,
                "projects.get_all": 1,
                "projects.create": 1,
            },
        ),
    ],
    ids=["plain", "a queue by its id", "a project", "a new project"],
)
def test_a_search_begins_with(
    server: ClearmlServer, tmp_path: Path, tasks: Mapping[str, str], requests: Mapping[str, int]
) -> None:
    named = {key: server.queue() if value == "by id" else value for key, value in tasks.items()}
    what = small(server, 1, **named)
    with counted(server) as found:
        begun(tmp_path / "search.db", what)
    assert found == requests


@pytest.mark.parametrize(("tasks", "pages"), [(0, 1), (499, 1), (500, 2), (501, 2), (1000, 3)])
def test_a_controller_begins_with_a_login_and_the_tasks_of_its_search_500_at_a_time(
    server: ClearmlServer, tmp_path: Path, hours: Hours, tasks: int, pages: int
) -> None:
    path, place = tmp_path / "search.db", ClearmlChoice()
    begun(path, small(server, 1))
    for n in range(tasks):
        server.make_task(f"job {n}", tags=[f"eventhpo:{SEARCH_ID[:12]}"])
    with (
        counted(server) as found,
        opened(path, lambda state: place.open(path, state), hours, MACHINE, before=place.before),
    ):
        pass
    assert found == {"auth.login": 1, "tasks.get_all": pages}


# ---------------------------------------------------------------- launches and stops


def launched(server: ClearmlServer, path: Path, hours: Hours, workers: int) -> None:
    """Begin a search and launch its jobs; the run ends in its first wait."""
    begun(path, small(server, workers))
    drive(path, hours)


def without_start(found: Counter[str]) -> Counter[str]:
    """Leave out what each controller begins with."""
    return found - Counter({"auth.login": 1, "tasks.get_all": 1})


@pytest.mark.parametrize("jobs", [1, 100])
def test_a_launch_is_a_clone_and_an_enqueue_and_one_that_reads_all_back(
    server: ClearmlServer, tmp_path: Path, hours: Hours, jobs: int
) -> None:
    begun(tmp_path / "search.db", small(server, jobs))
    with counted(server) as found:
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.clone": jobs, "tasks.get_all": 1, "tasks.enqueue": jobs}


@pytest.mark.parametrize(
    ("endpoint", "reads"),
    [("tasks.clone", 1 + 1 + 1), ("tasks.enqueue", 1 + 1 + 1)],
    ids=["a look by key, the read back, a look at the end of the run", "the read back, a poll meanwhile, it again"],
)
def test_an_answer_in_doubt_costs_a_look_and_nothing_is_sent_twice(
    server: ClearmlServer, tmp_path: Path, hours: Hours, endpoint: str, reads: int
) -> None:
    begun(tmp_path / "search.db", small(server, 1))
    server.fail(endpoint, "reset", effect="after")
    hours.ends, hours.agent = 1.0, False
    with counted(server) as found:
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.clone": 1, "tasks.enqueue": 1, "tasks.get_all": reads}


def test_a_running_job_is_stopped_by_one_request_and_a_waiting_one_by_two(
    server: ClearmlServer, tmp_path: Path, hours: Hours
) -> None:
    begun(tmp_path / "search.db", small(server, 3))
    hours.ends, hours.stop = 10.0, ABORT
    hours.agent = False
    start = hours._live

    def start_two() -> None:
        start()
        [queue] = server.state.queues.values()
        while len(queue["entries"]) > 1:
            server.call("tasks.started", task=server.call("queues.get_next_task", queue=queue["id"])["entry"]["task"])

    hours._live = start_two  # type: ignore[method-assign]
    with counted(server) as found:
        drive(tmp_path / "search.db", hours)
    assert (found["tasks.stopped"], found["tasks.dequeue"], found["tasks.stop"]) == (3, 1, 0)
    # begin, read back, polls, and one look at all of them before they are aborted
    assert found["tasks.get_all"] == 1 + 1 + len(hours.polls) + 1


def test_a_controller_that_has_not_looked_yet_reads_how_jobs_stand_before_it_stops_them(
    server: ClearmlServer, tmp_path: Path, hours: Hours
) -> None:
    hours.agent = False
    launched(server, tmp_path / "search.db", hours, 3)
    server.call("tasks.started", task=server.call("queues.get_next_task", queue=server.queue())["entry"]["task"])
    with counted(server) as found:
        drive(tmp_path / "search.db", hours, first=ABORT)
    assert without_start(found) == {"tasks.get_all": 1, "tasks.stopped": 3, "tasks.dequeue": 2}


# ---------------------------------------------------------------- polls


@contextmanager
def watched(server: ClearmlServer, path: Path, hours: Hours, jobs: int) -> Iterator[None]:
    """Jobs that run for an hour already, and the controller that launched them gone; go on for one poll from here."""
    launched(server, path, hours, jobs)
    hours.elapsed += HOUR
    server.clock.advance(HOUR)
    hours._live()
    hours.polls.clear()
    hours.ends = hours.elapsed + 1
    yield
    assert len(hours.polls) == 1


@pytest.mark.parametrize(("jobs", "statuses", "curves"), [(1, 1, 1), (100, 1, 1), (101, 1, 2)])
def test_a_poll_reads_500_statuses_and_100_curves_at_a_time(
    server: ClearmlServer, tmp_path: Path, hours: Hours, jobs: int, statuses: int, curves: int
) -> None:
    with watched(server, tmp_path / "search.db", hours, jobs), counted(server) as found:
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.get_all": statuses, MULTI: curves}


def test_jobs_that_wait_have_no_curves_to_be_read(server: ClearmlServer, tmp_path: Path, hours: Hours) -> None:
    hours.agent = False
    with watched(server, tmp_path / "search.db", hours, 3), counted(server) as found:
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.get_all": 1}


def test_a_poll_that_sees_ends_reads_once_more_for_all_of_them(
    server: ClearmlServer, tmp_path: Path, hours: Hours
) -> None:
    with watched(server, tmp_path / "search.db", hours, 5), counted(server) as found:
        for task in [t for t in server.state.tasks.values() if t["status"] == "in_progress"][:3]:
            server.call("tasks.completed", task=task["id"])
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.get_all": 2, MULTI: 1}


def test_a_poll_with_silent_jobs_asks_once_for_the_workers(server: ClearmlServer, tmp_path: Path, hours: Hours) -> None:
    hours.signs = False
    with watched(server, tmp_path / "search.db", hours, 3), counted(server) as found:
        for task in server.state.tasks.values():
            half_an_hour_ago = stored(server.clock.now() - timedelta(seconds=HOUR / 2))
            task.update(last_worker="w", last_update=half_an_hour_ago)
        server.call("workers.register", worker="w", queues=[], timeout=600)
        server.call("workers.status_report", worker="w", timestamp=0)
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.get_all": 1, MULTI: 1, "workers.get_all": 1}


def test_a_poll_asks_once_more_for_each_curve_of_6000_points(
    server: ClearmlServer, tmp_path: Path, hours: Hours
) -> None:
    with watched(server, tmp_path / "search.db", hours, 2), counted(server) as found:
        task = next(t["id"] for t in server.state.tasks.values() if t["status"] == "in_progress")
        event = {"type": SCALAR, "task": task, "metric": METRIC.title, "variant": METRIC.series, "value": 0.5}
        server.call("events.add_batch", lines=[event | {"iter": at} for at in range(1, 6001)])
        drive(tmp_path / "search.db", hours)
    assert without_start(found) == {"tasks.get_all": 1, MULTI: 1, "events.scalar_metrics_iter_raw": 1}


# ---------------------------------------------------------------- hours


def rival_looks(server: ClearmlServer) -> int:
    """Return how often the newest tasks of the search were read with nothing to launch."""
    bodies = [r.body for r in server.requests.kept if r.endpoint == "tasks.get_all"]
    return sum(body.get("order_by") == ["-created"] and body["page_size"] == SLACK for body in bodies)


def in_hours(hours: Hours) -> list[int]:
    """Return the requests of each whole hour but the first."""
    return [after - before for before, after in zip(hours.at_hours, hours.at_hours[1:], strict=False)]


@pytest.mark.parametrize("jobs", [1, 100])
@pytest.mark.parametrize(
    ("every", "length", "polls"),
    [(None, 10, [30] * 9), (HOUR, 10, [31, 30] * 4 + [31]), (60.0, 4, [60] * 3)],
    ids=["nothing new", "something new once an hour", "something new at each look"],
)
def test_an_hour_of_jobs_older_than_20_minutes_has_30_to_60_polls_of_two_requests_and_ten_looks_for_rivals(
    server: ClearmlServer,
    tmp_path: Path,
    hours: Hours,
    jobs: int,
    every: float | None,
    length: int,
    polls: Sequence[int],
) -> None:
    hours.every, hours.ends = every, length * HOUR
    launched(server, tmp_path / "search.db", hours, jobs)
    looks = [found - 2 * n for found, n in zip(in_hours(hours), polls, strict=True)]
    assert set(looks) <= {8, 9, 10}  # at the first poll that is later than five minutes


def test_the_first_hour_of_a_job_is_looked_at_more_often_while_it_is_young(
    server: ClearmlServer, tmp_path: Path, hours: Hours
) -> None:
    hours.every, hours.ends = 1.0, HOUR
    launched(server, tmp_path / "search.db", hours, 1)
    waits = [after - before for before, after in zip(hours.polls, hours.polls[1:], strict=False)]
    # an age goes by the server's Date, in whole seconds: a twentieth of one is 0.05
    assert waits == pytest.approx([min(60.0, max(2.0, at / 20)) for at in hours.polls[:-1]], abs=0.051)
    assert sum(at <= HOUR for at in hours.polls) == 129


def test_a_thousand_jobs_are_launched_by_2003_requests_and_looked_at_by_12(
    server: ClearmlServer, tmp_path: Path, hours: Hours
) -> None:
    hours.first, hours.ends = HOUR - 60, 2 * HOUR
    begun(tmp_path / "search.db", small(server, 1000))
    with counted(server) as found:
        drive(tmp_path / "search.db", hours)
    polls, looks = len(hours.polls), rival_looks(server)
    assert without_start(found) == {
        "tasks.clone": 1000,
        "tasks.enqueue": 1000,
        "tasks.get_all": 3 + 2 * polls + looks,
        MULTI: 10 * polls,
    }
    [an_hour] = in_hours(hours)
    assert an_hour - 30 * 12 in range(8, 11)
    assert 9 <= looks <= 12
