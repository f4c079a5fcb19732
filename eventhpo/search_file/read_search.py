"""A search file, table by table, into a `Search`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from eventhpo.core.search import placeholders
from eventhpo.core.search.gpus import gpus
from eventhpo.core.search.ranges import full_name
from eventhpo.core.search.spec import (
    ClearmlTasks,
    ComponentConfig,
    JobSpec,
    Limits,
    LocalCommand,
    Objective,
    Parameter,
    Scalar,
    Search,
)
from eventhpo.core.validation.durations import duration
from eventhpo.core.validation.mistakes import MISSING, Mistake
from eventhpo.core.validation.validators import Validator, Wrong, boolean, choice, integer, is_utf8, number, text
from eventhpo.optuna_adapter.component_checks import check_pruner, check_sampler
from eventhpo.optuna_adapter.sampler_fit import normalised
from eventhpo.optuna_adapter.seeds import SEEDS
from eventhpo.search_file.declared_data import undeclarable
from eventhpo.search_file.read_space import declared_names, read_space, read_trials
from eventhpo.search_file.table import Table
from eventhpo.search_file.toml import SearchFileMistaken, parse, read_text

SIGNS = ("max", "min", "max_global", "min_global")
_LONGEST_WORD = 131_071  # bytes that Linux hands a program in one word
_LONGEST = 1e9  # minutes, 1,900 years: in microseconds it is still a 64-bit number

_MINUTES = duration(60, "minutes", _LONGEST)
_POSITIVE = integer(least=1)
_COUNT = integer(least=0)
LIMITS: dict[str, Validator[Any]] = {
    "num_concurrent_workers": _POSITIVE,
    "total_max_jobs": _POSITIVE,
    "pool_period_min": _MINUTES,
    "time_limit_per_job": _MINUTES,
    "compute_time_limit": _MINUTES,
    "wall_time_limit": _MINUTES,
    "max_failures_per_trial": _COUNT,
    "max_lost_per_trial": _COUNT,
    "max_failed_trials": _POSITIVE,
    "target_value": number(),
    "patience": _POSITIVE,
    "max_trials": _POSITIVE,
}


@dataclass(frozen=True)
class Loaded:
    """A search file that holds no mistake."""

    path: Path
    text: str
    search: Search
    trials: tuple[dict[str, Scalar], ...]  # points to try first, as their jobs get them
    drawn_seed: bool  # the file names no seed, so one was drawn
    on_end: str | None = None  # the command that is run when the search has finished


def load(path: Path) -> Loaded:
    """Return the search that the file at *path* describes.

    Raises:
        SearchFileMistaken: The file has mistakes; the message has a line for each of them.
    """
    text = read_text(path)
    mistakes: list[Mistake] = []
    loaded = _Reader(path, text, Table(parse(path, text), mistakes), mistakes).loaded()
    if loaded is None or mistakes:
        raise SearchFileMistaken(path, [_belongs_above(mistake) for mistake in mistakes], text)
    return loaded


# A key that was added at the end of a file stands in its last table, as TOML has it.
_TOP = {
    "command",
    "gpus",
    "data",
    "record_diff",
    "seed",
    "on_end",
    "sign",
    "max_iteration_per_job",
    "min_iteration_per_job",
    "nan_policy",
    *LIMITS,
}


def _belongs_above(mistake: Mistake) -> Mistake:
    """Return *mistake* with the advice to move the key, if it is a key of the top in a table."""
    table, _, key = mistake.place.rpartition(".")
    if not table or key not in _TOP or mistake.found is MISSING:
        return mistake
    if mistake.found not in (key, full_name(key)) and not table.startswith(("space", "trial")):
        return mistake  # a key of this table's own, with a wrong value
    what = f"{key} above the first [table] of the file: here it is a key of {table}"
    return Mistake(mistake.place, mistake.found, what)


class _Reader:
    """Reads one file: its top-level table, and the mistakes found so far."""

    def __init__(self, path: Path, text: str, top: Table, mistakes: list[Mistake]) -> None:
        self.path, self.text, self.top, self.mistakes = path, text, top, mistakes

    def loaded(self) -> Loaded | None:
        name = self._name()
        jobs = self._jobs()
        seed = self.top.take("seed", integer(least=0, most=SEEDS - 1), None)
        limits = self._limits(len(jobs.gpus) if isinstance(jobs, LocalCommand) else 0)
        iterations, least = self._iterations()
        nan_policy = self.top.take("nan_policy", choice("fail", "worst"), "fail")
        objectives = self._objectives()
        self._single_objective_limits(limits, len(objectives))
        space, declared, sound = self._space()
        command = jobs.command if isinstance(jobs, LocalCommand) else ()
        self.mistakes += [mistake.within("command") for mistake in placeholders.mistakes(command, space, declared)]
        sampler = self._named("sampler", "TPESampler")
        pruner = self._named("pruner", "MedianPruner" if len(objectives) < 2 else "NopPruner")
        self._fit(sampler, pruner, space, sound, max(len(objectives), 1))
        whole = sampler is not None and sampler.name == "GridSampler"
        trials = read_trials(self.top.raw("trial"), space, declared, whole=whole, mistakes=self.mistakes)
        on_end = self.top.take("on_end", text(), None)
        key = self.top.take("sign", text(), None)
        self.top.done("a key of a search file")
        if self.mistakes or jobs is None or sampler is None or pruner is None:
            return None
        sampler = normalised(sampler, space)
        search = Search(
            name=name,
            objectives=objectives,
            space=space,
            limits=limits,
            sampler=sampler,
            pruner=pruner,
            seed=secrets.randbelow(SEEDS) if seed is None else seed,
            jobs=jobs,
            base_task_id=jobs.base_task_id if isinstance(jobs, ClearmlTasks) else None,
            max_iteration_per_job=iterations,
            min_iteration_per_job=least,
            nan_policy=cast(Literal["fail", "worst"], nan_policy),
            sign=None if key is None else str(self.path.resolve().parent / Path(key).expanduser()),
        )
        return Loaded(self.path, self.text, search, trials, seed is None, on_end)

    def _name(self) -> str:
        """Return the search's name: the given one, otherwise the file's name."""
        name: str = self.path.stem
        if self.top.raw("name") is not MISSING:
            return self.top.take("name", text(), name)
        try:
            return text().read(name)
        except Wrong as wrong:
            self.top.wrong(name, f"{wrong}: give one as name = ..., or rename the file", "name")
            return name

    def _jobs(self) -> JobSpec | None:
        """Return where the jobs run: `command` here, or `[clearml]` on a server."""
        values = self.top.table("clearml", "a table with base_task_id and execution_queue")
        if values is None:
            devices = self.top.take("gpus", gpus(), ())
            command = self.top.take("command", _command())
            if command is None:
                return None
            real = self.path.resolve()
            folder, file = str(real.parent), real.name
            if not is_utf8(folder):
                self.top.wrong(folder, "a folder whose path is UTF-8: a log records where its command runs", "command")
            return LocalCommand(
                command=tuple(command),
                folder=folder,
                file=file if is_utf8(file) else "",
                gpus=devices,
                data=self._data(real.parent),
                record_diff=self.top.take("record_diff", boolean(), False),
            )
        if self.top.raw("command") is not MISSING:
            self.top.wrong(values, "either command, for jobs on this machine, or [clearml], not both", "clearml")
        if (devices := self.top.raw("gpus")) is not MISSING:
            self.top.wrong(devices, "nothing: tasks on a ClearML server get the devices of their agent", "gpus")
        for key in ("data", "record_diff"):
            if (value := self.top.raw(key)) is not MISSING:
                self.top.wrong(value, "nothing: ClearML keeps code and data of its tasks itself", key)
        table = Table(values, self.mistakes, "clearml")
        base, queue = table.take("base_task_id", text()), table.take("execution_queue", text())
        project = table.take("project", text(), None)
        new = table.take("new_parameters", _names('a list of names, as ["General/dropout"]'), None)
        table.done("a key of [clearml]")
        if base is None or queue is None:
            return None
        return ClearmlTasks(base_task_id=base, execution_queue=queue, project=project, new_parameters=tuple(new or ()))

    def _data(self, folder: Path) -> tuple[str, ...]:
        """Return the declared files; each must be there when a search begins."""
        names = self.top.take("data", _names('a list of files, as ["train.csv"]'), None) or []
        for place, name in enumerate(names):
            if (expected := undeclarable(folder, name)) is not None:
                self.top.wrong(name, expected, "data", place)
        return tuple(names)

    def _limits(self, gpus: int) -> Limits:
        """Return the limits; with *gpus*, the number of entries of that list, there are as many workers."""
        defaults = Limits(num_concurrent_workers=gpus or 1)
        limits = Limits(**{key: self.top.take(key, kind, getattr(defaults, key)) for key, kind in LIMITS.items()})
        if gpus and limits.num_concurrent_workers != gpus:
            expected = f"{gpus}, a worker for each entry of gpus; or leave it out"
            self.top.wrong(limits.num_concurrent_workers, expected, "num_concurrent_workers")
        return limits

    def _iterations(self) -> tuple[int | None, int | None]:
        most = self.top.take("max_iteration_per_job", _POSITIVE, None)
        least = self.top.take("min_iteration_per_job", _COUNT, None)
        if most is not None and least is not None and least > most:
            self.top.wrong(least, f"at most max_iteration_per_job, which is {most}", "min_iteration_per_job")
        return most, least

    def _objectives(self) -> tuple[Objective, ...]:
        given = self.top.raw("objective")
        if isinstance(given, dict):
            tables: list[tuple[tuple[str | int, ...], object]] = [(("objective",), given)]
        elif isinstance(given, list) and given:
            tables = [(("objective", k), values) for k, values in enumerate(given)]
        else:
            self.top.wrong(given, "a table with title, series and sign", "objective")
            return ()
        read = [self._objective(keys, values) for keys, values in tables]
        self._twice(read)
        # One that is wrong still counts as one: else several would be judged as a single one.
        return tuple(objective or Objective(title="", series="", sign="max") for objective in read)

    def _objective(self, keys: tuple[str | int, ...], values: object) -> Objective | None:
        if not isinstance(values, dict):
            self.top.wrong(values, "a table with title, series and sign", *keys)
            return None
        table = Table(values, self.mistakes, *keys)
        title, series, sign = table.take("title", text()), table.take("series", text()), table.take("sign", _sign())
        table.done("a key of an objective")
        if title is None or series is None or sign is None:
            return None
        return Objective(title=title, series=series, sign=sign)

    def _twice(self, objectives: list[Objective | None]) -> None:
        seen: set[tuple[str, str]] = set()
        for k, objective in enumerate(objectives):
            if objective is None:
                continue
            if (metric := (objective.title, objective.series)) in seen:
                self.top.wrong(
                    f"{objective.title}/{objective.series}", "a metric that no other objective has", "objective", k
                )
            seen.add(metric)

    def _single_objective_limits(self, limits: Limits, n_objectives: int) -> None:
        for key in ("target_value", "patience"):
            value = getattr(limits, key)
            if n_objectives > 1 and value is not None:
                self.top.wrong(value, "nothing: with several objectives no value is the best", key)

    def _space(self) -> tuple[tuple[Parameter, ...], set[str], bool]:
        """Return the parameters that are sound, the names of all that jobs get, and whether all are sound."""
        tables = self.top.raw("space")
        space = read_space(tables, self.mistakes)
        return space, declared_names(tables), not isinstance(tables, dict) or len(space) == len(tables)

    def _named(self, key: str, default: str) -> ComponentConfig | None:
        values = self.top.table(key, f'a table with the name of a {key}, as name = "{default}"')
        if values is None:
            return ComponentConfig(default)
        if "name" not in values:
            self.top.wrong(MISSING, f"the name of a {key} of Optuna's", key, "name")
            return None
        return ComponentConfig(values["name"], {name: value for name, value in values.items() if name != "name"})

    def _fit(
        self,
        sampler: ComponentConfig | None,
        pruner: ComponentConfig | None,
        space: tuple[Parameter, ...],
        sound: bool,
        n_objectives: int,
    ) -> None:
        if sampler is not None:
            mistakes = check_sampler(sampler, space, n_objectives)
            if not sound:  # what a broken parameter would have allowed is unknown
                mistakes = [mistake for mistake in mistakes if not _about_values(mistake)]
            self.mistakes += [mistake.within("sampler") for mistake in mistakes]
        if pruner is not None:
            self.mistakes += [mistake.within("pruner") for mistake in check_pruner(pruner, n_objectives)]


def _about_values(mistake: Mistake) -> bool:
    return any(key in mistake.place for key in ("search_space", "fixed_params", "x0"))


def _sign() -> Validator[Literal["max", "min", "max_global", "min_global"]]:
    sign = choice(*SIGNS)
    return Validator(
        sign.expected, lambda value: cast(Literal["max", "min", "max_global", "min_global"], sign.read(value))
    )


def _names(expected: str) -> Validator[list[str]]:
    def read(value: object) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
            raise Wrong(expected)
        return value

    return Validator(expected, read)


def _command() -> Validator[list[str]]:
    expected = 'a list of strings, as ["python", "train.py"]'

    def read(value: object) -> list[str]:
        if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
            raise Wrong(expected)
        if not value[0].strip():
            raise Wrong(f"{expected}, the program first")
        if any("\0" in word for word in value):
            raise Wrong(f"{expected}, without NUL characters")
        if any(len(word.encode()) > _LONGEST_WORD for word in value):
            raise Wrong(f"{expected}, each of at most {_LONGEST_WORD} bytes")
        return value

    return Validator(expected, read)
