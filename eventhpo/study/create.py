"""`create_study` and `optimize`: an Optuna study on an event log, made or carried on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial

from eventhpo.core.search.spec import Limits, Search, StudyJobs
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.seeds import SEEDS
from eventhpo.optuna_adapter.study_components import (
    Component,
    differences,
    pruner_component,
    sampler_component,
)
from eventhpo.study.open_study import OpenStudy, open_study
from eventhpo.study.questions import directions as directions_of
from eventhpo.study.recorded_study import RecordedDecisions, RecordedStudy
from eventhpo.study.storage import EventStorage, objectives

Directions = Sequence[str | StudyDirection]


def create_study(
    log: str | Path,
    *,
    study_name: str | None = None,
    direction: str | StudyDirection | None = None,
    directions: Directions | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    seed: int | None = None,
    load_if_exists: bool = True,
) -> RecordedStudy:
    """Return the Optuna study on *log*; it is made if there is none, otherwise carried on.

    Args:
        log: The log of one study, or a folder with a study in each file; then *study_name* says which.
        study_name: The study's name; by default the name of the file.
        direction: "minimize" (the default) or "maximize".
        directions: Likewise, one for each of several objectives.
        sampler: As in Optuna, by default `TPESampler()`; of a log that exists, the sampler that it names.
        pruner: Likewise, by default `MedianPruner()`.
        seed: The seed of all decisions; by default the sampler's, or a random one. The log has it.
        load_if_exists: Whether a log that exists is carried on; otherwise it is refused.

    Raises:
        Usage: the log is of another study, other directions, another sampler or pruner, or of a search with jobs.
        Busy: another process has it.
        DamagedLog, StorageFailed: it cannot be read or written.
    """
    path = Path(log)
    wanted = _directions(direction, directions)
    storage = EventStorage(path)
    opened = _existing(storage, path, study_name)
    if opened is None:
        opened, components = _new(storage, path, study_name, wanted or [StudyDirection.MINIMIZE], sampler, pruner, seed)
    elif not load_if_exists:
        raise Usage(
            f"{opened.path} exists, and load_if_exists is False; leave that out to carry the study on, or name another "
            "log"
        )
    else:
        components = _same(opened, wanted, sampler, pruner, seed)
        _log_resumption(opened)
    return RecordedStudy(storage, RecordedDecisions(opened, *components))


def optimize(
    objective: Callable[[Trial], float | Sequence[float]],
    log: str | Path,
    *,
    total_trials: int | None = None,
    n_trials: int | None = None,
    timeout: float | None = None,
    n_jobs: int = 1,
    catch: Iterable[type[Exception]] | type[Exception] = (),
    callbacks: Iterable[Callable[[optuna.Study, FrozenTrial], None]] | None = None,
    gc_after_trial: bool = False,
    show_progress_bar: bool = False,
    **study: Any,
) -> RecordedStudy:
    """Run *objective* until *total_trials* trials are finished in *log*; run the script again to go on.

    *study* are the arguments of `create_study`, the others those of `RecordedStudy.optimize`. Returns the study.
    """
    made = create_study(log, **study)
    made.optimize(
        objective,
        n_trials,
        timeout,
        n_jobs,
        catch,
        callbacks,
        gc_after_trial,
        show_progress_bar,
        total_trials=total_trials,
    )
    return made


def _log_resumption(opened: OpenStudy) -> None:
    """Log how far the study has come, by Optuna's log, whose level a script has set."""
    with opened.lock:
        trials = opened.study.trials
        finished = sum(trial.finished for trial in trials)
        again = [str(trial.number) for trial in trials if trial.state == "waiting" and trial.attempt >= 0]
    more = f"; trial {', '.join(again)} will be asked for again" if again else ""
    optuna.logging.get_logger("optuna.eventhpo").info(
        "%s is carried on: %d trials are finished%s", opened.path, finished, more
    )


def _directions(direction: str | StudyDirection | None, several: Directions | None) -> list[StudyDirection] | None:
    if direction is not None and several is not None:
        raise Usage("give direction or directions, not both")
    given = several if several is not None else None if direction is None else [direction]
    if given is None:
        return None
    known = {"minimize": StudyDirection.MINIMIZE, "maximize": StudyDirection.MAXIMIZE}
    chosen = [d if isinstance(d, StudyDirection) else known.get(d) for d in given]
    if not chosen or any(d is None or d == StudyDirection.NOT_SET for d in chosen):
        raise Usage(f"direction: expected 'minimize' or 'maximize', not {list(map(str, given))}")
    return [d for d in chosen if d is not None]


def _existing(storage: EventStorage, path: Path, name: str | None) -> OpenStudy | None:
    if path.is_dir():
        if name is None:
            raise Usage(f"{path} is a folder with a study in each file: give study_name")
        try:
            return storage.opened(storage.get_study_id_from_name(name))
        except KeyError:
            return None
    if not path.exists():
        return None
    opened = open_study(path)
    if name is not None and name != opened.state.search.name:
        raise Usage(f"{path} is the study {opened.state.search.name!r}, and study_name is {name!r}")
    return opened


def _new(
    storage: EventStorage,
    path: Path,
    name: str | None,
    wanted: list[StudyDirection],
    sampler: BaseSampler | None,
    pruner: BasePruner | None,
    seed: int | None,
) -> tuple[OpenStudy, tuple[Component, Component]]:
    components = sampler_component(sampler or TPESampler()), pruner_component(pruner or MedianPruner())
    chosen = seed if seed is not None else components[0].seed.value
    search = Search(
        name=path.stem if name is None else name,
        objectives=objectives(wanted),
        space=(),
        limits=Limits(),
        sampler=components[0].config,
        pruner=components[1].config,
        seed=secrets.randbelow(SEEDS) if chosen is None else chosen,
        jobs=StudyJobs(decides=True),
    )
    return storage.opened(storage.create_recorded_study(search)), components


def _same(
    opened: OpenStudy,
    wanted: list[StudyDirection] | None,
    sampler: BaseSampler | None,
    pruner: BasePruner | None,
    seed: int | None,
) -> tuple[Component, Component]:
    """Return sampler and pruner of a log that exists.

    Raises:
        Usage: what was given is not what the log has; the message has both sides.
    """
    search, path = opened.state.search, opened.path
    if not isinstance(search.jobs, StudyJobs) or not search.jobs.decides:
        raise Usage(
            f"{path} was imported or made through the storage alone, so no sampler and pruner are known to have "
            f'decided it. Go on in it with optuna.load_study(storage=eventhpo.EventStorage("{path}"), ...), or begin '
            "with its trials a log whose decisions are recorded: "
            f'create_study("new.db").add_trials(load_study("{path}").trials)'
        )
    wrong = []
    if wanted is not None and wanted != directions_of(search):
        names = [direction.name.lower() for direction in directions_of(search)]
        wrong.append(
            f"directions: the log has {names}, this script asks for {[direction.name.lower() for direction in wanted]}"
        )
    if seed is not None and seed != search.seed:
        wrong.append(f"seed: the log has {search.seed}, this script asks for {seed}")
    given = (
        Component(search.sampler) if sampler is None else sampler_component(sampler),
        Component(search.pruner) if pruner is None else pruner_component(pruner),
    )
    if seed is None and given[0].seed.given and given[0].seed.value != search.seed:
        wrong.append(f"seed: the log has {search.seed}, this sampler has {given[0].seed.value}")
    for role, recorded, component in zip(("sampler", "pruner"), (search.sampler, search.pruner), given, strict=True):
        if component.config.is_foreign and component.own is None:
            wrong.append(
                f"{role}: the log has {recorded.name}, which cannot be built from a log: pass an instance of it"
            )
        wrong += [f"{role}: {line}" for line in differences(recorded, component)]
    if wrong:
        raise Usage(f"{path} was made with other arguments; give those, or name another log:\n" + "\n".join(wrong))
    return given
