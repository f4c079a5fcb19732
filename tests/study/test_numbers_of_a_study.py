"""What the commands count in a study: its reports, whatever their steps are, and the time in which a process lived."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import optuna
import pytest

import eventhpo
from eventhpo.core.fold.events import ControllerStarted, Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.log.reader import read
from replay import whatif
from replay.postmortem.files_on_disk import UNSEEN
from replay.postmortem.report import postmortem
from replay.study_as_search import as_search
from replay.whatif.evaluate import of_rows
from tests.cli.harness import invoke

SEEDED = optuna.samplers.TPESampler(seed=1)
STEPS: dict[str, Callable[[int], int]] = {
    "from 0": lambda k: k,
    "from 1": lambda k: k + 1,
    "each hundredth": lambda k: 100 * (k + 1),
    "with gaps": lambda k: k * k,
}


def curve(x: float) -> list[float]:
    return [(x - 0.3) ** 2 + (0.5 + x) / (k + 1) for k in range(10)]


def run(log: Path, step: Callable[[int], int], pruner: optuna.pruners.BasePruner, trials: int = 30) -> None:
    def objective(trial: optuna.Trial) -> float:
        values = curve(trial.suggest_float("x", 0, 1))
        for k, value in enumerate(values):
            trial.report(value, step(k))
            if trial.should_prune():
                raise optuna.TrialPruned
        return values[-1]

    with closing(eventhpo.create_study(log, sampler=SEEDED, pruner=pruner)) as study:
        study.optimize(objective, trials)


@pytest.mark.parametrize("steps", STEPS)
def test_the_recorded_rule_saves_nothing(steps: str, tmp_path: Path) -> None:
    step = STEPS[steps]
    warm = step(2)
    run(tmp_path / "s.db", step, optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warm))
    answer = whatif(tmp_path / "s.db", [f"MedianPruner:n_startup_trials=5,n_warmup_steps={warm}"])
    recorded, again = answer.rows
    assert again.totals.iterations_saved == 0
    assert again.totals.iterations == answer.iterations == len([*reports(tmp_path / "s.db")])
    assert again.totals.pruned == recorded.totals.pruned > 0


def reports(log: Path) -> list[tuple[int, int]]:
    study = eventhpo.load_study(log)
    return [(trial.number, step) for trial in study.trials for step in trial.intermediate_values]


@pytest.mark.parametrize("steps", STEPS)
def test_another_rule_saves_what_optuna_says(steps: str, tmp_path: Path) -> None:
    """Optuna as oracle: it is told the same curves, and asks its pruner after each report."""
    run(tmp_path / "s.db", STEPS[steps], optuna.pruners.NopPruner())
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    told = optuna.create_study(pruner=pruner)
    saved = 0
    for number, recorded in enumerate(eventhpo.load_study(tmp_path / "s.db").trials):
        trial = told.ask()
        points = sorted(recorded.intermediate_values.items())
        for done, (step, value) in enumerate(points, start=1):
            trial.report(value, step)
            if trial.should_prune():
                saved += len(points) - done
                told.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            told.tell(trial, recorded.value)
        assert trial.number == number
    answer = whatif(tmp_path / "s.db", ["MedianPruner:n_startup_trials=3"])
    assert answer.rows[1].totals.iterations_saved == saved > 0


def test_a_study_with_several_objectives_is_answered_too(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        return x, 1 - x

    with closing(
        eventhpo.create_study(tmp_path / "s.db", directions=["minimize", "maximize"], sampler=SEEDED)
    ) as study:
        study.optimize(objective, 6)
    assert whatif(tmp_path / "s.db", ["MedianPruner"]).rows[1].totals.iterations_saved == 0
    for words in (("explain", 1), ("postmortem",), ("status",), ("top",), ("prunes",), ("whatif",), ("replay",)):
        result = invoke(words[0], tmp_path / "s.db", *words[1:])
        assert result.exit_code == 0, (words, result.output)


# ---------------------------------------------------------------- a process that was away


def with_a_night_before_the_second_process(log: Path) -> list[Recorded]:
    """Return the rows of a study whose second process began ten hours later."""
    rows = list(read(log).rows)
    second = [k for k, row in enumerate(rows) if isinstance(row.event, ControllerStarted)][1]
    night = 36_000_000_000
    return [*rows[:second], *(msgspec.structs.replace(row, at=row.at + night) for row in rows[second:])]


def killed_in_mid_trial(log: Path) -> None:
    """Run a study whose process ends in its third trial without a word, and a second process that finishes it."""

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 2:
            os._exit(0)
        return trial.suggest_float("x", 0, 1)

    child = os.fork()
    if child == 0:
        eventhpo.create_study(log, sampler=SEEDED).optimize(objective, 5)
    os.waitpid(child, 0)
    with closing(eventhpo.create_study(log)) as again:
        again.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)


def test_the_time_without_a_process_is_no_time_of_a_lost_trial(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    killed_in_mid_trial(log)
    rows = with_a_night_before_the_second_process(log)
    lost = [a for trial in fold(rows).trials for a in trial.attempts if a.ended is not None and a.ended.how == "lost"]
    assert len(lost) == 1
    hour = 3_600_000_000
    report, _ = postmortem(rows, UNSEEN)
    assert all((cost.compute_time or 0) < hour for cost in report.spending.slowest)
    assert of_rows(rows, []).compute_time < hour
    assert of_rows(rows, []).notes == ()  # no trial runs any more
    assert fold(as_search(rows)).jobs_clock.wall >= 0


def test_reports_are_counted_alike_by_every_command(tmp_path: Path) -> None:
    run(tmp_path / "s.db", STEPS["each hundredth"], optuna.pruners.MedianPruner(n_startup_trials=5), 12)
    made = len(reports(tmp_path / "s.db"))
    search = eventhpo.load(tmp_path / "s.db")
    assert sum(attempt.iterations or 0 for trial in search.trials for attempt in trial.attempts) == made
    assert invoke("tables", tmp_path / "s.db", "-o", tmp_path / "t.db").exit_code == 0
    with sqlite3.connect(tmp_path / "t.db") as db:
        assert db.execute("select sum(iterations) from trials").fetchone() == (made,)
        assert db.execute("select sum(iterations) from attempts").fetchone() == (made,)
    assert whatif(tmp_path / "s.db", ["NopPruner"]).iterations == made
    report, _ = postmortem(read(tmp_path / "s.db").rows, UNSEEN)
    assert all(cost.iterations <= 10 for cost in report.spending.costliest)
