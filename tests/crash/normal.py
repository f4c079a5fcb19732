"""What two logs of one search have in common: their rows, restarts left out and random names replaced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import ControllerStarted, JobCreated, Recorded, SearchCreated
from eventhpo.log.reader import read
from eventhpo.testing.simulated import Deed, Ledger


def normal(rows: Iterable[Recorded]) -> list[tuple[int | None, str, str]]:
    """Return (cause, type, body) of each row but restarts, renumbered, keys and search ids named by order."""
    seqs: dict[int, int] = {}
    kept: list[tuple[int | None, str, str]] = []
    keys: dict[str, str] = {}
    for row in rows:
        seqs[row.seq] = len(kept) + (not isinstance(row.event, ControllerStarted))
        if isinstance(row.event, ControllerStarted):
            continue
        event = row.event
        if isinstance(event, JobCreated):
            name = keys.setdefault(event.key, f"key {len(keys)}")
            event = msgspec.structs.replace(event, key=name)
        if isinstance(event, SearchCreated):
            event = msgspec.structs.replace(event, search_id="")
        cause = None if row.cause is None else seqs[row.cause]
        kept.append((cause, type(event).__name__, msgspec.json.encode(event, order="deterministic").decode()))
    return kept


def normal_log(path: Path) -> list[tuple[int | None, str, str]]:
    """Return the normal form of the log at *path*."""
    return normal(read(path, verify=True).rows)


def deeds(path: Path) -> list[Deed]:
    """Return what was done to the simulated world beside the log, keys aside."""
    return [msgspec.structs.replace(d, key="") for d in Ledger(path.with_suffix(".ledger")).deeds()]


def difference(a: list[tuple[int | None, str, str]], b: list[tuple[int | None, str, str]]) -> str | None:
    """Return the first row in which two normal logs part, None if they are equal."""
    for n, (x, y) in enumerate(zip(a, b, strict=False), 1):
        if x != y:
            return f"row {n}:\n  {x}\n  {y}"
    return None if len(a) == len(b) else f"{len(a)} rows and {len(b)}"
