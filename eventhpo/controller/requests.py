"""What others ask of a search: checked, and handed to its live controller through a folder.

A request is a file `<random id>.json` in `<log>.requests`, whole by its rename. The
controller records it as an input with that id and then deletes it, so a request that
was recorded and not deleted is known again. `eventhpo.controller.send_request` is the other side.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import msgspec

from eventhpo.controller.author import NOBODY, Author, other_author
from eventhpo.core.fold.events import Event, LimitsChanged, PointEnqueued, RequestRefused, SearchReopened, StopAsked
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import ending
from eventhpo.core.search.ranges import from_job, full_name, to_job
from eventhpo.core.search.space import job_names, read_sets, single_ranges
from eventhpo.core.search.spec import LimitChanges, Limits, Scalar, Search, option
from eventhpo.core.validation.mistakes import Mistake, unknown
from eventhpo.core.validation.validators import Validator, Wrong
from eventhpo.errors import Usage
from eventhpo.log import paths
from eventhpo.search_file.read_search import LIMITS

SIZE = 65_536  # bytes; a point of a thousand parameters is 30 kB
STOP_WHY = "eventhpo stop"  # the reason of a stop whose person gave none
BATCH = 100  # requests taken at one look, so that a flood of them cannot keep a search from its jobs
SUFFIX = ".json"
_ID = re.compile(r"[0-9a-f]{32}")


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


Request: TypeAlias = StopRequest | EnqueueRequest | LimitsRequest

encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Request, strict=True).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# ---------------------------------------------------------------- what a request comes to


def accepted(state: State, request: Request, request_id: str | None, author: Author = NOBODY) -> tuple[Event, ...]:
    """Return the inputs that *request* is recorded as, signed by *author*; the last one has its id and is its answer.

    Raises:
        Usage: it does not fit the search as it is; the text says what would.
    """
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


# ---------------------------------------------------------------- the controller's side


class FileRequests:
    """The requests that lie in the folder next to the log at *path*; nothing in it ends the search."""

    def __init__(self, path: Path) -> None:
        self._folder = paths.requests(path)
        self._stuck: set[str] = set()  # cannot be deleted: not looked at again, or they would be for ever

    def any(self) -> bool:
        """Whether a request may be waiting: one look into the folder."""
        try:
            with os.scandir(self._folder) as entries:
                return any(e.name.endswith(SUFFIX) and e.name not in self._stuck for e in entries)
        except OSError:
            return False

    def read(self, state: State) -> Iterator[tuple[Event, Callable[[], None]]]:
        """Yield the events of each request, oldest first, and what deletes its file once they are committed.

        One that does not fit becomes a `RequestRefused`; known ones, and stops of
        another epoch, are deleted unread. *state* is looked at anew for each.
        """
        for path in self._waiting()[:BATCH]:
            request_id = name_of(path)
            if request_id in state.requests:
                self._delete(path)
                continue
            events = self._events(path, request_id, state)
            if not events:
                self._delete(path)
            for event in events:
                yield event, lambda path=path: self._delete(path)  # type: ignore[misc]

    def _waiting(self) -> list[Path]:
        try:
            entries = [e for e in os.scandir(self._folder) if e.name.endswith(SUFFIX) and e.name not in self._stuck]
        except OSError:
            return []
        return [Path(e.path) for e in sorted(entries, key=lambda e: (_written(e), e.name))]

    def _events(self, path: Path, request_id: str, state: State) -> tuple[Event, ...]:
        """Return what *path* asks for, nothing if it is gone or was meant for another controller."""
        if _ID.fullmatch(request_id) is None:
            return (RequestRefused(request=request_id, why="its name is no request id"),)
        try:
            content, uid = _content(path)
            request = _decode(content)
            if isinstance(request, StopRequest) and request.epoch != state.epoch:
                return ()
            return accepted(state, request, request_id, other_author(request.by, request.why, uid))
        except FileNotFoundError:
            return ()  # the process that asked took it back
        except (Usage, OSError, *_UNREADABLE) as error:
            return (RequestRefused(request=request_id, why=str(error)),)

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._stuck.add(path.name)


def name_of(path: Path) -> str:
    """Return the id of a request by its file; of a foreign one a text that JSON can carry."""
    return path.name.removesuffix(SUFFIX).encode("ascii", "backslashreplace").decode()[:100]


def _written(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0


def _content(path: Path) -> tuple[bytes, int]:
    """Return what *path* holds, and the user id of its owner.

    Raises:
        Usage: it is no file, or too large. OSError: it cannot be read.
    """
    # A pipe of that name would block an open for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Usage("it is no file")
        content = file.read(SIZE + 1)
    if len(content) > SIZE:
        raise Usage(f"it is larger than {SIZE} bytes")
    return content, status.st_uid
