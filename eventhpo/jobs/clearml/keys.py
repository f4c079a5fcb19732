"""What door and job say to each other through a server that knows nothing of it: tags, and a title of our own."""

from __future__ import annotations

OWN = "eventhpo"  # the title under which a job tells the door what ClearML cannot carry
RESUME = "resume_from"
RETRY = "retry of "  # and the id of the attempt before: a tag, since the parent is that of all jobs
REASON = "eventhpo"  # the status reason of a task that we stopped; the message says what was settled


def tag_of_search(key: str) -> str:
    """Return the tag that all tasks of a search carry: the key up to its search's id."""
    return ":".join(key.split(":")[:2])
