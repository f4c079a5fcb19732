"""The keys of a log's intents, compared with its rows.

To rewrite a row and make the chain anew gives other hashes to all rows after it,
and the keys, which name seq and hash of the row before them, do not fit any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventhpo.core.fold.events import Head, JobCreated, Recorded
from eventhpo.core.fold.job_key import job_key
from eventhpo.errors import DamagedLog


def require(rows: Iterable[Recorded], before: Head, search_id: str) -> int:
    """Return how many intents are in *rows*, which follow *before*.

    Raises:
        DamagedLog: naming the first whose key is not that of its place in this log.
    """
    return sum(isinstance(row.event, JobCreated) for row in checked(rows, before, search_id))


def checked(rows: Iterable[Recorded], before: Head, search_id: str) -> Iterator[Recorded]:
    """Yield *rows*, which follow *before*, as far as the keys of their intents are those of their places.

    Raises:
        DamagedLog: as `require`.
    """
    last: Head | Recorded = before
    for row in rows:
        event = row.event
        if isinstance(event, JobCreated):
            expected = job_key(search_id, Head(last.seq, last.hash), event.trial, event.attempt)
            if event.key != expected:
                raise DamagedLog(
                    f"the key of the intent at seq {row.seq} is {event.key} and should be {expected}: "
                    "rows before it were rewritten"
                )
        yield row
        last = row
