"""`eventhpo run --from`: the trials that a new search imports from the logs of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eventhpo.cli import output
from eventhpo.core.fold.events import TrialsImported
from eventhpo.core.fold.state import TrialImport
from eventhpo.core.fold.warm_start import TrialName, imports_from
from eventhpo.core.search.spec import ComponentConfig, Search
from eventhpo.errors import DamagedLog, Failed, Usage
from eventhpo.log import missing_wal
from eventhpo.log.reader import read_state
from eventhpo.views import imports

# They build on what they wrote at their own trials, and trials of another search do not have that.
_BY_OWN_TRIALS = {"CmaEsSampler", "NSGAIISampler", "NSGAIIISampler"}


def read_earlier(logs: Sequence[Path], search: Search) -> list[TrialsImported]:
    """Return the events that import the finished trials of *logs* into the new *search*, and say how many.

    The logs are read and never written. A search that still runs is not disturbed; it is taken
    as of now.

    Raises:
        Usage: there is no such log, its objective is another one, or no trial of it fits.
        DamagedLog: a log is damaged, or has lost its tail.
        Failed: a log may be a copy that lacks its last rows.
        Busy, StorageFailed: a log cannot be read now.
    """
    known: set[TrialName] = set()
    events = [event for log in logs for event in _of_log(log, search, known)]
    if events and (by_own := _by_own_trials(search.sampler)) is not None:
        output.note(
            f"note: {by_own} learns from the trials of its own search only; imported ones count for the "
            "pruner, and their points are not tried again"
        )
    return events


def _of_log(log: Path, search: Search, known: set[TrialName]) -> list[TrialsImported]:
    state, snapshot = read_state(log)
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{log}: {snapshot.contradiction}; copy what is left with `eventhpo salvage {log} TARGET`")
    if snapshot.unproven is not None:
        raise Failed(f"{snapshot.unproven}; {missing_wal.way_on(log)}")
    events = imports_from(state, log.name, search, known)
    parts = imports.joined(map(TrialImport.of_event, events))
    if not any(part.trials for part in parts):
        why = "; ".join(map(imports.describe_import, parts))
        raise Usage(f"{log} has no trial that this search can import ({why}): leave out --from {log}")
    for part in parts:
        output.note(f"imported: {imports.describe_import(part)}")
    return events


def _by_own_trials(sampler: ComponentConfig) -> str | None:
    """Return the name of the sampler if it, or the one that it is built on, learns from its own trials only."""
    base = sampler.args.get("base_sampler")
    if isinstance(base, dict):
        return _by_own_trials(ComponentConfig(base["name"], {n: v for n, v in base.items() if n != "name"}))
    return sampler.name if sampler.name in _BY_OWN_TRIALS else None
