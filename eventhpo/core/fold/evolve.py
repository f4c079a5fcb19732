"""The fold: what each event does to the state. Live, after a crash and in replay, this one path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, get_args

from eventhpo.core.fold.apply import adoption, callers, curves, jobs, search, study, trials
from eventhpo.core.fold.collector import collector_paused
from eventhpo.core.fold.event_families import Input
from eventhpo.core.fold.events import ControllerStarted, Event, Head, Recorded, SearchCreated, request_of
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_state import StudyState
from eventhpo.core.search import points
from eventhpo.core.search.space import job_names
from eventhpo.core.search.spec import StudyJobs
from eventhpo.errors import DamagedLog


def fold(rows: Iterable[Recorded], state: State | None = None) -> State:
    """Return what *rows* add up to, on top of *state* if one is given (it is used up).

    Raises:
        DamagedLog: there is no row, the first is no `SearchCreated`, or a row does
            not fit the state before it.
    """
    with collector_paused():
        for row in rows:
            state = begin(row) if state is None else evolve(state, row)
    if state is None:
        raise DamagedLog("the log has no event")
    return state


def begin(row: Recorded) -> State:
    """Return the state of a search whose first row this is."""
    event = row.event
    if not isinstance(event, SearchCreated):
        raise DamagedLog(f"the first event is a {type(event).__name__}, not a SearchCreated")
    try:
        return _begun(row, event)
    except MISFIT as error:
        raise DamagedLog(f"the search of the first event cannot be: {error!r}") from error


def _begun(row: Recorded, event: SearchCreated) -> State:
    return State(
        search=event.search,
        search_id=event.search_id,
        policy=event.policy,
        fingerprint=event.fingerprint,
        limits=event.search.limits,
        created_at=row.at,
        last_at=row.at,
        head=Head(row.seq, row.hash),
        last_input=row.seq,
        steps=1,
        job_names=job_names(event.search.space),
        study=StudyState() if isinstance(event.search.jobs, StudyJobs) else None,
        space_size=points.size(event.search) if event.search.space else None,  # a study has none
    )


MISFIT = (LookupError, AssertionError, TypeError, ValueError, ArithmeticError)  # what absurd values of a row end in


def evolve(state: State, row: Recorded) -> State:
    """Return the state after *row*; the state before it is used up."""
    event = row.event
    line = _LINES[type(event)]
    try:
        line.apply(state, row, event)
    except MISFIT as error:
        raise DamagedLog(
            f"event {row.seq} ({type(event).__name__}) does not fit the events before it: {error!r}"
        ) from error
    state.head = Head(row.seq, row.hash)
    state.last_at = row.at
    if not line.is_step:
        return state
    state.steps += 1
    if line.is_input:
        state.last_input = row.seq
        if line.may_answer and (request := request_of(event)) is not None:
            state.requests.add(request)
    return state


def _created(state: State, row: Recorded, event: SearchCreated) -> None:
    raise LookupError("a search is created once")


_Lines: TypeAlias = Mapping[type[Event], Callable[[State, Recorded, Any], None]]


def whole(*parts: _Lines) -> _Lines:
    """Return the lines of all *parts*: one for each type of event, which `Event` names.

    Looked at on import: an event without a line could be recorded, and its log never be read again.

    Raises:
        TypeError: a type has no line, or two, or is none of `Event`.
    """
    lines: dict[type[Event], Callable[[State, Recorded, Any], None]] = {}
    for part in parts:
        if twice := lines.keys() & part.keys():
            raise TypeError(f"the fold has two lines for {_named(twice)}")
        lines |= part
    if without := set(get_args(Event)) - lines.keys():
        raise TypeError(f"the fold has no line for {_named(without)}")
    if unknown := lines.keys() - set(get_args(Event)):
        raise TypeError(f"the fold has a line for {_named(unknown)}, which the union Event lacks")
    return lines


def _named(types: Iterable[type[Event]]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in types))


PARTS: tuple[_Lines, ...] = (
    {SearchCreated: _created},
    search.FOLD,
    callers.FOLD,
    adoption.FOLD,
    trials.FOLD,
    jobs.FOLD,
    curves.FOLD,
    study.FOLD,
)


class _FoldLine(NamedTuple):
    """What `evolve` does for a type of event, looked up once: an event of a long log costs two microseconds."""

    apply: Callable[[State, Recorded, Any], None]
    is_step: bool
    is_input: bool
    may_answer: bool  # it has a field for the id of a request


_LINES = {
    kind: _FoldLine(apply, kind is not ControllerStarted, issubclass(kind, Input), "request" in kind.__struct_fields__)
    for kind, apply in whole(*PARTS).items()
}
