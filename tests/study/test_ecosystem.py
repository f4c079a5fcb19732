"""What people use around Optuna works on a study of the log: scikit-learn, pruning callbacks, constraints, Hydra."""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import eventhpo
from eventhpo.core.fold.study_events import TrialLost
from replay import redecide
from tests.cli.harness import Place, data, invoke
from tests.study.scripts import run, trials
from tests.study.test_create_study import events


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ExperimentalWarning and what the libraries say of each other
        yield


def test_optuna_search_cv_is_recorded_and_decided_again(tmp_path: Path) -> None:
    from optuna_integration import OptunaSearchCV
    from sklearn.datasets import load_iris
    from sklearn.svm import SVC

    log = tmp_path / "cv.db"
    space = {"C": optuna.distributions.FloatDistribution(1e-3, 1e3, log=True)}
    study = eventhpo.create_study(log, direction="maximize", sampler=optuna.samplers.TPESampler(seed=1))
    search = OptunaSearchCV(SVC(), space, n_trials=12, study=study, random_state=0)
    search.fit(*load_iris(return_X_y=True))
    study.close()
    best = data("top", log, "-k", 1)[0]
    assert search.best_params_ == eventhpo.load(log).trials[best["trial"]].params
    assert search.best_score_ == eventhpo.load(log).trials[best["trial"]].value
    report = redecide(log)
    assert report.divergences == ()
    assert report.decisions == 12


def test_a_pruning_callback_of_optuna_integration_reports_and_prunes(tmp_path: Path) -> None:
    import lightgbm
    from optuna_integration import LightGBMPruningCallback
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)

    def objective(trial: optuna.Trial) -> float:
        asked = {
            "objective": "binary",
            "metric": "binary_logloss",
            "verbosity": -1,
            "num_threads": 1,
            "deterministic": True,
            "seed": 0,
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 0.5, log=True),
        }
        train = lightgbm.Dataset(inputs[::2], labels[::2])
        valid = lightgbm.Dataset(inputs[1::2], labels[1::2], reference=train)
        pruning = LightGBMPruningCallback(trial, "binary_logloss")
        booster = lightgbm.train(asked, train, num_boost_round=8, valid_sets=[valid], callbacks=[pruning])
        return float(booster.best_score["valid_0"]["binary_logloss"])

    log = tmp_path / "callback.db"
    sampler, pruner = optuna.samplers.RandomSampler(seed=2), optuna.pruners.MedianPruner(n_startup_trials=3)
    study = eventhpo.optimize(objective, log, total_trials=12, sampler=sampler, pruner=pruner)
    states = [trial.state for trial in study.trials]
    assert {*states} == {TrialState.COMPLETE, TrialState.PRUNED}
    study.close()
    pruned = {row["trial"] for row in data("prunes", log, "--pruned")}
    assert pruned == {number for number, state in enumerate(states) if state == TrialState.PRUNED}
    assert redecide(log).divergences == ()


def test_constraints_user_attributes_and_two_objectives(tmp_path: Path) -> None:
    def constraint(trial: optuna.trial.FrozenTrial) -> tuple[float]:
        return (float(trial.user_attrs["over"]),)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr("over", x - 0.5)
        return x, 1 - x

    def run() -> optuna.Study:
        sampler = optuna.samplers.NSGAIISampler(seed=1, population_size=4, constraints_func=constraint)
        return eventhpo.optimize(
            objective, tmp_path / "s.db", total_trials=12, directions=["minimize", "maximize"], sampler=sampler
        )

    study = run()
    study.close()
    loaded = eventhpo.load_study(tmp_path / "s.db")
    assert [t.user_attrs["over"] for t in loaded.trials] == [t.params["x"] - 0.5 for t in loaded.trials]
    assert all(t.system_attrs["constraints"] == [t.user_attrs["over"]] for t in loaded.trials)
    assert loaded.best_trials
    assert all(t.params["x"] <= 0.5 for t in loaded.best_trials)  # an infeasible trial is not among the best
    assert len(run().trials) == 12  # the same function again is the same sampler


@pytest.mark.parametrize("sampler", ["grid", "brute force"])
def test_a_sampler_that_runs_out_ends_the_study_and_is_decided_again(sampler: str, tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_int("a", 0, 2) + trial.suggest_categorical("b", [0, 1])

    made: dict[str, Any] = {
        "grid": lambda: optuna.samplers.GridSampler({"a": [0, 1, 2], "b": [0, 1]}, seed=1),
        "brute force": lambda: optuna.samplers.BruteForceSampler(seed=1),
    }
    log = tmp_path / "s.db"
    study = eventhpo.optimize(objective, log, total_trials=100, sampler=made[sampler]())
    points = [(t.params["a"], t.params["b"]) for t in study.trials]
    study.close()
    assert sorted(points) == [(a, b) for a in range(3) for b in range(2)]
    assert len(eventhpo.optimize(objective, log, total_trials=100, sampler=made[sampler]()).trials) == 6
    assert redecide(log).divergences == ()


def test_max_trials_callback_counts_the_trials_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    for _ in range(2):
        study = eventhpo.create_study(log, sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(
            lambda trial: trial.suggest_float("x", 0, 1),
            callbacks=[optuna.study.MaxTrialsCallback(5)],
            n_trials=50,
        )
        assert len(study.trials) == 5
        study.close()
    assert sum(type(event).__name__ == "TrialTold" for event in events(log)) == 5


def test_four_questions_of_a_newcomer_are_answered_by_the_commands_and_by_optunas_own_tools(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    run(log, sampler="tpe", pruner="median", kill_at=40)
    reached = trials(log, sampler="tpe", pruner="median")
    study = eventhpo.load_study(log)
    # Which is best?
    best = study.best_trial
    [head, line] = invoke("top", log, "-k", "1").stdout.splitlines()
    assert head.split() == ["rank", "trial", "status", "value/0", *best.params]
    assert line.split()[1] == str(best.number)
    assert float(line.split()[4]) == pytest.approx(best.params["x"], rel=1e-4)
    # Why was it pruned?
    pruned = [number for number, state, *_ in reached if state == "PRUNED"]
    assert pruned
    for number in pruned:
        assert "median" in invoke("explain", log, str(number)).stdout
        assert any(row["trial"] == number and row["reason"] for row in data("prunes", log, "--pruned"))
    # What was lost?
    [cut_off] = {event.trial for event in events(log) if isinstance(event, TrialLost)}
    assert (
        f"lost        the job of trial {cut_off}: the process that ran it is gone" in invoke("postmortem", log).stdout
    )
    # The data frame, and plots of it.
    frame = study.trials_dataframe()
    assert list(frame["number"]) == list(range(12))
    assert list(frame["params_x"]) == [trial[3]["x"] for trial in reached]
    for draw in ("optimization_history", "intermediate_values", "slice", "timeline", "parallel_coordinate"):
        assert getattr(optuna.visualization, f"plot_{draw}")(study).data
    assert set(optuna.importance.get_param_importances(study)) == set(best.params)


HYDRA = """
import json, os
import hydra
from omegaconf import DictConfig

@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> None:
    line = {"title": "loss", "series": "val", "value": (cfg.lr - 0.01) ** 2 + cfg.model.depth, "iteration": 1}
    with open(os.environ["EVENTHPO_REPORTS"], "a") as reports:
        reports.write(json.dumps(line) + "\\n")

main()
"""
HYDRA_SEARCH = """
name = "hydra"
command = ["python", "train.py", "hydra.run.dir=.", "hydra.output_subdir=null", "+lr={lr}", "+model.depth={depth}"]
total_max_jobs = 3
pool_period_min = 0.01
[objective]
title = "loss"
series = "val"
sign = "min"
[space.lr]
type = "float"
low = 1e-4
high = 1e-1
log = true
[space.depth]
type = "int"
low = 1
high = 3
"""


def test_a_hydra_application_is_a_command(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.script(textwrap.dedent(HYDRA))
    place.file.write_text(HYDRA_SEARCH)
    done = place.call(
        "run", "search.toml", "--log", "search.db", "--quiet", env=os.environ | {"PYTHONWARNINGS": "ignore"}
    )
    assert done.returncode == 0, done.stderr
    for trial in eventhpo.load(place.log).trials:
        lr, depth = trial.params["General/lr"], trial.params["General/depth"]
        assert isinstance(lr, float)
        assert isinstance(depth, int)
        assert trial.value == pytest.approx((lr - 0.01) ** 2 + depth)
    place.close()
