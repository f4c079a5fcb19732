"""Searches by the class on real jobs: tiny scripts in a folder of their own, held and failed by files."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clearml.automation import DiscreteParameterRange, Objective, UniformParameterRange

import eventhpo
from eventhpo import LocalJobs, OptimizerOptuna
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.log import reader
from replay.decide.check_prefixes import check_prefixes
from tests.waiting import eventually

E = TypeVar("E")
PACKAGE = Path(str(eventhpo.__file__)).parent

# A job writes itself into a ledger, reports three points, and holds before the fourth while `hold` or
# `hold-<trial>` is there; where `fail-<trial>` is there it fails after the first.
TRAIN = """
import os, select, sys
from eventhpo import job
params = job.connect({"x": 0.0, "kind": "a"})
with open("ledger", "a") as ledger:
    ledger.write(os.environ["EVENTHPO_KEY"] + "\\n")
print("x is", params["x"], flush=True)
for i in (1, 2, 3):
    job.report_scalar("train", "loss", 1 / i, i)
    job.report_scalar("validation", "accuracy", params["x"] * 2 / i, i)
    if os.path.exists(f"fail-{job.trial}"):
        sys.exit(3)
while os.path.exists("hold") or os.path.exists(f"hold-{job.trial}"):
    select.select([], [], [], 0.01)
job.report_scalar("validation", "accuracy", params["x"], 4)
"""

SPACE = (UniformParameterRange("General/x", 0.0, 1.0), DiscreteParameterRange("General/kind", ["a", "b"]))


class Place:
    """A folder with a script and, once an optimizer runs, its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "search.db"
        self.hold = folder / "hold"
        self.made: list[OptimizerOptuna] = []
        self.script(TRAIN)

    def script(self, text: str) -> None:
        """Write the jobs' script; they start without `site`, which would find an installed eventhpo for them."""
        found = f"import sys\nsys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        (self.folder / "train.py").write_text(found + textwrap.dedent(text))

    def jobs(self) -> LocalJobs:
        return LocalJobs([sys.executable, "-S", "train.py"], self.folder)

    def optimizer(self, kind: type[OptimizerOptuna] = OptimizerOptuna, **changes: Any) -> OptimizerOptuna:
        """Make an optimizer of four trials with one worker; *changes* are arguments."""
        given: dict[str, Any] = {
            "base_task_id": "base",
            "hyper_parameters": SPACE,
            "objective_metric": Objective("validation", "accuracy", order="max"),
            "execution_queue": "default",
            "num_concurrent_workers": 1,
            "max_iteration_per_job": None,
            "total_max_jobs": 4,
            "pool_period_min": 0.001,
            "optuna_sampler": "RandomSampler",
            "optuna_pruner": "NopPruner",
            "log": self.log,
            "jobs": self.jobs(),
            "seed": 5,
            "max_failures_per_trial": 0,
        }
        found = kind(**(given | changes))
        self.made.append(found)
        return found

    # ------------------------------------------------------------ what is there

    def rows(self) -> list[Recorded]:
        return list(reader.read(self.log, verify=True).rows)

    def state(self) -> State:
        return fold(self.rows())

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a type."""
        return [row.event for row in self.rows() if isinstance(row.event, kind)]

    def launches(self) -> Counter[str]:
        """Return how often each intent's job was started."""
        ledger = self.folder / "ledger"
        return Counter(ledger.read_text().split() if ledger.exists() else [])

    def params(self) -> list[dict[str, Any]]:
        """Return the parameters of the trials that have a job, by trial."""
        return [t.params for t in self.state().trials if t.attempts]

    def walked(self) -> None:
        """Decide the log again; fail where it parts."""
        parted = [c.divergence for c in check_prefixes(self.rows()) if c.divergence]
        assert parted == [], parted[0]

    def close(self) -> None:
        """Leave no job behind, and no log that would be decided otherwise."""
        for path in self.folder.glob("hold*"):
            path.unlink()
        for one in self.made:
            one.stop()
            one._session.close()
        if self.log.exists():
            self.walked()
            twice = [key for key, times in self.launches().items() if times > 1]
            assert not twice, f"ran more than once: {twice}"
        eventually(lambda: not processes_in(self.folder), "the end of all jobs")


def processes_in(folder: Path) -> list[int]:
    """Return the jobs that live in *folder*."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if (proc / "cwd").readlink() == folder and b"EVENTHPO_KEY=" in (proc / "environ").read_bytes():
                found.append(int(proc.name))
        except OSError:
            continue
    return found


class Thread(threading.Thread):
    """Calls a function; what it returns, or raises, comes with `ended`."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.error: BaseException | None = None
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the thread is waited for
            self.error = error

    def ended(self) -> Any:
        """Wait for its end; return its answer, or raise its error."""
        eventually(lambda: not self.is_alive(), "the end of a thread")
        if self.error is not None:
            raise self.error
        return self.answer


def reported(optimizer: OptimizerOptuna, jobs: int) -> list[Any]:
    """Wait until so many jobs have reported three points and hold; return the running ones."""

    def found() -> list[Any]:
        running = [job for job in optimizer.get_running_jobs() if job.iterations() >= 3]
        return running if len(running) >= jobs else []

    return eventually(found, f"{jobs} jobs that hold")


def forked(call: Callable[[], Any]) -> int:
    """Call a function in a child process, which costs no import; return its pid."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException:  # noqa: BLE001 - a child must not return into pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def killed_when(child: int, condition: Callable[[], bool]) -> bool:
    """Kill *child* once *condition* is true, or let it end; whether it was killed."""

    def over() -> tuple[int, int] | None:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return pid, status
        if condition():
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)
        return None

    found = eventually(over, "the end of the child")
    assert found is not None
    code = os.waitstatus_to_exitcode(found[1])
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code != 0
