"""What people did to a search: each act in the order of the log, with who, when and why."""

from __future__ import annotations

import msgspec

from eventhpo.core.fold.events import Act, ControllerStarted, Recorded
from eventhpo.core.fold.projection import Projection
from eventhpo.core.fold.state import State
from eventhpo.views import event_lines


class PersonsAct(msgspec.Struct, frozen=True, kw_only=True):
    """One act: the event that records it, who claims it (`by`), for what reason, and the user id of the kernel.

    `by` is empty and `uid` None in logs from before they were recorded. `at` is microseconds since 1970.
    """

    seq: int
    at: int
    event: str
    by: str
    why: str
    uid: int | None
    what: str


class Acts(Projection):
    """Collects the acts of a log, row by row."""

    def __init__(self) -> None:
        self.found: list[PersonsAct] = []

    def after(self, state: State, row: Recorded) -> None:
        """Note *row* if it records an act."""
        if (person_act := act(row)) is not None:
            self.found.append(person_act)


def act(row: Recorded) -> PersonsAct | None:
    """Return the act that *row* records, None if it records none; starts of controllers are listed as controllers."""
    event = row.event
    if not isinstance(event, Act) or isinstance(event, ControllerStarted):
        return None
    return PersonsAct(
        seq=row.seq,
        at=row.at,
        event=type(event).__name__,
        by=event.by,
        why=event.why,
        uid=event.uid,
        what=event_lines.describe_content(event),
    )
