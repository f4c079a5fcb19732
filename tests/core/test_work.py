"""What a verdict or an append costs does not grow with the trials that are finished."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from eventhpo.core.fold.events import JobsContinued, MetricObserved, Recorded
from eventhpo.core.fold.evolve import evolve, fold
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script

OURS = str(Path(__file__).parents[2] / "eventhpo")


def lines_run(work: Callable[[], Any]) -> int:
    """Return how many lines of eventhpo *work* runs; Optuna's own are not counted."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        code: CodeType = frame.f_code
        if not code.co_filename.startswith(OURS):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def after(path: Path, trials: int) -> tuple[State, Recorded, Recorded]:
    """Return the state before the last trial's first points, those, and the verdict on them."""
    what = search(
        pruner=ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1}),
        max_iteration_per_job=3,
        total_max_jobs=trials,
    )
    simulate(path, what, lambda trial, attempt, params: Script(points=((1, 0.5), (2, 0.5), (3, 0.5))))
    rows = list(read(path).rows)
    at = max(
        i
        for i, r in enumerate(rows)
        if isinstance(r.event, MetricObserved) and isinstance(rows[i + 1].event, JobsContinued)
    )
    return fold(rows[:at]), rows[at], rows[at + 1]


def work_per_step(path: Path, trials: int) -> list[int]:
    """Return the lines run for: folding points, asking what is next, a verdict, folding it."""
    state, points, verdict = after(path, trials)
    asker = OptunaAdapter(state)
    asker.answer(actions.Judge())  # the view takes in the past once
    return [
        lines_run(lambda: evolve(state, points)),
        lines_run(lambda: next_action(state)),
        lines_run(lambda: asker.answer(actions.Judge())),
        lines_run(lambda: evolve(state, verdict)),
    ]


def test_the_work_for_a_verdict_or_an_append_does_not_grow_with_the_finished_trials(tmp_path: Path) -> None:
    few, many = work_per_step(tmp_path / "few.db", 10), work_per_step(tmp_path / "many.db", 300)
    assert few == many
    assert all(few)


def test_the_count_sees_work_that_grows(tmp_path: Path) -> None:
    """Negative control: a view made anew for each question."""
    few, _, _ = after(tmp_path / "few.db", 10)
    many, _, _ = after(tmp_path / "many.db", 60)
    assert lines_run(lambda: StateView(many).refresh()) > lines_run(lambda: StateView(few).refresh())
