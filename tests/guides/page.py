"""A page whose blocks are run: files that it says to write, and console blocks whose output it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
_WRITTEN = re.compile(r"as `([\w.]+)`(?:, [^:]*)?:\n\n```\w+\n(.*?)^```", re.M | re.S)
_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
_VARIES = re.compile(r"[0-9a-f]{8,}|\d+(?:\.\d+)?(?:e-?\d+)?")  # hashes, numbers, times: what differs from run to run
ANYTHING = "..."


class Command(msgspec.Struct, frozen=True):
    """A command of a page, the lines that the page shows for it, and the lines that it printed."""

    words: str
    shown: list[str]
    printed: list[str]


def run(page: Path, folder: Path) -> Iterator[Command]:
    """Do what *page* says in *folder*, block by block; yield each command with what it printed.

    A `cd` holds for the commands after it. What a command prints on stderr comes after what it prints on stdout.
    """
    text = page.read_text()
    blocks = [(match.start(), match) for match in (*_WRITTEN.finditer(text), *_CONSOLE.finditer(text))]
    here = folder
    for _, match in sorted(blocks):
        if match.re is _WRITTEN:
            (here / match[1]).write_text(match[2])
            continue
        for words, shown in commands(match[1]):
            if words.startswith("cd "):
                here = here / words.removeprefix("cd ")
                continue
            yield Command(words, shown, _printed(words, here))


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a console block, each with the lines that are shown for it."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        words, *shown = part.rstrip("\n").split("\n")
        yield words, shown


def _printed(words: str, folder: Path) -> list[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["bash", "-c", words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def missing(command: Command) -> list[str]:
    """Return the lines that the page shows and the command did not print, in their order; numbers may be others.

    A line `...` stands for any lines.
    """
    absent, place = [], 0
    printed = [_alike(line) for line in command.printed]
    for line in command.shown:
        if line.strip() == ANYTHING:
            continue
        try:
            place = printed.index(_alike(line), place) + 1
        except ValueError:
            absent.append(line)
    return absent


def _alike(line: str) -> str:
    return " ".join(_VARIES.sub("#", line).split())
