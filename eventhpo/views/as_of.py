"""A log as it was: the rows up to an event, which is named by its seq or by a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from eventhpo.core.fold.events import Recorded
from eventhpo.errors import Usage
from eventhpo.views import formatting

SHOWN = 3  # of the places where one time is meant
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
        Usage: *at* lies before the first row or after the last, or the clock was set back and showed that time twice.
    """
    if isinstance(at, datetime):
        seqs = _at_time(rows, _microseconds(at))
    else:
        seqs = [at] if rows[0].seq <= at <= rows[-1].seq else []
    if len(seqs) > 1:
        places = " and ".join(f"after event {seq}" for seq in seqs[:SHOWN])
        more = f" and {len(seqs) - SHOWN} times more" if len(seqs) > SHOWN else ""
        raise Usage(
            f"it was {at.isoformat() if isinstance(at, datetime) else at} {len(seqs)} times in this log, since its "
            f"clock was set back: {places}{more}; say which event is meant, as in --at {seqs[0]}"
        )
    if not seqs:
        first, last = named(rows[0]), named(rows[-1])
        raise Usage(
            f"{at if isinstance(at, int) else at.isoformat()} lies outside the log, "
            f"which has the events {first.seq} ({first.at}) to {last.seq} ({last.at})"
        )
    return list(rows[: seqs[0]])


def _at_time(rows: Sequence[Recorded], limit: int) -> list[int]:
    """Return after which rows it was *limit* by their clock: one, but for a clock that was set back."""
    if limit > max(row.at for row in rows):
        return []
    nexts = (*(row.at for row in rows[1:]), limit + 1)
    return [row.seq for row, following in zip(rows, nexts, strict=True) if row.at <= limit < following]


def named(row: Recorded) -> AsOf:
    """Return where the log stands whose last row is *row*."""
    return AsOf(row.seq, formatting.rfc3339(row.at))


def _microseconds(at: datetime) -> int:
    # A time that names no zone means UTC, as all times that eventhpo prints.
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)
