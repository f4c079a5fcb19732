"""What people ask of a search: each request is checked against the search and becomes inputs.

`request_files` has a live controller's side, `send_request` the side of the process that asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import msgspec

from eventhpo.controller.author import NOBODY, Author, text
from eventhpo.core.fold.events import (
    EndCommandSet,
    Event,
    LimitsChanged,
    PointEnqueued,
    SearchPaused,
    SearchReopened,
    SearchUnpaused,
    StopAsked,
    TrialCancelled,
    TrialNoted,
)
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_state import NO_CONTROLLER
from eventhpo.core.scheduler import ending
from eventhpo.core.search.ranges import from_job, full_name, to_job
from eventhpo.core.search.space import job_names, read_sets, single_ranges
from eventhpo.core.search.spec import LimitChanges, Limits, LocalCommand, Scalar, Search, option
from eventhpo.core.validation.mistakes import Mistake, unknown
from eventhpo.core.validation.validators import Validator, Wrong
from eventhpo.errors import Usage
from eventhpo.search_file.read_search import LIMITS

STOP_WHY = "eventhpo stop"  # the reason of a stop whose person gave none


class _RequestBase(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"
):
    """What a person asks of a search; `by` and `why` are theirs, and the file's owner is the user id."""

    by: str = ""
    why: str = ""


class StopRequest(_RequestBase, frozen=True, kw_only=True, tag="stop"):
    """End the search; only the controller of `epoch` is meant, any other deletes it unread."""

    epoch: int


class EnqueueRequest(_RequestBase, frozen=True, kw_only=True, tag="enqueue"):
    """Try this point next."""

    params: dict[str, Scalar]


class LimitsRequest(_RequestBase, frozen=True, kw_only=True, tag="limits"):
    """Go on with other limits."""

    changes: LimitChanges


class CancelRequest(_RequestBase, frozen=True, kw_only=True, tag="cancel"):
    """End this trial and do not try it again."""

    trial: int


class PauseRequest(_RequestBase, frozen=True, kw_only=True, tag="pause"):
    """Start nothing more until the search is unpaused."""


class UnpauseRequest(_RequestBase, frozen=True, kw_only=True, tag="unpause"):
    """Go on after a pause."""


class NoteRequest(_RequestBase, frozen=True, kw_only=True, tag="note"):
    """Write this down about a trial."""

    trial: int
    text: str


class EndCommandRequest(_RequestBase, frozen=True, kw_only=True, tag="on_end"):
    """Run this command in this folder when the search has finished; None: run nothing."""

    command: str | None
    folder: str


Request: TypeAlias = (
    StopRequest
    | EnqueueRequest
    | LimitsRequest
    | CancelRequest
    | PauseRequest
    | UnpauseRequest
    | NoteRequest
    | EndCommandRequest
)

encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Request, strict=True).decode


# ---------------------------------------------------------------- what a request comes to


def accepted(state: State, request: Request, request_id: str | None, author: Author = NOBODY) -> tuple[Event, ...]:
    """Return the inputs that *request* is recorded as, signed by *author*; the last one has its id and is its answer.

    Raises:
        Usage: it does not fit the search as it is; the text says what would.
    """
    if state.study is not None and not isinstance(request, CancelRequest | NoteRequest):
        raise Usage(NO_CONTROLLER)
    return tuple(author.sign(event) for event in _inputs(state, request, request_id))


def _inputs(state: State, request: Request, request_id: str | None) -> tuple[Event, ...]:
    match request:
        case StopRequest(why=why):
            require_unfinished(state)
            return (StopAsked(scope="search", why=why or STOP_WHY, request=request_id),)
        case EnqueueRequest(params=params):
            require_room(state)
            enqueued = PointEnqueued(params=point(state.search, params), request=request_id)
            return (enqueued,) if state.ending is None else (SearchReopened(), enqueued)
        case LimitsRequest(changes=changes):
            require_not_stopped(state)
            require_limits(state.search, changes)
            return (LimitsChanged(changes=changes, request=request_id),)
        case CancelRequest(trial=trial):
            require_running(state, trial)
            return (TrialCancelled(trial=trial, request=request_id),)
        case PauseRequest():
            require_unfinished(state)
            require_not_stopped(state)
            if state.paused is not None:
                raise Usage(f"the search is paused already, since event {state.paused}")
            return (SearchPaused(request=request_id),)
        case UnpauseRequest():
            if state.paused is None:
                raise Usage("the search is not paused")
            return (SearchUnpaused(request=request_id),)
        case EndCommandRequest(command=command, folder=folder):
            if command is not None and not text("--on-end", command).strip():
                raise Usage("--on-end: expected a command, or none")
            return (EndCommandSet(command=command, folder=folder, request=request_id),)
        case NoteRequest(trial=trial, text=note):
            require_trial(state, trial)
            if not note.strip():
                raise Usage("the note: expected a text that is not empty")
            return (TrialNoted(trial=trial, text=text("the note", note), request=request_id),)


def require_trial(state: State, trial: int) -> None:
    """Return if the search has a trial with this number.

    Raises:
        Usage: it has none; the text names the numbers that it has.
    """
    count = len(state.trials)
    if not 0 <= trial < count:
        numbers = f"its trials are 0 to {count - 1}" if count > 1 else "its one trial is 0" if count else "it has none"
        raise Usage(f"there is no trial {trial} in this search: {numbers}")


def require_running(state: State, number: int) -> None:
    """Return if trial *number* has no outcome yet, so that it can be cancelled.

    Raises:
        Usage: there is no such trial, or it is over, or was cancelled already.
    """
    require_trial(state, number)
    trial = state.trials[number]
    if trial.finished is not None:
        raise Usage(f"trial {number} is {trial.finished.state} already")
    if trial.cancelled is not None:
        raise Usage(f"trial {number} was cancelled already, at event {trial.cancelled}")


def require_unfinished(state: State) -> None:
    """Return unless the search has finished.

    Raises:
        Usage: it has.
    """
    if state.finished is not None:
        raise Usage(f"the search is {state.finished.state} already")


def require_not_stopped(state: State) -> None:
    """Return unless somebody stopped the search.

    Raises:
        Usage: it is stopped, or being stopped.
    """
    if state.stop_asked is not None:
        stopped = "is stopped" if state.finished is not None else "is being stopped"
        raise Usage(f"the search {stopped}; `eventhpo resume --reopen` lets it go on")


def require_room(state: State) -> None:
    """Return if a person's point can still be tried: also where the sampler alone has none left.

    Raises:
        Usage: the search is over or ending for another reason; the text says how it is reopened.
    """
    require_not_stopped(state)
    if state.ending is not None and state.ending.reason != "space":
        over = "has finished" if state.finished is not None else "is ending"
        limits = ending.to_raise(state) or ("total_max_jobs",)
        raise Usage(
            f"the search {over} ({state.ending.reason}) and tries no new point; "
            f"new limits reopen it, as `eventhpo resume {' '.join(f'{option(name)} N' for name in limits)}`"
        )


def point(search: Search, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return *params* by full names, with values as jobs get them.

    Raises:
        Usage: naming every parameter that is unknown, given twice, or out of its range,
            and values that no set of a `ParameterSet` holds together.
    """
    known = {p.name: p for p in single_ranges(search.space)}
    names = job_names(search.space)
    values: dict[str, Scalar] = {}
    wrong: list[Mistake] = []
    for name, value in params.items():
        full = full_name(name)
        if full not in names:
            wrong.append(unknown(name, full, names, "a parameter of the space"))
        elif full in values:
            wrong.append(Mistake(name, value, f"each parameter once: this is {full} again"))
        elif full not in known:
            values[full] = value
        else:
            try:
                values[full] = to_job(known[full], from_job(known[full], value))
            except (ValueError, OverflowError) as error:
                wrong.append(Mistake(name, value, str(error)))
    read, misfits = read_sets(search.space, values)
    wrong += [replace(misfit, place=misfit.place or "the point") for misfit in misfits]
    values |= read
    if not wrong:
        wrong += _left_out(search, values)
    if wrong:
        raise Usage("; ".join(map(str, wrong)))
    return values


def _left_out(search: Search, values: Mapping[str, Scalar]) -> list[Mistake]:
    if not values:
        return [Mistake("the point", {}, "a value for at least one parameter of the space")]
    left = [p.name for p in search.space if p.name not in values]
    if left and search.sampler.name == "GridSampler":
        return [Mistake("the point", dict(values), f"a value for {', '.join(left)} too: a grid adds none")]
    return []


def require_limits(search: Search, changes: LimitChanges) -> None:
    """Return if *changes* are limits that *search* can have.

    Raises:
        Usage: naming every limit that is not.
    """
    given = changes.given()
    wrong = [mistake for name, value in given.items() if (mistake := _limit_mistake(name, value)) is not None]
    workers = given.get("num_concurrent_workers")
    if workers is not None and isinstance(search.jobs, LocalCommand) and len(search.jobs.gpus) not in (0, workers):
        expected = f"{len(search.jobs.gpus)}, a worker for each entry of gpus; `eventhpo resume --gpus` changes both"
        wrong.append(Mistake("num_concurrent_workers", workers, expected))
    if len(search.objectives) > 1:
        alone = ("target_value", "patience")
        why = "none: with several objectives no value is the best"
        wrong += [Mistake(name, given[name], why) for name in alone if given.get(name) is not None]
    if not given:
        wrong.append(Mistake("the limits", {}, "at least one"))
    if wrong:
        raise Usage("; ".join(map(str, wrong)))


def _limit_mistake(name: str, value: object) -> Mistake | None:
    kind = limit_kind(name)
    try:
        kind.read(value)
    except Wrong:
        return Mistake(name, value, kind.expected)
    return None


def limit_kind(name: str) -> Validator[int | float | None]:
    """Return what a limit may be; those without a default may be lifted by None."""
    kind = LIMITS[name]
    if getattr(Limits(), name) is not None:
        return kind
    return Validator(f"{kind.expected}, or none", lambda value: None if value is None else kind.read(value))
