"""Events to JSON bodies and back: strict, deterministic, versioned.

A row stores the type's name, its version and the body. Additive fields keep the
version; any other change is version + 1 with an upcaster in `UPCASTERS`. Stored
bodies are never rewritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from eventhpo.core.fold.events import Event, Head
from eventhpo.errors import DamagedLog

TYPES: dict[str, type[Event]] = {t.__name__: t for t in get_args(Event)}
VERSIONS: dict[str, int] = dict.fromkeys(TYPES, 1)
# (type, version) -> body of the next version, as decoded JSON
UPCASTERS: dict[tuple[str, int], Callable[[Any], Any]] = {}

GENESIS = Head(0, "0" * 32)  # what the first row is chained to

_blake = hashlib.blake2b(digest_size=16)
_encode = msgspec.json.Encoder(order="deterministic").encode


class _Decoders(dict[str, Callable[[str | bytes], Event]]):
    """One for each type, made when it is asked for: all of them cost a command that reads a log 5 ms."""

    def __missing__(self, name: str) -> Callable[[str | bytes], Event]:
        decoder: Callable[[str | bytes], Event] = msgspec.json.Decoder(TYPES[name], strict=True).decode
        self[name] = decoder
        return decoder


_decoders = _Decoders()

BAD_BODY = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # ValidationError is a DecodeError


def encode(event: Event) -> str:
    """Return *event*'s body as JSON text that `decode` turns into an equal event.

    Raises:
        ValueError: the event holds something that its type does not allow, such as
            a bare NaN, which JSON would carry as null.
    """
    body = _encode(event)
    name = type(event).__name__
    try:
        back = _decoders[name](body)
    except BAD_BODY as error:
        raise ValueError(f"{name} cannot be recorded: {error}") from error
    if back != event:
        raise ValueError(f"{name} cannot be recorded: it comes back from JSON as {back!r}")
    return _encode(back).decode()  # an int where a float belongs is written as the float that it is read as


def decode(name: str, version: int, body: str | bytes) -> Event:
    """Return the event of a stored row, brought up to today's version.

    Raises:
        DamagedLog: an unknown type, a version from the future, or a body that is
            not what its type says.
    """
    now = VERSIONS.get(name)
    if now is None or version > now:
        raise DamagedLog(
            f"event {name} v{version} is not known here (this eventhpo reads {name if now else 'other types'}"
            f"{f' up to v{now}' if now else ' only'}): the log comes from a newer version, or is damaged"
        )
    try:
        if version == now:
            return _decoders[name](body)
        return _decoders[name](_upcast(name, version, now, body))
    except BAD_BODY as error:
        raise DamagedLog(f"the body of a {name} cannot be read: {error}") from error


def _upcast(name: str, version: int, now: int, body: str | bytes) -> bytes:
    data = msgspec.json.decode(body)
    for v in range(version, now):
        data = UPCASTERS[name, v](data)
    return _encode(data)


def chain(before: str, seq: int, at: int, epoch: int, cause: int | None, name: str, version: int, body: str) -> str:
    """Return the row's hash: blake2b-128 over its fields, a line each, the hash before it first.

    *cause* is an empty line where there is none; no newline
    follows the last field. 32 lower-case hex digits.
    """
    digest = _blake.copy()  # as long as a new one takes, again
    digest.update(
        f"{before}\n{seq}\n{at}\n{epoch}\n{'' if cause is None else cause}\n{name}\n{version}\n{body}".encode()
    )
    return digest.hexdigest()
