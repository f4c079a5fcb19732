"""The server's clock: real time plus an offset that a test sets, or a time that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


class Clock:
    """Every time that the server keeps or sends comes from here."""

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = timedelta(seconds=offset)
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        return (self._frozen or datetime.now(UTC)) + self._offset

    def advance(self, seconds: float) -> None:
        """Move on (or back, below 0) from what it is."""
        self._offset += timedelta(seconds=seconds)

    def set_off(self, seconds: float) -> None:
        """Be *seconds* ahead of real time from now on."""
        self._offset = timedelta(seconds=seconds)

    def freeze(self, at: datetime | None = None) -> None:
        """Stand still, until `advance` moves it or `thaw`."""
        self._offset, self._frozen = timedelta(), at or self.now()

    def thaw(self) -> None:
        self._frozen = None

    @property
    def offset(self) -> float:
        return self._offset.total_seconds()

    def date_header(self) -> str:
        return format_datetime(self.now(), usegmt=True)


def exact(moment: datetime) -> str:
    """As the answer of the call that made it says it: microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def stored(moment: datetime) -> str:
    """As the database gives it back: cut to milliseconds."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000).isoformat(timespec="microseconds")


def parsed(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
