"""What a poll asks, and what it makes of curves: long ones, repeats and rewinds, and what ClearML cannot carry."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import InheritanceClaimed, JobEnded, MetricObserved, ReportsRead
from eventhpo.core.search.spec import Objective
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.clearml.curves import thinned, unknown
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.protocol import POINTS, BoundJob, JobUpdate, PollResult, Refused
from tests.clearml.harness import METRIC, Hours, base_task, begin, falling, of, our_tasks, outcomes, run, unhurried
from tests.clearml.harness import search as small
from tests.clearml_server import ClearmlServer, Script

SIZE = Objective("validation", "size", "min")
BATCHED = "events.multi_task_scalar_metrics_iter_histogram"
SINGLE = "events.scalar_metrics_iter_histogram"
RAW = "events.scalar_metrics_iter_raw"
Pairs = Iterable[tuple[int, float]]


def single(value: float) -> float:
    """As ClearML keeps it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def backend(server: ClearmlServer) -> ClearmlBackend:
    found, _ = ClearmlChoice().described(small(base_task(server)))
    server.requests.clear()
    return ClearmlBackend(Server("test"), found.jobs)  # type: ignore[arg-type]


def running(server: ClearmlServer, status: str = "in_progress") -> str:
    """A task that runs."""
    task = server.make_task("job")
    now = server.task(task)["created"]
    server.state.tasks[task].update(status=status, started=now, last_worker="w", last_worker_report=now)
    return task


def report(
    server: ClearmlServer, task: str, pairs: Pairs, title: str = METRIC.title, series: str = METRIC.series
) -> None:
    event = {"type": "training_stats_scalar", "task": task, "metric": title, "variant": series}
    server.call("events.add_batch", lines=[{**event, "iter": x, "value": y} for x, y in pairs])


def job(task: str, known: Sequence[Curve] = (), trial: int = 0, **changes: object) -> BoundJob:
    """A job as a controller tells the backend of it."""
    curves = tuple(known) or (Curve(),)
    points = sum(c.reported for c in curves)
    found = BoundJob(
        trial=trial,
        attempt=0,
        key=f"eventhpo:abababababab:17-89abcdef:{trial}.0",
        job_id=task,
        params={},
        slot=0,
        started=True,
        stopping=False,
        lost=False,
        cursor=points,
        points=points,
        failures=0,
        boot="",
        queued=True,
        known=curves,
    )
    return msgspec.structs.replace(found, **changes)


def seen(jobs: ClearmlBackend, *asked: BoundJob, objectives: Sequence[Objective] = (METRIC,)) -> list[JobUpdate]:
    answer = jobs.poll(asked, objectives)
    assert isinstance(answer, PollResult), answer
    return list(answer.seen)


def read_on(
    jobs: ClearmlBackend, task: str, known: Sequence[Curve], objectives: Sequence[Objective] = (METRIC,)
) -> int:
    """Poll until nothing is left to read; return how many polls that took."""
    polls = 0
    more = True
    while more:
        [one] = seen(jobs, job(task, known), objectives=objectives)
        names = [(o.title, o.series) for o in objectives]
        count = 0
        for curve in one.curves:
            list(known[names.index((curve.title, curve.series))].add(zip(curve.iterations, curve.values, strict=True)))
            count += len(curve.iterations)
        assert count <= POINTS
        polls += 1
        assert polls < 20, "it reads without end"
        more = one.more
        assert not (more and one.ended), "an end is told when all was read"
    return polls


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("queued", "run", "statuses", "curves"), [(400, 100, 1, 1), (400, 101, 2, 2), (3, 0, 1, 0), (0, 1, 1, 1)]
)
def test_a_poll_reads_statuses_of_500_and_curves_of_100_jobs_at_once(
    server: ClearmlServer, queued: int, run: int, statuses: int, curves: int
) -> None:
    jobs = backend(server)
    tasks = [running(server, "queued") for _ in range(queued)] + [running(server) for _ in range(run)]
    assert len(seen(jobs, *(job(task, trial=i) for i, task in enumerate(tasks)))) == queued + run
    asked = [r.endpoint for r in server.requests.kept if r.endpoint != "auth.login"]
    assert asked == ["tasks.get_all"] * statuses + [BATCHED] * curves


def test_status_is_read_before_curves_so_that_the_curve_of_an_ended_job_is_whole(server: ClearmlServer) -> None:
    """A point that comes between the two, with the end, is read together with the end or before it."""
    jobs = backend(server)
    task = running(server)
    report(server, task, [(1, 0.5)])
    count = server._count

    def between(request):  # type: ignore[no-untyped-def]
        if request.endpoint == BATCHED and server.task(task)["status"] == "in_progress":
            report(server, task, [(2, 0.25)])
            server.call("tasks.completed", task=task)
        return count(request)

    server._count = between  # type: ignore[method-assign]
    known = (Curve(),)
    [first] = seen(jobs, job(task, known))
    assert (first.curves[0].iterations, first.ended) == ((1, 2), None)
    list(known[0].add(zip(first.curves[0].iterations, first.curves[0].values, strict=True)))
    [second] = seen(jobs, job(task, known))
    assert second.ended is not None
    assert not second.curves


def test_a_poll_that_sees_ends_asks_once_more_for_500_of_them(server: ClearmlServer) -> None:
    jobs = backend(server)
    tasks = [running(server) for _ in range(3)]
    for task in tasks:
        report(server, task, [(1, 0.5)])
        report(server, task, [(1, 7.0), (2, 5.0)], "train", "loss")
        server.call("tasks.completed", task=task)
    found = seen(jobs, *(job(task, trial=i) for i, task in enumerate(tasks)))
    assert server.count("tasks.get_all") == 2
    assert server.count(BATCHED) == 1
    [other] = found[0].others
    assert (other.title, other.series, other.last, other.min, other.max) == ("train", "loss", 5.0, 5.0, 7.0)


def test_an_ended_job_has_its_hyper_parameters_in_the_log(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    state = run(path, clock=Hours(server))
    for event in of(path, JobEnded):
        lr = state.trials[event.trial].params["General/lr"]
        assert event.hyper_parameters == {"General/lr": str(lr), "General/width": "8", "Args/data": "/sets/a"}


def test_workers_are_asked_for_only_where_a_job_is_silent(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    seen(jobs, job(task))
    assert server.count("workers.get_all") == 0
    server.clock.advance(1201)
    seen(jobs, job(task))
    assert server.count("workers.get_all") == 1


def test_a_server_without_the_batched_call_is_served_with_the_single_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ClearmlServer(without=frozenset({BATCHED})) as old:
        for name, value in old.environment().items():
            monkeypatch.setenv(name, value)
        old.script(falling(old))
        begin(path, unhurried(base_task(old)))
        state = run(path, clock=Hours(old))
        assert [s for s, _ in outcomes(state)] == ["completed"] * 4
        assert old.count(BATCHED) == 1
        assert old.count(SINGLE) > 4


@pytest.mark.parametrize("fault", ["tokens", "gone"])
def test_a_batched_call_that_is_refused_for_another_reason_is_asked_again(server: ClearmlServer, fault: str) -> None:
    """Not let in, or a task that was deleted between two requests: the server knows the call."""
    jobs = backend(server)
    task = running(server)
    seen(jobs, job(task))
    secret, count = server.api.options.access_key, server._count
    if fault == "tokens":
        server.expire_tokens()
        server.api.options.access_key = "another"
    else:

        def between(request):  # type: ignore[no-untyped-def]
            if request.endpoint == BATCHED:
                server.user.delete(task)
            return count(request)

        server._count = between  # type: ignore[method-assign]
    assert isinstance(jobs.poll([job(task)], [METRIC]), Refused)
    server.api.options.access_key, server._count = secret, count  # type: ignore[method-assign]
    other = running(server)
    report(server, other, [(1, 0.5)])
    seen(jobs, job(other))
    assert server.count(SINGLE) == 0


# ---------------------------------------------------------------- the pace


@pytest.mark.parametrize(("age", "shortest"), [(0, 2.0), (39, 2.0), (400, 20.0), (1200, 60.0), (86_400, 60.0)])
def test_polls_lie_a_twentieth_of_the_age_of_the_youngest_running_job_apart(
    server: ClearmlServer, age: int, shortest: float
) -> None:
    jobs = backend(server)
    running(server)
    task = running(server)
    server.clock.advance(age)
    server.state.tasks[task]["last_update"] = server.clock.now().isoformat()
    assert jobs.shortest_wait == 2.0
    seen(jobs, job(task))
    assert jobs.shortest_wait == pytest.approx(shortest, abs=0.2)
    assert jobs.longest_wait == 120.0


# ---------------------------------------------------------------- long curves


@pytest.mark.parametrize("restart", [False, True], ids=["one controller", "a new one each time"])
@pytest.mark.parametrize(
    ("count", "stride"),
    [(5_999, 1), (6_000, 1), (6_001, 1), (10_000, 1), (10_001, 1), (25_000, 1), (7_000, 3), (3_001, 2)],
)
def test_every_point_of_a_curve_is_read_however_long(
    server: ClearmlServer, count: int, stride: int, restart: bool
) -> None:
    jobs = backend(server)
    task = running(server)
    pairs = [(i * stride, single(1 / (i + 1))) for i in range(count)]
    known = (Curve(),)
    for part in (pairs[: count // 2], pairs[count // 2 :]):
        report(server, task, part)
        if restart:
            jobs = backend(server)
        read_on(jobs, task, known)
    assert list(zip(known[0].iterations, known[0].values, strict=True)) == pairs
    assert known[0].reported == count


def test_it_is_taken_up_in_the_middle_by_another_controller(server: ClearmlServer) -> None:
    task = running(server)
    pairs = [(i, single(1 / (i + 1))) for i in range(25_000)]
    report(server, task, pairs)
    known = (Curve(),)
    for _ in range(20):
        [one] = seen(backend(server), job(task, known))
        for curve in one.curves:
            list(known[0].add(zip(curve.iterations, curve.values, strict=True)))
        if not one.more and one.curves:
            break
        read_on(backend(server), task, known)
    assert list(zip(known[0].iterations, known[0].values, strict=True)) == pairs
    assert known[0].reported == 25_000


def test_a_long_curve_costs_one_request_more_in_each_poll(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    report(server, task, [(i, 0.5) for i in range(6_500)])
    known = (Curve(),)
    read_on(jobs, task, known)
    server.requests.clear()
    report(server, task, [(6_500, 0.25)])
    [one] = seen(jobs, job(task, known))
    assert one.curves[0].iterations == (6_500,)
    assert [r.endpoint for r in server.requests.kept] == ["tasks.get_all", BATCHED, RAW]


def test_a_place_in_a_long_curve_that_the_server_has_forgotten_is_looked_up_again(server: ClearmlServer) -> None:
    """An upgrade may change what such a place looks like."""
    jobs = backend(server)
    task = running(server)
    report(server, task, [(i, 0.5) for i in range(6_500)])
    known = (Curve(),)
    read_on(jobs, task, known)
    jobs._curves._scrolls = dict.fromkeys(jobs._curves._scrolls, "of another version")
    report(server, task, [(6_500, 0.25)])
    refused = jobs.poll([job(task, known)], [METRIC])
    assert isinstance(refused, Refused)
    assert not refused.in_doubt
    [one] = seen(jobs, job(task, known))
    assert one.curves[0].iterations == (6_500,)


def test_few_points_far_apart_are_no_long_curve(server: ClearmlServer) -> None:
    """Reported every 100 iterations: they look thinned out until the log has some of them."""
    jobs = backend(server)
    task = running(server)
    report(server, task, [(i, 0.5) for i in range(100, 30_000, 100)])
    known = (Curve(),)
    read_on(jobs, task, known)
    server.requests.clear()
    report(server, task, [(i, 0.5) for i in range(30_000, 60_000, 100)])
    read_on(jobs, task, known)
    assert known[0].iterations == list(range(100, 60_000, 100))
    assert server.count(RAW) == 0


def test_one_far_point_behind_many_does_not_hide_them(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    xs = [*range(6_000), 1_000_000]
    report(server, task, [(x, 0.5) for x in xs])
    known = (Curve(),)
    read_on(jobs, task, known)
    assert known[0].iterations == xs


def test_two_long_curves_of_one_job_share_the_points_of_a_poll(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    known = (Curve(), Curve())
    for series in (METRIC.series, SIZE.series):
        report(server, task, [(i, 0.5) for i in range(12_000)], series=series)
    read_on(jobs, task, known, (METRIC, SIZE))
    assert known[0].iterations == known[1].iterations == list(range(12_000))
    assert known[0].reported == known[1].reported == 12_000


def test_the_end_of_a_long_curve_is_told_when_all_of_it_was_read(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    report(server, task, [(i, 0.5) for i in range(25_000)])
    server.call("tasks.completed", task=task)
    known = (Curve(),)
    read_on(jobs, task, known)
    assert len(known[0].iterations) == 25_000
    [one] = seen(jobs, job(task, known))
    assert one.ended is not None
    assert one.ended.how == "completed"


@pytest.mark.parametrize(
    ("shown", "known", "expected"),
    [
        (range(100), (), False),
        (range(6_000), (), True),
        (range(0, 6_001, 2), (), True),
        (range(0, 25_000, 5), (), True),
        (range(0, 25_000, 5), range(20_000), True),
        (range(0, 25_000, 5), range(0, 20_000, 5), False),
        (range(0, 25_000, 50), range(0, 50, 50), True),
        ([0, 1_000_000_000], [0], False),
        ([3, 6_999_999], [3], False),
        ([], (), False),
        ([0], (), False),
    ],
)
def test_which_curves_may_be_thinned_out(shown: Sequence[int], known: Sequence[int], expected: bool) -> None:
    points = dict.fromkeys(shown, 0.5)
    curve = Curve()
    list(curve.add((x, 0.5) for x in known))
    spans = [(min(points), max(points))] if points else []
    assert thinned(points, curve, spans) == expected


def test_a_short_curve_is_thinned_out_with_the_long_one_beside_it() -> None:
    """Where a server cuts all that it is asked for into the same buckets."""
    assert thinned(dict.fromkeys(range(0, 100, 2), 0.5), Curve(), [(0, 98), (0, 11_999)])


# ---------------------------------------------------------------- repeats, rewinds, changes


@pytest.mark.parametrize(
    ("have", "now", "new"),
    [
        ([(1, 0.5)], [(1, 0.5), (2, 0.25)], [(2, 0.25)]),
        ([(2, 0.5)], [(1, 0.75), (2, 0.5)], [(1, 0.75)]),
        ([(1, 0.5), (2, 0.25)], [(1, 0.375), (2, 0.25), (3, 0.125)], [(1, 0.375), (3, 0.125)]),
        ([(1, 0.5), (2, 0.25), (1, 0.375)], [(1, 0.375), (2, 0.25)], []),
        ([(1, math.nan)], [(1, math.nan)], []),
        ([], [(5, 0.5), (6, 0.25)], [(5, 0.5), (6, 0.25)]),
    ],
    ids=["new", "rewound", "changed", "known change", "nan", "all"],
)
def test_what_the_log_does_not_have_is_told_once(
    have: list[tuple[int, float]], now: list[tuple[int, float]], new: list[tuple[int, float]]
) -> None:
    curve = Curve()
    list(curve.add(have))
    assert list(unknown(dict(now), curve)) == new


@pytest.mark.parametrize("repeats", ["average", "overwrite"])
def test_points_that_repeat_rewind_or_change_are_recorded_and_change_no_decision(
    path: Path, monkeypatch: pytest.MonkeyPatch, repeats: str
) -> None:
    with ClearmlServer(repeats=repeats) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        points = [(1, *NAME, 0.5), (3, *NAME, 0.25), (5, *NAME, 0.125)]
        server.script(lambda task: Script(points=points, end="completed"))
        begin(path, unhurried(base_task(server), total_max_jobs=1, max_iteration_per_job=5))

        def after(waits: int) -> None:
            [task] = our_tasks(server)
            if task["last_iteration"] == 3:
                report(server, task["id"], [(1, 0.75), (2, 0.875)])

        state = run(path, clock=Hours(server, then=after))
    curve = state.trials[0].attempts[0].curves[0]
    assert curve.iterations == [1, 3, 5]
    assert curve.values == [0.5, 0.25, 0.125]
    assert curve.repeats == {1: 0.625 if repeats == "average" else 0.75, 2: 0.875}
    assert outcomes(state) == [("completed", "")]
    assert sum(len(e.iterations) for e in of(path, MetricObserved)) == 5


# ---------------------------------------------------------------- NaN, and other words of a job


def test_nan_and_infinities_by_our_reporter_are_what_they_were(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    name = f"{METRIC.title}/{METRIC.series}"
    report(server, task, [(1, 0.5), (5, 0.25)])
    for word, x in (("nan", 2), ("inf", 3), ("-inf", 4)):
        report(server, task, [(x, 0.0)], "eventhpo", f"{word} {name}")
    [one] = seen(jobs, job(task))
    [curve] = one.curves
    assert curve.iterations == (1, 2, 3, 4, 5)
    assert str(curve.values) == "(0.5, nan, inf, -inf, 0.25)"
    assert one.bad == ()
    assert one.others == ()


def test_nan_stands_in_its_place_in_a_long_curve(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    name = f"{METRIC.title}/{METRIC.series}"
    odd = {7, 7_000, 10_500}
    report(server, task, [(x, 0.5) for x in range(12_000) if x not in odd])
    report(server, task, [(x, 0.0) for x in odd], "eventhpo", f"nan {name}")
    known = (Curve(),)
    read_on(jobs, task, known)
    assert known[0].iterations == list(range(12_000))
    assert {x for x, y in zip(known[0].iterations, known[0].values, strict=True) if math.isnan(y)} == odd


def test_a_curve_of_nothing_but_nan_can_be_long_too(server: ClearmlServer) -> None:
    jobs = backend(server)
    task = running(server)
    report(server, task, [(x, 0.0) for x in range(12_500)], "eventhpo", f"nan {METRIC.title}/{METRIC.series}")
    known = (Curve(),)
    read_on(jobs, task, known)
    assert known[0].iterations == list(range(12_500))
    assert all(map(math.isnan, known[0].values))


def test_a_zero_out_of_nowhere_is_noted_beside_the_point(server: ClearmlServer, path: Path) -> None:
    """ClearML's own reporter makes 0.0 of NaN; the first value of a curve, and a zero behind a zero, are not noted."""
    values = [0.5, 0.0, 0.0, 0.25, 0.0]
    server.script(lambda task: Script.curve(*NAME, values))
    begin(path, unhurried(base_task(server), total_max_jobs=1, max_iteration_per_job=5))
    run(path, clock=Hours(server))
    noted = [note for e in of(path, MetricObserved) for note in e.bad]
    assert [note.place for note in noted] == [f"validation/loss at iteration {x}" for x in (2, 5)]
    assert all("sends as 0.0" in note.why for note in noted)


def test_a_retry_says_where_it_goes_on(server: ClearmlServer, path: Path) -> None:
    """As a point under our title; behind it its curve goes on, and costs only what is new."""
    first = Script.curve(*NAME, [1.0, 0.5], end="failed")
    points = [(2, "eventhpo", "resume_from", 2.0), (3, *NAME, 0.25), (4, *NAME, 0.125)]
    server.script(lambda task: Script(points=points) if any("retry of" in tag for tag in task["tags"]) else first)
    begin(path, unhurried(base_task(server), total_max_jobs=2, max_iteration_per_job=4, target_value=0.125))
    state = run(path, clock=Hours(server))
    assert [(e.trial, e.attempt, e.iteration) for e in of(path, InheritanceClaimed)] == [(0, 1, 2)]
    attempts = state.trials[0].attempts
    assert attempts[1].curves[0].values == [1.0, 0.5, 0.25, 0.125]
    assert [a.charge for a in attempts] == [2, 2]


def test_the_names_under_our_title_are_no_metrics(server: ClearmlServer, path: Path) -> None:
    points = [(1, "eventhpo", "nan validation/loss", 0.0), (2, *NAME, 0.25), (2, "train", "loss", 1.0)]
    server.script(lambda task: Script(points=points))
    begin(path, unhurried(base_task(server), total_max_jobs=1, max_iteration_per_job=2))
    state = run(path, clock=Hours(server))
    assert set(state.trials[0].attempts[0].others) == {("train", "loss")}
    assert not [e for e in of(path, ReportsRead) if any(o.title == "eventhpo" for o in e.others)]


def stopped_after(server: ClearmlServer, waits: int) -> Hours:
    """A clock that ends the run at its last wait."""
    clock = Hours(server, then=lambda count: clock.stop() if count > waits else None)
    return clock


NAME = (METRIC.title, METRIC.series)


def test_polls_that_see_nothing_double_the_pause_up_to_two_minutes(server: ClearmlServer, path: Path) -> None:
    """And `pool_period_min` bounds it."""
    server.script(falling(server, 1, end=None))
    for period, most in ((60.0, 120.0), (1.0, 60.0)):
        log = path.with_name(f"{most:g}.db")
        begin(log, unhurried(base_task(server), 1, pool_period_min=period))
        clock = stopped_after(server, 12)
        run(log, clock=clock)
        server.state.tasks.clear()
        quiet = clock.waits[5:]
        assert quiet == sorted(quiet)
        assert max(quiet) == most
        assert all(1.9 * a <= b <= 4 * a or b == most for a, b in itertools.pairwise(quiet)), quiet
