"""Start runners: the environment of a job, and what a runner inherits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from eventhpo.core.search.gpus import variable
from eventhpo.jobs.local.folder import AttemptFolder, Identity, Locks
from eventhpo.jobs.local.host import boot_id, pid_namespace
from eventhpo.jobs.protocol import BoundJob

RUNNER = Path(__file__).with_name("runner.py")

# A controller that is itself a ClearML task has these in its environment: a job's `Task.init` would join that task.
_OF_THE_CONTROLLERS_TASK = tuple(
    f"{prefix}_{name}"
    for prefix in ("CLEARML", "TRAINS")
    for name in ("TASK_ID", "PROC_MASTER_ID", "LOG_TASK_TO_BACKEND", "SIMULATE_REMOTE_TASK", "NODE_ID")
)
_OF_AN_OUTER_SEARCH = ("EVENTHPO_LOCK", "EVENTHPO_PREDECESSOR")  # set if this controller runs inside a job


def environment(
    job: BoundJob, folder: AttemptFolder, inherited: Mapping[str, str], devices: Sequence[int] = ()
) -> dict[str, str]:
    """Return the environment of *job*: *inherited*, the `EVENTHPO_` variables, and our interpreter first on PATH.

    With *devices*, it sees these GPUs and no others, by the numbers of nvidia-smi.

    A controller started as `.venv/bin/eventhpo` has not activated its environment,
    so `python` on PATH may be another one, without the packages of the search.
    What ties a process to the controller's own ClearML task is left out: a job that
    calls `Task.init` gets a task of its own.
    """
    variables = {
        **inherited,
        "PATH": search_path(inherited),
        "EVENTHPO_KEY": job.key,
        "EVENTHPO_TRIAL": str(job.trial),
        "EVENTHPO_ATTEMPT": str(job.attempt),
        "EVENTHPO_SLOT": str(job.slot),
        "EVENTHPO_PARAMS": str(folder.params),
        "EVENTHPO_REPORTS": str(folder.reports),
        "EVENTHPO_CHECKPOINT_DIR": str(folder.path.parent / "checkpoints" / str(job.trial)),
    }
    if devices:
        variables["CUDA_VISIBLE_DEVICES"] = variable(devices)
        variables.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # CUDA's own order is by speed
    for name in (*_OF_AN_OUTER_SEARCH, *_OF_THE_CONTROLLERS_TASK):
        variables.pop(name, None)
    if (lock := folder.identity()) is not None:
        variables["EVENTHPO_LOCK"] = named(lock)
    before = folder.previous()
    return variables if before is None else {**variables, "EVENTHPO_PREDECESSOR": before}


def search_path(inherited: Mapping[str, str]) -> str:
    """Return the PATH on which the program of a job is looked for: the folder of our interpreter comes first."""
    return os.pathsep.join([str(Path(sys.executable).parent), *filter(None, [inherited.get("PATH", os.defpath)])])


def named(identity: Identity) -> str:
    """Return *identity* in the form that `EVENTHPO_LOCK` has."""
    return f"{identity[0]}:{identity[1]}"


def spawn(
    folder: AttemptFolder,
    cwd: Path,
    *,
    command: Sequence[str],
    variables: Mapping[str, str],
    locks: Locks,
    grace: float,
    also: Sequence[int] = (),
) -> int:
    """Start a runner that inherits *locks*, the descriptors *also* and nothing else of ours; return its process id.

    Raises:
        OSError: the system has no room for another process.
        ValueError: a NUL byte in the command.
    """
    runner = [sys.executable, "-I", "-S", str(RUNNER), str(folder.path), str(cwd)]
    facts = [str(locks.job), str(locks.runner), repr(grace), boot_id(), pid_namespace()]
    process = subprocess.Popen(
        [*runner, *facts, *command],
        pass_fds=(locks.job, locks.runner, *also),
        env=variables,
        start_new_session=True,  # Ctrl-C on the terminal is for the controller
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # The runner outlives us by design, and Popen would warn about that: `Children` reaps it by its id.
    process.returncode = 0
    return process.pid


class Children:
    """The runners that this process started and has not reaped yet."""

    def __init__(self) -> None:
        self._pids: set[int] = set()

    def add(self, pid: int) -> None:
        """Remember *pid*, to reap it after it has ended."""
        self._pids.add(pid)

    def is_gone(self, pid: int) -> bool:
        """Reap *pid* if it has ended; return whether it has."""
        if pid not in self._pids:
            return True
        try:
            gone = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            gone = True  # we are a fork of the process that started it, or somebody else reaped it
        if gone:
            self._pids.discard(pid)
        return gone

    def reap(self) -> None:
        """Reap all that have ended, so that none stays a zombie."""
        for pid in tuple(self._pids):
            self.is_gone(pid)


CHILDREN = Children()  # one for the process, not for each backend: a runner goes on after `close`
