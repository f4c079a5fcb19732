"""Events, logs and processes for the tests of the log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import eventhpo
from eventhpo.core.fold.events import ControllerStarted, Head, MetricObserved, Recorded, SearchCreated, StopAsked
from eventhpo.core.search.spec import ComponentConfig, Limits, Objective, Search, Simulated, UniformParameterRange
from eventhpo.log.create import create
from eventhpo.log.writer import Writer, open_writer

SEARCH_ID = "5eed" * 8
AT = 1_700_000_000_000_000


def search_created(search_id: str = SEARCH_ID) -> SearchCreated:
    search = Search(
        name="sample",
        objectives=(Objective("validation", "accuracy", "max"),),
        space=(UniformParameterRange(name="General/lr", min_value=0.0, max_value=1.0),),
        limits=Limits(total_max_jobs=4),
        sampler=ComponentConfig("TPESampler"),
        pruner=ComponentConfig("MedianPruner"),
        seed=7,
        jobs=Simulated(),
    )
    return SearchCreated(search_id=search_id, search=search, policy=1, fingerprint={"machine": "x86_64"})


def controller_started() -> ControllerStarted:
    return ControllerStarted(host="gpu-7", pid=os.getpid(), boot="boot", clock=1, fingerprint={})


def point(n: int) -> MetricObserved:
    return MetricObserved(
        trial=n,
        attempt=1,
        title="validation",
        series="accuracy",
        iterations=(1, 2),
        values=(0.25, "nan"),
        from_=0,
        to=64,
    )


STOP = StopAsked(scope="run", why="enough")


def open_at(path: Path, *, take_over: bool = False) -> tuple[Writer, list[Recorded]]:
    return open_writer(path, controller_started(), AT, take_over=take_over)


def append(writer: Writer, count: int) -> list[Recorded]:
    """Record and commit *count* points."""
    rows = [writer.record(point(n), writer.head.seq, AT + n) for n in range(count)]
    writer.commit()
    return rows


def resting(path: Path, count: int = 8) -> list[Recorded]:
    """Make a log of *count* points that rests as one file; return its rows."""
    create(path, search_created(), AT)
    writer, rows = open_at(path)
    rows += append(writer, count)
    assert writer.close()
    return rows


def head_of(rows: list[Recorded]) -> Head:
    return Head(rows[-1].seq, rows[-1].hash)


def listing(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return what lies in the log's folder: size, mtime and inode of each file."""
    found = {}
    for entry in path.parent.iterdir():
        stat = entry.stat()
        found[entry.name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return found


PRELUDE = """
import os, signal, sqlite3, sys
from pathlib import Path
from log_samples import *
path = Path(sys.argv[1])
def say(text):
    print(text, flush=True)
"""


@contextlib.contextmanager
def process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a Python process beside the block: it has the samples, `path` and `say`, and is killed if the block fails."""
    places = [str(Path(eventhpo.__file__).parent.parent), str(Path(__file__).parent)]
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        except BaseException:
            child.kill()
            raise


def killed(code: str, path: Path) -> list[str]:
    """Run *code*, which ends itself with SIGKILL; return what it said."""
    with process(code + "\nos.kill(os.getpid(), signal.SIGKILL)\n", path) as child:
        assert child.stdout is not None
        said = child.stdout.read().split("\n")
    assert child.returncode == -9
    return said


def wait_until_stopped(pid: int) -> None:
    """Return when the child *pid* is frozen by SIGSTOP."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


EFFECTS = {"execute", "executemany", "open", "write", "pwrite", "ftruncate", "truncate", "close", "fsync", "link"}
EFFECTS |= {"unlink", "rename", "replace", "mkdir", "rmdir", "touch", "flock"}


def killed_after(calls: int, work: Callable[[], object]) -> bool:
    """Do *work* in a child that is killed at its *calls*-th step, before or after an effect; False if it has less."""
    pid = os.fork()
    if pid == 0:
        left = calls

        def count(frame, event, arg):
            nonlocal left
            left -= getattr(arg, "__name__", "") in EFFECTS  # before each call and after it
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
