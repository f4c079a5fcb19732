"""The script that makes the logs that must fail, and logs made with its help."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import msgspec

from eventhpo.core.fold.events import ControllerStarted, Event, Recorded, SearchCreated
from eventhpo.log.create import write_log
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.fingerprint import fingerprint
from tests.replay.elsewhere import rounds_otherwise

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs"
FAILING = GOLDEN / "must_fail"


def script() -> ModuleType:
    """Return the script as a module; it lies in no package."""
    spec = importlib.util.spec_from_file_location("make_failing", FAILING / "make_failing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rewritten(target: Path, source: Path, change: Callable[[Recorded], Event]) -> Path:
    """Write the log *source* to *target* with its events changed, its chain and its keys right."""
    rows = [msgspec.structs.replace(row, event=change(row)) for row in read(source).rows]
    write_log(target, script().chained(rows), 1)
    return target


@cache
def altered() -> Path:
    """Return the log with one altered bit; on a platform that rounds otherwise, as if it were recorded here.

    There it would be equal up to rounding.
    """
    stored = FAILING / "altered.db"
    if not rounds_otherwise(read(stored).rows):
        return stored

    def here(row: Recorded) -> Event:
        if isinstance(row.event, SearchCreated | ControllerStarted):
            return msgspec.structs.replace(row.event, fingerprint=fingerprint())
        return row.event

    folder = tempfile.TemporaryDirectory()
    _KEPT.append(folder)
    return rewritten(Path(folder.name) / "altered.db", stored, here)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until the process ends
