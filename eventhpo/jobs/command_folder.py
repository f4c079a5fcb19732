"""Where the command of a search runs today: its log and its script may have been moved or copied."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from eventhpo.core.fold.events import CommandMoved
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import LocalCommand
from eventhpo.core.validation.validators import is_utf8
from eventhpo.log import paths as log_paths

_SCRIPTS = (".py", ".sh", ".R", ".jl")


def home_of(log: Path) -> str:
    """Return the folder of *log*, empty if its name is not UTF-8 and so cannot be recorded."""
    home = str(log.resolve().parent)
    return home if is_utf8(home) else ""


def today(jobs: LocalCommand, log: Path, asked: Path | None, recorded: State | None) -> LocalCommand:
    """Return *jobs* with the folder in which they run now that the log is at *log*.

    It is *asked*, if the user named a folder. *recorded* is the state of the log, None for a new
    search: then *jobs* are what the user says now.
    """
    home = home_of(log)
    if asked is not None:
        return replace(jobs, folder=str(asked.resolve()), home=home)
    return replace(jobs if recorded is None else _from_here(recorded, jobs, home), home=home)


def _from_here(recorded: State, jobs: LocalCommand, home: str) -> LocalCommand:
    """Return *jobs* in the folder at the recorded place relative to the log, if it holds the scripts that they ran.

    So a search that was moved or copied as a whole runs its own scripts. Otherwise the folder
    stays the recorded one.
    """
    made = home_before(recorded, jobs)
    if not made or made == home:
        return jobs
    folder = Path(os.path.normpath(Path(home, os.path.relpath(jobs.folder, made))))
    holds = is_utf8(str(folder)) and _holds(folder, recorded.scripts.keys() or _scripts(jobs))
    return replace(jobs, folder=str(folder)) if holds else jobs


def _holds(folder: Path, scripts: Collection[str]) -> bool:
    return folder.is_dir() and all((folder / script).is_file() for script in scripts)


def missing_script(jobs: LocalCommand) -> str | None:
    """Return the first word of the command that looks like a script and is no file in the folder; None without one."""
    scripts = [word for word in jobs.command[1:] if word.endswith(_SCRIPTS) and not word.startswith("-")]
    return next((word for word in scripts[:1] if "{" not in word and not (Path(jobs.folder) / word).exists()), None)


def _scripts(jobs: LocalCommand) -> list[str]:
    """Return the words of the command that are files in its recorded folder; used before any job has run."""
    return [word for word in jobs.command if "\0" not in word and (Path(jobs.folder) / word).is_file()]


def home_before(recorded: State, jobs: LocalCommand) -> str:
    """Return the folder that the log was in; logs of earlier code show it only by the paths of job outputs."""
    if jobs.home:
        return jobs.home
    paths = (a.ended.output for t in recorded.trials for a in t.attempts if a.ended is not None and a.ended.output)
    return next((str(Path(path).parents[2]) for path in paths if len(Path(path).parents) > 2), "")


def moves(recorded: LocalCommand, now: LocalCommand) -> list[CommandMoved]:
    """Return the event that records the change from *recorded* to *now*, if there is one and the folder exists."""
    same = recorded.folder == now.folder and recorded.home in ("", now.home)
    return [] if same or not Path(now.folder).is_dir() else [CommandMoved(folder=now.folder, home=now.home)]


def is_the_same(recorded: State, log: Path, now: LocalCommand) -> bool:
    """Whether *now*, as a script states it, means the *recorded* jobs of a search that may have been moved."""
    jobs = recorded.search.jobs
    if not isinstance(jobs, LocalCommand) or jobs.command != now.command:
        return False
    folder = today(jobs, log, None, recorded).folder
    return now.folder in (jobs.folder, folder) or not Path(folder).is_dir()


def output_of(path: str, log: Path) -> str:
    """Return where the output recorded at *path* is today: in the jobs folder next to the log, else *path*."""
    recorded = Path(path)
    here = log_paths.jobs(log) / recorded.parent.name / recorded.name
    return str(here) if here.is_file() else path
