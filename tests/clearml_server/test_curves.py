"""Curves are read as on the real server: averaged, sorted by iteration, in 32 bits, bounded by samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.clearml_server import ApiError, ClearmlServer
from tests.clearml_server.events import key_of


def report(server: ClearmlServer, task: str, points: Sequence[tuple[int, float]], series: str = "v") -> None:
    base = {"type": "training_stats_scalar", "task": task, "metric": "m", "variant": series}
    server.call("events.add_batch", lines=[{**base, "iter": step, "value": value} for step, value in points])


@pytest.fixture
def task(server: ClearmlServer) -> str:
    return server.make_task("job")


def curve(server: ClearmlServer, task: str, **more: Any) -> tuple[list[int], list[float]]:
    answer = server.call("events.multi_task_scalar_metrics_iter_histogram", tasks=[task], **more)["metrics"]
    found = answer["m"]["v"][task]
    return found["x"], found["y"]


def test_points_are_sorted_by_iteration_whatever_their_order(server: ClearmlServer, task: str) -> None:
    report(server, task, [(3, 3.0), (1, 1.0), (2, 2.0)])
    assert curve(server, task) == ([1, 2, 3], [1.0, 2.0, 3.0])


def test_repeated_iterations_are_averaged(server: ClearmlServer, task: str) -> None:
    report(server, task, [(1, 1.0), (1, 2.0), (2, 5.0)])
    assert curve(server, task) == ([1, 2], [1.5, 5.0])


def test_repeated_iterations_are_overwritten_on_a_server_that_does_that() -> None:
    with ClearmlServer(repeats="overwrite") as server:
        task = server.make_task("job")
        report(server, task, [(1, 1.0), (1, 2.0), (2, 5.0)])
        assert curve(server, task) == ([1, 2], [2.0, 5.0])


def test_values_have_32_bits_in_curves_and_64_in_last_metrics(server: ClearmlServer, task: str) -> None:
    report(server, task, [(1, 0.1)])
    assert curve(server, task)[1] == [0.10000000149011612]
    assert server.task(task)["last_metrics"][key_of("m")][key_of("v")]["value"] == 0.1


@pytest.mark.parametrize(
    ("samples", "x", "y"),
    [
        (11, list(range(1, 11)), [float(step) for step in range(1, 11)]),
        (10, list(range(1, 11)), [float(step) for step in range(1, 11)]),
        (5, [0, 2, 4, 6, 8, 10], [1.0, 2.5, 4.5, 6.5, 8.5, 10.0]),
        (2, [0, 5, 10], [2.5, 7.0, 10.0]),
        (1, [0, 10], [5.0, 10.0]),
    ],
)
def test_more_points_than_samples_are_averaged_in_buckets_that_start_at_multiples(
    server: ClearmlServer, task: str, samples: int, x: list[int], y: list[float]
) -> None:
    report(server, task, [(step, float(step)) for step in range(1, 11)])
    assert curve(server, task, samples=samples) == (x, y)


@pytest.mark.parametrize("samples", [0, -1, 6001])
def test_samples_outside_1_to_6000_are_refused(server: ClearmlServer, task: str, samples: int) -> None:
    with pytest.raises(ApiError, match="samples") as wrong:
        curve(server, task, samples=samples)
    assert (wrong.value.code, wrong.value.subcode) == (400, 12)


@pytest.mark.parametrize("count", [0, 101])
def test_none_or_more_than_100_tasks_are_refused(server: ClearmlServer, count: int) -> None:
    tasks = [server.make_task(f"t{at}") for at in range(count)]
    with pytest.raises(ApiError, match="length") as wrong:
        server.call("events.multi_task_scalar_metrics_iter_histogram", tasks=tasks)
    assert (wrong.value.code, wrong.value.subcode) == (400, 12)


def test_one_deleted_task_fails_the_whole_batch(server: ClearmlServer, task: str) -> None:
    with pytest.raises(ApiError) as wrong:
        server.call("events.multi_task_scalar_metrics_iter_histogram", tasks=[task, "0" * 32])
    assert wrong.value.subcode == 101


def test_only_the_metrics_and_variants_asked_for_are_given(server: ClearmlServer, task: str) -> None:
    report(server, task, [(1, 1.0)])
    report(server, task, [(1, 1.0)], series="w")
    asked = [{"metric": "m", "variants": ["w"]}]
    answer = server.call("events.multi_task_scalar_metrics_iter_histogram", tasks=[task], metrics=asked)["metrics"]
    assert list(answer["m"]) == ["w"]


def test_raw_gives_every_point_by_scroll_and_never_half_an_iteration(server: ClearmlServer, task: str) -> None:
    report(server, task, [(step, float(at)) for at, step in enumerate([1, 2, 2, 2, 3, 1])])
    metric, got, scroll = {"metric": "m", "variants": ["v"]}, [], None
    while True:
        more = {"scroll_id": scroll} if scroll else {}
        answer = server.call("events.scalar_metrics_iter_raw", task=task, metric=metric, batch_size=3, **more)
        if not answer["returned"]:
            break
        got.append(list(zip(answer["variants"]["v"]["iter"], answer["variants"]["v"]["y"], strict=True)))
        scroll = answer["scroll_id"]
    assert got == [[(1, 0.0), (1, 5.0), (2, 1.0), (2, 2.0), (2, 3.0)], [(3, 4.0)]]


def test_raw_begins_again_after_a_last_iteration_of_0(server: ClearmlServer, task: str) -> None:
    report(server, task, [(0, 1.0)])
    metric = {"metric": "m"}
    first = server.call("events.scalar_metrics_iter_raw", task=task, metric=metric)
    again = server.call("events.scalar_metrics_iter_raw", task=task, metric=metric, scroll_id=first["scroll_id"])
    assert again["returned"] == 1


def test_last_metrics_summarise_what_was_reported(server: ClearmlServer, task: str) -> None:
    report(server, task, [(1, 3.0), (2, 1.0), (3, 2.0)])
    kept = server.task(task)["last_metrics"][key_of("m")][key_of("v")]
    kept_at = {key: kept[key] for key in kept if key.endswith("_iteration")}
    assert kept_at == {"min_value_iteration": 2, "max_value_iteration": 1, "first_value_iteration": 1}
    assert (kept["value"], kept["min_value"], kept["max_value"], kept["count"], kept["mean_value"]) == (2, 1, 3, 3, 2)
    assert server.task(task)["last_iteration"] == 3


def test_what_cannot_be_added_is_counted_and_nothing_at_all_is_an_error(server: ClearmlServer, task: str) -> None:
    good = {"type": "training_stats_scalar", "task": task, "iter": 1, "metric": "m", "variant": "v", "value": 1.0}
    bad = {**good, "task": "0" * 32}
    answer = server.call("events.add_batch", lines=[good, bad, {**good, "value": float("nan")}])
    assert (answer["added"], answer["errors"]) == (1, 2)
    with pytest.raises(ApiError) as wrong:
        server.call("events.add_batch", lines=[bad])
    assert wrong.value.subcode == 131
