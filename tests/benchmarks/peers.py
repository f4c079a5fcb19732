"""The same trials on Optuna's own storages and on our log: three parameters, five reports, each asked of the pruner."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
from msgspec.structs import replace
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import ComponentConfig, Scalar, Search, UniformParameterRange
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script

STEPS = 5
NAMES = ("x", "y", "z")
SPACE = tuple(UniformParameterRange(name=f"General/{name}", min_value=0.0, max_value=1.0) for name in NAMES)


def values(params: dict[str, Scalar] | dict[str, float]) -> list[float]:
    """Return the five values that a trial with these parameters reports."""
    base = sum(float(value) for value in params.values())  # type: ignore[arg-type]
    return [base + 1 / step for step in range(1, STEPS + 1)]


def sampler(name: str) -> BaseSampler:
    return {"RandomSampler": RandomSampler, "TPESampler": TPESampler}[name](seed=1)


def pruner(name: str) -> BasePruner:
    return {"NopPruner": NopPruner, "MedianPruner": MedianPruner}[name]()


def run_optuna(storage: BaseStorage, trials: int, sampling: str, pruning: str) -> None:
    """Ask, report, ask the pruner, and tell, *trials* times."""
    study = optuna.create_study(storage=storage, sampler=sampler(sampling), pruner=pruner(pruning))
    for _ in range(trials):
        trial = study.ask()
        reported = values({name: trial.suggest_float(name, 0.0, 1.0) for name in NAMES})
        state, told = optuna.trial.TrialState.COMPLETE, reported[-1]
        for step, value in enumerate(reported, start=1):
            trial.report(value, step)
            if trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        study.tell(trial, None if state == optuna.trial.TrialState.PRUNED else told, state=state)
    assert len(study.get_trials(deepcopy=False)) == trials


def memory() -> BaseStorage:
    return InMemoryStorage()


def journal(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def rdb(folder: Path) -> BaseStorage:
    return RDBStorage(f"sqlite:///{folder}/study.db")


def described(trials: int, in_flight: int, sampling: str, pruning: str) -> Search:
    """Return the same search for our controller."""
    return search(
        space=SPACE,
        sampler=ComponentConfig(sampling),
        pruner=ComponentConfig(pruning),
        max_iteration_per_job=STEPS,
        total_max_jobs=trials,
        max_trials=trials,  # pruned trials leave budget for more
        num_concurrent_workers=in_flight,
        seed=1,
    )


def run_ours(folder: Path, trials: int, in_flight: int, sampling: str, pruning: str, per_poll: int = STEPS) -> State:
    """Run the whole controller on simulated jobs, each step of the log with a full fsync."""

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        return Script(points=tuple(enumerate(values(params), start=1)))

    state = simulate(
        folder / "search.db", described(trials, in_flight, sampling, pruning), script, cut=lambda *_: per_poll
    )
    assert sum(trial.finished is not None for trial in state.trials) == trials
    return state


def processor_time_of_a_poll(folder: Path, finished: int, in_flight: int, reports: int) -> float:
    """Return the controller's processor time for a poll in which *in_flight* jobs have a new point each, in seconds.

    *finished* trials of three points finish first. Then as many jobs as make sixty polls report *reports* points
    each. The time of the simulated jobs themselves is in the figure.
    """
    jobs = in_flight * max(1, 60 // reports)
    began: list[float] = []

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        base = sum(float(value) for value in params.values()) if trial < finished else -1.0
        count = 3 if trial < finished else reports
        return Script(points=tuple((step, base + 1 / step) for step in range(1, count + 1)))

    def points_in_a_poll(trial: int, attempt: int, cursor: int) -> int:
        if trial < finished:
            return 3
        if trial == finished + in_flight - 1 and not began:
            began.append(time.process_time())
        return 1

    total = finished + jobs
    what = replace(described(total, in_flight, "RandomSampler", "MedianPruner"), max_iteration_per_job=max(3, reports))
    state = simulate(folder / "search.db", what, script, cut=points_in_a_poll)
    took = time.process_time() - began[0]
    assert sum(trial.finished is not None for trial in state.trials) == total
    return took / (jobs * reports / in_flight)
