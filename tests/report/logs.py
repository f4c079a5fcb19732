"""Logs that a report is made of: a usual search, and odd ones."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import optuna

from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    LogUniformParameterRange,
    Objective,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.log.create import create
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.study.storage import EventStorage
from eventhpo.testing import Script, search, simulate
from eventhpo.testing.searches import created
from eventhpo.testing.simulated import START
from fixtures.logs import make
from tests.cli.harness import invoke

ACCURACY = Objective("validation", "accuracy", "max")
LOSS = Objective("validation", "loss", "min")
MEDIAN = ComponentConfig("MedianPruner", {"n_startup_trials": 4, "n_warmup_steps": 2})
SPACE = (
    LogUniformParameterRange(name="General/lr", min_value=-5, max_value=0),
    UniformIntegerParameterRange(name="General/width", min_value=4, max_value=64, step_size=4),
    DiscreteParameterRange(name="General/activation", values=("relu", "tanh", None, 1, 2.5)),
    UniformParameterRange(name="Net/dropout", min_value=0.0, max_value=0.5),
)


def learning(points: int = 8) -> Callable[[int, int, dict[str, Scalar]], Script]:
    """Return scripts that learn; some fail once, some are lost, one reports a line that is none."""

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        noise = random.Random(trial * 7 + attempt)
        lr, width = params["General/lr"], params["General/width"]
        assert isinstance(lr, float)
        assert isinstance(width, int)
        reaches = 1 - abs(math.log10(lr) + 2) / 6 - abs(width - 48) / 200
        curve = tuple((i, reaches * (1 - math.exp(-i / 5)) + noise.gauss(0, 0.01)) for i in range(1, points + 1))
        if trial % 97 == 5 and attempt == 0:
            return Script(points=curve[:4], how="failed", bad_at=(1,))
        if trial % 97 == 9 and attempt == 0:
            return Script(points=curve[:3], how="lost", returns=((4, 0.5),))
        return Script(points=curve, overrun=1, queued=trial % 3 == 1)

    return script


def usual(path: Path, trials: int = 24, points: int = 8) -> Path:
    what = search(
        objectives=(ACCURACY,),
        space=SPACE,
        pruner=MEDIAN,
        num_concurrent_workers=3,
        max_iteration_per_job=points,
        total_max_jobs=trials,
        max_trials=trials,
    )
    simulate(path, what, learning(points), cut=lambda trial, attempt, cursor: 1 + (trial + cursor) % 2)
    return path


def empty(path: Path) -> Path:
    """A search that no controller has begun."""
    create(path, created(search()), START)
    return path


def no_metric(path: Path) -> Path:
    simulate(path, search(total_max_jobs=3), lambda trial, attempt, params: Script(others=("time",)))
    return path


def all_failed(path: Path) -> Path:
    simulate(path, search(total_max_jobs=3), lambda trial, attempt, params: Script(points=((1, 0.5),), how="failed"))
    return path


def not_numbers(path: Path) -> Path:
    """NaN and both infinities among values, and a value of 1e300."""
    ends = (math.nan, math.inf, -math.inf, 1e300, -1e300, 0.25)

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        return Script(points=((1, 1.0), (2, ends[trial % len(ends)])))

    simulate(path, search(total_max_jobs=8), script)
    return path


def one_trial(path: Path) -> Path:
    simulate(path, search(total_max_jobs=1), lambda trial, attempt, params: Script(points=((1, 0.5),)))
    return path


def several_objectives(path: Path) -> Path:
    make.nsga3(path)
    return path


def sealed(path: Path) -> Path:
    usual(path, trials=5)
    assert invoke("seal", path).exit_code == 0
    return path


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\x1b[31mred\x1b[0m",
    "$title ${data} {{x}} `y`",
    "'\"><b>bold</b>&amp;",
    "a.b[c]['d']",
    "\u202eright to left",
    "__proto__",
    "constructor",
    "toString",
)


def hostile(path: Path) -> Path:
    """Names and values that are markup, code, or what a terminal obeys."""
    space = tuple(
        DiscreteParameterRange(name=f"General/{name}", values=(name, f"{name}2"))
        for name in HOSTILE
        if "\x1b" not in name
    )
    what = search(objectives=(Objective(HOSTILE[0], HOSTILE[1], "min"),), space=space, total_max_jobs=6)

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        failed = trial == 1
        return Script(points=((1, 0.5 + trial),), how="failed" if failed else "completed")

    simulate(path, what, script)
    return path


def reported(log: Path, *options: object) -> Path:
    """Return the report of *log*, made by the command."""
    page = log.with_suffix(".html")
    result = invoke("report", log, "-o", page, *options)
    assert result.exit_code == 0, result.output
    return page


ODD = (empty, no_metric, all_failed, not_numbers, one_trial, several_objectives, sealed)


def thousand(path: Path) -> Path:
    """A thousand trials of fifteen points, none of them pruned."""
    what = search(
        objectives=(ACCURACY,),
        space=SPACE[:2],
        num_concurrent_workers=4,
        max_iteration_per_job=15,
        total_max_jobs=1000,
        max_failures_per_trial=0,
    )

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        noise = random.Random(trial)
        return Script(points=tuple((i, 1 - math.exp(-i / 5) + noise.gauss(0, 0.01)) for i in range(1, 16)))

    simulate(path, what, script, cut=lambda trial, attempt, cursor: 1)
    return path


def study(folder: Path, directions: tuple[str, ...] = ("minimize",)) -> Path:
    """The log of an Optuna study: define-by-run parameters, pruned and failed trials, one that still runs."""
    storage = EventStorage(folder)
    with quiet():
        made = optuna.create_study(
            study_name="study",
            storage=storage,
            directions=list(directions),
            sampler=optuna.samplers.RandomSampler(seed=1),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        )

    def objective(trial: optuna.Trial) -> float | tuple[float, float]:
        x = trial.suggest_float("x", -5, 5)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        y = trial.suggest_int("y", 1, 8) if kind == "a" else trial.suggest_float("z", 1e-4, 1, log=True)
        if len(directions) > 1:
            return x * x, x - y
        for step in range(5):
            trial.report((x - 1) ** 2 + y / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        if trial.number == 7:
            raise ValueError("a failure")
        return (x - 1) ** 2 + y

    with quiet():
        made.optimize(objective, n_trials=20, catch=ValueError)
        made.ask().suggest_float("x", -5, 5)
    storage.close()
    (log,) = folder.glob("*.db")
    return log


def study_of_two(folder: Path) -> Path:
    """The log of an Optuna study with two objectives."""
    return study(folder, ("minimize", "maximize"))
