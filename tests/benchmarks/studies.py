"""The rows of Optuna studies: one objective on Optuna's storages and on a log, in one process and through a server."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, run_grpc_proxy_server

import eventhpo
from eventhpo.study.serve import StudyServer
from tests.benchmarks import peers
from tests.benchmarks.measure import Row, Way

MS = 1000.0
WORKERS, EACH = 8, 25  # processes, and trials of each


def rows(kept: Path, *, short: bool) -> Iterator[Row]:
    """Yield the rows of studies; *kept* is the folder of what is made once."""
    many = 20 if short else 1_000
    yield _bookkeeping(many)
    yield _next_to_memory(many)
    yield _served(2 if short else WORKERS, 3 if short else EACH)
    yield _opened(kept, 10 * many)


def objective(trial: optuna.Trial) -> float:
    """Three parameters, and five reports, each asked of the pruner."""
    reported = peers.values({name: trial.suggest_float(name, 0.0, 1.0) for name in peers.NAMES})
    for step, value in enumerate(reported, start=1):
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return reported[-1]


def _optuna(storage: Callable[[Path], BaseStorage], folder: Path, trials: int, sampling: str, pruning: str) -> None:
    study = optuna.create_study(storage=storage(folder), sampler=peers.sampler(sampling), pruner=peers.pruner(pruning))
    study.optimize(objective, n_trials=trials)
    assert len(study.get_trials(deepcopy=False)) == trials


def _recorded(folder: Path, trials: int, sampling: str, pruning: str) -> None:
    study = eventhpo.create_study(folder / "study.db", sampler=peers.sampler(sampling), pruner=peers.pruner(pruning))
    study.optimize(objective, n_trials=trials)
    study.close()


def _plain(folder: Path, **names: Any) -> None:
    storage = eventhpo.EventStorage(folder / "plain.db")
    _optuna(lambda _: storage, folder, **names)
    storage.close()


def _bookkeeping(trials: int) -> Row:
    names = {"trials": trials, "sampling": "RandomSampler", "pruning": "NopPruner"}
    ways = [
        Way("Optuna, Journal file", lambda folder: _optuna(peers.journal, folder, **names)),
        Way("Optuna, RDB on SQLite", lambda folder: _optuna(peers.rdb, folder, **names)),
        Way("Optuna, in memory", lambda folder: _optuna(lambda _: peers.memory(), folder, **names)),
        Way("eventhpo.EventStorage", lambda folder: _plain(folder, **names), 1 / 4),
        Way("eventhpo.create_study", lambda folder: _recorded(folder, **names), 1 / 2.5),
    ]
    title = f"a study of {trials:,} trials, RandomSampler and NopPruner, one process"
    return Row(key="s", title=title, unit="ms a trial", ways=ways, anchor=ways[0].name, per=MS / trials)


def _next_to_memory(trials: int) -> Row:
    names = {"trials": trials, "sampling": "TPESampler", "pruning": "MedianPruner"}

    def memory_and_a_millisecond(folder: Path) -> float:
        start = time.perf_counter()
        _optuna(lambda _: peers.memory(), folder, **names)
        return time.perf_counter() - start + trials / MS

    ways = [
        Way("Optuna, in memory, and 1 ms", memory_and_a_millisecond),
        Way("Optuna, Journal file", lambda folder: _optuna(peers.journal, folder, **names)),
        Way("eventhpo.create_study", lambda folder: _recorded(folder, **names), 1.0),
    ]
    title = f"a study of {trials:,} trials, TPESampler and MedianPruner, one process"
    return Row(key="s", title=title, unit="ms a trial", ways=ways, anchor=ways[0].name, per=MS / trials)


# ---------------------------------------------------------------- many processes


def _work(open_study: Callable[..., optuna.Study], place: Any, trials: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    open_study(place).optimize(objective, n_trials=trials)


def _by_file(folder: str) -> optuna.Study:
    return _peer(peers.journal(Path(folder)))


def _by_database(folder: str) -> optuna.Study:
    return _peer(peers.rdb(Path(folder)))


def _by_grpc(port: int) -> optuna.Study:
    return _peer(GrpcStorageProxy(host="127.0.0.1", port=port))


def _by_connect(port: int) -> optuna.Study:
    return eventhpo.connect(f"127.0.0.1:{port}")


def _peer(storage: BaseStorage) -> optuna.Study:
    return optuna.load_study(
        study_name="s", storage=storage, sampler=peers.sampler("RandomSampler"), pruner=peers.pruner("NopPruner")
    )


def _crowd(workers: int, trials: int, open_study: Callable[..., optuna.Study], place: Any) -> float:
    """Return the seconds from the first worker's start to the last one's end; each is a process of its own."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(open_study, place, trials)) for _ in range(workers)]
    start = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * workers
    return time.perf_counter() - start


def _served(workers: int, trials: int) -> Row:
    crowd = partial(_crowd, workers, trials)

    def on_storage(made: Callable[[Path], BaseStorage], open_study: Callable[..., optuna.Study], folder: Path) -> float:
        optuna.create_study(storage=made(folder), study_name="s")
        return crowd(open_study, str(folder))

    def grpc_over_memory(_: Path) -> float:
        context = multiprocessing.get_context("spawn")
        port = context.Queue()
        server = context.Process(target=_serve_memory, args=(port,), daemon=True)
        server.start()
        try:
            return crowd(_by_grpc, port.get(timeout=60))
        finally:
            server.kill()
            server.join()

    def ours(folder: Path) -> float:
        context = multiprocessing.get_context("spawn")
        port = context.Queue()
        server = context.Process(target=_serve_log, args=(str(folder), port), daemon=True)
        server.start()
        try:
            took = crowd(_by_connect, port.get(timeout=60))
        finally:
            server.kill()
            server.join()
        assert len(eventhpo.load(folder / "study.db").trials) == workers * trials
        return took

    ways = [
        Way("Optuna's gRPC over memory", grpc_over_memory),
        Way("Optuna, Journal file", lambda folder: on_storage(peers.journal, _by_file, folder)),
        Way("Optuna, RDB on SQLite", lambda folder: on_storage(peers.rdb, _by_database, folder)),
        Way("eventhpo serve", ours, 1.5),
    ]
    title = f"{workers} worker processes of {trials} trials, their start included"
    return Row(key="s", title=title, unit="s", ways=ways, anchor=ways[0].name)


def _serve_memory(port: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = peers.memory()
    optuna.create_study(storage=storage, study_name="s")
    free = _free_port()
    port.put(free)
    run_grpc_proxy_server(storage, host="127.0.0.1", port=free)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _serve_log(folder: str, port: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    log = Path(folder) / "study.db"
    eventhpo.create_study(log, sampler=peers.sampler("RandomSampler"), pruner=peers.pruner("NopPruner")).close()
    server = StudyServer(log, "127.0.0.1", 0)
    server.start()
    port.put(server.port)
    threading.Event().wait()  # until it is killed


# ---------------------------------------------------------------- opening


def _opened(kept: Path, trials: int) -> Row:
    folder = kept / f"study-{trials}"
    names = {"trials": trials, "sampling": "RandomSampler", "pruning": "NopPruner"}

    def made() -> Path:
        if not folder.exists():
            folder.mkdir()
            _optuna(peers.journal, folder, **names)
            _recorded(folder, **names)
        return folder

    made()  # before it is timed

    def journal(_: Path) -> None:
        study = optuna.load_study(study_name=None, storage=peers.journal(made()))
        assert len(study.get_trials(deepcopy=False)) == trials

    def ours(_: Path) -> None:
        study = eventhpo.create_study(made() / "study.db")
        assert len(study.get_trials(deepcopy=False)) == trials
        study.close()

    ways = [
        Way("Optuna, Journal file", journal),
        Way("eventhpo.create_study, its chain verified", ours, 1.0),
    ]
    title = f"a study of {trials:,} trials is opened again"
    return Row(key="s", title=title, unit="s", ways=ways, anchor=ways[0].name)
