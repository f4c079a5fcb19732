"""The post-mortem of a search, made in one pass over the rows of its log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventhpo.core.fold.collector import collector_paused
from eventhpo.core.fold.events import Head, Recorded
from eventhpo.core.fold.progress import tracked
from eventhpo.core.fold.projection import FollowedRows
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.views import same_code, statuses, top
from eventhpo.views.imports import ImportedFrom, imported_from
from eventhpo.views.same_code import CodeChange
from eventhpo.views.top import RankedTrial
from replay.next_step import Next, what_next
from replay.postmortem.acts import Acts, PersonsAct
from replay.postmortem.controllers import Controllers, Epoch
from replay.postmortem.ending import SearchEnd, end
from replay.postmortem.files_on_disk import UNSEEN, FilesOnDisk
from replay.postmortem.jobs import Trouble, Troubles
from replay.postmortem.progress import Gains, Progress
from replay.postmortem.slots import Slots, SlotTime
from replay.postmortem.spending import Spending, spending


class Postmortem(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a search up to `head`, its last verified row."""

    search_id: str
    name: str
    damage: list[str]
    head: Head
    began: int  # `at` of the first and of the last row, microseconds since 1970
    ended: int
    end: SearchEnd
    controllers: list[Epoch]
    acts: list[PersonsAct]  # what people did, in the order of the log
    trials: dict[str, int]
    imported: int  # of the trials
    imports: list[ImportedFrom]  # where they come from
    jobs: dict[str, int]
    trouble: Trouble
    spending: Spending
    slots: Slots
    winner: RankedTrial | None
    progress: Progress | None  # None with several objectives
    next: Next
    signature: bool = False  # whether a signature is next to the log; nobody has checked it here
    code_changes: list[CodeChange] = []  # attempts that ran other code than the attempt before


def postmortem(
    rows: Sequence[Recorded],
    files: FilesOnDisk,
    damage: Sequence[str] = (),
    *,
    cut: bool = False,
    goes_on: bool = False,
) -> tuple[Postmortem, State]:
    """Return what happened in the search of *rows*, and its state after them.

    *files* are the files next to the log, *damage* is what is wrong with it. *cut*: rows
    after these are missing. *goes_on*: the log has later rows, which are left out here.
    """
    examination = Examination(rows[0])
    with collector_paused():
        for row in tracked(rows[1:], "examining", len(rows)):
            examination.add(row)
    return examination.close(files, damage, cut=cut, goes_on=goes_on), examination.state


class Examination:
    """The post-mortem of a log that is read row by row; it may be closed again after further rows."""

    def __init__(self, first: Recorded) -> None:
        self._first = self._last = first
        self._acts, self._gains, self._troubles = Acts(), Gains(), Troubles()
        self._controllers, self._slots = Controllers(), SlotTime()
        self._log = FollowedRows(first, self._acts, self._controllers, self._slots, self._troubles, self._gains)

    @property
    def state(self) -> State:
        """The state after the last row."""
        return self._log.state

    def add(self, row: Recorded) -> None:
        """Take in *row*, the one after the last."""
        self._log.add(row)
        self._last = row

    def close(
        self, files: FilesOnDisk, damage: Sequence[str] = (), *, cut: bool = False, goes_on: bool = False
    ) -> Postmortem:
        """Return what happened up to the last row; arguments as those of `postmortem`."""
        state = self.state
        if goes_on:  # the files of today show nothing about that time
            files = UNSEEN
        held = files.holder is not None and files.holder.epoch == state.epoch
        epochs = self._controllers.copy().close(state, held=held, cut=cut, goes_on=goes_on)
        winner = next(iter(rank.top(state, 1, only_completed=True)), None)
        return Postmortem(
            search_id=state.search_id,
            name=state.search.name,
            damage=list(damage),
            head=state.head,
            began=self._first.at,
            ended=self._last.at,
            end=end(state, self._last, epochs, files, cut=cut),
            controllers=epochs,
            acts=list(self._acts.found),
            trials=statuses.trial_counts(state),
            imported=state.imported,
            imports=imported_from(state),
            jobs=statuses.job_counts(state),
            trouble=self._troubles.close(state),
            spending=spending(state),
            slots=self._slots.close(),
            winner=None if winner is None else top.row(state, winner),
            progress=self._gains.close(state),
            next=what_next(state),
            signature=files.signature,
            code_changes=same_code.code_changes(state),
        )
