"""Choose the backend of a search by what its log or its search file says."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec.structs import replace

from eventhpo.core.fold.events import Event, Recorded
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_state import NO_CONTROLLER
from eventhpo.core.search.gpus import Gpus
from eventhpo.core.search.spec import ClearmlTasks, LocalCommand, Search, StudyJobs
from eventhpo.errors import Usage
from eventhpo.jobs import command_folder, gpu_choice
from eventhpo.jobs.local import reconcile
from eventhpo.jobs.local.gpu_locks import DeviceLocks
from eventhpo.jobs.local.launch import search_path
from eventhpo.jobs.local.local_jobs import LocalBackend
from eventhpo.jobs.protocol import JobBackend
from eventhpo.log import paths

if TYPE_CHECKING:
    from eventhpo.jobs.clearml.launch import Labels


class BackendChoice(Protocol):
    """A backend before it is opened: checked before a search begins, and before each controller does."""

    def described(self, search: Search, *, dry: bool = False) -> tuple[Search, tuple[str, ...]]:
        """Return *search* with what its log records of the backend, and warnings; with *dry*, change nothing.

        Raises:
            Usage: the search cannot run there. Unanswered: the backend does not answer.
        """
        ...

    def before(self, state: State, rows: Sequence[Recorded]) -> Sequence[Event]:
        """Return the inputs that a controller records first.

        Raises:
            DamagedLog: the backend has jobs that the log does not know. Unanswered: it does not answer.
        """
        ...

    def remarks(self, state: State) -> Sequence[str]:
        """Return lines about the backend for the person who starts a controller on *state*."""
        ...

    def open(self, log: Path, state: State) -> JobBackend:
        """Return the backend for the search whose log is at *log*."""
        ...


def backend_choice(
    search: Search,
    log: Path | None = None,
    *,
    labels: Callable[[], Labels] | None = None,
    adopt: bool = False,
    folder: Path | None = None,
    recorded: State | None = None,
    job_class: Callable[[], type[Any] | None] = lambda: None,
    gpus: Gpus | None = None,
    launches: bool = True,
) -> BackendChoice:
    """Return the backend of *search*; its log is, or will be, at *log*.

    With *adopt*, jobs that the log has lost are taken up again. *folder* is where the command
    runs from now on; *recorded* is the state of the log, if *search* was read from it.
    *labels* and *job_class* are for a ClearML server, see `ClearmlChoice`. *gpus* are the
    devices of each slot from now on, None: those of *search*. Where nothing *launches* a job,
    no device is taken.

    Raises:
        Usage: the jobs of *search* are simulated, or *folder* or *gpus* is given and they run no command.
    """
    if isinstance(search.jobs, LocalCommand):
        asked = LocalRequest(adopt=adopt, folder=folder, gpus=gpus, launches=launches)
        return LocalChoice(search.jobs, log, asked, recorded=recorded)
    for name, value in (("--folder", folder), ("--gpus", gpus)):
        if value is not None:
            raise Usage(f"{name} is for jobs that run a command on this machine")
    if isinstance(search.jobs, ClearmlTasks):
        from eventhpo.jobs.clearml.backend_choice import ClearmlChoice  # noqa: PLC0415  local searches do without

        if labels is None:
            return ClearmlChoice(adopt=adopt, job_class=job_class)
        return ClearmlChoice(labels=labels, adopt=adopt, job_class=job_class)
    if isinstance(search.jobs, StudyJobs):
        raise Usage(NO_CONTROLLER)
    raise Usage("the jobs of this search are simulated: only a test that uses eventhpo.testing can carry it on")


class LocalRequest(NamedTuple):
    """What a person asks of jobs on this machine when a controller starts; see `backend_choice`."""

    adopt: bool = False
    folder: Path | None = None
    gpus: Gpus | None = None
    launches: bool = True


class LocalChoice:
    """Processes on this machine."""

    def __init__(
        self,
        jobs: LocalCommand,
        log: Path | None = None,
        asked: LocalRequest | None = None,
        *,
        recorded: State | None = None,
    ) -> None:
        self._asked = LocalRequest() if asked is None else asked
        self._jobs = jobs if log is None else command_folder.today(jobs, log, self._asked.folder, recorded)
        self._log = log
        self._recorded = recorded is not None
        self._devices: DeviceLocks | None = None

    def described(self, search: Search, *, dry: bool = False) -> tuple[Search, tuple[str, ...]]:
        """Return *search* with the folder of its log, if its command can be started here.

        Raises:
            Usage: the folder or the program of the command is missing.
        """
        search = replace(search, jobs=self._jobs)
        if not dry and not self._recorded and self._log is not None:
            gpu_choice.require_free(search, self._log)
        folder, word = Path(self._jobs.folder), self._jobs.command[0]
        if not folder.is_dir():
            raise Usage(f"the folder of the command is gone: {folder}{self._way_on()}")
        if "{" in word:
            return search, ()  # known when a job starts
        if "/" in word:
            if not os.access(folder / word, os.X_OK):
                hint = "" if not (folder / word).exists() else " (make it executable: chmod +x)"
                raise Usage(f"command: {folder / word} is no program that can be run{hint}{self._way_on()}")
            program: str | None = str(folder / word)
        elif (program := shutil.which(word, path=search_path(os.environ))) is None:
            raise Usage(f"command: there is no program {word} on PATH; install it, or write its whole path")
        _require_interpreter(Path(str(program)))
        return search, ()

    def _way_on(self) -> str:
        if not self._recorded or self._log is None:
            return ""
        return f"; name the folder to run it in: eventhpo resume {shlex.quote(str(self._log))} --folder NEW"

    def remarks(self, state: State) -> Sequence[str]:
        """Say if the log was moved, and which of its jobs belong to the search that it was copied from."""
        if self._log is None or not isinstance(state.search.jobs, LocalCommand):
            return ()
        made, home = command_folder.home_before(state, state.search.jobs), command_folder.home_of(self._log)
        elsewhere = bool(made) and made != home
        lines = []
        if elsewhere:
            lines.append(f"this log was made in {made} and lies in {home} now: its command runs in {self._jobs.folder}")
        if others := reconcile.of_others(paths.jobs(self._log), state):
            lines.append(_copied(others, made if elsewhere else ""))
        return lines

    def before(self, state: State, rows: Sequence[Recorded]) -> Sequence[Event]:
        """Return the folder of the command and its devices, if they have changed, and the jobs that are adopted.

        Folders of lost jobs that never started are removed. The devices are taken, unless
        the search is over: then its first job takes them.

        Raises:
            DamagedLog: the log has lost its tail, or is a fork.
            DeviceTaken: another search of this machine has one of the devices.
            Usage: the devices change while jobs run on them.
        """
        if self._log is None:
            return ()
        folder = paths.jobs(self._log)
        survey = reconcile.surveyed(folder, reconcile.listed(folder), state, [row.hash for row in rows])
        reconcile.refuse(survey, state.head, adopt=self._asked.adopt)
        events: list[Event] = []
        if isinstance(state.search.jobs, LocalCommand):
            events += command_folder.moves(state.search.jobs, self._jobs)
            devices = self._gpus(state.search.jobs)
            events += gpu_choice.changes(folder, state, state.search.jobs, devices)
            if devices and self._asked.launches:
                self._devices = gpu_choice.locks(devices, state, self._log)
                if self._recorded or state.finished is None:
                    self._devices.take()
        return events + reconcile.adopted(state, survey.lost)

    def open(self, log: Path, state: State) -> JobBackend:
        """Return the backend that runs processes; their folders are next to the log."""
        jobs = self._jobs
        return LocalBackend(
            jobs.command,
            jobs.folder,
            paths.jobs(log),
            gpus=self._devices,
            data=jobs.data,
            record_diff=jobs.record_diff,
            search_file=jobs.file,
        )

    def _gpus(self, recorded: LocalCommand) -> Gpus:
        """Return the devices from now on: those asked for, else those of a new search or script, else the recorded."""
        if self._asked.gpus is not None:
            return self._asked.gpus
        return recorded.gpus if self._recorded else self._jobs.gpus


def _copied(trials: Sequence[int], made: str) -> str:
    """Say that the jobs of *trials* belong to another search and are left alone."""
    named = " and ".join(f"trial {number}" for number in trials)
    job, belongs, it = ("jobs", "belong", "They are") if len(trials) > 1 else ("job", "belongs", "It is")
    whose = f"the search in {made}" if made else "the search that it was copied from"
    return (
        f"this is a copy: the {job} of {named} {belongs} to {whose}. {it} left alone, and counted as lost here, where "
        "another attempt is made"
    )


def _require_interpreter(program: Path) -> None:
    """Raise if *program* is a script whose first line names a program that does not exist.

    The system's own message is "No such file or directory", as if the script were missing.

    Raises:
        Usage: it is such a script; most often its lines end as on Windows.
    """
    try:
        with program.open("rb") as file:
            line = file.readline(_SHEBANG)
    except OSError:
        return  # a program may be run that cannot be read
    if not line.startswith(b"#!"):
        return
    if line.endswith(b"\r\n"):
        raise Usage(
            f"command: {program} has lines that end as on Windows, and its first line names a program with a carriage "
            f"return: write them anew, as with: sed -i 's/\\r$//' {shlex.quote(str(program))}"
        )
    named = line[2:].split()
    if named and not Path(os.fsdecode(named[0])).exists():
        raise Usage(f"command: the first line of {program} names {os.fsdecode(named[0])}, and there is no such program")


_SHEBANG = 256  # bytes of a first line that Linux looks at
