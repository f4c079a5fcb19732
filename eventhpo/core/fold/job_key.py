"""The key of an intent: it names the search, the last row before the intent, and the attempt."""

from __future__ import annotations

from eventhpo.core.fold.events import Head


def job_key(search_id: str, before: Head, trial: int, attempt: int) -> str:
    """Return the key of the intent that follows the row *before*: the log alone says what it must be."""
    return f"eventhpo:{search_id[:12]}:{before.seq}-{before.hash[:8]}:{trial}.{attempt}"
