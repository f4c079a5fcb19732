"""A study of Optuna's own storages as a log: RDB by its URL, a journal by its file."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from eventhpo.controller.host import this_machine
from eventhpo.core.fold.study_events import AttributeSet, TrialAdded
from eventhpo.core.search.spec import Limits, Search, StudyJobs
from eventhpo.errors import Usage
from eventhpo.log.create import create
from eventhpo.study.open_study import now
from eventhpo.study.storage import UNKNOWN, added, as_json, created, objectives


class ImportedStudy(msgspec.Struct, frozen=True):
    """What was imported: trials, and how many of them ran in the source and count as failed."""

    name: str
    trials: int
    unfinished: int


def import_study(source: str, name: str | None, log: Path) -> ImportedStudy:
    """Write the study *name* of *source* into the new log *log*.

    Times, states, values, curves, attributes, distributions and enqueued trials come along. Verdicts,
    seeds and the order within a second are not known. A trial that runs in the source is failed here.

    Args:
        source: A URL as `sqlite:///old.db`, or the path of a journal file.
        name: The study's name; None if the source has one study.
        log: The log to make.

    Raises:
        Usage: there is no such source or study, or *log* exists.
        StorageFailed: the log cannot be written.
    """
    if log.exists():
        raise Usage(f"{log} exists already, and an import makes a new log: choose another name")
    storage = _storage(source)
    names = [study.study_name for study in storage.get_all_studies()]
    if name is None and len(names) != 1:
        raise Usage(f"{source} has {len(names)} studies, name one of them: {', '.join(map(repr, names[:20]))}")
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise Usage(f"{source} has no study {chosen!r}, it has: {', '.join(map(repr, names[:20])) or 'none'}")
    study = optuna.load_study(study_name=chosen, storage=storage)
    search = Search(
        name=chosen,
        objectives=objectives(study.directions),
        space=(),
        limits=Limits(),
        sampler=UNKNOWN,
        pruner=UNKNOWN,
        seed=secrets.randbelow(2**32),
        jobs=StudyJobs(),
    )
    trials = study.get_trials(deepcopy=False)
    attributes = [AttributeSet(name=key, value=as_json(value)) for key, value in study.user_attrs.items()]
    attributes += [
        AttributeSet(system=True, name=key, value=as_json(value))
        for key, value in storage.get_study_system_attrs(study._study_id).items()
    ]
    author = this_machine().author
    events = [author.sign(_added(trial, number)) for number, trial in enumerate(trials)]
    create(log, author.sign(created(search)), now(), [*attributes, *events])
    return ImportedStudy(chosen, len(trials), sum(trial.state == TrialState.RUNNING for trial in trials))


def _storage(source: str) -> BaseStorage:
    if "://" in source:
        path = source.partition(":///")[2]
        if source.startswith("sqlite:///") and not Path(path).is_file():
            raise Usage(f"{source}: there is no file {path}")
        return RDBStorage(source, skip_compatibility_check=False)
    if not Path(source).is_file():
        raise Usage(f"{source}: there is no such file; a database is named by its URL, as sqlite:///old.db")
    with Path(source).open("rb") as file:
        if file.read(15) == b"SQLite format 3":
            raise Usage(f"{source} is an SQLite file: name it by its URL, sqlite:///{source}")
    try:
        return JournalStorage(JournalFileBackend(source))
    except (ValueError, LookupError, TypeError) as error:
        raise Usage(f"{source} is no journal of Optuna: {type(error).__name__}: {error}") from error


def _added(trial: FrozenTrial, number: int) -> TrialAdded:
    event = added(trial, number, number, imported=trial.state.is_finished())
    if trial.state != TrialState.RUNNING:
        return event
    attrs = (*event.system_attrs, ("fail_reason", as_json("unfinished in the source")))
    return msgspec.structs.replace(event, state="failed", system_attrs=attrs, imported=True)
