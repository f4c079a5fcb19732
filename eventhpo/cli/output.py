"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from shutil import which
from typing import Any

import click
import msgspec

from eventhpo.errors import StorageFailed


def data(lines: Iterable[str]) -> None:
    """Write *lines* to stdout and flush once.

    Raises:
        BrokenPipeError: nobody reads any more; `main` ends the command quietly.
        StorageFailed: it is a file, and the disk refused.
    """
    if sys.stdout is None:  # closed by whoever called us: `>&-`
        return
    try:
        for text in lines:
            sys.stdout.write(text + "\n")
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
            return {_carried(key): _carried(one) for key, one in value.items()}
        case list() | tuple():
            return [_carried(one) for one in value]
    return value


def note(text: str) -> None:
    """Write *text* to stderr; a stderr that nobody reads is no reason to end."""
    try:
        click.echo(text, err=True)
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
    called = Path(sys.argv[0])
    by_path = called.name == "eventhpo" and which("eventhpo") != str(called)
    return quote(str(called)) if by_path else "eventhpo"
