"""The life of a log, as a process of its own: born, written, folded in, backed up, put to rest, taken up again.

After each call of the log that promises something, the process says so on its standard output, as JSON: from then on
this must outlast a loss of power.

    python life.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from eventhpo.core.fold.events import ControllerStarted, Event, Head, MetricObserved, SearchCreated
from eventhpo.core.search.spec import ComponentConfig, Limits, Objective, Search, Simulated, UniformParameterRange
from eventhpo.log.backup import backup
from eventhpo.log.create import create
from eventhpo.log.seal import seal
from eventhpo.log.writer import Writer, open_writer

AT = 1_700_000_000_000_000
SEARCH = Search(
    name="power",
    objectives=(Objective("validation", "accuracy", "max"),),
    space=(UniformParameterRange(name="lr", min_value=0.0, max_value=1.0),),
    limits=Limits(total_max_jobs=4),
    sampler=ComponentConfig("TPESampler"),
    pruner=ComponentConfig("MedianPruner"),
    seed=7,
    jobs=Simulated(),
)
CREATED = SearchCreated(search_id="5eed" * 8, search=SEARCH, policy=1, fingerprint={})


def started() -> ControllerStarted:
    return ControllerStarted(host="gpu-7", pid=os.getpid(), boot="boot", clock=1, fingerprint={})


def points(trial: int, count: int) -> Event:
    """Return an observation of *count* points: a row of about 20 bytes each."""
    return MetricObserved(
        trial=trial,
        attempt=1,
        title="validation",
        series="accuracy",
        iterations=tuple(range(count)),
        values=tuple(n / 7 for n in range(count)),
        from_=0,
        to=64,
    )


def promise(log: Path, head: Head) -> None:
    """Say that the rows of *log* up to *head* are on the disk."""
    os.write(1, json.dumps([log.name, head.seq, head.hash]).encode())


def write(log: Path, writer: Writer, *sizes: int) -> None:
    """Commit a row of so many points each."""
    for number, size in enumerate(sizes):
        writer.record(points(number, size), None, AT)
        writer.record(points(number, 1), None, AT)
        writer.commit()
        promise(log, writer.committed)


def live(folder: Path) -> None:
    """Do with a log what controllers and people do with it."""
    log = folder / "search.db"
    create(log, CREATED, AT)
    os.write(1, b'["search.db", 1, ""]')
    writer, _ = open_writer(log, started(), AT)
    promise(log, writer.committed)
    write(log, writer, 1, 1, 200)
    writer.hand_over()  # folded in: the next commit begins the -wal anew
    promise(log, writer.committed)
    write(log, writer, 1, 1000)
    promise(folder / "copy.db", backup(log, folder / "copy.db"))
    write(log, writer, 12_000, 12_000, 1)  # more than 100 pages: SQLite folds in by itself
    writer.close()
    (folder / "search.db.head").unlink()  # as of a log that was copied by hand
    writer, _ = open_writer(log, started(), AT)
    promise(log, writer.committed)
    write(log, writer, 1)
    writer.close(clean=False)  # as after an error: the log does not rest
    seal(log)
    promise(folder / "sealed.db", backup(log, folder / "sealed.db"))


if __name__ == "__main__":
    live(Path(sys.argv[1]))
