"""Logs that somebody wrote anew: an event is another one, and the chain and the keys fit all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.event_parts import Provenance
from eventhpo.core.fold.events import Event, Head, JobBound, JobCreated, Recorded
from eventhpo.log.chain import row_of
from eventhpo.log.create import write_log
from eventhpo.log.reader import read

Change = Callable[[Event], Event]


def changed(event: Event, **fields: Any) -> Event:
    """Return *event* with other *fields*."""
    return msgspec.structs.replace(event, **fields)


def forged(path: Path, rows: Sequence[Recorded], seq: int, change: Change) -> Path:
    """Write *rows* to a new log at *path*, the event at *seq* changed, and every hash and key made anew."""
    return _written(path, rows, lambda row: change(row.event) if row.seq == seq else row.event)


def with_provenance(path: Path, rows: Sequence[Recorded], of: Callable[[int], Provenance]) -> Path:
    """Write *rows* to a new log at *path*, each attempt of trial N with the provenance *of*(N)."""
    return _written(
        path,
        rows,
        lambda row: (
            changed(row.event, provenance=of(row.event.trial)) if isinstance(row.event, JobBound) else row.event
        ),
    )


def _written(path: Path, rows: Sequence[Recorded], event_of: Callable[[Recorded], Event]) -> Path:
    end, kept = GENESIS, []
    for row in rows:
        event = event_of(row)
        if isinstance(event, JobCreated):
            event = changed(event, key=_key(event, end))
        kept.append(row_of(event, end, row.at, row.epoch, row.cause))
        end = Head(kept[-1][0], kept[-1][7])
    write_log(path, kept, max(row.epoch for row in rows))
    assert [row.seq for row in read(path, verify=True).rows] == [row.seq for row in rows]
    return path


def _key(event: JobCreated, end: Head) -> str:
    head, search, _, tail = event.key.split(":")
    return f"{head}:{search}:{end.seq}-{end.hash[:8]}:{tail}"
