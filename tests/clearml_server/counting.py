"""Every request, kept (bounded) and counted (all)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 10_000  # requests; the counts go on


@dataclass(frozen=True)
class Request:
    """One request: *n* counts from 1, header names are in lower case."""

    n: int
    endpoint: str
    version: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    http_method: str = "GET"


@dataclass
class Requests:
    kept: deque[Request] = field(default_factory=lambda: deque(maxlen=KEPT))
    total: int = 0
    _counts: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, request: Request) -> None:
        self.kept.append(request)
        self.total += 1
        self._counts[(request.endpoint,)] += 1
        for name, value in request.headers.items():
            if name.startswith("x-"):
                self._counts[request.endpoint, name] += 1
                self._counts[request.endpoint, name, value] += 1

    def count(self, endpoint: str | None, header: str | tuple[str, str] | None) -> int:
        """Requests of the endpoint (None: all) with the X- header (its name, or name and value)."""
        wanted: tuple[str, ...] = ()
        if header is not None:
            name, *value = (header,) if isinstance(header, str) else header
            wanted = (name.lower(), *value)
        return sum(count for key, count in self._counts.items() if key[1:] == wanted and endpoint in (None, key[0]))

    def clear(self) -> None:
        self.kept.clear()
        self._counts.clear()
