"""The post-mortem of a search, made in one pass over the rows of its log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventhpo.core.fold.events import Head, Recorded
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.views import statuses, top
from eventhpo.views.top import RankedTrial
from replay.next_step import Next, what_next
from replay.postmortem.acts import PersonsAct, act
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
    jobs: dict[str, int]
    trouble: Trouble
    spending: Spending
    slots: Slots
    winner: RankedTrial | None
    progress: Progress | None  # None with several objectives
    next: Next


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
    if goes_on:  # the files of today show nothing about that time
        files = UNSEEN
    state = begin(rows[0])
    controllers, slots, gains, troubles = Controllers(), SlotTime(), Gains(), Troubles()
    for row in rows[1:]:
        controllers.before(state, row)
        slots.before(state, row)
        troubles.before(state, row)
        state = evolve(state, row)
        gains.after(state, row)
    held = files.holder is not None and files.holder.epoch == state.epoch
    epochs = controllers.close(state, held=held, cut=cut, goes_on=goes_on)
    winner = next(iter(rank.top(state, 1, only_completed=True)), None)
    report = Postmortem(
        search_id=state.search_id,
        name=state.search.name,
        damage=list(damage),
        head=state.head,
        began=rows[0].at,
        ended=rows[-1].at,
        end=end(state, rows[-1], epochs, files, cut=cut),
        controllers=epochs,
        acts=[person_act for row in rows if (person_act := act(row)) is not None],
        trials=statuses.trial_counts(state),
        imported=state.imported,
        jobs=statuses.job_counts(state),
        trouble=troubles.close(state),
        spending=spending(state),
        slots=slots.close(),
        winner=None if winner is None else top.row(state, winner),
        progress=gains.close(state),
        next=what_next(state),
    )
    return report, state
