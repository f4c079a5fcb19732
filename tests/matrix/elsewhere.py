"""Another process: another hash seed, time zone and locale; it runs searches and decides logs of others again.

One such process answers for many logs, a line of JSON each: Optuna is imported once.
"""

from __future__ import annotations

import locale
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from eventhpo.controller.controller import Controller

COMMAS = ("de_DE.UTF-8", "fr_FR.UTF-8", "pt_BR.UTF-8", "ru_RU.UTF-8")  # locales that write 0,5; tried in this order
SURROUNDINGS = {
    "TZ": "NPT-5:45",  # by rule: not every machine has the table of zones
    "LC_ALL": "C",
    "PYTHONUTF8": "0",  # text is ASCII, which Python would mend otherwise
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONWARNINGS": "error",
}


class Surroundings(msgspec.Struct, frozen=True):
    """What differs from process to process and must not matter."""

    text_hash: int
    offset: float  # seconds east of Greenwich
    locale: str
    encoding: str


def surroundings() -> Surroundings:
    """Return those of this process."""
    return Surroundings(
        hash("eventhpo"), -time.timezone, locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False)
    )


class Elsewhere:
    """A process in other surroundings, asked line by line until it is left."""

    def __init__(self) -> None:
        seed = "4242" if os.environ.get("PYTHONHASHSEED") != "4242" else "2424"
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            env=os.environ | SURROUNDINGS | {"PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._process.communicate()

    def run(self, row: str, in_flight: int, path: Path, make: type[Controller]) -> None:
        """Run a row's search from nothing, on a log at *path*."""
        self._ask({"run": row, "in_flight": in_flight, "path": str(path), "make": f"{make.__module__} {make.__name__}"})

    def decide(self, path: Path) -> tuple[int, str | None]:
        """Decide the log at *path* again; return how many decisions that were, and the first that differs."""
        decisions, parted = self._ask({"decide": str(path)})
        return decisions, parted

    def surroundings(self) -> Surroundings:
        """Return those of the process."""
        return msgspec.convert(self._ask({}), Surroundings)

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(question) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the other process ended without an answer; what it said stands above"
        return msgspec.json.decode(line)


def _run(question: dict[str, Any]) -> None:
    import importlib

    from tests.crash.test_crash_sweep import finish
    from tests.matrix.cells import scenario

    module, name = question["make"].split()
    make = getattr(importlib.import_module(module), name)
    finish(Path(question["path"]), scenario(question["run"], question["in_flight"]), make=make)


def _decide(path: Path) -> tuple[int, str | None]:
    from eventhpo.log.reader import read
    from replay.decide.check_prefixes import check_prefixes

    checks = list(check_prefixes(read(path, verify=True).rows))
    first = next((c.divergence for c in checks if c.divergence is not None), None)
    parted = None if first is None else f"seq {first.seq}: {first.recorded} is recorded, {first.decided} decided"
    return sum(c.decision for c in checks), parted


def _choose_locale() -> None:
    for name in COMMAS:
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        return


def main() -> None:
    """Answer each line of the input with one of the output."""
    _choose_locale()
    for line in sys.stdin.buffer:
        question = msgspec.json.decode(line)
        answer: Any = None
        if "run" in question:
            _run(question)
        elif "decide" in question:
            answer = _decide(Path(question["decide"]))
        else:
            answer = surroundings()
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
