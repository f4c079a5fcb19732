"""How a search ended, as far as its log and the files next to it show, and what they cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.views import formatting, status
from replay.postmortem.controllers import Epoch, describe_row
from replay.postmortem.files_on_disk import FULL, FilesOnDisk

SearchEndKind: TypeAlias = Literal[
    "finished",
    "stopped",
    "running",
    "interrupted",
    "by hand",
    "goes on",
    "at rest",
    "record stops",
    "cut off",
    "not begun",
]


class SearchEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a search ended: in a word and in a line, its last row, the evidence, and what is not known."""

    how: SearchEndKind
    what: str
    behind: str  # describes the last row
    before: str  # describes the action that was next; empty if there was none
    evidence: list[str]
    unknown: list[str]


def end(state: State, last: Recorded, epochs: list[Epoch], files: FilesOnDisk, *, cut: bool) -> SearchEnd:
    """Return how the search of *state* ended, whose last verified row is *last*."""
    newest = epochs[-1] if epochs else None
    how = _kind(state, newest, cut=cut)
    return SearchEnd(
        how=how,
        what=_describe(state, newest, how),
        behind=describe_row(last),
        before="" if newest is None or how in ("finished", "stopped") else newest.came_next,
        evidence=list(_evidence(newest, how, files)),
        unknown=list(_unknown(newest, how, files)),
    )


def _kind(state: State, newest: Epoch | None, *, cut: bool) -> SearchEndKind:
    if cut:
        return "cut off"
    if newest is None:
        return "not begun"
    match newest.how:
        case "holds the log":
            return "running" if state.finished is None else state.finished.state
        case "request":
            return "interrupted" if state.finished is None else state.finished.state
        case "lease lost":
            raise AssertionError("the newest controller has lost its lease to nobody")
        case how:
            return how


def _describe(state: State, newest: Epoch | None, how: SearchEndKind) -> str:
    reason = status.ending_of(state)
    why = "" if reason is None else status.describe_ending(reason)
    match how:
        case "finished" | "stopped":
            return f"{how}: {why}"
        case "running":
            assert newest is not None
            return f"not yet: controller {newest.pid} on {newest.host} holds the log"
        case "interrupted":
            return _interrupted(newest)
        case "by hand":
            return "not yet: driven by hand, and its caller asked for nothing more"
        case "goes on":
            return "not yet: the log goes on after this event"
        case "cut off":
            return "not known: the log is damaged, and this is how far it can be relied on"
        case "not begun":
            return "never begun: no controller has held this log"
        case "at rest":
            return "not at all: no trial runs, and a study has no end of its own"
        case "record stops":
            assert newest is not None
            return f"not at all: the record of controller {newest.pid} on {newest.host} just stops"


def _interrupted(newest: Epoch | None) -> str:
    assert newest is not None
    if newest.how == "request":
        return "not yet: somebody asked something of it, and no controller has carried it on since"
    by = f" by {formatting.line(newest.why)}" if newest.why else ""
    return f"interrupted{by}: the run was ended, the search was not"


def _evidence(newest: Epoch | None, how: SearchEndKind, files: FilesOnDisk) -> Iterator[str]:
    if files.holder is not None and (newest is None or files.holder.epoch != newest.epoch):
        yield f"{files.holder} is taking it up just now"
    if how not in ("record stops", "cut off", "not begun") or (how == "not begun" and files.at_rest):
        return
    yield _describe_closing(files)
    if files.free < FULL:
        yield f"the disk that it lies on is full now ({files.free} bytes free)"


def _describe_closing(files: FilesOnDisk) -> str:
    """Describe how the last writer left the file: killed, ended by an error, or closed for good."""
    if files.wal:
        return "a write-ahead log lies next to it: nobody closed it, as after kill -9 or the loss of power"
    if files.at_rest:
        return "it is one quiet file, as backup, seal, salvage and a clean end leave a log"
    return (
        "it was closed without being put to rest, as by a controller that ends itself on an error (a full disk); "
        "or it was copied without its write-ahead log"
    )


def _unknown(newest: Epoch | None, how: SearchEndKind, files: FilesOnDisk) -> Iterator[str]:
    if how == "record stops":
        yield "what ended it: kill -9, a crash, a full disk and the loss of power leave the same rows"
        yield "when: any time after its last row"
        if newest is not None and newest.may_be_done:
            yield "whether what came next took place: only its receipt may be missing; the next controller looks"
        if not files.lock_file:
            yield "whether it still runs elsewhere: there is no lock file next to this copy"
    if how == "cut off":
        yield "what came after the last proven row"
