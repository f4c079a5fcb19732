"""The table of endpoints: what each takes, which version answers, and whether it was recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.clearml_server.clock import Clock
from tests.clearml_server.errors import error
from tests.clearml_server.state import State

Body = dict[str, Any]


@dataclass
class Api:
    """What an endpoint works on: the state, the clock, and how this server differs from the recorded one."""

    state: State
    clock: Clock
    options: Options = field(default_factory=lambda: Options())  # noqa: PLW0108 - defined below


@dataclass
class Options:
    """A server that is older, or behaves in the other of two ways that are both documented."""

    without: frozenset[str] = frozenset()  # endpoints that this server does not have
    repeats: str = "average"  # or "overwrite", see events.py
    access_key: str = "access"
    secret_key: str = "secret"  # noqa: S105 - of a server that holds nothing
    token_seconds: float = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Endpoint:
    name: str
    run: Callable[[Api, Body], Any]
    takes: frozenset[str]
    prefixes: tuple[str, ...]
    needs: tuple[str, ...]
    version: str
    recorded: bool


ENDPOINTS: dict[str, Endpoint] = {}
FROM_THE_DOCUMENTATION: list[str] = []

# The SDK writes its HTTP method into the body; the server takes no notice of it.
EVERYWHERE = frozenset({"method"})


def documented(*facts: str) -> None:
    """List behaviour that no recording shows: it is from the public server's documentation and source."""
    FROM_THE_DOCUMENTATION.extend(facts)


def endpoint(
    name: str,
    *takes: str,
    needs: tuple[str, ...] = (),
    prefixes: tuple[str, ...] = (),
    version: str = "1.0",
    recorded: bool = True,
) -> Callable[[Callable[[Api, Body], Any]], Callable[[Api, Body], Any]]:
    def register(run: Callable[[Api, Body], Any]) -> Callable[[Api, Body], Any]:
        fields = frozenset(takes) | frozenset(needs) | EVERYWHERE
        ENDPOINTS[name] = Endpoint(name, run, fields, prefixes, needs, version, recorded)
        if not recorded:
            documented(name)
        return run

    return register


def unknown_fields(found: Endpoint, body: Body) -> list[str]:
    return sorted(key for key in body if key not in found.takes and not key.startswith(found.prefixes or ("\0",)))


def check_needed(found: Endpoint, body: Body) -> None:
    missing = [name for name in found.needs if body.get(name) is None]
    if missing:
        raise error(12, f"error for field '{missing[0]}': field is required!")


def new_id() -> str:
    return uuid4().hex
