"""The rows of the table. Each has its size, so that a short form asks the same questions of fewer trials."""

from __future__ import annotations

import functools
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import optuna

from eventhpo.core.fold.events import JobCreated, JobEnded, JobStarted, MetricObserved, Recorded
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.actions import Judge
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import ComponentConfig, UniformIntegerParameterRange
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from replay import redecide
from tests.benchmarks import peers, studies
from tests.benchmarks.measure import Row, Way

MS = 1000.0
VERDICTS = {
    "MedianPruner": ComponentConfig("MedianPruner"),
    "PercentilePruner": ComponentConfig("PercentilePruner", {"percentile": 25.0}),
    "SuccessiveHalvingPruner": ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1}),
    "HyperbandPruner": ComponentConfig("HyperbandPruner", {"max_resource": 5}),
}


def rows(kept: Path, *, short: bool) -> Iterator[Row]:
    """Yield the rows; logs that several rows read are made once, in the folder *kept*."""
    many, some, few = (30, 20, 10) if short else (1_000, 300, 60)
    yield _bookkeeping("a", many, "RandomSampler", "NopPruner", goals={1: 1 / 1.4, 8: 1 / 6, 64: 1 / 10})
    if shutil.which("strace") is None:
        print("a  syncs a trial: not counted, since there is no strace here", file=sys.stderr)
    else:
        yield _syncs(few if short else 640)
    yield _next_to_memory("b", many)
    if not short:
        yield _next_to_memory("b", 4 * many, rounds=1)
    for name in VERDICTS:
        yield _verdict(kept, name, 10 * many)
    yield _many_in_flight(many if short else 20 * many, 10 if short else 1_000)
    yield _cold_open(kept, 10 * many)
    yield _decide_again(kept, many if short else 2 * some)
    yield _commands(kept, 24, goal=1.5)
    yield _commands(kept, many, goal=2.0)
    yield _local_jobs(kept, 4 if short else 32)
    yield from _growth(kept, short=short)
    yield _nearly_used_up(few)
    yield _simulated(many, short=short)
    yield from studies.rows(kept, short=short)


# ---------------------------------------------------------------- whole searches


def _bookkeeping(key: str, trials: int, sampling: str, pruning: str, goals: dict[int, float]) -> Row:
    ways = [
        Way("Optuna, Journal file", lambda folder: peers.run_optuna(peers.journal(folder), trials, sampling, pruning)),
        Way("Optuna, RDB on SQLite", lambda folder: peers.run_optuna(peers.rdb(folder), trials, sampling, pruning)),
        Way("Optuna, in memory", lambda folder: peers.run_optuna(peers.memory(), trials, sampling, pruning)),
    ]
    for in_flight, goal in goals.items():
        ours = functools.partial(peers.run_ours, trials=trials, in_flight=in_flight, sampling=sampling, pruning=pruning)
        ways.append(Way(f"eventhpo, {in_flight} in flight", ours, goal))
    title = f"durable bookkeeping of a trial, {sampling} and {pruning}, {trials:,} trials"
    return Row(key=key, title=title, unit="ms a trial", ways=ways, anchor=ways[0].name, per=MS / trials)


def _syncs(trials: int) -> Row:
    """How often a trial waits for the disk, counted by strace."""

    def counted(work: str) -> Callable[[Path], float]:
        def run(folder: Path) -> float:
            trace, code = folder / "syncs", f"import sys, pathlib; {_PEERS}; folder = pathlib.Path(sys.argv[1]); {work}"
            strace = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
            subprocess.run([*strace, sys.executable, "-c", code, str(folder)], check=True, capture_output=True)
            return float(sum("sync(" in line for line in trace.read_text().splitlines()))

        return run

    names = 'sampling="RandomSampler", pruning="NopPruner"'
    ways = [Way("Optuna, Journal file", counted(f"peers.run_optuna(peers.journal(folder), {trials}, {names})"))]
    for in_flight, goal in {1: 8.3, 8: 1.1, 64: 0.2}.items():
        ours = counted(f"peers.run_ours(folder, {trials}, {in_flight}, {names})")
        ways.append(Way(f"eventhpo, {in_flight} in flight", ours, goal / 10))  # a trial of the Journal takes ten
    title = "syncs of a trial with three parameters and five reports, RandomSampler and NopPruner"
    return Row(key="a", title=title, unit="a trial", ways=ways, anchor=ways[0].name, per=1 / trials, rounds=1)


_PEERS = "from tests.benchmarks import peers"


def _next_to_memory(key: str, trials: int, rounds: int = 3) -> Row:
    names = {"sampling": "TPESampler", "pruning": "MedianPruner"}
    ways = [
        Way("Optuna, in memory", lambda folder: peers.run_optuna(peers.memory(), trials, **names)),
        Way("Optuna, Journal file", lambda folder: peers.run_optuna(peers.journal(folder), trials, **names)),
        Way(
            "eventhpo, 64 in flight", functools.partial(peers.run_ours, trials=trials, in_flight=64, **names), goal=1.0
        ),
    ]
    title = f"the same, TPESampler and MedianPruner, {trials:,} trials"
    return Row(key=key, title=title, unit="ms a trial", ways=ways, anchor=ways[0].name, per=MS / trials, rounds=rounds)


# ---------------------------------------------------------------- one verdict


def _verdict(kept: Path, name: str, trials: int) -> Row:
    """A verdict at the last points of a search of *trials* trials, by the sorted columns and by Optuna's pruner."""

    @functools.cache
    def question() -> State:
        return _before_last_verdict(_log(kept, f"{name}-{trials}", trials, VERDICTS[name], "RandomSampler"))

    def asked(oracle: bool) -> Callable[[Path], float]:
        def ask(_: Path) -> float:
            adapter = OptunaAdapter(question(), oracle=oracle)
            assert adapter.answer(Judge()) == OptunaAdapter(question(), oracle=not oracle).answer(Judge())
            adapter.answer(Judge())  # the view and the columns are built once in a controller's life
            calls = 3 if oracle else 100
            start = time.perf_counter()
            for _number in range(calls):
                adapter.answer(Judge())
            return (time.perf_counter() - start) / calls

        return ask

    ways = [Way("Optuna's pruner", asked(oracle=True)), Way("sorted columns", asked(oracle=False), 1 / 50)]
    title = f"one look at new points under {name}, {trials:,} trials"
    return Row(key="c", title=title, unit="ms a look", ways=ways, anchor=ways[0].name, per=MS)


def _before_last_verdict(log: Path) -> State:
    """Return the state before the last verdict that judged a new point."""
    rows = read(log).rows
    last = max(index for index, row in enumerate(rows) if isinstance(row.event, MetricObserved))
    state = begin(rows[0])
    for row in rows[1 : last + 1]:
        state = evolve(state, row)
    assert isinstance(next_action(state), Judge)
    return state


def _many_in_flight(finished: int, in_flight: int) -> Row:
    """The controller's processor time for a poll in which each running job has a point, with all that follows."""

    def a_poll(polls: int) -> Callable[[Path], float]:
        def run(folder: Path) -> float:
            return peers.processor_time_of_a_poll(folder, finished, in_flight, polls)

        return run

    ways = [
        Way("a second, the period of the reports", lambda _: 1.0),
        Way("eventhpo, processor time, jobs of 60 reports", a_poll(60), 0.1),
        Way("the same, jobs of 5 reports: each poll sees a fifth of them end, and others start", a_poll(5)),
    ]
    title = f"a poll of {in_flight:,} jobs with a new point each, {finished:,} finished, RandomSampler and MedianPruner"
    return Row(key="d", title=title, unit="s a poll", ways=ways, anchor=ways[0].name, rounds=1)


# ---------------------------------------------------------------- whole processes


def _cold_open(kept: Path, trials: int) -> Row:
    journal = kept / f"journal-{trials}"

    def open_journal(_: Path) -> None:
        if not journal.exists():
            journal.mkdir()
            peers.run_optuna(peers.journal(journal), trials, "RandomSampler", "NopPruner")
        _python(
            "import optuna, sys; from optuna.storages import JournalStorage as S; "
            "from optuna.storages.journal import JournalFileBackend as F; "
            "optuna.logging.set_verbosity(30); "
            "s = optuna.load_study(study_name=None, storage=S(F(sys.argv[1]))); s.best_trial",
            str(journal / "journal.log"),
        )

    open_journal(kept)  # made before it is timed
    log = _log(kept, f"open-{trials}", trials, ComponentConfig("NopPruner"), "RandomSampler")
    ways = [
        Way("Optuna opens its Journal file", open_journal),
        Way("eventhpo status", lambda _: _eventhpo("status", str(log)), 1 / 3),
        Way("eventhpo verify", lambda _: _eventhpo("verify", str(log)), 1 / 3),
    ]
    title = f"a log of {trials:,} trials is opened, its chain verified, as a process"
    return Row(key="e", title=title, unit="s", ways=ways, anchor=ways[0].name)


def _commands(kept: Path, trials: int, goal: float) -> Row:
    log = _log(kept, f"open-{trials}", trials, ComponentConfig("NopPruner"), "RandomSampler")
    ways = [
        Way("python -c 'import click, msgspec, sqlite3'", lambda _: _python("import click, msgspec, sqlite3")),
        Way("eventhpo status", lambda _: _eventhpo("status", str(log)), goal),
        Way("eventhpo top", lambda _: _eventhpo("top", str(log)), goal),
    ]
    title = f"a command on a log of {trials:,} trials, as a process"
    return Row(key="g", title=title, unit="ms", ways=ways, anchor=ways[0].name, per=MS, rounds=9)


def _growth(kept: Path, *, short: bool) -> Iterator[Row]:
    """The same commands on ten times the trials: what a trial costs is to stay."""
    small, large = (10, 20) if short else (1_000, 10_000)
    for command in (("explain", "0"), ("postmortem",), ("whatif", "--pruner", "MedianPruner")):
        name, *more = command

        def run(_: Path, trials: int, name: str = name, more: list[str] = more) -> float:
            log = _log(kept, f"open-{trials}", trials, ComponentConfig("NopPruner"), "RandomSampler")
            start = time.perf_counter()
            _eventhpo(name, str(log), *more)
            return (time.perf_counter() - start) / trials

        ways = [
            Way(f"{small:,} trials", functools.partial(run, trials=small)),
            Way(f"{large:,} trials", functools.partial(run, trials=large), 1.3),
        ]
        yield Row(
            key="j", title=f"eventhpo {name}, as a process", unit="ms a trial", ways=ways, anchor=ways[0].name, per=MS
        )


def _local_jobs(kept: Path, workers: int) -> Row:
    """Real processes: how long a report is on its way into the log, and how long a slot stays free."""

    @functools.cache
    def run(apart: float) -> list[Recorded]:
        folder = kept / f"local-{apart}"
        folder.mkdir()
        (folder / "job.py").write_text(_REPORTS_ITS_CLOCK.replace("APART", str(apart)))
        (folder / "search.toml").write_text(_LOCAL.format(python=sys.executable, workers=workers, jobs=2 * workers))
        _eventhpo("run", str(folder / "search.toml"), "--log", str(folder / "search.db"), "--quiet")
        return read(folder / "search.db").rows

    def report(_: Path) -> float:
        observed = [row for row in run(0.0) if isinstance(row.event, MetricObserved)]
        return statistics.median(
            row.at / 1e6 - float(value) for row in observed for value in cast(MetricObserved, row.event).values
        )

    def slot(apart: float) -> float:
        rows = run(apart)
        slots = {row.event.trial: row.event.slot for row in rows if isinstance(row.event, JobCreated)}
        ended = {row.event.trial: row.event.finished_at or 0 for row in rows if isinstance(row.event, JobEnded)}
        started = {row.event.trial: row.event.started_at for row in rows if isinstance(row.event, JobStarted)}
        first = {slots[trial]: trial for trial in range(workers)}
        return statistics.median((started[t] - ended[first[slots[t]]]) / 1e6 for t in range(workers, 2 * workers))

    ways = [
        Way("a tenth of a second", lambda _: 0.1),
        Way("from a job's report to its row in the log", report, 1.0),
        Way("from a job's end to the start of the next in its slot, ends 0.1 s apart", lambda _: slot(0.1), 1.0),
        Way("the same, all slots free at once", lambda _: slot(0.0)),
    ]
    title = f"{workers} local jobs at a time, medians of {2 * workers} jobs"
    return Row(key="h", title=title, unit="s", ways=ways, anchor=ways[0].name, rounds=1)


_LOCAL = """
name = "latency"
command = ["{python}", "-S", "job.py"]
num_concurrent_workers = {workers}
max_trials = {jobs}
max_iteration_per_job = 3
[objective]
title = "validation"
series = "loss"
sign = "min"
[sampler]
name = "RandomSampler"
[pruner]
name = "NopPruner"
[space."General/x"]
type = "UniformParameterRange"
min_value = 0.0
max_value = 1.0
"""

_REPORTS_ITS_CLOCK = """
import json, os, time
for i in range(1, 4):
    time.sleep(1.0)
    line = json.dumps({"title": "validation", "series": "loss", "iteration": i, "value": time.time()})
    fd = os.open(os.environ["EVENTHPO_REPORTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, ("\\n" + line + "\\n").encode())
    os.close(fd)
time.sleep(1.0 + APART * int(os.environ["EVENTHPO_SLOT"]))
"""


# ---------------------------------------------------------------- deciding again, spaces, the test world


def _decide_again(kept: Path, trials: int) -> Row:
    def live(folder: Path) -> None:
        peers.run_ours(folder, trials, 64, "TPESampler", "MedianPruner")

    def decide_again(processes: int) -> None:
        redecide(log, processes=processes)  # it raises where a decision differs

    log = _log(kept, f"again-{trials}", trials, ComponentConfig("MedianPruner"), "TPESampler")
    ways = [
        Way("the live search", live),
        Way("replay", lambda _: decide_again(1), 0.5),
        Way("replay, two processes", lambda _: decide_again(2), 0.5 / 1.8),
    ]
    title = f"a log of {trials:,} trials is decided again, TPESampler and MedianPruner, 64 in flight"
    return Row(key="f", title=title, unit="s", ways=ways, anchor=ways[0].name)


def _nearly_used_up(trials: int) -> Row:
    def finite(points: int) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            what = search(
                space=(UniformIntegerParameterRange(name="General/x", min_value=1, max_value=points),),
                sampler=ComponentConfig("TPESampler"),
                max_iteration_per_job=1,
                total_max_jobs=trials,
                max_trials=trials,  # pruned trials leave budget for more
                num_concurrent_workers=1,
            )
            simulate(
                folder / "search.db", what, lambda trial, attempt, params: Script(points=((1, 1.0 / (trial + 1)),))
            )

        return run

    ways = [Way("of 100,000 points", finite(100_000)), Way(f"of {trials} points", finite(trials), 1.3)]
    title = f"{trials} trials of TPESampler on a finite space"
    return Row(key="l", title=title, unit="s", ways=ways, anchor=ways[0].name, rounds=1)


def _simulated(many: int, *, short: bool) -> Row:
    small, large = many, many if short else 10 * many

    def run(folder: Path, trials: int) -> float:
        start = time.perf_counter()
        peers.run_ours(folder, trials, 64, "RandomSampler", "NopPruner")
        return (time.perf_counter() - start) / trials

    ways = [
        Way(f"{small:,} trials", functools.partial(run, trials=small)),
        Way(f"{large:,} trials, the larger search", functools.partial(run, trials=large), 1.3),
    ]
    title = "a search of simulated trials, `eventhpo.testing`"
    return Row(key="m", title=title, unit="ms a trial", ways=ways, anchor=ways[0].name, per=MS, rounds=1)


# ---------------------------------------------------------------- logs and processes


def _log(kept: Path, name: str, trials: int, pruner: ComponentConfig, sampling: str) -> Path:
    """Return a log of so many trials, made when it is first asked for."""
    folder = kept / name
    if not folder.exists():
        folder.mkdir()
        what = search(
            space=peers.SPACE,
            sampler=ComponentConfig(sampling),
            pruner=pruner,
            max_iteration_per_job=peers.STEPS,
            total_max_jobs=trials,
            max_trials=trials,  # pruned trials leave budget for more
            num_concurrent_workers=64,
            seed=1,
        )

        def script(trial: int, attempt: int, params: dict[str, object]) -> Script:
            return Script(points=tuple(enumerate(peers.values(params), start=1)))  # type: ignore[arg-type]

        simulate(folder / "search.db", what, script, cut=lambda *_: peers.STEPS)
    return folder / "search.db"


def _eventhpo(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "eventhpo", *words], check=True, stdout=subprocess.DEVNULL)


def _python(code: str, *words: str) -> None:
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log of each trial out of the terminal."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
