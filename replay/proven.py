"""What a log proves: the rows that its chain and the fold vouch for, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from eventhpo.core.events import Recorded
from eventhpo.core.evolve import fold
from eventhpo.errors import DamagedLog
from eventhpo.log.verify import examine


class Proven(msgspec.Struct, frozen=True):
    """At least one row, all of them chained, decoded and folded; `damage` says what is wrong, a check a line.

    `cut`: rows are missing behind them, or cannot be relied on. Without it the damage is
    of the file (a trigger that is gone), and every row is there.
    """

    rows: list[Recorded]
    damage: list[str]
    cut: bool

    def require_whole(self, log: Path) -> None:
        """Return unless the log is damaged.

        Raises:
            DamagedLog: it is; what was printed is about its verified rows.
        """
        if self.damage:
            what = f"{self.damage[0]}; what was printed is about the verified part, up to seq {self.rows[-1].seq}"
            raise DamagedLog(f"{log} is damaged: {what}; see `eventhpo verify {log}`")


def proven(log: Path) -> Proven:
    """Return the longest beginning of the log at *log* that can be relied on.

    Raises:
        DamagedLog: not one row can be.
        Usage: there is no such file.
        Busy, StorageFailed: it cannot be read now.
    """
    found = examine(log)
    wrong = [check for check in found.checks if not check.ok]
    damage = [f"{check.name}: {check.detail}" for check in wrong]
    rows, misfit = _folding(found.rows)
    if misfit is not None:
        damage.append(f"fold: {misfit}")
    if not rows:
        raise DamagedLog(f"{log}: {'; '.join(damage)}")
    return Proven(rows, damage, misfit is not None or any(check.name != "file" for check in wrong))


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
