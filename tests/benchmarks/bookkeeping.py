"""What a durable search costs beside Optuna's own storages: milliseconds a trial, in one run, as ratios.

    python tests/benchmarks/bookkeeping.py --trials 300

Each trial is asked for, reports five values and is told. Ours runs the whole
controller on simulated jobs, on a log with a full fsync for each step; Optuna's
ask, report and tell run on its Journal file and on SQLite through its RDB storage.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script

STEPS = 5


def ours(folder: Path, trials: int, workers: int) -> None:
    what = search(
        sampler=ComponentConfig("RandomSampler"),
        max_iteration_per_job=STEPS,
        total_max_jobs=trials,
        num_concurrent_workers=workers,
    )
    points = tuple((i, 1 / i) for i in range(1, STEPS + 1))
    simulate(folder / "search.db", what, lambda trial, attempt, params: Script(points=points), cut=lambda *_: STEPS)


def optunas(storage: optuna.storages.BaseStorage, trials: int) -> None:
    study = optuna.create_study(
        storage=storage, sampler=optuna.samplers.RandomSampler(1), pruner=optuna.pruners.NopPruner()
    )
    for _ in range(trials):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        for i in range(1, STEPS + 1):
            trial.report(1 / i, i)
        study.tell(trial, 0.2)


def journal(folder: Path, trials: int) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    optunas(optuna.storages.JournalStorage(backend), trials)


def rdb(folder: Path, trials: int) -> None:
    optunas(optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db"), trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ways: dict[str, Callable[[Path], None]] = {
        "Optuna, Journal file": lambda folder: journal(folder, args.trials),
        "Optuna, SQLite RDB": lambda folder: rdb(folder, args.trials),
        "eventhpo, 1 in flight": lambda folder: ours(folder, args.trials, 1),
        "eventhpo, 8 in flight": lambda folder: ours(folder, args.trials, 8),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                way(Path(folder))
                took[name].append((time.perf_counter() - start) / args.trials * 1000)
    base = statistics.median(took["Optuna, Journal file"])
    print(f"{args.trials} trials, {args.rounds} rounds; median ms a trial, and over the Journal file's")
    for name, times in took.items():
        print(f"{name:24} {statistics.median(times):8.2f} {statistics.median(times) / base:6.2f}")


if __name__ == "__main__":
    main()
