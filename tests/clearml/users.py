"""A user's search on the test server: the class in this process, or a script of theirs in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from clearml.automation import DiscreteParameterRange, Objective, UniformParameterRange

from eventhpo import OptimizerOptuna
from eventhpo.core.fold.events import JobAdopted, JobCreated, Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.log import reader
from replay.decide.check_prefixes import check_prefixes
from tests.clearml_server import ClearmlServer, Script
from tests.waiting import eventually

E = TypeVar("E")
ROOT = str(Path(__file__).parents[2])
LONG = 120  # seconds: a script imports Optuna and the SDK on a busy machine
AT_ONCE = 1e-5  # minutes between two polls: the server's scripted jobs go on at each
METRIC = ("validation", "loss")
SPACE = (UniformParameterRange("General/lr", 0.0, 1.0), DiscreteParameterRange("General/kind", ["a", "b"]))


def value_of(task: Mapping[str, Any], name: str, section: str = "General") -> str:
    """Return a parameter of a task as the server has it."""
    return str(task["hyperparams"][section][name]["value"])


def falling(task: Mapping[str, Any], n: int = 3, end: str | None = "completed") -> Script:
    """Report lr + 1/i: the smaller lr the better."""
    lr = float(value_of(task, "lr"))
    return Script.curve(*METRIC, [lr + 1 / i for i in range(1, n + 1)], end=end)


class Place:
    """A base task on a server, its scripted jobs, and a folder for the log."""

    def __init__(self, server: ClearmlServer, folder: Path, queue: str = "hpo") -> None:
        self.server = server
        self.folder = folder
        self.log = folder / "search.db"
        self.queue = queue
        self.made: list[OptimizerOptuna] = []
        self.sent_again = False  # whether an enqueue that the server refused was to be sent again
        self.base = server.make_task(
            "base",
            project="research/sub",
            hyperparams={"General": {"lr": 0.1, "kind": "a"}, "Args": {"data": "/sets/a"}},
            script={"repository": "", "entry_point": "train.py", "diff": "print(1)", "branch": "main"},
            tags=["mine"],
            comment="a base",
        )
        server.script(falling)

    def jobs(self, play: Callable[[Any], Script | None] | None) -> None:
        """Have each task that is queued do what *play* says of it; None: an agent is to take it."""
        if play is None:
            self.server.scripted = None
        else:
            self.server.script(play)

    def optimizer(self, kind: type[OptimizerOptuna] = OptimizerOptuna, **changes: Any) -> OptimizerOptuna:
        """Make an optimizer of four trials, one at a time; *changes* are arguments."""
        given: dict[str, Any] = {
            "base_task_id": self.base,
            "hyper_parameters": SPACE,
            "objective_metric": Objective(*METRIC, order="min"),
            "execution_queue": self.queue,
            "num_concurrent_workers": 1,
            "max_iteration_per_job": 3,
            "total_max_jobs": 4,
            "pool_period_min": AT_ONCE,
            "optuna_sampler": "RandomSampler",
            "optuna_pruner": "NopPruner",
            "log": self.log,
            "seed": 5,
            "max_failures_per_trial": 0,
        }
        found = kind(**(given | changes))
        self.made.append(found)
        return found

    def done(self, **changes: Any) -> OptimizerOptuna:
        """Return an optimizer whose search is over."""
        found = self.optimizer(**changes)
        found.start()
        return found

    # ------------------------------------------------------------ what is there

    def rows(self) -> list[Recorded]:
        return list(reader.read(self.log, verify=True).rows)

    def state(self) -> State:
        return fold(self.rows())

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a type."""
        return [row.event for row in self.rows() if isinstance(row.event, kind)]

    def states(self) -> list[str | None]:
        """Return how each trial ended."""
        return [t.finished.state if t.finished is not None else None for t in self.state().trials]

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks that were made of the base task, in order of creation."""
        made = [t for t in list(self.server.state.tasks.values()) if f"eventhpo:{self.search_id}" in t["tags"]]
        return sorted(made, key=lambda task: str(task["created"]))

    @property
    def search_id(self) -> str:
        """The part of the search's id that its tasks carry."""
        return self.state().search_id[:12] if self.log.exists() else "none"

    # ------------------------------------------------------------ what must hold

    def walked(self) -> None:
        """Decide the log again; fail where it parts."""
        parted = [c.divergence for c in check_prefixes(self.rows()) if c.divergence]
        assert parted == [], parted[0]

    def once(self) -> None:
        """Fail if an attempt has a second task that ran, or a task was enqueued twice."""
        intents = [event.key for kind in (JobCreated, JobAdopted) for event in self.of(kind)]
        carried = Counter(tag for task in self.tasks() for tag in task["tags"] if tag in intents)
        assert {key: n for key, n in carried.items() if n > 1} == {}, "an attempt has two tasks"
        sent = (r.body.get("task") for r in self.server.requests.kept if r.endpoint == "tasks.enqueue")
        enqueued = Counter(task for task in sent if task)  # one that was killed while it sent has a body cut short
        twice = {task: n for task, n in enqueued.items() if n > 1}
        assert self.sent_again or twice == {}, "a task was enqueued twice"
        assert len(self.tasks()) <= len(intents)

    def close(self) -> None:
        """Leave nothing under way; decide again what is in the log."""
        self.server.heal()
        self.server.up()
        for one in self.made:
            one.stop()
            one._session.close()
        if self.log.exists():
            self.walked()
            self.once()


class Program:
    """A script or command of a user, in a process of its own, that is told of one server only."""

    def __init__(
        self, words: Sequence[str], folder: Path, server: ClearmlServer | None, **environment: str | None
    ) -> None:
        found = {**os.environ, "PYTHONPATH": ROOT, **({} if server is None else server.environment()), **environment}
        self._process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env={name: value for name, value in found.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def killed_when(self, condition: Callable[[], object]) -> bool:
        """Kill it once *condition* is true; whether it had not ended by itself before."""
        alive = False
        try:
            eventually(lambda: self._process.poll() is not None or condition(), "a moment to kill", deadline=LONG)
            alive = self._process.poll() is None
        finally:
            self._process.send_signal(signal.SIGKILL)
            out, err = self._process.communicate()
        assert alive or self._process.returncode == 0, out + err
        return alive

    def ended(self) -> tuple[int, str, str]:
        """Wait for its end; return its exit code, and what it printed."""
        try:
            out, err = self._process.communicate(timeout=LONG)
        finally:
            self._process.kill()  # one that did not end is not left behind
        return self._process.returncode, out, err
