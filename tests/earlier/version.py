"""A search that code of an earlier version began, and that today's code carries on: real processes on both sides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import Attempt, State
from eventhpo.log.reader import read
from tests.waiting import eventually

ARCHIVES = Path(__file__).parents[2] / "fixtures" / "earlier"

SEARCH = """
name = "carried on"
command = ["{python}", "-S", "job.py"]
seed = 5
num_concurrent_workers = 2
total_max_jobs = 4
max_iteration_per_job = 4
max_lost_per_trial = 5
[objective]
title = "validation"
series = "loss"
sign = "min"
[sampler]
name = "RandomSampler"
[pruner]
name = "{pruner}"
{pruner_arguments}
[space."General/x"]
type = "UniformParameterRange"
min_value = 0.0
max_value = 1.0
"""

# Reports two points, then waits for the file "gate". A TERM is written into the file "terms" and obeyed at the gate.
JOB = """
import json, os, select, signal, sys
key, x = os.environ["EVENTHPO_KEY"], json.load(open(os.environ["EVENTHPO_PARAMS"]))["General/x"]

def line(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, ("\\n" + text + "\\n").encode())
    os.close(fd)

def on_term(*_):
    line("terms", key)
    wait()
    sys.exit(143)

def wait():
    while not os.path.exists("gate"):
        select.select([], [], [], 0.01)

signal.signal(signal.SIGTERM, on_term)
line("ledger", key)
for i in range(1, 5):
    if i == 3:
        wait()
    point = {"title": "validation", "series": "loss", "iteration": i, "value": x + 1 / i}
    line(os.environ["EVENTHPO_REPORTS"], json.dumps(point))
"""


def unpacked(version: str, folder: Path) -> Path:
    """Unpack the code of *version* into *folder*; return what to put on PYTHONPATH."""
    with tarfile.open(ARCHIVES / f"{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


class Carried:
    """A search in *folder*, begun by the code at *earlier*."""

    def __init__(self, folder: Path, earlier: Path, *, pruner: str = "NopPruner", pruner_arguments: str = "") -> None:
        self.folder, self.earlier = folder, earlier
        self.log = folder / "search.db"
        text = SEARCH.format(python=sys.executable, pruner=pruner, pruner_arguments=pruner_arguments)
        (folder / "search.toml").write_text(text)
        (folder / "job.py").write_text(JOB)

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the search with the earlier code; return its controller."""
        return self._start("run", "search.toml", "--log", "search.db", PYTHONPATH=str(self.earlier))

    def resume(self) -> subprocess.Popen[bytes]:
        """Let today's code resume the search; return its controller."""
        return self._start("resume", "search.db")

    def _start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr.log").open("ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "eventhpo", *words, "--quiet"],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def until(self, condition: Callable[[State], object], what: str) -> None:
        """Wait until the log of the running controller says so."""
        eventually(lambda: self.log.exists() and condition(self.state()), what)

    def carry_on(self) -> None:
        """Let today's code resume the search to its end."""
        assert self.resume().wait() == 0, (self.folder / "stderr.log").read_text()

    def open_gate(self) -> None:
        """Let the waiting jobs go on."""
        (self.folder / "gate").touch()

    def rows(self) -> list[Recorded]:
        """The rows of the log, its chain verified."""
        return read(self.log, verify=True).rows

    def state(self) -> State:
        """What the log comes to."""
        return fold(self.rows())

    def attempts(self) -> list[Attempt]:
        """All attempts, by trial."""
        return [attempt for trial in self.state().trials for attempt in trial.attempts]

    def lines(self, name: str) -> Counter[str]:
        """How often each key stands in the jobs' own file *name*."""
        path = self.folder / name
        return Counter(path.read_text().split()) if path.exists() else Counter()


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill -9, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.wait()
