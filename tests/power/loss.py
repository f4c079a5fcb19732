"""Cut the power at each step of a traced process, and read what is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import JobCreated, Recorded
from eventhpo.errors import EventhpoError
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.log.verify import examine
from eventhpo.log.writer import open_writer
from tests.power.disk import Disk, Left, left, put, states
from tests.power.life import AT, CREATED, started
from tests.power.trace import Call


class Promised(msgspec.Struct):
    """What must outlast a loss of power, by what was said and done: rows of logs, and the intents of jobs."""

    rows: dict[str, tuple[int, str]] = {}  # of each log the last row that was said to be on the disk, and its hash
    jobs: set[str] = set()  # keys of attempts for which the controller has made a folder

    def hear(self, call: Call, disk: Disk) -> bool:
        """Whether *call*, which *disk* has done, promised something."""
        match call.name, call.args:
            case "write", ("1", bytes(text), _) if text.startswith(b"["):  # tests/power/life.py
                name, seq, digest = json.loads(text)
                self.rows[name] = (seq, digest)
            case "rename", (bytes(), bytes(target)) if target.endswith(b".head"):
                name = os.fsdecode(target).rpartition("/")[2]
                head = json.loads(disk.content(name))
                self.rows[name.removesuffix(".head")] = (head["seq"], head["hash"])
            case "mkdir", (bytes(path), _) if b".jobs/" in path:
                self.jobs.add(os.fsdecode(path).rpartition("/")[2])
            case _:
                return False
        return True


class Losses(msgspec.Struct):
    """How many calls the power was cut after, how many different states were read, and what was lost in them."""

    calls: int = 0
    states: int = 0
    lost: list[str] = []


def cut_everywhere(
    calls: Sequence[Call],
    disk: Disk,
    scratch: Path,
    *,
    count: int,
    until_lost: bool = False,
    faults: Callable[[Path, Promised], Iterator[str]] | None = None,
) -> Losses:
    """Cut the power after each call that changes what may be left, and look for *faults* in each state.

    Of each cut there are five extreme states and *count* at random; a state that was read before is not read again.
    """
    losses, promised, known = Losses(), Promised(), set[int]()
    for number, call in enumerate(calls):
        changed = disk.do(call)
        if not promised.hear(call, disk) and not changed:
            continue
        losses.calls += 1
        for name, keep in enumerate(states(count, str(number))):
            files = left(disk.top, keep)
            state = hash(
                (tuple(sorted(files.items(), key=lambda f: f[0])), msgspec.json.encode(promised, order="sorted"))
            )
            if state in known:
                continue
            known.add(state)
            losses.states += 1
            with _on_disk(files, scratch) as folder:
                for fault in (faults or faults_of_logs)(folder, promised):
                    losses.lost.append(f"after call {number} ({call.name}), state {name}: {fault}")
        if until_lost and losses.lost:
            break
    return losses


@contextlib.contextmanager
def _on_disk(files: Left, scratch: Path) -> Iterator[Path]:
    folder = scratch / "left"
    folder.mkdir()
    try:
        put(files, folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def faults_of_logs(folder: Path, promised: Promised) -> Iterator[str]:
    """Read, check and carry on each log in *folder*; say what of what was promised is not there."""
    for name in sorted({"search.db", *promised.rows}):
        try:
            yield from _faults(folder / name, promised)
        except EventhpoError as error:
            yield f"{name}: {error}"


def _faults(log: Path, promised: Promised) -> Iterator[str]:
    if log.name not in promised.rows and not log.exists():
        create(log, CREATED, AT)  # nothing is in the way of another try
    yield from _misses(log, promised)
    writer, rows = open_writer(log, started(), AT)
    yield from _misses_rows(log, rows, promised)
    if not writer.close():
        yield f"{log.name}: it does not come to rest"
    yield from _misses(log, promised)


def _misses(log: Path, promised: Promised) -> Iterator[str]:
    yield from _misses_rows(log, read(log).rows, promised)
    for check in examine(log).checks:
        if not check.ok:
            yield f"{log.name}: {check.name}: {check.detail}"


def _misses_rows(log: Path, rows: list[Recorded], promised: Promised) -> Iterator[str]:
    seq, digest = promised.rows.get(log.name, (0, ""))
    if len(rows) < seq:
        yield f"{log.name}: row {seq} is lost, it ends at {len(rows)}"
    elif digest not in ("", rows[seq - 1].hash):
        yield f"{log.name}: row {seq} is another one"
    intents = {row.event.key.replace(":", "_") for row in rows if isinstance(row.event, JobCreated)}
    for job in promised.jobs - intents if log.name == "search.db" else ():
        yield f"{log.name}: job {job} was made, and the log has no intent of it"
