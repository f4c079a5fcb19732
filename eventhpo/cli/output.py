"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Any

import click
import msgspec

from eventhpo.core.validation.redaction import without_passwords
from eventhpo.errors import StorageFailed

_missing: set[str] = set()  # standard streams that our caller has closed


def complete() -> None:
    """Give this process all three standard streams: in place of one that is closed comes one that leads nowhere.

    Else the next file that is opened, such as the log or a job's lock, would be descriptor
    0, 1 or 2: what a library writes to stderr would go into it.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:
        nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free number, so each hole is filled
    os.close(nowhere)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            _missing.add(name)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))
    if "stdout" in _missing:
        note("stdout is closed: what is printed there is not shown")


def printable(text: str) -> str:
    """Return *text* as a terminal shows it and does not obey it: control characters stand there by their numbers.

    Names in a log may come from anybody. Line breaks and tabs stay.
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# Control characters but for tab and line feed, those of the second block, and what turns the direction of writing.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def error(text: str) -> None:
    """Say why the command ends: on stderr, or on stdout if that is all there is."""
    if "stderr" in _missing and "stdout" not in _missing:
        data([text])
    else:
        note(text)


def data(lines: Iterable[str]) -> None:
    """Write *lines* to stdout and flush once.

    Raises:
        BrokenPipeError: nobody reads any more; `main` ends the command quietly.
        StorageFailed: it is a file, and the disk refused.
    """
    try:
        for text in lines:
            sys.stdout.write(printable(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        raise
    except OSError as error:
        drop(sys.stdout)
        raise StorageFailed(f"stdout cannot be written: {error.strerror}") from error


def as_json(value: object) -> list[str]:
    """Return *value* as the lines of one JSON text that people can read too.

    A file's name need not be UTF-8: its other bytes stand there as on stdout and stderr.
    """
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_carried(msgspec.to_builtins(value)))
    return msgspec.json.format(encoded, indent=2).decode().split("\n")


def _carried(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_carried(key): _carried(item) for key, item in value.items()}
        case list() | tuple():
            return [_carried(item) for item in value]
    return value


def note(text: str) -> None:
    """Write *text* to stderr; a stderr that nobody reads is no reason to end."""
    try:
        click.echo(printable(without_passwords(text)), err=True)
    except OSError:
        drop(sys.stderr)


def drop(stream: object) -> None:
    """Let nothing written to *stream* fail any more, also not when the interpreter ends."""
    try:
        with Path(os.devnull).open("wb") as nowhere:  # its descriptor takes the stream's place
            os.dup2(nowhere.fileno(), stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        pass  # no real stream: a test's


def command(name: str, log: Path, *options: str) -> str:
    """Return a command line to copy: of the program by the name that it was called by."""
    return " ".join([program(), name, quote(str(log)), *options])


def program() -> str:
    """Return how this command was called: a path, such as `.venv/bin/eventhpo`, where it is not on PATH."""
    from shutil import which  # noqa: PLC0415  it loads three compressors, and most commands name no other

    called = Path(sys.argv[0])
    by_path = called.name == "eventhpo" and which("eventhpo") != str(called)
    return quote(str(called)) if by_path else "eventhpo"
