"""A search of real jobs under real kills: of its controller, of runners, of jobs, of two of them at once.

Run by hand, it prints what it found:

    python -m tests.kills.loop --kills 1000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import JobCreated, MetricObserved
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.log.reader import read

SEARCH = """
name = "killed"
command = ["{python}", "-S", "job.py"]
seed = 5
num_concurrent_workers = {workers}
total_max_jobs = {jobs}
max_iteration_per_job = 6
max_failures_per_trial = 100
max_lost_per_trial = 100
[objective]
title = "validation"
series = "loss"
sign = "min"
[sampler]
name = "RandomSampler"
[pruner]
name = "{pruner}"
[space."General/x"]
type = "UniformParameterRange"
min_value = 0.0
max_value = 1.0
"""

JOB = """
import json, os, select, sys
key, x = os.environ["EVENTHPO_KEY"], json.load(open(os.environ["EVENTHPO_PARAMS"]))["General/x"]

def line(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, ("\\n" + text + "\\n").encode())
    os.close(fd)

line("ledger", key)
for i in range(1, 7):
    select.select([], [], [], {pace})
    point = {{"title": "validation", "series": "loss", "iteration": i, "value": x + 1 / i}}
    line(os.environ["EVENTHPO_REPORTS"], json.dumps(point))
"""

VICTIMS = ("controller", "runner", "job", "controller and runner", "controller and job", "runner and job")


class Found(msgspec.Struct, kw_only=True):
    """What a search of kills came to."""

    kills: Counter[str]
    starts: int  # of controllers
    state: State
    launched: Counter[str]  # how often a job with each key wrote itself into the ledger
    intents: set[str]
    faults: list[str]


class Killed:
    """One search in *folder*, driven by controllers that are killed."""

    def __init__(self, folder: Path, *, jobs: int, workers: int = 3, pruner: str = "MedianPruner", pace: float = 0.05):
        self.folder = folder
        self.log = folder / "search.db"
        text = SEARCH.format(python=sys.executable, jobs=jobs, workers=workers, pruner=pruner)
        (folder / "search.toml").write_text(text)
        (folder / "job.py").write_text(JOB.format(pace=pace))
        self.kills: Counter[str] = Counter()
        self.starts = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start a controller on the search."""
        self.starts += 1
        words = ["resume", "search.db"] if self.log.exists() else ["run", "search.toml", "--log", "search.db"]
        with (self.folder / "stderr.log").open("ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "eventhpo", *words, "--quiet"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def processes(self) -> dict[str, list[int]]:
        """Return the pids of this search's runners and jobs."""
        found: dict[str, list[int]] = {"runner": [], "job": []}
        for proc in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (proc / "cmdline").read_bytes().split(b"\0")
                at = bytes(self.folder)
                if any(b"runner.py" in w for w in words) and any(at in w for w in words):
                    found["runner"].append(int(proc.name))
                elif b"EVENTHPO_KEY=" in (proc / "environ").read_bytes() and at in (proc / "environ").read_bytes():
                    found["job"].append(int(proc.name))
        return found

    def kill(self, controller: subprocess.Popen[bytes], victims: str, chance: random.Random) -> None:
        """Kill -9 whoever of *victims* lives."""
        alive = self.processes()
        for victim in victims.split(" and "):
            if victim == "controller":
                controller.kill()
                controller.wait()
            elif alive[victim]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(alive[victim]), signal.SIGKILL)
        self.kills[victims] += 1

    def run(
        self, kills: int, seed: int = 0, *, victims: Sequence[str] = VICTIMS, every: tuple[float, float] = (0.0, 1.2)
    ) -> Found:
        """Kill one of *victims* each so many seconds, *kills* times or until the search is over; then let it end."""
        chance, pause = random.Random(seed), threading.Event()
        controller = self.start()
        while self.kills.total() < kills:
            if controller.poll() is not None:
                if self.finished():
                    break
                controller = self.start()
            pause.wait(chance.uniform(*every))
            self.kill(controller, chance.choice(victims), chance)
        while not self.finished():
            if controller.wait() not in (0, 1, -signal.SIGKILL):
                raise AssertionError((self.folder / "stderr.log").read_text())
            if not self.finished():
                controller = self.start()
        controller.wait()
        return self.found()

    def finished(self) -> bool:
        """Whether the search is over, by its log."""
        return self.log.exists() and fold(read(self.log).rows).finished is not None

    def found(self) -> Found:
        """Compare the log with what the jobs themselves wrote."""
        rows = read(self.log, verify=True).rows
        state = fold(rows)
        launched = Counter(line for line in (self.folder / "ledger").read_text().split("\n") if line)
        intents = {r.event.key for r in rows if isinstance(r.event, JobCreated)}
        faults = [f"{key} ran {n} times" for key, n in launched.items() if n > 1]
        faults += [f"{key} ran without an intent" for key in launched if key not in intents]
        observed: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for row in rows:
            if isinstance(row.event, MetricObserved):
                points = zip(row.event.iterations, map(float, row.event.values), strict=True)
                observed.setdefault((row.event.trial, row.event.attempt), []).extend(points)
        for trial in state.trials:
            for attempt in trial.attempts:
                wrote = list(self.reported(attempt.key))
                read_of = observed.get((attempt.trial, attempt.number), [])
                if read_of != wrote:
                    faults.append(f"{attempt.key}: reported {wrote}, in the log {read_of}")
        left = self.processes()
        faults += [f"process {pid} ({kind}) was left behind" for kind, pids in left.items() for pid in pids]
        return Found(
            kills=self.kills, starts=self.starts, state=state, launched=launched, intents=intents, faults=faults
        )

    def reported(self, key: str) -> Iterator[tuple[int, float]]:
        """Yield the whole lines of an attempt's reports."""
        path = self.folder / "search.db.jobs" / key.replace(":", "_") / "reports.jsonl"
        if path.exists():
            for line in path.read_text().split("\n"):
                if line:
                    point = msgspec.json.decode(line)
                    yield point["iteration"], point["value"]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of eventhpo in the search's folder."""
        return subprocess.run(
            [sys.executable, "-m", "eventhpo", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )


def main() -> None:
    """Print what a loop of kills found."""
    parser = argparse.ArgumentParser(description="Kill a search's processes at random moments.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", type=float, default=0.05, help="seconds between two reports of a job")
    parser.add_argument("--every", type=float, help="seconds between two kills (else at random)")
    parser.add_argument("--victims", nargs="+", default=VICTIMS)
    parser.add_argument("--one-search", action="store_true", help="end with the first search")
    args = parser.parse_args()
    every = (0.0, 1.2) if args.every is None else (args.every, args.every)
    kills, starts, jobs, faults = 0, 0, 0, []
    over = False
    while kills < args.kills and not over:
        over = args.one_search
        with tempfile.TemporaryDirectory() as name:
            search = Killed(Path(name).resolve(), jobs=args.jobs, pace=args.pace)
            found = search.run(args.kills - kills, args.seed + kills, victims=args.victims, every=every)
            checked = search.command("verify", "search.db", "--decide")
        kills += found.kills.total()
        starts, jobs = starts + found.starts, jobs + len(found.intents)
        faults += found.faults + ([] if checked.returncode == 0 else [checked.stdout])
        sys.stdout.write(f"{kills} kills, {starts} starts, {jobs} intents, {len(faults)} faults\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join([*faults, f"state {found.state.finished}", f"trials {found.state.totals.trials}", ""]))


if __name__ == "__main__":
    main()
