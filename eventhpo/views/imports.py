"""Trials that a search imported from earlier ones: how many, from where, and how many not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from eventhpo.core.fold.event_parts import NotImported
from eventhpo.core.fold.state import State, TrialImport
from eventhpo.views import formatting


class LeftOutTrials(msgspec.Struct, frozen=True):
    """How many trials of an earlier log were not imported, for one reason."""

    trials: int
    why: str


class ImportedFrom(msgspec.Struct, frozen=True):
    """What a search imported from one log or study, and what not.

    `source` is the name of the log's file, or of a study. `search_id`, `seq` and `hash` are those of
    that log when it was read; None for a study that was no log.
    """

    source: str
    study: str
    search_id: str | None
    seq: int | None
    hash: str | None
    trials: int
    left_out: list[LeftOutTrials]


def imported_from(state: State) -> list[ImportedFrom]:
    """Return what the search imported, an item for each log or study, in the order of its log."""
    return joined(state.imports.values())


def joined(parts: Iterable[TrialImport]) -> list[ImportedFrom]:
    """Return *parts* with those of one log, which may take several events, as one."""
    sums: dict[tuple[object, ...], ImportedFrom] = {}
    for part in parts:
        log = part.log
        name = (part.source, part.study, log)
        so_far = sums.get(name)
        sums[name] = ImportedFrom(
            source=part.source,
            study=part.study,
            search_id=None if log is None else log.search_id,
            seq=None if log is None else log.seq,
            hash=None if log is None else log.hash,
            trials=part.trials + (0 if so_far is None else so_far.trials),
            left_out=[*([] if so_far is None else so_far.left_out), *map(_left_out, part.left_out)],
        )
    return list(sums.values())


def _left_out(part: NotImported) -> LeftOutTrials:
    return LeftOutTrials(part.trials, part.why)


def describe_import(part: ImportedFrom) -> str:
    """Return *part* in a line, as `23 trials from old.db; left out: 1 failed, 2 without General/lr`."""
    taken = f"{formatting.plural(part.trials, 'trial')} from {formatting.line(part.source)}"
    reasons = [f"{left.trials} {formatting.line(left.why)}" for left in part.left_out]
    return "; left out: ".join(filter(None, (taken, ", ".join(reasons))))


def describe_sources(parts: Sequence[ImportedFrom]) -> str:
    """Return where trials were imported from, as `from old.db`, or `from old.db (23) and older.db (4)`."""
    giving = [part for part in parts if part.trials]
    if len(giving) == 1:
        return f"from {formatting.line(giving[0].source)}"
    named = [f"{formatting.line(part.source)} ({part.trials})" for part in giving]
    return f"from {', '.join(named[:-1])} and {named[-1]}" if named else ""
