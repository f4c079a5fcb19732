"""The rows of a log that pass its hash chain and the fold, and what is wrong with the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log.verify import Check, examine
from eventhpo.views import as_of


class VerifiedRows(msgspec.Struct, frozen=True):
    """At least one row; all rows are chained, decoded and folded. `damage` has one line for each failed check.

    `cut` is True if rows after these are missing or cannot be relied on. If it is False, every row is here, and damage
    is in the file itself, such as a missing trigger.
    """

    rows: list[Recorded]
    damage: list[str]
    cut: bool

    def require_whole(self, log: Path) -> None:
        """Return unless the log is damaged.

        Raises:
            DamagedLog: it is; whatever is said of it is about its verified rows.
        """
        if self.damage:
            what = f"{self.damage[0]}; only its beginning is verified and shown, up to seq {self.rows[-1].seq}"
            raise DamagedLog(f"{log} is damaged: {what}; see `eventhpo verify {log}`")


def verified_rows(log: Path) -> VerifiedRows:
    """Return the longest beginning of the log at *log* that can be relied on.

    Raises:
        DamagedLog: not one row can be.
        Usage: there is no such file.
        Busy, StorageFailed: it cannot be read now.
    """
    verification = examine(log)
    wrong = [check for check in verification.checks if check.damage]
    damage = [f"{check.name}: {check.detail}" for check in wrong]
    rows, misfit = _folding(verification.rows)
    if misfit is not None:
        damage.append(f"fold: {misfit}")
    if not rows:
        raise DamagedLog(_nothing(log, wrong, damage))
    return VerifiedRows(rows, damage, misfit is not None or any(check.name != "file" for check in wrong))


def whole(path: str | os.PathLike[str], at: int | str | datetime | None = None) -> Sequence[Recorded]:
    """Return the rows of the log at *path*, all of them verified, up to event *at*.

    *at* is a seq or a time, also as the text that `--at` takes; a time means the last
    event recorded at or before it.

    Raises:
        Usage: there is no such file, or *at* is none of its events.
        DamagedLog: it is no log, is damaged, or lost its tail.
        Busy, StorageFailed: it cannot be read now.
    """
    log = Path(path)
    verified = verified_rows(log)
    verified.require_whole(log)
    return verified.rows if at is None else as_of.rows_at(verified.rows, moment(at))


def moment(at: int | str | datetime) -> int | datetime:
    """Return *at* as a seq or a time.

    Raises:
        Usage: it is a text that is neither.
    """
    try:
        return as_of.moment(at) if isinstance(at, str) else at
    except ValueError as error:
        raise Usage(str(error)) from None


def _nothing(log: Path, wrong: Sequence[Check], damage: Sequence[str]) -> str:
    """Return why not one row of *log* can be relied on; a file that is no log fails the other checks for that."""
    if not wrong:
        return f"{log}: {damage[0]}; see `eventhpo verify {log}`"
    named = wrong[0].detail.startswith(str(log))
    what = wrong[0].detail if named else f"{log}: {wrong[0].detail}"
    return f"{what}; not one event can be read: is it the file that `eventhpo run --log` wrote?"


def _folding(rows: Sequence[Recorded]) -> tuple[list[Recorded], str | None]:
    """Return the longest beginning of *rows* that folds, and why it goes no further."""
    whole = list(rows)
    if not whole:
        return [], None
    try:
        fold(whole)
    except DamagedLog as error:
        return _without_misfit(whole), str(error)
    return whole, None


def _without_misfit(rows: list[Recorded]) -> list[Recorded]:
    """Return the rows before the first that does not fold; a state that a row failed on is used up."""
    fits, fails = 0, len(rows)  # so many rows fold, so many do not
    while fails - fits > 1:
        middle = (fits + fails) // 2
        try:
            fold(rows[:middle])
            fits = middle
        except DamagedLog:
            fails = middle
    return rows[:fits]
