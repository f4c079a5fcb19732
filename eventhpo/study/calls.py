"""The calls of our own between a worker and `eventhpo serve`, next to Optuna's: what is asked and answered, as JSON."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from eventhpo.core.fold.study_events import StudyParameter
from eventhpo.core.search.spec import Num

SERVICE = "eventhpo.Study"
T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What study is served?"""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """The study that is served; `decides` says whether its sampler and pruner are known to the server."""

    name: str
    decides: bool


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give this worker the next trial; it may be silent for `lease` seconds. In `optimize` if `loop`.

    `worker` is a thread of a process, which asks one thing at a time, `known` the trials that it runs: one that
    the server gave it and that it does not know is given again, because the answer was lost.
    With `total` there is no trial once so many are finished, and none for now while so many are finished or run.
    """

    worker: str
    lease: float
    loop: bool
    known: tuple[int, ...]
    total: int | None = None


class TrialGiven(msgspec.Struct, frozen=True, kw_only=True):
    """The id of the trial; None if there is none for now, or, `over`, none any more."""

    trial_id: int | None
    over: bool = False


class AskRelative(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What does the sampler choose for the trial as a whole?"""

    trial_id: int


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What the sampler chose, in its order."""

    parameters: tuple[StudyParameter, ...]


class AskIndependent(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What does the sampler choose for this parameter? `distribution` is Optuna's JSON text."""

    trial_id: int
    name: str
    distribution: str


class ChosenAlone(msgspec.Struct, frozen=True, kw_only=True):
    """The value as Optuna stores it."""

    internal: Num


class AskPruner(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Is the trial to be pruned at its last step? `step` and `value` are a report that was not sent before."""

    trial_id: int
    step: int | None = None
    value: Num | None = None


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """The pruner's answer."""

    prune: bool


class TellAfter(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The trial is about to be told: let the sampler do what it does then."""

    trial_id: int
    state: int
    values: tuple[Num, ...] | None


class AfterTold(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the sampler ends the study."""

    stop: bool


class NoteError(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the objective raised."""

    trial_id: int
    error: str


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This worker lives, with all its threads; they are called as it, a `#` and a number."""

    worker: str


class GiveBack(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This worker ends; its trials are to be asked for again."""

    worker: str
    why: str


class AskProgress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How far is the study?"""


class SoFar(msgspec.Struct, frozen=True, kw_only=True):
    """Finished trials, and whether the sampler has nothing left to suggest."""

    finished: int
    used_up: bool


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It was done."""


Call = Hello | Ask | AskRelative | AskIndependent | AskPruner | TellAfter | NoteError | Renew | GiveBack | AskProgress
ANSWERS: dict[type[Any], type[Any]] = {
    Hello: Served,
    Ask: TrialGiven,
    AskRelative: Chosen,
    AskIndependent: ChosenAlone,
    AskPruner: Pruned,
    TellAfter: AfterTold,
    NoteError: Done,
    Renew: Done,
    GiveBack: Done,
    AskProgress: SoFar,
}
_CALL = msgspec.json.Decoder(Call)


class Transport(Protocol):
    """Sends the bytes of a call and returns those of its answer."""

    def __call__(self, body: bytes, /) -> bytes:
        """Send one call."""
        ...


def decode_call(body: bytes) -> Any:
    """Return the call that *body* holds.

    Raises:
        msgspec.DecodeError: it holds none.
    """
    return _CALL.decode(body)


def send(transport: Transport, call: Any) -> Any:
    """Send *call*; return its answer."""
    return msgspec.json.decode(transport(msgspec.json.encode(call)), type=ANSWERS[type(call)])
