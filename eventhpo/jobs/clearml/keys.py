"""What backend and job tell each other through the server: tags, and a title of our own."""

from __future__ import annotations

OWN = "eventhpo"  # the title under which a job reports what ClearML cannot carry
RESUME = "resume_from"
RETRY = "retry of "  # and the id of the previous attempt: a tag, since all jobs have the same parent
REASON = "eventhpo"  # the status reason of a task that we stopped; its status message says why


def tag_of_search(key: str) -> str:
    """Return the tag of all tasks of a search: the key up to the search id."""
    return ":".join(key.split(":")[:2])
