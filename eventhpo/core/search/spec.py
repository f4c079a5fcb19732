"""What a search is, as data: its objectives, space, limits, sampler, pruner and jobs.

Nothing here has an effect. A `Search` is what the first event of a log records,
what a search file is decoded into, and what every rule reads.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import msgspec

from eventhpo.core.search.gpus import Gpus

Scalar: TypeAlias = bool | int | float | str | None
Num: TypeAlias = float | Literal["nan", "inf", "-inf"]

# Number of the decision rules; a change of any rule gets the next one. A search is decided by the rules it was created
# with (`State.policy`), also by later versions: each rule that changed asks for the number.
POLICY = 2

MINUTE = 60_000_000  # microseconds


def knows_policy(number: str | None) -> bool:
    """Whether this version decides by the rules with *number*, as a fingerprint writes it."""
    return number is not None and number.isdecimal() and 1 <= int(number) <= POLICY


def to_num(x: float) -> Num:
    """Return *x* as JSON can carry it: NaN and the infinities by name."""
    if math.isfinite(x):
        return x
    return "nan" if math.isnan(x) else "inf" if x > 0 else "-inf"


def clearml_text(value: Scalar) -> str:
    """Return *value* as ClearML stores a hyper-parameter: as text, empty for None."""
    return "" if value is None else str(value)


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric to optimise, named as a job reports it."""

    title: str
    series: str
    sign: Literal["max", "min", "max_global", "min_global"]

    @property
    def maximize(self) -> bool:
        """Whether a larger value is better."""
        return self.sign.startswith("max")

    @property
    def extremum(self) -> bool:
        """Whether the best value of a curve counts, and not its last."""
        return self.sign.endswith("_global")

    def better(self, a: float, b: float) -> bool:
        """Whether *a* is strictly better than *b*; NaN is better than nothing."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return a > b if self.maximize else a < b


class _ParameterBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag=True):
    """A dimension of the space; `name` is `Section/name`, as ClearML writes it."""

    name: str


class UniformParameterRange(_ParameterBase, frozen=True, kw_only=True):
    """A float between two bounds, on a grid of `step_size` if one is given."""

    min_value: float
    max_value: float
    step_size: float | None = None
    include_max_value: bool = True


class LogUniformParameterRange(_ParameterBase, frozen=True, kw_only=True):
    """`base ** x`, x between two exponents, on a grid of exponents if `step_size` is given."""

    min_value: float
    max_value: float
    base: float = 10.0
    step_size: float | None = None
    include_max_value: bool = True


class UniformIntegerParameterRange(_ParameterBase, frozen=True, kw_only=True):
    """An integer between two bounds, in steps of `step_size` from the lower one."""

    min_value: int
    max_value: int
    step_size: int = 1
    include_max_value: bool = True


class DiscreteParameterRange(_ParameterBase, frozen=True, kw_only=True):
    """One of a list of values."""

    values: tuple[Scalar, ...]


Range: TypeAlias = (
    UniformParameterRange | LogUniformParameterRange | UniformIntegerParameterRange | DiscreteParameterRange
)


class ParameterChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One set of a `ParameterSet`: what a job of it gets, as it stands or out of a range."""

    values: dict[str, Scalar] = {}
    ranges: tuple[Range, ...] = ()


class ParameterSet(_ParameterBase, frozen=True, kw_only=True):
    """One of several sets of parameters; `name` is the choice's own, no job gets it."""

    sets: tuple[ParameterChoice, ...]


Parameter: TypeAlias = Range | ParameterSet


class UserClassConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tells an instance of a class that is not Optuna's own from others: hashes, 32 hex digits each.

    It recognises the instance that a script passes in again; nothing is built from it.
    """

    source: str  # of its classes' source along the MRO
    state: str  # of all that it holds, generators left out
    attributes: dict[str, str] = {}  # of each attribute alone: they name the one that is another


class ComponentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sampler or pruner as data: of Optuna's own, its class's name and its arguments.

    An argument is a JSON value; an argument that is itself a sampler, pruner,
    crossover or mutation is an object `{"name": ..., <its arguments>}`. Of another
    class there are the module and qualified name, for people, and `foreign`.
    """

    name: str
    args: dict[str, Any] = {}
    foreign: UserClassConfig | msgspec.UnsetType = msgspec.UNSET  # unset, it is not written at all: as in older logs

    @property
    def is_foreign(self) -> bool:
        """Whether this is of a class that is not Optuna's own, and nothing can be built from it."""
        return self.foreign is not msgspec.UNSET


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change while a search lasts; minutes where a time is meant.

    `total_max_jobs` is a budget of `max_iteration_per_job * total_max_jobs`
    iterations, or of trials where `max_iteration_per_job` is None. `max_trials` is a
    number of trials in either case.
    """

    num_concurrent_workers: int = 1
    total_max_jobs: int | None = None
    pool_period_min: float = 2.0
    time_limit_per_job: float | None = None
    compute_time_limit: float | None = None
    wall_time_limit: float | None = None
    max_failures_per_trial: int = 1
    max_lost_per_trial: int = 3
    max_failed_trials: int | None = None
    target_value: float | None = None
    patience: int | None = None
    max_trials: int | None = None

    @property
    def endless(self) -> bool:
        """Whether none of them ends the search: it runs until it is stopped, or its space is used up."""
        ends = (self.total_max_jobs, self.max_trials, self.compute_time_limit, self.wall_time_limit)
        return all(limit is None for limit in (*ends, self.target_value, self.patience, self.max_failed_trials))


class LimitChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """New values for some limits; None lifts a limit that may be None, UNSET leaves it."""

    num_concurrent_workers: int | msgspec.UnsetType = msgspec.UNSET
    total_max_jobs: int | msgspec.UnsetType | None = msgspec.UNSET
    pool_period_min: float | msgspec.UnsetType = msgspec.UNSET
    time_limit_per_job: float | msgspec.UnsetType | None = msgspec.UNSET
    compute_time_limit: float | msgspec.UnsetType | None = msgspec.UNSET
    wall_time_limit: float | msgspec.UnsetType | None = msgspec.UNSET
    max_failures_per_trial: int | msgspec.UnsetType = msgspec.UNSET
    max_lost_per_trial: int | msgspec.UnsetType = msgspec.UNSET
    max_failed_trials: int | msgspec.UnsetType | None = msgspec.UNSET
    target_value: float | msgspec.UnsetType | None = msgspec.UNSET
    patience: int | msgspec.UnsetType | None = msgspec.UNSET
    max_trials: int | msgspec.UnsetType | None = msgspec.UNSET

    def given(self) -> dict[str, int | float | None]:
        """Return the limits that are set here, by name."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}

    def on(self, limits: Limits) -> Limits:
        """Return *limits* with these changes."""
        return msgspec.structs.replace(limits, **self.given())


def option(limit: str) -> str:
    """Return how the limit of that name is called on the command line."""
    return f"--{limit.replace('_', '-')}"


class LocalCommand(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="local"
):
    """Jobs as processes on this machine: `command` without a shell, run in `folder`.

    `home` is where the log lay when that was so, empty if nobody wrote it down; `file` the
    name of the search file in `folder`, if there is one. `gpus` are the devices of each worker slot. `data` are
    files, relative to `folder`, whose content is recorded with each job; `record_diff` has the log keep the
    text of what the git tree changes of its commit, and not only its digest.
    """

    command: tuple[str, ...]
    folder: str
    home: str = ""
    file: str = ""
    gpus: Gpus = ()
    data: tuple[str, ...] = ()
    record_diff: bool = False


class Simulated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="simulated"):
    """Jobs of `eventhpo.testing`: no process at all."""


class HyperParameter(msgspec.Struct, frozen=True, array_like=True):
    """A hyper-parameter as ClearML stores it: all of it text, also its type."""

    section: str
    name: str
    value: str
    type: str = ""
    description: str = ""

    @property
    def full_name(self) -> str:
        """Its name as `Section/name`."""
        return f"{self.section}/{self.name}"


class BaseTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is cloned, as it stood when the search began: a clone replaces parameters and tags, it does not merge."""

    name: str
    project: str | None = None
    project_name: str = ""
    tags: tuple[str, ...] = ()
    hyper_parameters: tuple[HyperParameter, ...] = ()
    container: dict[str, str] = {}


class ClearmlTasks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clearml"):
    """Jobs as tasks on a ClearML server, cloned from a base task and sent to a queue.

    `execution_queue`, `project` and `new_parameters` are as they were asked for, `queue`
    is the queue's id; `base` is None until the server was asked, before the first event.
    """

    base_task_id: str
    execution_queue: str
    project: str | None = None
    queue: str = ""
    base: BaseTask | None = None
    new_parameters: tuple[str, ...] = ()  # that the base task does not have, and its script reads all the same
    web: str = ""  # the address of the server's web page

    @property
    def asked(self) -> tuple[str, str, str | None]:
        """What a user says of it; the rest was read from the server."""
        return self.base_task_id, self.execution_queue, self.project

    def link(self, task_id: str) -> str | None:
        """Return the address of a task's page, None if the server's own address is not known; `*` is any project."""
        return f"{self.web}/projects/*/experiments/{task_id}/output/log" if self.web else None


class StudyJobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="study"):
    """No jobs: an Optuna study, whose objective runs in the process that asks for trials.

    With `decides` the sampler and pruner of the search are asked anew for each decision, so that
    the log can be decided again. Without it they belong to the caller, and nothing is known of them.
    """

    decides: bool = False


JobSpec: TypeAlias = LocalCommand | Simulated | ClearmlTasks | StudyJobs


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a search was asked to be. Its `seed` is always there."""

    name: str
    objectives: tuple[Objective, ...]
    space: tuple[Parameter, ...]
    limits: Limits
    sampler: ComponentConfig
    pruner: ComponentConfig
    seed: int
    jobs: JobSpec
    base_task_id: str | None = None
    max_iteration_per_job: int | None = None
    min_iteration_per_job: int | None = None
    nan_policy: Literal["fail", "worst"] = "fail"
    sign: str | None = None  # path of the key that signs the log whenever a controller puts it to rest

    @property
    def needs_script(self) -> bool:
        """Whether its log alone cannot decide: the sampler or pruner is of a class that is not Optuna's own."""
        return self.sampler.is_foreign or self.pruner.is_foreign
