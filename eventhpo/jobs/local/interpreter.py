"""The Python that jobs run with: its version, its packages; and the GPUs of the machine."""

from __future__ import annotations

import os
import re
import shutil
import site
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from eventhpo.jobs.local.launch import search_path

FIRST_LINE = 256  # bytes of a script that Linux looks at for its interpreter
PATIENCE = 10.0  # seconds for an interpreter or nvidia-smi to answer
_PYTHON = re.compile(r"python(\d+(\.\d+)*)?")
_ASK = (
    "import json, site, sys, sysconfig\n"
    "paths = [sysconfig.get_path('purelib'), sysconfig.get_path('platlib'), *site.getsitepackages()]\n"
    "paths += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []\n"
    "print(json.dumps([sys.version, paths]))"
)


class _Told(NamedTuple):
    version: str
    folders: tuple[Path, ...]  # where its packages are


class Interpreter:
    """The Python that a command begins with, and its packages, listed again when a folder of theirs changed."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int | None], _Told | None] = {}  # by path and time of change
        self._listed: tuple[object, str] | None = None  # times of the folders, and the list

    def version_of(self, command: Sequence[str], folder: Path) -> str | None:
        """Return `sys.version` of the command's Python, None if it begins with no Python and no script of one."""
        told = self._ask(command, folder)
        return None if told is None else told.version

    def packages_of(self, command: Sequence[str], folder: Path) -> str | None:
        """Return the packages of the command's Python as lines `name==version`, sorted; None if it is no Python."""
        told = self._ask(command, folder)
        if told is None:
            return None
        state = tuple((place, _changed(place)) for place in told.folders)
        if self._listed is None or self._listed[0] != state:
            names = {line for place in told.folders for line in _packages_in(place)}
            self._listed = (state, "".join(f"{name}\n" for name in sorted(names, key=str.casefold)))
        return self._listed[1]

    def _ask(self, command: Sequence[str], folder: Path) -> _Told | None:
        program = command[0] if command else ""
        path = _found(program, folder)
        if path is not None and not _PYTHON.fullmatch(Path(path).name):
            path = _named_by(Path(path), folder)
        if path is None:
            return None
        key = path, _changed(Path(path))
        if key not in self._told:
            self._told[key] = _told_by(path)
        return self._told[key]


def _found(program: str, folder: Path) -> str | None:
    """Return the path of *program* as a job finds it, None if there is none."""
    return str(folder / program) if os.sep in program else shutil.which(program, path=search_path(os.environ))


def _named_by(script: Path, folder: Path) -> str | None:
    """Return the Python that the first line of *script* names, also through `env`; None if it names none."""
    try:
        if not stat.S_ISREG(script.stat().st_mode):
            return None
        with script.open("rb") as file:
            first = os.fsdecode(file.readline(FIRST_LINE))
    except OSError:
        return None
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    return _found(words[0], folder) if words and _PYTHON.fullmatch(Path(words[0]).name) else None


def _told_by(found: str) -> _Told | None:
    if Path(found).absolute() == Path(sys.executable).absolute():  # by its path: a link may lead out of an environment
        return _Told(sys.version, _unique(_own_folders()))
    try:
        done = subprocess.run(
            [found, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=True
        )
        version, folders = msgspec.json.decode(done.stdout, type=tuple[str, list[str]])
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None
    return _Told(version, _unique(folders))


def _own_folders() -> list[str]:
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    return folders + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])


def _unique(folders: Sequence[str]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(map(Path, folders)))


def _changed(place: Path) -> int | None:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return None


def _packages_in(place: Path) -> list[str]:
    """Return `name==version` of each package whose folder of facts is in *place*."""
    try:
        names = [entry.name for entry in place.iterdir()]
    except OSError:
        return []
    facts = [_FACTS.fullmatch(name) for name in names]
    return [f"{match['name']}=={match['version']}" for match in facts if match is not None]


_FACTS = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-py[\d.]+)?\.(dist|egg)-info")


def gpus() -> tuple[str, ...]:
    """Return name and driver of each GPU that nvidia-smi lists, nothing where there is none or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run(
            [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
