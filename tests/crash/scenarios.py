"""Searches that together meet every rule: small enough to be crashed at each of their points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from eventhpo.core.fold.event_parts import ImportedTrial
from eventhpo.core.fold.events import (
    AbortRequested,
    DrivenByHand,
    EndCommandSet,
    Event,
    JobRequested,
    LaunchRequested,
    LimitsChanged,
    OptimizerTaskSet,
    PointEnqueued,
    SearchPaused,
    SearchUnpaused,
    StopAsked,
    TrialCancelled,
    TrialNoted,
    TrialsImported,
)
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    LimitChanges,
    Objective,
    ParameterChoice,
    ParameterSet,
    Scalar,
    Search,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.testing.searches import LOSS, X, search
from eventhpo.testing.simulated import SECOND, CutPoint, Script, Scripts, SetBy

SHA = ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2})
MEDIAN = ComponentConfig("MedianPruner", {"n_startup_trials": 1})
TPE = ComponentConfig("TPESampler", {"n_startup_trials": 3})


class Scenario(msgspec.Struct, frozen=True):
    """A search, what its jobs do, how polls cut their curves, what users put in, and how the wall clock is set."""

    search: Search
    scripts: Scripts
    cut: CutPoint = lambda trial, attempt, cursor: 2
    inputs: Sequence[Event] = ()
    asks: Sequence[tuple[int, Event]] = ()
    set_by: SetBy | None = None


def curve(x: float, n: int, start: int = 1) -> tuple[tuple[int, float], ...]:
    """Return a falling curve that ends near *x*."""
    return tuple((i, x + 1 / i) for i in range(start, start + n))


def plain(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=curve(_x(params), 4))


def _x(params: dict[str, Scalar]) -> float:
    value = params["General/x"]
    assert isinstance(value, (int, float))
    return float(value)


def overrunning(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=curve(_x(params), 7), overrun=2, ends_apart=trial % 2 == 0, others=("time",))


def failing(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Trial 1 fails once, trial 2 twice in a row, trial 3 reports nothing, the rest is well."""
    how = "failed" if (trial, attempt) in {(1, 0), (2, 0), (2, 1)} else "completed"
    points = () if trial == 3 else curve(_x(params), 2)
    return Script(points=points, how=how, bad_at=(1,))


def lost(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Trial 0 is lost and comes back, trial 1 is lost for good more often than it may be."""
    if trial == 0 and attempt == 0:
        return Script(points=curve(_x(params), 2), how="lost", returns=((3, 0.5), (4, 0.4)))
    return Script(points=curve(_x(params), 3), how="lost" if trial == 1 else "completed")


def refused(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Every effect of some trials fails before it works; some take place unseen; one never works."""
    wrong = {0: {"draft": 2}, 1: {"draft": 1}, 2: {"launch": 2}, 3: {"launch": 1}, 4: {"stop": 2, "poll": 1}}
    refusals = wrong.get(trial, {})
    if trial == 5 and attempt == 0:
        return Script(refusals={"launch": 9}, launch_fails_at=2)
    return Script(
        points=curve(_x(params), 6),
        refusals=refusals,
        in_doubt=trial in (1, 3),
        overrun=1,
        queued=trial == 3,
        others=("loss", "acc"),
    )


def resuming(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Each first attempt fails in the middle; the second goes on from a checkpoint before that."""
    if attempt == 0 and trial % 2 == 0:
        return Script(points=curve(_x(params), 3), how="failed")
    if attempt == 1:
        return Script(points=curve(_x(params), 4, start=3), resumes_from=2)
    return Script(points=curve(_x(params), 6), overrun=1)


def hanging(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Even trials never end by themselves; trial 2 has no value at all."""
    points = () if trial == 2 else curve(_x(params), 2)
    return Script(points=points, hangs=trial % 2 == 0, overrun=0)


def troubled(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Trials 0 and 3 hang, 1 is lost, 2 is refused twice and cannot be read once."""
    if trial == 1:
        return Script(points=curve(_x(params), 2), how="lost")
    refusals = {"draft": 2, "poll": 1} if trial == 2 else {}
    return Script(points=curve(_x(params), 3), hangs=trial in (0, 3), refusals=refusals)


def back_and_forth(steps: int) -> int:
    """An hour more, an hour less, a year less, for seven rows each: each row is a second."""
    return [0, 3600, -3600, -365 * 86400][steps // 7 % 4] * SECOND


def deaf(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """The even trials go on after one stop, or two; the others end as they are told."""
    return Script(points=curve(_x(params), 14), hangs=True, overrun=1, deaf=(2, 0, 1, 0)[trial % 4])


def over(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """The end of each job is told a poll after its last point, and odd ones have failed."""
    return Script(points=curve(_x(params), 3), ends_apart=True, how=("completed", "failed")[trial % 2])


def nan(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    last = math.nan if trial in (0, 2) else math.inf if trial == 3 else _x(params)
    return Script(points=(*curve(_x(params), 2), (3, last)))


def rewinding(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    x = _x(params)
    return Script(points=((1, x), (2, x), (2, x + 1), (1, 5.0), (3, x), (3, x), (9, x), (10, x)), overrun=2)


def two(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    x = _x(params)
    return Script(points=tuple((i, x + o / i, o) for i in range(1, 5) for o in (0, 1)), overrun=1)


def always_failing_first(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=curve(_x(params), 2), how="failed" if trial < 2 else "completed")


def all_failing(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(how="failed")


def crash_at_limit(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Each crashes in the poll in which it reaches its limit, or runs beyond it."""
    n = 4 if trial % 2 else 6
    return Script(points=curve(_x(params), n), how="failed", overrun=3)


def earlier(n: int) -> ImportedTrial:
    """Return a trial of another study; the last of four was pruned."""
    pruned, params = n == 3, {"General/x": n / 8}
    return ImportedTrial(
        number=n,
        params=dict(params),
        point=dict(params),
        state="pruned" if pruned else "completed",
        values=None if pruned else (n / 8,),
        iterations=(1, 2),
        reported=(n / 8 + 1, n / 8 + 0.5),
    )


INTEGERS = (UniformIntegerParameterRange(name="General/x", min_value=1, max_value=3),)
SMALL = (
    DiscreteParameterRange(name="General/x", values=(1, 2)),
    DiscreteParameterRange(name="General/kind", values=("a", "b")),
)

SETS = (
    ParameterSet(
        name="how",
        sets=(
            ParameterChoice(values={"General/x": 1}),
            ParameterChoice(values={"General/kind": "a"}, ranges=(SMALL[0],)),
            ParameterChoice(ranges=(SMALL[0], SMALL[1])),
        ),
    ),
)

Make = Callable[[], Scenario]
SCENARIOS: dict[str, Make] = {
    "one worker": lambda: Scenario(search(total_max_jobs=4, max_iteration_per_job=4), plain),
    "rungs, limit and late points": lambda: Scenario(
        search(sampler=TPE, pruner=SHA, num_concurrent_workers=3, max_iteration_per_job=5, total_max_jobs=5),
        overrunning,
        cut=lambda trial, attempt, cursor: 1 + (trial + cursor) % 3,
    ),
    "rungs found by themselves": lambda: Scenario(
        search(
            pruner=ComponentConfig("SuccessiveHalvingPruner"),
            num_concurrent_workers=2,
            max_iteration_per_job=5,
            total_max_jobs=4,
        ),
        overrunning,
    ),
    "median with a start": lambda: Scenario(
        search(
            pruner=MEDIAN,
            num_concurrent_workers=2,
            max_iteration_per_job=4,
            min_iteration_per_job=2,
            total_max_jobs=4,
        ),
        overrunning,
        cut=lambda trial, attempt, cursor: 3,
    ),
    "failures and retries": lambda: Scenario(
        search(num_concurrent_workers=2, max_iteration_per_job=3, total_max_jobs=7, max_failures_per_trial=1), failing
    ),
    "lost and back": lambda: Scenario(
        search(num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=5, max_lost_per_trial=1), lost
    ),
    "refused effects": lambda: Scenario(
        search(num_concurrent_workers=3, max_iteration_per_job=4, total_max_jobs=6, max_failures_per_trial=0), refused
    ),
    "checkpoints": lambda: Scenario(
        search(pruner=SHA, num_concurrent_workers=2, max_iteration_per_job=6, total_max_jobs=4), resuming
    ),
    "time limit": lambda: Scenario(
        search(num_concurrent_workers=2, total_max_jobs=4, time_limit_per_job=1.0, max_iteration_per_job=9), hanging
    ),
    "compute limit": lambda: Scenario(
        search(num_concurrent_workers=2, total_max_jobs=None, compute_time_limit=2.0), hanging
    ),
    "wall limit": lambda: Scenario(search(num_concurrent_workers=2, total_max_jobs=None, wall_time_limit=1.5), hanging),
    "clock set": lambda: Scenario(
        search(num_concurrent_workers=2, time_limit_per_job=1.0, wall_time_limit=9.0, max_lost_per_trial=1),
        troubled,
        set_by=back_and_forth,
    ),
    "nan told as worst": lambda: Scenario(search(total_max_jobs=5, nan_policy="worst"), nan),
    "nan fails": lambda: Scenario(search(total_max_jobs=4), nan),
    "repeats and rewinds": lambda: Scenario(
        search(pruner=MEDIAN, num_concurrent_workers=2, max_iteration_per_job=8, total_max_jobs=3), rewinding
    ),
    "several objectives": lambda: Scenario(
        search(
            objectives=(LOSS, Objective("validation", "accuracy", "max_global")),
            sampler=ComponentConfig("NSGAIISampler", {"population_size": 2}),
            num_concurrent_workers=2,
            max_iteration_per_job=3,
            total_max_jobs=5,
        ),
        two,
    ),
    "space used up": lambda: Scenario(search(space=SMALL, total_max_jobs=None, num_concurrent_workers=3), plain),
    "a user's points": lambda: Scenario(
        search(space=(X, SMALL[1]), sampler=TPE, total_max_jobs=4, num_concurrent_workers=2),
        plain,
        inputs=(
            PointEnqueued(params={"General/x": 0.25, "General/kind": "b"}),
            PointEnqueued(params={"General/kind": "a"}),
            PointEnqueued(params={"General/x": 0.25, "General/kind": "b"}),
        ),
    ),
    "all fail": lambda: Scenario(search(num_concurrent_workers=2, total_max_jobs=9), all_failing),
    "too many failures": lambda: Scenario(
        search(total_max_jobs=9, max_failed_trials=2, max_failures_per_trial=0), failing
    ),
    "target": lambda: Scenario(search(total_max_jobs=9, target_value=0.9, num_concurrent_workers=2), plain),
    "patience": lambda: Scenario(search(total_max_jobs=9, patience=2, num_concurrent_workers=2), plain),
    "crash at the limit": lambda: Scenario(
        search(pruner=SHA, num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=4), crash_at_limit
    ),
    "stopped before it starts": lambda: Scenario(
        search(total_max_jobs=3), plain, inputs=(StopAsked(scope="search", why="a person"),)
    ),
    "new limits": lambda: Scenario(
        search(total_max_jobs=1, num_concurrent_workers=1, max_iteration_per_job=4),
        plain,
        inputs=(LimitsChanged(changes=LimitChanges(total_max_jobs=3, num_concurrent_workers=2)),),
    ),
    "stopped in the middle": lambda: Scenario(
        search(num_concurrent_workers=3, max_iteration_per_job=9, total_max_jobs=6),
        hanging,
        asks=((20, StopAsked(scope="search", why="a person", request="r1")),),
    ),
    "a run stopped with its jobs": lambda: Scenario(
        search(
            space=SMALL, num_concurrent_workers=3, max_iteration_per_job=9, total_max_jobs=6, time_limit_per_job=2.0
        ),
        hanging,
        asks=(
            (20, StopAsked(scope="run", jobs="abort", why="a person", request="r1")),
            (45, StopAsked(scope="run", jobs="leave", why="a signal", request="r2")),
        ),
    ),
    "deaf to a stop": lambda: Scenario(
        search(num_concurrent_workers=2, max_iteration_per_job=3, total_max_jobs=4),
        deaf,
        cut=lambda trial, attempt, cursor: 1,
        asks=((40, StopAsked(scope="search", why="a person", request="r1")),),
    ),
    "over before a stop": lambda: Scenario(
        search(num_concurrent_workers=3, total_max_jobs=6, max_failures_per_trial=1),
        over,
        cut=lambda trial, attempt, cursor: 1 + trial % 3,
        asks=(
            (18, StopAsked(scope="run", jobs="abort", why="a person", request="r1")),
            (40, StopAsked(scope="search", why="a person", request="r2")),
        ),
    ),
    "less budget in the middle": lambda: Scenario(
        search(num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=9, max_failures_per_trial=3),
        always_failing_first,
        asks=((18, LimitsChanged(changes=LimitChanges(total_max_jobs=2), request="r1")),),
    ),
    "paused, cancelled and noted on": lambda: Scenario(
        search(num_concurrent_workers=2, max_iteration_per_job=5, total_max_jobs=4, max_failures_per_trial=1),
        failing,
        cut=lambda trial, attempt, cursor: 1,
        asks=(
            (12, TrialNoted(trial=0, text="looks fine", request="r1")),
            (13, SearchPaused(why="its GPU is needed", request="r2")),
            (14, TrialCancelled(trial=1, why="too slow", request="r3")),
            (19, SearchUnpaused(request="r4")),
            (30, SearchPaused(request="r5")),
            (32, SearchUnpaused(request="r6")),
            (40, TrialCancelled(trial=2, request="r7")),
        ),
    ),
    "a command at the end": lambda: Scenario(
        search(num_concurrent_workers=2, total_max_jobs=2),
        plain,
        inputs=(EndCommandSet(command="exit 3", folder="/"),),
        asks=(
            (29, LimitsChanged(changes=LimitChanges(total_max_jobs=3), request="r1")),
            (40, EndCommandSet(command=None, folder="/", request="r2")),
        ),
    ),
    "finished and reopened": lambda: Scenario(
        search(num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=2),
        plain,
        asks=(
            (26, LimitsChanged(changes=LimitChanges(total_max_jobs=4), request="r1")),
            (27, PointEnqueued(params={"General/x": 0.5}, request="r2")),
        ),
    ),
    "a space of sets": lambda: Scenario(
        search(space=SETS, sampler=TPE, pruner=MEDIAN, total_max_jobs=None, num_concurrent_workers=3),
        plain,
        inputs=(
            PointEnqueued(params={"General/x": 2, "General/kind": "a"}),
            PointEnqueued(params={"General/kind": "a"}),
            PointEnqueued(params={"General/x": 1}),
        ),
        asks=((30, StopAsked(scope="run", jobs="abort", why="a person", request="r1")),),
    ),
    "a grid": lambda: Scenario(
        search(
            space=INTEGERS,
            sampler=ComponentConfig("GridSampler", {"search_space": {"General/x": [1, 2, 3]}}),
            total_max_jobs=None,
            num_concurrent_workers=2,
        ),
        plain,
    ),
    "by hand": lambda: Scenario(
        search(
            pruner=MEDIAN, num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=5, max_failures_per_trial=1
        ),
        failing,
        inputs=(DrivenByHand(), OptimizerTaskSet(task_id="7f3a", name="a task")),
        asks=(
            (3, JobRequested(request="r1")),
            (3, JobRequested(request="r2", params={"General/x": 7.0, "General/other": "b"})),
            (9, JobRequested(request="lapses")),
            (9, LaunchRequested(trial=0, attempt=0)),
            (14, AbortRequested(trial=1, attempt=0, why="a caller: too slow")),
            (20, JobRequested(request="r3", params={"General/x": 0.25})),
            (20, LaunchRequested(trial=2, attempt=0)),
            (30, DrivenByHand(by_hand=False)),
        ),
    ),
    "imported": lambda: Scenario(
        search(sampler=TPE, pruner=MEDIAN, num_concurrent_workers=2, max_iteration_per_job=4, total_max_jobs=2),
        overrunning,
        inputs=(
            TrialsImported(study="before", trials=tuple(earlier(n) for n in range(4))),
            TrialsImported(study="long before", trials=(earlier(4),)),
        ),
    ),
    "quasi-random": lambda: Scenario(
        search(
            space=(X, UniformParameterRange(name="General/y", min_value=0.0, max_value=1.0, step_size=0.25)),
            sampler=ComponentConfig("QMCSampler"),
            total_max_jobs=5,
            num_concurrent_workers=2,
        ),
        plain,
    ),
}
