"""A script with an objective, run as a process of its own and killed at a given step of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import json, os, signal, sys, warnings
warnings.simplefilter("ignore")
import optuna, eventhpo
optuna.logging.set_verbosity(optuna.logging.ERROR)
asked = json.loads(sys.argv[1])
S, P = optuna.samplers, optuna.pruners
SAMPLERS = {
    "tpe": lambda: S.TPESampler(n_startup_trials=3, seed=3),
    "tpe in groups": lambda: S.TPESampler(
        n_startup_trials=3, seed=3, multivariate=True, group=True, constant_liar=True
    ),
    "random": lambda: S.RandomSampler(seed=3),
    "grid": lambda: S.GridSampler({"x": [0.0, 0.5, 1.0], "kind": ["a", "b"], "n": [1, 2]}, seed=3),
    "brute force": lambda: S.BruteForceSampler(seed=3),
    "nsga2": lambda: S.NSGAIISampler(population_size=4, seed=3),
    "nsga3": lambda: S.NSGAIIISampler(population_size=4, seed=3),
    "sobol": lambda: S.QMCSampler(seed=3, warn_independent_sampling=False),
    "halton": lambda: S.QMCSampler(qmc_type="halton", seed=3, warn_independent_sampling=False),
    "cma-es": lambda: S.CmaEsSampler(n_startup_trials=3, seed=3, warn_independent_sampling=False),
    "fixed": lambda: S.PartialFixedSampler({"n": 2}, S.TPESampler(n_startup_trials=3, seed=3)),
}
PRUNERS = {
    "none": P.NopPruner,
    "median": lambda: P.MedianPruner(n_startup_trials=2),
    "hyperband": lambda: P.HyperbandPruner(max_resource=4, reduction_factor=2),
    "halving": lambda: P.SuccessiveHalvingPruner(),
}
steps = 0

def step():
    global steps
    steps += 1
    if steps == asked.get("kill_at"):
        os.kill(os.getpid(), signal.SIGKILL)

def objective(trial):
    flat = asked["space"] == "flat" or asked["sampler"] in ("grid", "brute force")
    step()
    x = trial.suggest_float("x", 0.0, 1.0, step=0.5 if asked["sampler"] in ("grid", "brute force") else None)
    step()
    kind = trial.suggest_categorical("kind", ["a", "b"])
    step()
    y = trial.suggest_int("n", 1, 2) if flat or kind == "a" else trial.suggest_float("rate", 1e-3, 1.0, log=True)
    trial.set_user_attr("half", x / 2)
    if asked["space"] == "two":
        return x + y, x - y
    for i in range(4):
        step()
        trial.report(x + y + (1 if kind == "a" else -1) / (i + 1), i)
        if trial.should_prune():
            raise optuna.TrialPruned
    step()
    return x + y

def told(study, trial):
    if trial.number == asked.get("kill_after"):
        os.kill(os.getpid(), signal.SIGKILL)

directions = {"directions": ["minimize", "maximize"]} if asked["space"] == "two" else {}
study = eventhpo.optimize(
    objective, asked["log"], total_trials=asked["trials"], n_jobs=asked.get("n_jobs", 1), study_name="study",
    callbacks=[told], sampler=SAMPLERS[asked["sampler"]](), pruner=PRUNERS[asked["pruner"]](), **directions,
)
print(json.dumps([
    [t.number, t.state.name, t.values, t.params, t.user_attrs, list(t.intermediate_values.items())]
    for t in study.trials
]))
"""


def run(log: Path, **asked: Any) -> tuple[int, str, str]:
    """Run the script on *log*; return its exit code and what it wrote."""
    words = json.dumps({"log": str(log), "trials": 12, "pruner": "none", "space": "flat", **asked})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, words], capture_output=True, text=True, check=False, env=os.environ
    )
    return done.returncode, done.stdout, done.stderr


def trials(log: Path, **asked: Any) -> list[Any]:
    """Run the script to its end; return its trials."""
    code, out, err = run(log, **asked)
    assert code == 0, err
    found: list[Any] = json.loads(out)
    return found
