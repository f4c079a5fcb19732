"""What a caller of the class asks for does to the state: jobs by hand, launches, aborts, imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from eventhpo.core.fold.apply.jobs import settle
from eventhpo.core.fold.apply.trials import take
from eventhpo.core.fold.event_parts import ImportedTrial
from eventhpo.core.fold.events import (
    AbortRequested,
    CommandMoved,
    DrivenByHand,
    Event,
    GpusChanged,
    JobRequested,
    LaunchRequested,
    OptimizerTaskSet,
    Recorded,
    RequestLapsed,
    TrialFinished,
    TrialsImported,
)
from eventhpo.core.fold.state import State, Trial, TrialImport
from eventhpo.core.search.spec import LocalCommand

UNSAID = "abort()"  # stood for any reason before reasons were told on; such logs were decided without one


def _requested(state: State, row: Recorded, event: JobRequested) -> None:
    state.asked.append(event)


def _lapsed(state: State, row: Recorded, event: RequestLapsed) -> None:
    request = state.asked.pop(0)
    assert request.request == event.request
    state.lapsed[event.request] = event.why


def _launch(state: State, row: Recorded, event: LaunchRequested) -> None:
    state.attempt(event.trial, event.attempt).released = True


def _abort(state: State, row: Recorded, event: AbortRequested) -> None:
    attempt = state.attempt(event.trial, event.attempt)
    if attempt.ended is None:
        settle(attempt, "aborted", row.seq, _reason(event))


def _reason(event: AbortRequested) -> str:
    return "" if event.why == UNSAID else event.why or "aborted by request"


def _driven(state: State, row: Recorded, event: DrivenByHand) -> None:
    state.by_hand = event.by_hand


def _moved(state: State, row: Recorded, event: CommandMoved) -> None:
    jobs = state.search.jobs
    if isinstance(jobs, LocalCommand):
        state.search = replace(state.search, jobs=replace(jobs, folder=event.folder, home=event.home))


def _gpus(state: State, row: Recorded, event: GpusChanged) -> None:
    jobs = state.search.jobs
    if isinstance(jobs, LocalCommand):
        state.search = replace(state.search, jobs=replace(jobs, gpus=event.gpus))


def _optimizer_task(state: State, row: Recorded, event: OptimizerTaskSet) -> None:
    state.optimizer_task = event


def _imported(state: State, row: Recorded, event: TrialsImported) -> None:
    state.imported_study = event.study
    state.imports[row.seq] = TrialImport.of_event(event)
    for imported in event.trials:
        _import(state, row.seq, imported)


def _import(state: State, seq: int, imported: ImportedTrial) -> None:
    number = len(state.trials)
    trial = Trial(
        number=number,
        seq=seq,
        params=imported.params,
        point=imported.point,
        source="imported",
        attrs={},
        imported=imported,
    )
    trial.finished = TrialFinished(trial=number, state=imported.state, values=imported.values)
    state.trials.append(trial)
    state.imported += 1
    take(state, trial)
    if state.single and imported.state == "completed" and imported.iterations:
        longest = max(imported.iterations)
        state.totals.longest = longest if state.totals.longest is None else max(state.totals.longest, longest)


FOLD: dict[type[Event], Callable[[State, Recorded, Any], None]] = {
    JobRequested: _requested,
    RequestLapsed: _lapsed,
    LaunchRequested: _launch,
    AbortRequested: _abort,
    DrivenByHand: _driven,
    CommandMoved: _moved,
    GpusChanged: _gpus,
    OptimizerTaskSet: _optimizer_task,
    TrialsImported: _imported,
}
