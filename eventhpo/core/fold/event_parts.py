"""What events are made of: the values and structs that stand in their fields."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from eventhpo.core.search.spec import Num, Scalar

# Why a decision of a class that is not Optuna's own cannot be decided again: asked twice, it gave two
# answers; or it was not there to be asked.
NotAgain: TypeAlias = Literal["answers differ", "not asked"] | msgspec.UnsetType


Fate: TypeAlias = Literal["pruned", "limit", "time", "aborted"]
FATES: tuple[Fate, ...] = get_args(Fate)
TrialState: TypeAlias = Literal["completed", "pruned", "failed", "aborted"]
TRIAL_STATES: tuple[TrialState, ...] = get_args(TrialState)
StoredTextKind: TypeAlias = Literal["packages", "data", "diff"]
EffectName: TypeAlias = Literal["draft", "launch", "stop", "cancel", "poll"]
AttemptId: TypeAlias = tuple[int, int]  # the numbers of a trial and of one of its attempts


class Attr(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a pruner wrote on a trial while it judged the point of `iteration`."""

    iteration: int
    name: str
    value: Any


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Go on: the first `judged` points of an attempt's curve are seen, to `iteration`."""

    trial: int
    attempt: int
    judged: int
    iteration: int
    attrs: tuple[Attr, ...] = ()
    too_late: bool = False


class OtherSeries(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one poll read of a series that is no objective."""

    title: str
    series: str
    iteration: int
    last: Num
    min: Num
    max: Num
    min_iteration: int | None = None  # the first one that had the least value, and so on
    max_iteration: int | None = None
    first: Num | None = None
    first_iteration: int | None = None
    count: int | None = None  # points that were reported
    mean: Num | None = None


class ExactValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value of an objective in double precision, where its curve was read in single precision."""

    title: str
    series: str
    iteration: int
    value: Num


class BadLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A report that could not be read: where it stands, and why."""

    place: str
    why: str

    @property
    def lines(self) -> int:
        """How many lines it stands for: the last of many in one poll counts those that are not spelled out."""
        match = _UNSPELLED.fullmatch(self.why)
        return 1 if match is None else int(match[1])


def unspelled(place: str, lines: int) -> BadLine:
    """Return what stands for so many bad lines from *place* on."""
    return BadLine(place, f"and {lines} bad lines from here on")


_UNSPELLED = re.compile(r"and (\d+) bad lines from here on")


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What ran: the command as started, the script's hash, the commit around it."""

    command: tuple[str, ...] = ()
    script: str | None = None
    script_hash: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    host: str | None = None
    python: str | None = None
    diff_sha256: str | None = None  # of what the tree changes of its commit; None in a clean tree
    packages_sha256: str | None = None  # of the list of the interpreter's packages, which `TextStored` has
    data_sha256: str | None = None  # of the list of the declared files, which `TextStored` has
    gpus: tuple[str, ...] = ()  # name and driver of each device of the machine
    search_file_sha256: str | None = None  # of the file that described the search, when the job was made


class ImportedTrial(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finished trial of another search or study: `values` is what it was told, the curve what it reported."""

    number: int
    params: dict[str, Scalar]
    point: dict[str, Scalar]
    state: Literal["completed", "pruned"]
    values: tuple[Num, ...] | None = None
    iterations: tuple[int, ...] = ()
    reported: tuple[Num, ...] = ()


class EarlierLog(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The log of an earlier search: the name of its file without a path, and its head when it was read."""

    file: str
    search_id: str
    seq: int
    hash: str


class NotImported(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many trials of an earlier log were not imported, for one reason."""

    trials: int
    why: str


class AdoptedCurve(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an adopted job had reported of one objective."""

    title: str
    series: str
    iterations: tuple[int, ...]
    values: tuple[Num, ...]


class JobExtras(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a caller wants of one job apart from its parameters, as a ClearmlJob takes it."""

    base_task_id: str | None = None
    task_overrides: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    parent: str | None = None
    further: dict[str, Any] = {}
