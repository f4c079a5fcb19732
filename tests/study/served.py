"""A served study and its workers as processes, which tests kill."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import optuna

import eventhpo
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
from tests.waiting import eventually

WORKER = """
import os, sys, warnings
warnings.simplefilter("ignore")
import optuna, eventhpo
optuna.logging.set_verbosity(optuna.logging.ERROR)
def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    for step in range(3):
        trial.report(x + 1 / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    with open(sys.argv[3], "a") as file:
        file.write(f"{trial.number} {x!r}\\n")
    return x
study = eventhpo.connect(sys.argv[1], lease=15.0)  # longer than a server needs to start on a busy machine
study.optimize(objective, total_trials=int(sys.argv[2]))
"""


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    return line


def start_server(log: Path, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    """Start `eventhpo serve`; return the process and its port once it listens."""
    command = [sys.executable, "-m", "eventhpo", "serve", str(log), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = first_line(process)
    return process, int(line.partition(" is served at ")[2].partition(":")[2].partition(" ")[0])


def start_worker(port: int, trials: int, ledger: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, f"127.0.0.1:{port}", str(trials), str(ledger)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(log: Path) -> int:
    return sum(fold(read(log).rows).totals.trials.values())


def told_otherwise(state: State, ledger: Path) -> list[str]:
    """Return what differs between the points that the objectives ran, by their *ledger*, and those in the log."""
    points: dict[int, set[str]] = {}
    for line in ledger.read_text().splitlines():
        number, value = line.split()
        points.setdefault(int(number), set()).add(value)
    wrong = [f"trial {number} ran with {len(values)} points" for number, values in points.items() if len(values) > 1]
    for trial in state.trials:
        ended = trial.finished
        if ended is not None and ended.state == "completed" and ended.values is not None:
            value = repr(float(ended.values[0]))
            wrong += [] if value in points.get(trial.number, ()) else [f"trial {trial.number} never ran {value}"]
    return wrong


def round_of_kills(folder: Path, chance: random.Random, kills: int, *, control: bool = False) -> list[str]:
    """Serve a study to three workers, kill the server or a worker *kills* times; return what is wrong at the end.

    With *control* the first line of the ledger is of another point: that must be seen.
    """
    log, ledger, total, alive = folder / "served.db", folder / "ledger", 10 * kills + 20, []
    sampler = optuna.samplers.TPESampler(n_startup_trials=3, seed=1)
    eventhpo.create_study(log, sampler=sampler, pruner=optuna.pruners.MedianPruner(n_startup_trials=3)).close()
    server, port = start_server(log)
    alive.append(server)
    try:
        workers = [start_worker(port, total, ledger) for _ in range(3)]
        alive += workers
        for _ in range(kills):
            reached = finished(log) + chance.randint(1, 4)
            eventually(lambda reached=reached: finished(log) >= reached, "more trials")  # type: ignore[misc]
            victim = chance.choice(["server", "worker", "worker"])
            if victim == "server":
                server.kill()
                server.wait()
                server, _ = start_server(log, port)
                alive.append(server)
            else:
                killed = workers.pop(0)
                killed.kill()
                killed.wait()
                workers.append(start_worker(port, total, ledger))
                alive.append(workers[-1])
        wrong = [f"a worker ended with {code}" for worker in workers if (code := worker.wait()) != 0]
        server.terminate()
        server.wait()
    finally:
        for left in alive:
            left.kill()
            left.wait()
    if control:
        number = ledger.read_text().split()[0]
        ledger.write_text(f"{number} 17.0\n{ledger.read_text()}")
    rows = read(log, verify=True).rows
    state = fold(rows)
    wrong += [str(check.divergence) for check in check_prefixes(rows) if check.divergence]
    if [trial.number for trial in state.trials] != list(range(total)) or sum(state.totals.trials.values()) != total:
        wrong.append(f"{len(state.trials)} trials, {sum(state.totals.trials.values())} finished, and {total} asked for")
    return wrong + told_otherwise(state, ledger)
