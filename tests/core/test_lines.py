"""What a person who watches a run is told: lines of rows that were committed together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from eventhpo.core.fold.events import EffectFailed, JobEnded, Recorded, SearchEnding
from eventhpo.core.fold.state import State
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from eventhpo.views import event_lines
from tests.core.worlds import controlled


def run(folder: Path, values: Sequence[float], workers: int) -> list[str]:
    """Return the lines of a search whose trials report one value each, and end in one look."""
    told: list[str] = []

    def tell(rows: Sequence[Recorded], state: State) -> None:
        told.extend(line.text for line in event_lines.lines(rows, state))

    what = search(max_iteration_per_job=None, total_max_jobs=len(values), num_concurrent_workers=workers)
    controlled(folder / "log.db", what, lambda trial, *_: Script(points=((1, values[trial]),)), tell=tell)
    return told


@pytest.mark.parametrize(
    ("values", "best"),
    [
        pytest.param((0.5, 0.25), [0, 1], id="each better than the one before"),
        pytest.param((0.25, 0.5), [0], id="the first better than the second"),
        pytest.param((0.5, 0.25, 0.75), [0, 1], id="in the midst"),
    ],
)
def test_best_so_far_is_said_of_each_trial_that_was_it_when_it_completed(
    tmp_path: Path, values: Sequence[float], best: list[int]
) -> None:
    told = run(tmp_path, values, workers=len(values))
    completed = [line for line in told if " completed: " in line]
    assert len(completed) == len(values)
    assert [n for n, line in enumerate(completed) if "(best so far)" in line] == best


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_end_of_a_search_is_told_after_its_last_start(tmp_path: Path, workers: int) -> None:
    told = run(tmp_path, (0.5, 0.25, 0.75), workers)
    (end,) = [n for n, line in enumerate(told) if line.startswith("the search ends")]
    assert max(n for n, line in enumerate(told) if " starts: " in line) < end


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (JobEnded(trial=0, attempt=0, how="failed", code=0), "failed"),
        (SearchEnding(reason="budget", at_once=False), "reason budget"),
        (EffectFailed(effect="poll", count=0, error="", clock=0, trial=0, attempt=0), "effect poll, count 0, clock 0"),
    ],
)
def test_a_field_that_is_0_is_shown_and_one_that_says_nothing_is_not(event: object, said: str) -> None:
    assert event_lines.describe_event(event) == said  # type: ignore[arg-type]
