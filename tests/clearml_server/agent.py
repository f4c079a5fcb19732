"""A small agent: takes tasks of queues and runs each as a process, as ClearML's agent does.

In a test `with Agent(server.environment(), [server.queue("hpo")]) as agent:`; as a process of its own, in that
environment, `python -m tests.clearml_server.agent --queue NAME --worker agent:w1`. `die()` is the machine that is
gone: its jobs end and nobody tells the server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.clearml_server.calling import Client, Refused

POLL_SECONDS = 0.1
GRACE_SECONDS = 2.0  # from the first signal to the one that cannot be caught
OF_A_PARENT = ("TASK_ID", "PROC_MASTER_ID", "WORKER_ID", "LOG_TASK_TO_BACKEND", "NODE_ID")


@dataclass
class Job:
    task_id: str
    process: subprocess.Popen[bytes]
    output: Path
    told: float | None = None  # when it was asked to end


class Agent:
    """A worker with *slots* processes at a time."""

    def __init__(
        self, environment: Mapping[str, str], queues: Sequence[str], *, worker: str = "agent:w1", slots: int = 1
    ) -> None:
        self.environment, self.queues, self.worker, self.slots = environment, list(queues), worker, slots
        self.jobs: dict[str, Job] = {}
        self.ended: dict[str, int] = {}  # task id: exit status
        self.outputs: dict[str, str] = {}
        self._client = Client(environment)
        self._home = tempfile.TemporaryDirectory(prefix="clearml-agent-")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=worker, daemon=True)

    def __enter__(self) -> Agent:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        self._client.call("workers.register", worker=self.worker, queues=self.queues, timeout=600)
        self._thread.start()

    def close(self) -> None:
        """End in order: its jobs are killed and the worker is unregistered."""
        self.die()
        with contextlib.suppress(OSError, Refused):
            self._client.call("workers.unregister", worker=self.worker)
        self._home.cleanup()

    def die(self, *, jobs: bool = True) -> None:
        """Be gone without a word to the server; with *jobs* False the jobs go on alone."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for job in self.jobs.values() if jobs else ():
            _signal(job, signal.SIGKILL)
            job.process.wait()
        self.jobs = {} if jobs else self.jobs

    def _loop(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            # a server that is down is asked again at the next round
            with contextlib.suppress(OSError, Refused):
                self.round()

    def round(self) -> None:
        """Report, watch the jobs, take what is queued."""
        for job in list(self.jobs.values()):
            self._watch(job)
        first = next(iter(self.jobs), None)
        now = int(time.time() * 1000)
        report: dict[str, Any] = {"worker": self.worker, "timestamp": now, "queues": self.queues}
        try:
            self._client.call("workers.status_report", **report, **({"task": first} if first else {}))
        except Refused:
            self._client.call("workers.register", worker=self.worker, queues=self.queues, timeout=600)
        for queue in self.queues:
            if len(self.jobs) < self.slots:
                entry = self._client.call("queues.get_next_task", queue=queue).get("entry")
                if entry:
                    self._run(entry["task"])

    def _run(self, task_id: str) -> None:
        task = self._client.call("tasks.get_by_id", task=task_id)["task"]
        said = f"Changed by clearml-agent {self.worker}"
        self._client.call("tasks.started", task=task_id, status_message=said, force=True)
        home = Path(self._home.name) / task_id
        home.mkdir(exist_ok=True)
        output = home / "output.txt"
        try:
            command, where = command_of(task, home)
        except ValueError as wrong:
            self._client.call("tasks.failed", task=task_id, status_reason=str(wrong))
            return
        with output.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=where,
                env=job_environment(self.environment, task_id, self.worker),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.jobs[task_id] = Job(task_id, process, output)

    def _watch(self, job: Job) -> None:
        code = job.process.poll()
        task = self._find(job.task_id)
        if code is not None:
            self._report_end(job, task, code)  # first: a server that is away is told at the next round
            del self.jobs[job.task_id]
            self.ended[job.task_id] = code
            return
        gone = task is None or task["status"] in ("stopped", "created", "queued")
        if gone or (task or {}).get("status_message") == "stopping":
            self._end(job)

    def _find(self, task_id: str) -> dict[str, Any] | None:
        fields = ["id", "status", "status_message"]
        found = self._client.call("tasks.get_all", id=[task_id], only_fields=fields, search_hidden=True)["tasks"]
        return found[0] if found else None

    def _end(self, job: Job) -> None:
        now = time.monotonic()
        if job.told is None:
            job.told = now
            _signal(job, signal.SIGTERM)
        elif now - job.told > GRACE_SECONDS:
            _signal(job, signal.SIGKILL)

    def _report_end(self, job: Job, task: dict[str, Any] | None, code: int) -> None:
        _signal(job, signal.SIGKILL)  # what the job left behind in its group
        text = self.outputs[job.task_id] = job.output.read_text(errors="replace")
        if task is None:
            return
        if task["status"] == "in_progress":
            end = "stopped" if job.told is not None else "completed" if code == 0 else "failed"
            self._client.call(f"tasks.{end}", task=job.task_id, status_reason=f"worker execution exit code {code}")
        line = {"type": "log", "task": job.task_id, "level": "info", "worker": self.worker, "msg": text[-10_000:]}
        self._client.log([line])


def _signal(job: Job, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job.process.pid, which)


def command_of(task: Mapping[str, Any], home: Path) -> tuple[list[str], Path]:
    """The command and folder of a task's script: of a local repository, a path, or a file that its diff holds whole.

    Raises: ValueError if the task names no script.
    """
    script = task.get("script") or {}
    entry = shlex.split(script.get("entry_point") or "")
    if not entry:
        raise ValueError("the task has no script.entry_point")
    repository = Path(script.get("repository") or "/nowhere")
    where = repository / (script.get("working_dir") or ".")
    if not where.is_dir():
        where = Path(script.get("working_dir") or home)
        where = where if where.is_absolute() and where.is_dir() else home
    if script.get("diff") and not (where / entry[0]).exists():
        (home / Path(entry[0]).name).write_text(script["diff"])
        entry[0], where = Path(entry[0]).name, home
    return [sys.executable, "-u", *entry], where


def job_environment(base: Mapping[str, str], task_id: str, worker: str) -> dict[str, str]:
    """This process's variables without those of a task it may be in, and those of an agent's job."""
    drop = {f"{prefix}_{name}" for prefix in ("CLEARML", "TRAINS") for name in OF_A_PARENT}
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    twins = {"TASK_ID": task_id, "WORKER_ID": worker, "LOG_TASK_TO_BACKEND": "0", "LOG_LEVEL": "INFO"}
    ours = {f"{prefix}_{name}": value for prefix in ("CLEARML", "TRAINS") for name, value in twins.items()}
    return {**kept, **base, **ours, "PYTHONUNBUFFERED": "1"}


def main() -> None:
    options = argparse.ArgumentParser(prog="tests.clearml_server.agent", description="An agent for tests.")
    options.add_argument("--queue", action="append", required=True, help="name of a queue")
    options.add_argument("--worker", default="agent:w1", help="name of the worker (default: agent:w1)")
    options.add_argument("--slots", type=int, default=1, help="jobs at a time (default: 1)")
    asked = options.parse_args()
    names = ("CLEARML_CONFIG_FILE", "CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    known = Client(environment).call("queues.get_all", only_fields=["id", "name"])["queues"]
    queues = [queue["id"] for queue in known if queue["name"] in asked.queue]
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Agent(environment, queues, worker=asked.worker, slots=asked.slots):
        sys.stdout.write(f"{asked.worker}\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
