"""Searches on real jobs and on simulated ones, and the command as a person calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from eventhpo.cli import main
from eventhpo.core.fold.events import Event, Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import DiscreteParameterRange, LogUniformParameterRange, Scalar, Search
from eventhpo.log import lease, reader
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from tests.waiting import eventually

COMMAND = [sys.executable, "-m", "eventhpo"]

# Each job writes itself into a ledger, and holds at its second point while a file `hold` is there.
TRAIN = """
import os, threading
from eventhpo import job
params = job.connect({"lr": 0.1, "kind": "a"})
with open("ledger", "a") as ledger:
    ledger.write(os.environ["EVENTHPO_KEY"] + "\\n")
job.report_scalar("train", "loss", 1.0, 1)
job.report_scalar("validation", "accuracy", params["lr"] / 2, 1)
while os.path.exists("hold"):
    threading.Event().wait(0.01)
job.report_scalar("validation", "accuracy", params["lr"], 2)
"""

SEARCH = """
name = "small"
command = ["python", "train.py"]
seed = 5
num_concurrent_workers = 2
total_max_jobs = {jobs}
pool_period_min = 0.01
max_failures_per_trial = 0
{more}
[objective]
title = "validation"
series = "accuracy"
sign = "max"
[sampler]
name = "RandomSampler"
[pruner]
name = "NopPruner"
[space."General/lr"]
type = "LogUniformParameterRange"
min_value = -3
max_value = 0
[space."General/kind"]
type = "DiscreteParameterRange"
values = ["a", "b", "1"]
"""


class Place:
    """A folder with a search file, its script and, once it runs, its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "search.toml"
        self.log = folder / "search.db"
        self.hold = folder / "hold"
        self.children: list[subprocess.Popen[str]] = []
        self.script(TRAIN)
        self.describe()

    def script(self, text: str) -> None:
        (self.folder / "train.py").write_text(textwrap.dedent(text))

    def describe(self, jobs: int = 4, more: str = "", behind: str = "") -> None:
        self.file.write_text(SEARCH.format(jobs=jobs, more=more) + behind)

    # ------------------------------------------------------------ the command

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command to its end in the folder."""
        return subprocess.run(
            [*COMMAND, *words], cwd=self.folder, text=True, capture_output=True, timeout=120, check=False, **options
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command in the folder."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        child: subprocess.Popen[str] = subprocess.Popen([*COMMAND, *words], cwd=self.folder, text=True, **options)
        self.children.append(child)
        return child

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.call("run", "search.toml", "--log", "search.db", *words)

    def running(self, jobs: int = 2) -> subprocess.Popen[str]:
        """Start a search whose jobs hold at their second point; return once so many of them run."""
        self.hold.touch()
        child = self.start("run", "search.toml", "--log", "search.db")
        eventually(lambda: self.log.exists() and len(self.observed()) >= jobs, "the jobs' first points")
        return child

    def release(self) -> None:
        self.hold.unlink()

    # ------------------------------------------------------------ what is there

    def rows(self) -> list[Recorded]:
        return reader.read(self.log, verify=True).rows

    def state(self) -> State:
        return fold(self.rows())

    def status(self) -> dict[str, Any]:
        return status_of(self.log)

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of a type."""
        return [row.event for row in self.rows() if isinstance(row.event, kind)]

    def observed(self) -> set[int]:
        """Return the trials that have reported."""
        return {getattr(row.event, "trial", -1) for row in self.rows() if type(row.event).__name__ == "MetricObserved"}

    def launches(self) -> Counter[str]:
        """Return how often each intent's job was started."""
        ledger = self.folder / "ledger"
        return Counter(ledger.read_text().split() if ledger.exists() else [])

    def close(self) -> None:
        """Leave no controller and no job behind."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.communicate()
        self.hold.unlink(missing_ok=True)
        if self.log.exists():
            eventually(lambda: lease.holder(self.log) is None, "the lease to be free")
            self.call("stop", "search.db", "--quiet")
            result = invoke("verify", self.log, "--decide")  # whatever a test did to it
            assert result.exit_code == 0, result.output


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of *child*; return its exit code and what it printed."""
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err


def frozen(child: subprocess.Popen[str]) -> None:
    """Stop *child* with SIGSTOP and return when it stands still."""
    child.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def invoke(*words: object) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


def data(*words: object) -> Any:
    """Return the JSON that a command prints, strictly: no NaN and no Infinity."""
    result = invoke(*words, "--json")
    assert result.exit_code == 0, result.output
    return strict(result.stdout)


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def status_of(log: Path) -> dict[str, Any]:
    found: dict[str, Any] = data("status", log)
    return found


# ---------------------------------------------------------------- simulated


def scripted(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """Trials 0 to 5: one is pruned by its values, one ends in NaN, one fails twice, the others complete."""
    lr = params["General/lr"]
    assert isinstance(lr, float)
    if trial == 2:
        return Script(points=((1, 0.1), (2, float("nan"))), others=("loss",))
    if trial == 3:
        return Script(points=((1, float("inf")),), how="failed")
    return Script(points=((1, lr), (2, lr / 2), (3, lr * 2)), others=("loss",))


def small(**more: Any) -> Search:
    space = (
        LogUniformParameterRange(name="General/lr", min_value=-3.0, max_value=0.0),
        DiscreteParameterRange(name="General/kind", values=("a", "b", "1")),
    )
    return search(**({"space": space, "max_failures_per_trial": 1} | more))


def simulated(path: Path, **more: Any) -> State:
    """Make the log of a finished search on simulated jobs."""
    return simulate(path, small(**more), scripted)
