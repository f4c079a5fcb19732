"""Tasks on a server and simulated jobs that report the same are decided alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import JobCreated, JobPruned, JobsContinued, TrialFinished, TrialSuggested
from eventhpo.core.search.spec import ComponentConfig, Simulated
from eventhpo.testing.searches import simulate
from eventhpo.testing.simulated import Script as Simulation
from tests.clearml.harness import METRIC, Hours, base_task, begin, rows, run, unhurried
from tests.clearml_server import ClearmlServer, Script

NAME = (METRIC.title, METRIC.series)


def values(lr: float) -> list[float]:
    """A curve of numbers that single precision holds as they are."""
    return [round(1024 * (lr + 1 / i)) / 1024 for i in range(1, 6)]


def decided(path: Path) -> list[object]:
    """All decisions in their order; without keys, which name a row, and each verdict for itself, whatever its poll."""
    found: list[object] = []
    for row in rows(path):
        match row.event:
            case JobsContinued(verdicts=verdicts):
                found += [(v.trial, v.attempt, v.judged, v.iteration, v.attrs, v.too_late) for v in verdicts]
            case JobCreated(trial=trial, attempt=attempt, slot=slot):
                found.append(("created", trial, attempt, slot))
            case TrialSuggested() | JobPruned() | TrialFinished():
                found.append(row.event)
            case Decision():
                found.append(type(row.event).__name__)
    return found


@pytest.mark.parametrize(
    ("sampler", "pruner", "fails"),
    [
        ("TPESampler", "MedianPruner", False),
        ("RandomSampler", "SuccessiveHalvingPruner", False),
        ("TPESampler", "NopPruner", True),
    ],
)
def test_the_same_observations_bring_the_same_decisions(
    server: ClearmlServer, tmp_path: Path, sampler: str, pruner: str, fails: bool
) -> None:
    arguments = {"n_startup_trials": 2} if sampler == "TPESampler" or pruner == "MedianPruner" else {}
    what = unhurried(
        base_task(server),
        1,
        total_max_jobs=12,
        max_iteration_per_job=5,
        sampler=ComponentConfig(sampler, arguments if sampler == "TPESampler" else {}),
        pruner=ComponentConfig(pruner, arguments if pruner == "MedianPruner" else {}),
    )
    on_server, simulated = tmp_path / "server.db", tmp_path / "simulated.db"

    def play(task: dict[str, Any]) -> Script:
        again = any(tag.endswith(".1") for tag in task["tags"])
        lr = float(task["hyperparams"]["General"]["lr"]["value"])
        return Script.curve(*NAME, values(lr), end="failed" if fails and lr > 0.5 and not again else "completed")

    def script(trial: int, attempt: int, params: dict[str, Any]) -> Simulation:
        lr = float(params["General/lr"])
        points = tuple(enumerate(values(lr), 1))
        return Simulation(points=points, how="failed" if fails and lr > 0.5 and not attempt else "completed")

    server.script(play)
    begin(on_server, what)
    theirs = run(on_server, clock=Hours(server))
    local = msgspec.structs.replace(what, jobs=Simulated(), base_task_id=None)
    mine = simulate(simulated, local, script, cut=lambda trial, attempt, cursor: 1)
    assert [t.params for t in theirs.trials] == [t.params for t in mine.trials]
    assert decided(on_server) == decided(simulated)
    assert len(decided(on_server)) > 40
    if pruner != "NopPruner":
        assert any(isinstance(e, JobPruned) for e in decided(on_server))
