"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

import click
import msgspec


def data(lines: Iterable[str]) -> None:
    """Write *lines* to stdout and flush once.

    Raises:
        BrokenPipeError: nobody reads any more; `main` ends the command quietly.
    """
    for text in lines:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def as_json(value: object) -> list[str]:
    """Return *value* as the lines of one JSON text that people can read too."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode().splitlines()


def note(text: str) -> None:
    """Write *text* to stderr; a stderr that nobody reads is no reason to end."""
    try:
        click.echo(text, err=True)
    except OSError:
        drop(sys.stderr)


def drop(stream: object) -> None:
    """Let nothing written to *stream* fail any more, also not when the interpreter ends."""
    try:
        with open("/dev/null", "wb") as nowhere:  # noqa: PTH123  its descriptor takes the stream's place
            import os  # noqa: PLC0415  only here

            os.dup2(nowhere.fileno(), stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        pass  # no real stream: a test's


def command(name: str, log: Path, *options: str) -> str:
    """Return a command line to copy."""
    return " ".join(["eventhpo", name, quote(str(log)), *options])
