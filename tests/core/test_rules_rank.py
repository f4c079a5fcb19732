"""Which trials are best."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from eventhpo.core.fold.events import JobPruned
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import Objective, Search
from eventhpo.testing.searches import LOSS, search
from eventhpo.testing.simulated import Script
from tests.core.rules import OVER_ONE, Hand, by_attempt, each, ended, line, observed, run

NAN, INF = math.nan, math.inf
ACCURACY = Objective("validation", "accuracy", "max")


def ranked(state: State, **options: bool) -> list[int]:
    return [t.number for t in rank.top(state, **options)]  # type: ignore[arg-type]


def searched(path: Path, sign: str, *curves: tuple[float, ...]) -> State:
    """Return a finished search whose trials report these curves."""
    objective = Objective("validation", "loss", sign)  # type: ignore[arg-type]
    what = search(objectives=(objective,), total_max_jobs=len(curves), num_concurrent_workers=2, nan_policy="worst")
    return run(path / "s.db", what, each(*(Script(points=line(*curve)) for curve in curves))).state


CURVES = ((0.5, 0.9), (0.1, 0.8), (0.95, 0.2))


@pytest.mark.parametrize(
    ("sign", "order"), [("min", [2, 1, 0]), ("max", [0, 1, 2]), ("min_global", [1, 2, 0]), ("max_global", [2, 0, 1])]
)
def test_the_sign_says_which_end_is_best_and_the_kind_whether_the_last_value_or_the_extremum_counts(
    tmp_path: Path, sign: str, order: list[int]
) -> None:
    assert ranked(searched(tmp_path, sign, *CURVES)) == order


def test_trials_of_equal_value_go_by_their_number(tmp_path: Path) -> None:
    assert ranked(searched(tmp_path, "min", (0.5,), (0.25,), (0.5,), (0.25,), (0.0, 0.25))) == [1, 3, 4, 0, 2]


@pytest.mark.parametrize(("sign", "first"), [("min", 0.0), ("max", -0.0)])
def test_zero_and_minus_zero_are_equal(tmp_path: Path, sign: str, first: float) -> None:
    assert ranked(searched(tmp_path, sign, (first,), (-first,))) == [0, 1]


@pytest.mark.parametrize("sign", ["min", "max", "min_global", "max_global"])
def test_a_value_that_is_no_number_stands_behind_every_number_and_no_value_behind_that(sign: str) -> None:
    what = search(objectives=(Objective("validation", "loss", sign),), num_concurrent_workers=4)  # type: ignore[arg-type]
    hand = Hand(what)
    hand.poll(observed(1, 0, line(NAN)), observed(2, 0, line(INF)), observed(3, 0, line(-INF)))
    numbers = [3, 2] if sign.startswith("min") else [2, 3]
    assert ranked(hand.state) == [*numbers, 1, 0]
    hand.log()


@pytest.mark.parametrize(("sign", "first"), [("min", 1), ("max", 1), ("min_global", 0), ("max_global", 0)])
def test_an_extremum_passes_over_what_is_no_number_and_a_last_value_does_not(
    tmp_path: Path, sign: str, first: int
) -> None:
    edge = 0.1 if sign.startswith("min") else 0.9
    assert ranked(searched(tmp_path, sign, (NAN, edge, NAN), (0.5,)))[0] == first


def test_a_trial_told_as_the_worst_is_ranked_by_what_it_reported(tmp_path: Path) -> None:
    state = searched(tmp_path, "min", (0.5,), (NAN,), (0.7,))
    assert state.trials[1].finished is not None
    assert state.trials[1].finished.values == (0.5,)
    assert ranked(state) == [0, 2, 1]


def test_late_points_count(tmp_path: Path) -> None:
    what = search(pruner=OVER_ONE, total_max_jobs=2, max_iteration_per_job=5)
    pruned = Script(points=line(2.0, 1.5, 0.1), overrun=3)
    log = run(tmp_path / "s.db", what, each(pruned, Script(points=line(0.5))), cut=1)
    assert log.one(JobPruned).judged == 1
    assert log.state.attempt(0, 0).curves[0].in_time == 1
    assert rank.values(log.state, log.state.trials[0]) == [0.1]
    assert ranked(log.state)[:2] == [0, 1]


def test_points_behind_the_iteration_limit_count(tmp_path: Path) -> None:
    what = search(total_max_jobs=2, max_iteration_per_job=2)
    log = run(tmp_path / "s.db", what, each(Script(points=line(0.9, 0.8, 0.1), overrun=9), Script(points=line(0.5))))
    assert log.ends() == [("completed", (0.8,)), ("completed", (0.5,))]
    assert ranked(log.state) == [0, 1]


def test_the_curve_of_the_last_attempt_counts_alone(tmp_path: Path) -> None:
    scripts = by_attempt(Script(points=line(0.1), how="failed"), Script(points=line(0.9)))
    log = run(tmp_path / "s.db", search(total_max_jobs=1), scripts)
    assert rank.values(log.state, log.state.trials[0]) == [0.9]


def test_a_retry_without_a_point_has_no_value_though_its_predecessor_had() -> None:
    hand = Hand(search(num_concurrent_workers=2))
    hand.poll(observed(0, 0, line(0.1)), ended(0, how="failed"))
    hand.poll(observed(1, 0, line(0.9)))
    assert ranked(hand.state) == [1, 0]
    hand.log()


def test_failed_and_aborted_trials_are_listed_only_when_asked_for_and_running_ones_always() -> None:
    hand = Hand(search(pruner=OVER_ONE, num_concurrent_workers=5, total_max_jobs=5, max_failures_per_trial=0))
    hand.poll(
        observed(0, 0, line(0.5)),
        ended(0),
        observed(1, 0, line(0.1)),
        ended(1, how="failed"),
        observed(2, 0, line(0.2)),
        ended(2, how="stopped"),
        observed(3, 0, line(0.9, 2.0)),
        observed(4, 0, line(0.7)),
    )
    hand.poll(ended(3, how="stopped"))
    states = ["running" if t.finished is None else t.finished.state for t in hand.state.trials]
    assert states == ["completed", "failed", "aborted", "pruned", "running"]
    assert ranked(hand.state) == [0, 4, 3]
    assert ranked(hand.state, include_failed=True) == [1, 2, 0, 4, 3]
    assert ranked(hand.state, only_completed=True) == [0]
    hand.log()


def test_the_best_is_the_first_of_the_top(tmp_path: Path) -> None:
    state = searched(tmp_path, "max_global", *CURVES)
    assert [[t.number for t in rank.top(state, k)] for k in range(5)] == [[], [2], [2, 0], [2, 0, 1], [2, 0, 1]]


# ---------------------------------------------------------------- several objectives


def two(*signs: str) -> Search:
    objectives = (LOSS, Objective("validation", "accuracy", signs[0] if signs else "max"))  # type: ignore[arg-type]
    return search(objectives=objectives, num_concurrent_workers=9, total_max_jobs=9)


def measured(*pairs: tuple[float, float]) -> State:
    """Return a search whose running trials have reported one (loss, accuracy) each."""
    hand = Hand(two())
    hand.poll(
        *(
            observed(trial, 0, ((1, value),), start=objective, objective=objective)
            for trial, pair in enumerate(pairs)
            for objective, value in enumerate(pair)
        )
    )
    return hand.log().state


def test_with_several_objectives_fronts_follow_each_other_and_within_one_the_trial_number_decides() -> None:
    state = measured((0.9, 0.1), (0.2, 0.8), (0.5, 0.9), (0.3, 0.8), (0.9, 0.9), (0.1, 0.1))
    # (0.2, 0.8), (0.5, 0.9) and (0.1, 0.1) are beaten by none; then (0.3, 0.8) and (0.9, 0.9); then (0.9, 0.1)
    assert ranked(state)[:6] == [1, 2, 5, 3, 4, 0]


def peeled(pairs: list[tuple[float, float]]) -> list[list[int]]:
    """Return the fronts by their definition: who is beaten by none, then who is beaten by none of the rest."""
    left, fronts = list(range(len(pairs))), []
    while left:
        beaten = {
            t
            for t in left
            if any(pairs[o][0] <= pairs[t][0] and pairs[o][1] >= pairs[t][1] and pairs[o] != pairs[t] for o in left)
        }
        fronts.append([t for t in left if t not in beaten])
        left = [t for t in left if t in beaten]
    return fronts


@pytest.mark.parametrize("seed", range(20))
def test_the_fronts_are_those_of_their_definition(seed: int) -> None:
    chance = random.Random(seed)
    pairs = [(chance.randrange(5) / 4, chance.randrange(5) / 4) for _ in range(9)]
    state = measured(*pairs)
    assert ranked(state) == [t for front in peeled(pairs) for t in front]
    assert [t.number for t in rank.pareto_front(state, rank.top(state))] == peeled(pairs)[0]


def test_equal_points_share_a_front() -> None:
    assert ranked(measured((0.9, 0.5), (0.5, 0.5), (0.5, 0.5)))[:3] == [1, 2, 0]


def test_a_value_that_is_no_number_is_worse_than_any_in_a_front_too() -> None:
    assert ranked(measured((NAN, 0.5), (0.9, 0.5), (0.1, NAN)))[:3] == [1, 2, 0]


def test_trials_without_a_value_come_last_with_several_objectives() -> None:
    hand = Hand(two())
    hand.poll(observed(5, 0, ((1, 0.5),)), observed(5, 0, ((1, 0.5),), start=1, objective=1))
    assert ranked(hand.state) == [5, 0, 1, 2, 3, 4, 6, 7, 8]
    hand.log()


def test_the_kind_of_each_objective_counts() -> None:
    hand = Hand(two("max_global"))
    hand.poll(
        observed(0, 0, line(0.1, 0.5)),
        observed(0, 0, line(0.9, 0.1), start=2, objective=1),
        observed(1, 0, line(0.5, 0.5)),
        observed(1, 0, line(0.8, 0.8), start=2, objective=1),
    )
    assert rank.values(hand.state, hand.state.trials[0]) == [0.5, 0.9]
    assert ranked(hand.state)[:2] == [0, 1]
    hand.log()
