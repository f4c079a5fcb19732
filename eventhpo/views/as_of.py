"""A log as it was: the rows up to an event, which is named by its seq or by a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from eventhpo.core.events import Recorded
from eventhpo.errors import Usage
from eventhpo.views import words

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AsOf(msgspec.Struct, frozen=True):
    """The event that is the last one looked at: its seq, and its time as RFC 3339 in UTC."""

    seq: int
    at: str


def moment(text: str) -> int | datetime:
    """Return *text* as a seq if it is a whole number, else as an ISO 8601 time; one without a zone is UTC.

    Raises:
        ValueError: it is neither.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither the seq of an event nor an ISO time such as 2026-11-24T10:00:00Z"
        ) from None


def rows_at(rows: Sequence[Recorded], at: int | datetime) -> list[Recorded]:
    """Return *rows* (a log from its beginning) up to seq *at*, or to the last that was recorded at or before that time.

    Raises:
        Usage: *at* lies before the first row or behind the last.
    """
    if isinstance(at, datetime):
        limit = _microseconds(at)
        inside = rows[0].at <= limit <= max(row.at for row in rows)
        seq = max((row.seq for row in rows if row.at <= limit), default=0)
    else:
        inside, seq = rows[0].seq <= at <= rows[-1].seq, at
    if not inside:
        first, last = named(rows[0]), named(rows[-1])
        raise Usage(
            f"{at if isinstance(at, int) else at.isoformat()} lies outside the log, "
            f"which has the events {first.seq} ({first.at}) to {last.seq} ({last.at})"
        )
    return list(rows[:seq])


def named(row: Recorded) -> AsOf:
    """Return where the log stands whose last row is *row*."""
    return AsOf(row.seq, words.rfc3339(row.at))


def _microseconds(at: datetime) -> int:
    # A time that names no zone means UTC, as all times that eventhpo prints.
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)
