"""How far a long walk over a log has come: told to a listener, if there is one; nothing depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Listener: TypeAlias = Callable[[str, int, int], None]  # what is done, so many items of so many; the last call has all

_listener: ContextVar[Listener | None] = ContextVar("progress", default=None)
OFTEN, SELDOM = 1, 500  # items from one call to the next: of those that take milliseconds, and microseconds


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Tell *listener* of the walks inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def listened_to() -> bool:
    """Whether somebody is told: a count that is only for them need not be made otherwise."""
    return _listener.get() is not None


def tell(what: str, done: int, total: int) -> None:
    """Tell the listener that the walk *what* has come *done* items of *total* far."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


def tracked(items: Iterable[T], what: str, total: int, every: int = SELDOM) -> Iterable[T]:
    """Return *items*, of which there are *total*; on the way through them the listener is told after each *every*."""
    listener = _listener.get()
    return items if listener is None else _telling(items, what, total, every, listener)


def _telling(items: Iterable[T], what: str, total: int, every: int, listener: Listener) -> Iterator[T]:
    try:
        for done, item in enumerate(items):
            if done % every == 0:
                listener(what, done, total)
            yield item
    finally:
        listener(what, total, total)
